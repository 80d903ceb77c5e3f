// Simulcast: three encodings in, the viewer picks.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closePage } from '../lib/browser.js';
import { hook, publish, watch } from '../lib/console.js';
import { assertPatternRuns } from '../lib/picture.js';
import { setStage } from '../lib/stage.js';
import { until } from '../lib/until.js';

const stage = setStage();

/** Chromium starts the larger encodings when its estimate of the bandwidth allows, which takes a while. */
const rampMs = 60_000;

test('a viewer picks each of three layers', async (t) => {
  const publisher = await publish(stage.browser, stage.node, { name: 'layers', codec: 'video/VP8', height: 540, kbps: 900, simulcast: true });
  t.after(() => closePage(publisher));
  const viewer = await watch(stage.browser, stage.node, 'layers');
  t.after(() => closePage(viewer));

  const started = performance.now();
  await until('three layers flow', async () => {
    const { tracks } = await stage.node.publisher('layers');
    return tracks.find((track) => track.kind === 'video').layers.filter((layer) => layer.active && layer.width > 0).length === 3;
  }, rampMs);
  t.diagnostic(`all layers after ${Math.round(performance.now() - started)} ms`);

  await hook(viewer, 'layer-picker').waitFor();
  for (const [rid, width] of [['l', 240], ['h', 960], ['m', 480]]) {
    await viewer.locator(`[data-testid="layer-option"][data-rid="${rid}"]`).check({ force: true });
    await until(`layer ${rid} is ${width} wide`, () => viewer.evaluate(
      ([selector, wanted]) => /** @type {HTMLVideoElement} */ (document.querySelector(selector)).videoWidth === wanted,
      /** @type {[string, number]} */ (['[data-testid=watch-video]', Number(width)])));
    if (width >= 480) assert.equal((await assertPatternRuns(viewer)).width, width);
    const [subscriber] = await stage.node.subscribers('layers');
    assert.equal(subscriber.tracks.find((track) => track.kind === 'video').current_layer.rid, rid);
  }
  assert.deepEqual([...publisher.faults, ...viewer.faults], []);
});
