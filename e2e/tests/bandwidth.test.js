// Whether the node's transport-wide feedback lets Chromium send what it may. tools/bitrate.js prints the whole curve:
// the picture itself grows more slowly, since Chromium starts with a small one and steps up every few seconds.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closePage } from '../lib/browser.js';
import { publish } from '../lib/console.js';
import { setStage } from '../lib/stage.js';
import { until } from '../lib/until.js';

const stage = setStage();

/** What the publisher asks for, bit/s. The browser starts from an estimate of 300,000. */
const wanted = 2_500_000;

test('the estimate of the bandwidth reaches what the publisher wants', async (t) => {
  const page = await publish(stage.browser, stage.node, { name: 'estimate', source: 'camera', codec: 'video/VP8', height: 720, kbps: wanted / 1000 });
  t.after(() => closePage(page));
  const started = performance.now();
  const estimate = await until(`an estimate of ${wanted} bit/s`, async () => {
    const bps = await page.evaluate(async () => {
      const [connection] = /** @type {any} */ (globalThis).probe.connections;
      const report = await connection.getStats();
      const transport = [...report.values()].find(({ type }) => type === 'transport');
      return report.get(transport?.selectedCandidatePairId)?.availableOutgoingBitrate ?? 0;
    });
    if (bps < wanted) throw new Error(`it is ${bps} bit/s`);
    return bps;
  });
  t.diagnostic(`${Math.round(estimate / 1000)} kbit/s after ${Math.round(performance.now() - started)} ms`);
  assert.deepEqual(page.faults, []);
});
