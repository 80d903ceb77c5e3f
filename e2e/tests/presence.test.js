// Who comes first, who goes away and who comes back: viewers keep their session through all of it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closePage, openPage } from '../lib/browser.js';
import { hook, publish, state, watch } from '../lib/console.js';
import { Obs } from '../lib/obs.js';
import { assertClipRuns, assertPatternRuns, videoStats } from '../lib/picture.js';
import { setStage } from '../lib/stage.js';
import { until } from '../lib/until.js';

const stage = setStage();

/** Creations of a session that a page asked for. @param {import('../lib/browser.js').WatchedPage} page */
const posts = (page) => page.requests.filter(({ method, url }) => method === 'POST' && /\/whep\/live\/[^/]+$/.test(url));

test('a viewer that comes first waits, then plays', async (t) => {
  const viewer = await openPage(stage.browser, stage.node.watch('later'));
  t.after(() => closePage(viewer));
  await state(viewer, 'watch-state', 'waiting');
  await hook(viewer, 'watch-waiting').waitFor();

  const publisher = await publish(stage.browser, stage.node, { name: 'later', codec: 'video/VP8' });
  t.after(() => closePage(publisher));
  await state(viewer, 'watch-state', 'playing');
  await assertPatternRuns(viewer);
  assert.equal(await hook(viewer, 'watch-waiting').count(), 0);
  assert.equal(posts(viewer).length, 1);
  assert.deepEqual([...viewer.faults, ...publisher.faults], []);
});

test('a publisher comes back with another codec, and then as OBS', async (t) => {
  const first = await publish(stage.browser, stage.node, { name: 'again', codec: 'video/VP8' });
  const viewer = await watch(stage.browser, stage.node, 'again');
  t.after(() => closePage(viewer));
  await assertPatternRuns(viewer);
  assert.deepEqual(first.faults, []);
  await closePage(first);
  await state(viewer, 'watch-state', 'waiting');

  const second = await publish(stage.browser, stage.node, { name: 'again', codec: 'video/H264' });
  await state(viewer, 'watch-state', 'playing');
  await assertPatternRuns(viewer);
  await until('the viewer decodes H.264', async () => (await videoStats(viewer, 'inbound-rtp'))[0].mimeType === 'video/H264');
  assert.deepEqual(second.faults, []);

  // A name that is taken changes hands, and the one who held it notices.
  const obs = await Obs.publish(stage.node.whip('again'));
  t.after(() => obs.stop());
  await hook(second, 'publish-stop').click();
  await closePage(second);
  await state(viewer, 'watch-state', 'playing');
  await assertClipRuns(viewer);

  assert.equal(posts(viewer).length, 1, 'one session all along');
  assert.deepEqual(viewer.faults, []);
  assert.equal(await obs.stop(), 200);
});

test('closing a tab ends its session at once', async () => {
  const publisher = await publish(stage.browser, stage.node, { name: 'closing' });
  const viewer = await watch(stage.browser, stage.node, 'closing');
  assert.equal((await stage.node.subscribers('closing')).length, 1);

  // Without a DELETE the node would notice much later, by the silence.
  await closePage(viewer);
  await until('the viewer is gone', async () => (await stage.node.subscribers('closing')).length === 0, 5_000);
  await closePage(publisher);
  await until('the publisher is idle or gone', async () => (await stage.node.publisher('closing'))?.state !== 'live', 5_000);
});
