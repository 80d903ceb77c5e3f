// Trickle and ICE restart as the page does them (RFC 9725 section 4.3).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closePage } from '../lib/browser.js';
import { publish, watch } from '../lib/console.js';
import { assertDecodes, assertPatternRuns } from '../lib/picture.js';
import { setStage } from '../lib/stage.js';
import { until } from '../lib/until.js';

const stage = setStage();

/** @param {import('../lib/browser.js').WatchedPage} page */
const patches = (page) => page.requests.filter(({ method }) => method === 'PATCH').map(({ status }) => status);

/** Name fragments of both sides. @param {import('playwright-core').Page} page */
function credentials(page) {
  return page.evaluate(() => {
    const { connections } = /** @type {any} */ (globalThis).probe;
    const fragment = (description) => /a=ice-ufrag:(\S+)/.exec(description.sdp)?.[1];
    const [connection] = connections;
    return { local: fragment(connection.localDescription), remote: fragment(connection.remoteDescription), count: connections.length };
  });
}

/**
 * Tells the page that its connection failed, which is what makes it restart.
 * @param {import('playwright-core').Page} page
 */
function fail(page) {
  return page.evaluate(() => {
    const [connection] = /** @type {any} */ (globalThis).probe.connections;
    Object.defineProperty(connection, 'connectionState', { configurable: true, get: () => 'failed' });
    connection.dispatchEvent(new Event('connectionstatechange'));
    delete connection.connectionState;
  });
}

test('both sides trickle, and both survive a restart', async (t) => {
  const publisher = await publish(stage.browser, stage.node, { name: 'restart', codec: 'video/VP8' });
  t.after(() => closePage(publisher));
  const viewer = await watch(stage.browser, stage.node, 'restart');
  t.after(() => closePage(viewer));

  for (const page of [viewer, publisher]) {
    await until('trickled candidates are taken', () => patches(page).includes(204));
    const before = await credentials(page);
    await fail(page);
    await until('the restart is answered', () => patches(page).includes(200));
    await until('both sides have new credentials', async () => {
      const now = await credentials(page);
      return now.local !== before.local && now.remote !== before.remote;
    });
    await until('candidates of the restart are taken', () => patches(page).slice(patches(page).indexOf(200)).includes(204));
    await assertDecodes(viewer, 45);
    await assertPatternRuns(viewer);
    assert.equal((await credentials(page)).count, 1, 'still the same connection');
    assert.deepEqual(patches(page).filter((status) => status !== 200 && status !== 204), []);
  }
  assert.deepEqual([...publisher.faults, ...viewer.faults], []);
});
