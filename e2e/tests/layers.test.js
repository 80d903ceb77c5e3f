// Simulcast: three encodings in, the viewer picks.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closePage } from '../lib/browser.js';
import { hook, publish, watch } from '../lib/console.js';
import { assertFlows } from '../lib/picture.js';
import { setStage } from '../lib/stage.js';
import { until } from '../lib/until.js';

const stage = setStage();

/** Chromium starts the larger encodings when its estimate of the bandwidth allows, which takes a while. */
const rampMs = 60_000;

/** Of a picture of 960x540. @type {Record<string, number>} */
const widths = { l: 240, m: 480, h: 960 };

test('a viewer picks one layer after the other', async (t) => {
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
  for (const rid of ['l', 'h', 'm', 'l', 'm', 'l']) {
    await viewer.locator(`[data-testid="layer-option"][data-rid="${rid}"]`).check({ force: true });
    await until(`layer ${rid} is ${widths[rid]} wide`, () => viewer.evaluate(
      ([selector, wanted]) => /** @type {HTMLVideoElement} */ (document.querySelector(selector)).videoWidth === wanted,
      /** @type {[string, number]} */ (['[data-testid=watch-video]', widths[rid]])));
    await assertFlows(viewer);
    const [subscriber] = await stage.node.subscribers('layers');
    assert.equal(subscriber.tracks.find((track) => track.kind === 'video').current_layer.rid, rid);
  }
  assert.deepEqual([...publisher.faults, ...viewer.faults], []);
});
