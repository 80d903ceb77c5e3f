// Simulcast: several encodings in, the viewer picks.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closePage } from '../lib/browser.js';
import { hook, pick, publish, watch } from '../lib/console.js';
import { Obs } from '../lib/obs.js';
import { assertClipRuns, assertFlows, watchGaps } from '../lib/picture.js';
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
    const gaps = await watchGaps(viewer);
    await pick(viewer, { rid });
    await until(`layer ${rid} is ${widths[rid]} wide`, () => viewer.evaluate(
      ([selector, wanted]) => /** @type {HTMLVideoElement} */ (document.querySelector(selector)).videoWidth === wanted,
      /** @type {[string, number]} */ (['[data-testid=watch-video]', widths[rid]])));
    await assertFlows(viewer);
    assert.equal(await currentRid('layers'), rid);
    assertShort(await gaps.longest(), rid);
  }
  assert.deepEqual([...publisher.faults, ...viewer.faults], []);
});

test('four encodings of libdatachannel', async (t) => {
  const obs = await Obs.publish(stage.node.whip('obs'), { layers: 4 });
  t.after(() => obs.stop());
  const viewer = await watch(stage.browser, stage.node, 'obs');
  t.after(() => closePage(viewer));
  await until('the picker offers four', async () => await hook(viewer, 'layer-option').count() === 5);
  const names = await hook(viewer, 'layer-option').evaluateAll((radios) => radios.map((radio) => radio.nextElementSibling?.firstChild?.textContent));
  assert.equal(new Set(names).size, 5, `names tell them apart: ${names}`);

  for (const rid of ['0', '3', '1', '2']) {
    const gaps = await watchGaps(viewer);
    await pick(viewer, { rid });
    await until(`layer ${rid} is sent`, async () => await currentRid('obs') === rid);
    await assertClipRuns(viewer);
    assertShort(await gaps.longest(), rid);
  }

  await pick(viewer, {});
  await until('one of them is chosen', async () => (await video('obs')).reason === 'best');
  const chosen = await currentRid('obs');
  await assertFlows(viewer);
  assert.equal(await currentRid('obs'), chosen, 'like layers are no reason to change');
  assert.deepEqual(viewer.faults, []);
});

/** What the only viewer of a publisher gets. @param {string} publisher */
async function video(publisher) {
  const [subscriber] = await stage.node.subscribers(publisher);
  return subscriber.tracks.find((/** @type {any} */ track) => track.kind === 'video');
}

/** @param {string} publisher @returns {Promise<string>} */
async function currentRid(publisher) {
  return (await video(publisher)).current_layer.rid;
}

/** @param {number} gapMs longest standstill @param {string} rid */
function assertShort(gapMs, rid) {
  assert.ok(gapMs < 1_000, `${rid}: the picture stood still for ${gapMs} ms`);
}
