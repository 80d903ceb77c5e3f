// A node that asks for credentials, seen from its page.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closePage, openPage } from '../lib/browser.js';
import { goLive, hook, state } from '../lib/console.js';
import { assertPatternRuns } from '../lib/picture.js';
import { setStage } from '../lib/stage.js';
import { until } from '../lib/until.js';

const everything = 'e2e-secret-that-may-do-everything-01';
const playOnly = 'e2e-secret-that-may-only-play-000002';

const stage = setStage({
  config: {
    auth: {
      api_keys: [
        { id: 'all', secret: everything, grants: [{ routers: ['*'], actions: ['publish', 'play', 'admin'] }] },
        { id: 'viewer', secret: playOnly, grants: [{ routers: ['live'], actions: ['play'] }] },
      ],
    },
  },
});

/** Chromium writes every answer of 401 and 403 to the console. @param {import('../lib/browser.js').WatchedPage} page */
const faults = (page) => page.faults.filter((fault) => !/status of 40[13]/.test(fault));

/** @param {import('playwright-core').Page} page @param {string} token */
async function enter(page, token) {
  await hook(page, 'token-dialog').waitFor();
  await hook(page, 'token-dialog-input').fill(token);
  await hook(page, 'token-dialog-save').click();
}

test('the streams page asks for a token until it is right', async (t) => {
  const page = await openPage(stage.browser, stage.node.url + '/');
  t.after(() => closePage(page));
  await enter(page, 'wrong');
  await hook(page, 'streams-locked').waitFor();
  await hook(page, 'token-open').click();
  await enter(page, everything);
  await hook(page, 'streams-empty').waitFor();
  assert.deepEqual(faults(page), []);
});

test('the watch page asks, and plays with the right token', async (t) => {
  const publisher = await openPage(stage.browser, `${stage.node.url}/#/publish`);
  t.after(() => closePage(publisher));
  await hook(publisher, 'token-input').fill(everything);
  await hook(publisher, 'token-input').blur();
  await goLive(publisher, { name: 'guarded', codec: 'video/VP8' });

  const viewer = await openPage(stage.browser, stage.node.watch('guarded'));
  t.after(() => closePage(viewer));
  await enter(viewer, 'wrong');
  await until('the dialog says that the token was refused', async () => /refused/.test(await hook(viewer, 'token-dialog').textContent() ?? ''));
  await enter(viewer, playOnly);
  await state(viewer, 'watch-state', 'playing');
  await assertPatternRuns(viewer);
  assert.deepEqual([...faults(publisher), ...faults(viewer)], []);
});

test('a token that may only play cannot publish', async (t) => {
  const page = await openPage(stage.browser, `${stage.node.url}/#/publish`);
  t.after(() => closePage(page));
  await hook(page, 'token-input').fill(playOnly);
  await hook(page, 'token-input').blur();
  await hook(page, 'publisher-input').fill('forbidden');
  await hook(page, 'publish-start').click();
  await state(page, 'publish-state', 'failed');
  const text = await hook(page, 'publish-error').textContent() ?? '';
  t.diagnostic(`the page says: ${text}`);
  assert.match(text, /publish|token|allow|permit/i);
  assert.equal(await stage.node.api('routers/live/publishers/forbidden', everything), undefined);
  assert.deepEqual(faults(page), []);
});
