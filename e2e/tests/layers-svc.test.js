// Layers within one encoding: the browser sends them, the viewer picks sizes and frame rates.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closePage } from '../lib/browser.js';
import { hook, pick, publish, watch } from '../lib/console.js';
import { assertDecodesShare, watchGaps } from '../lib/picture.js';
import { setStage } from '../lib/stage.js';
import { until } from '../lib/until.js';

const stage = setStage();

/** Longest standstill at a switch, milliseconds. */
const longestGapMs = 1_000;

/** Sub-layers start as the browser's estimate allows. */
const rampMs = 60_000;

/** Selections by the picker: spatial layer, '' for automatic, and temporal layer, '' for all frames. */
const rows = [
  { codec: 'VP9', mode: 'L3T3_KEY', widths: [240, 480, 960], rates: 3, selections: ['0/', '2/', '1/', '1/0', '2/0', '0/0', '0/1', '1/1', '/0', '/'] },
  { codec: 'VP9', mode: 'L2T2', widths: [480, 960], rates: 2, selections: ['0/0', '1/'] },
  { codec: 'AV1', mode: 'L2T2', widths: [480, 960], rates: 2, selections: ['0/', '1/0', '1/'] },
];

for (const { codec, mode, widths, rates, selections } of rows) {
  test(`${codec} ${mode}`, async (t) => {
    const name = `${codec}-${mode}`;
    const publisher = await publish(stage.browser, stage.node, { name, codec: `video/${codec}`, height: 540, kbps: 1200, scalability: mode, audio: false });
    t.after(() => closePage(publisher));
    const viewer = await watch(stage.browser, stage.node, name);
    t.after(() => closePage(viewer));
    await until(`the picker offers ${widths.length} sizes and ${rates} frame rates`, async () => (
      await hook(viewer, 'layer-option').count() === widths.length + 1 && await hook(viewer, 'rate-option').count() === rates), rampMs);
    assert.deepEqual(await names(viewer), ['Automatic', ...widths.map((width) => `${width}×${width * 9 / 16}`).reverse()]);

    for (const selection of selections) {
      const [spatial, temporal] = selection.split('/');
      const gaps = await watchGaps(viewer);
      await pick(viewer, { spatial, temporal });
      const width = widths[spatial === '' ? widths.length - 1 : Number(spatial)];
      await until(`${selection} is ${width} wide`, () => viewer.evaluate(
        ([selector, wanted]) => /** @type {HTMLVideoElement} */ (document.querySelector(selector)).videoWidth === wanted,
        /** @type {[string, number]} */ (['[data-testid=watch-video]', width])));
      const share = 2 ** (temporal === '' ? 0 : Number(temporal) - rates + 1);
      await assertDecodesShare(publisher, viewer, share, `${name} ${selection}`);
      const gap = await gaps.longest();
      assert.ok(gap < longestGapMs, `${name} ${selection}: the picture stood still for ${gap} ms`);
    }
    const [subscriber] = await stage.node.subscribers(name);
    const video = subscriber.tracks.find((track) => track.kind === 'video');
    assert.ok(video.plis < selections.length, `${video.plis} requests for keyframes`);
    assert.ok(await hook(viewer, 'graph-switch').count() > 0, 'the graph marks switches');
    assert.deepEqual([...publisher.faults, ...viewer.faults], []);
  });
}

/** What the choices of sizes are called, without their bitrates. @param {import('playwright-core').Page} viewer */
function names(viewer) {
  return hook(viewer, 'layer-option').evaluateAll((radios) => radios.map((radio) => radio.nextElementSibling?.firstChild?.textContent));
}
