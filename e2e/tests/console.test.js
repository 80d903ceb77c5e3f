// The node's own page against itself: what one publishes, another watches.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closePage } from '../lib/browser.js';
import { figure, goLive, hook, publish, state, watch } from '../lib/console.js';
import { assertDecodes, assertPatternRuns, assertPictureMoves } from '../lib/picture.js';
import { setStage } from '../lib/stage.js';
import { until } from '../lib/until.js';

const stage = setStage();

for (const codec of ['video/VP8', 'video/VP9', 'video/H264', 'video/AV1']) {
  test(`test pattern and camera in ${codec}`, async (t) => {
    const name = codec.slice(6);
    const publisher = await publish(stage.browser, stage.node, { name, codec });
    t.after(() => closePage(publisher));
    const viewer = await watch(stage.browser, stage.node, name);
    t.after(() => closePage(viewer));

    const row = await assertDecodes(viewer);
    assert.equal(row.mimeType, codec);
    const { delayMs } = await assertPatternRuns(viewer);
    await assertFiguresFill(viewer, codec);
    t.diagnostic(`glass to glass ${delayMs} ms, first frame ${await figure(viewer, 'first')} ms`);

    await hook(publisher, 'publish-stop').click();
    await state(viewer, 'watch-state', 'waiting');
    await goLive(publisher, { name, codec, source: 'camera' });
    await state(viewer, 'watch-state', 'playing');
    assert.equal((await assertDecodes(viewer)).mimeType, codec);
    await assertPictureMoves(viewer);
    assert.deepEqual([...publisher.faults, ...viewer.faults], []);
  });
}

/** @param {import('playwright-core').Page} viewer @param {string} codec */
async function assertFiguresFill(viewer, codec) {
  const written = codec.slice(6).replace('H264', 'H.264');
  const checks = {
    bitrate: (value) => Number(value) > 30_000,
    resolution: (value) => value === '640x360',
    fps: (value) => Number(value) > 10,
    loss: (value) => value !== '' && Number(value) < 0.05,
    rtt: (value) => value !== '' && Number(value) < 500,
    jitter: (value) => value !== '',
    buffer: (value) => Number(value) > 0,
    first: (value) => Number(value) > 0,
    latency: (value) => Number(value) > 0,
    codec: (value) => value === `${written} + Opus`,
    protocol: (value) => value === 'udp',
  };
  for (const [key, check] of Object.entries(checks)) {
    await until(`figure ${key} of ${codec}`, async () => {
      const value = await figure(viewer, key);
      if (!check(value)) throw new Error(`it is ${JSON.stringify(value)}`);
      return true;
    });
  }
}
