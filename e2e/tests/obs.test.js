// OBS publishes, Chromium watches.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closePage } from '../lib/browser.js';
import { figure, watch } from '../lib/console.js';
import { Obs } from '../lib/obs.js';
import { assertClipRuns, assertDecodes } from '../lib/picture.js';
import { setStage } from '../lib/stage.js';
import { until } from '../lib/until.js';

const stage = setStage();

test('H.264 and Opus without candidates, trickle or keyframes on request', async (t) => {
  const obs = await Obs.publish(stage.node.whip('obs'));
  t.after(() => obs.stop());
  assert.equal(obs.status, 201);
  assert.doesNotMatch(obs.offer, /a=candidate/);
  assert.match(obs.answer, /^a=rtpmap:96 H264\/90000\r$/m);
  assert.match(obs.answer, /^a=rtpmap:111 opus\/48000\/2\r$/mi);

  const viewer = await watch(stage.browser, stage.node, 'obs');
  t.after(() => closePage(viewer));
  const row = await assertDecodes(viewer);
  assert.equal(row.mimeType, 'video/H264');
  assert.deepEqual(await assertClipRuns(viewer), { width: 640, height: 360 });
  await until('sound arrives too', async () => await figure(viewer, 'codec') === 'H.264 + Opus');
  assert.deepEqual(viewer.faults, []);

  assert.equal(await obs.stop(), 200, 'DELETE after the connection was closed');
  await until('the publisher is idle', async () => (await stage.node.publisher('obs'))?.state !== 'live', 5_000);
});

for (const layers of [1, 2, 3, 4]) {
  test(`simulcast of ${layers}`, async (t) => {
    const name = `obs-${layers}`;
    const obs = await Obs.publish(stage.node.whip(name), { layers });
    t.after(() => obs.stop());
    const rids = Array.from({ length: layers }, (_, index) => String(index));
    assert.match(obs.answer, new RegExp(`^a=simulcast:recv ${rids.join(';')}\r$`, 'm'));
    for (const rid of rids) assert.match(obs.answer, new RegExp(`^a=rid:${rid} recv`, 'm'));

    const viewer = await watch(stage.browser, stage.node, name);
    t.after(() => closePage(viewer));
    await assertClipRuns(viewer);
    const publisher = await stage.node.publisher(name);
    const video = publisher.tracks.find((track) => track.kind === 'video');
    assert.deepEqual(video.layers.filter((layer) => layer.active).map((layer) => layer.rid).sort(), rids);
    assert.deepEqual(viewer.faults, []);
    assert.equal(await obs.stop(), 200);
  });
}
