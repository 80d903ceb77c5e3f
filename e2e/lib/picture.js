// Checks of what a video element shows.

import assert from 'node:assert/strict';
import { until } from './until.js';

/** Frames in a loop of the built-in clip, and frames a second. */
const clipFrames = 120;
const clipRate = 30;

/**
 * @param {import('playwright-core').Page} page
 * @param {'patternClock' | 'clipFrame'} reader
 * @param {string} selector
 * @returns {Promise<{value: number, at: number, width: number, height: number} | undefined>}
 */
function read(page, reader, selector) {
  return page.evaluate(([name, element]) => /** @type {any} */ (globalThis).probe.read(name, element), [reader, selector]);
}

/**
 * Reads the sender's clock from the picture at two moments; it must be close to ours and advance as ours does.
 * @param {import('playwright-core').Page} page
 * @param {string} [selector]
 */
export async function assertPatternRuns(page, selector = '[data-testid=watch-video]') {
  const delay = ({ value, at }) => ((at % 2 ** 32) - value + 2 ** 32) % 2 ** 32;
  const look = (what) => until(what, async () => {
    const seen = await read(page, 'patternClock', selector);
    return seen && delay(seen) < 2_000 ? seen : undefined;
  });
  const first = await look('the clock of the test pattern');
  const second = await until('the clock of the test pattern advances', async () => {
    const seen = await look('the clock of the test pattern');
    return seen.at - first.at >= 1_000 ? seen : undefined;
  });
  const drift = delay(second) - delay(first);
  assert.ok(Math.abs(drift) < 700, `picture advanced ${second.value - first.value} ms in ${second.at - first.at} ms`);
  return { width: second.width, height: second.height, delayMs: delay(second) };
}

/**
 * Reads frame numbers of the clip at two moments; they must advance in real time.
 * @param {import('playwright-core').Page} page
 * @param {string} [selector]
 */
export async function assertClipRuns(page, selector = '[data-testid=watch-video]') {
  const first = await until('frame number of the clip', () => read(page, 'clipFrame', selector));
  const second = await until('frame number of the clip later', async () => {
    const seen = await read(page, 'clipFrame', selector);
    return seen && seen.at - first.at >= 1_000 && seen.at - first.at < 3_000 ? seen : undefined;
  });
  const wall = (second.at - first.at) / 1000 * clipRate;
  const moved = (second.value - first.value + clipFrames) % clipFrames;
  assert.ok(Math.abs(moved - wall) < 20, `picture advanced ${moved} frames in a time of ${wall.toFixed(1)} frames`);
  return { width: second.width, height: second.height };
}

/**
 * For pictures without a clock: something is bright, and something changes.
 * @param {import('playwright-core').Page} page
 * @param {string} [selector]
 */
export async function assertPictureMoves(page, selector = '[data-testid=watch-video]') {
  const look = () => page.evaluate((element) => {
    const points = Array.from({ length: 400 }, (_, index) => [(index % 20 + 0.5) / 20, (Math.floor(index / 20) + 0.5) / 20]);
    return /** @type {any} */ (globalThis).probe.sample(document.querySelector(element), points);
  }, selector);
  const first = await until('a picture that is not black', async () => {
    const levels = await look();
    return levels?.some((level) => level > 60) ? levels : undefined;
  });
  await until('the picture changes', async () => (await look()).filter((level, index) => Math.abs(level - first[index]) > 40).length >= 4);
}

/**
 * @param {import('playwright-core').Page} page
 * @param {'inbound-rtp' | 'outbound-rtp'} type
 * @returns {Promise<any[]>} rows of getStats, with mimeType
 */
export function videoStats(page, type) {
  return page.evaluate((name) => /** @type {any} */ (globalThis).probe.video(name), type);
}

/**
 * Waits until count more frames are decoded.
 * @param {import('playwright-core').Page} page
 * @param {number} [count]
 */
export async function assertDecodes(page, count = 30) {
  const [start] = await until('a frame is decoded', async () => {
    const rows = await videoStats(page, 'inbound-rtp');
    return rows[0]?.framesDecoded > 0 ? rows : undefined;
  });
  return until(`${count} more frames are decoded`, async () => {
    const [row] = await videoStats(page, 'inbound-rtp');
    return row.framesDecoded >= start.framesDecoded + count ? row : undefined;
  });
}

/**
 * Frames go on being decoded, over two seconds, at a third of thirty a second or more: a player that waits for a
 * reference which never comes asks for a keyframe only after three.
 * @param {import('playwright-core').Page} page
 */
export async function assertFlows(page) {
  const [first] = await videoStats(page, 'inbound-rtp');
  const last = await until('statistics of two seconds later', async () => {
    const [row] = await videoStats(page, 'inbound-rtp');
    return row.timestamp - first.timestamp >= 2_000 ? row : undefined;
  });
  const seconds = (last.timestamp - first.timestamp) / 1000;
  const [frames, packets] = [last.framesDecoded - first.framesDecoded, last.packetsReceived - first.packetsReceived];
  assert.ok(frames >= seconds * 10, `${frames} frames decoded in ${seconds.toFixed(1)} s, while ${packets} packets arrived`);
}

/**
 * Over two seconds the viewer decodes about the given share of the frames that the publisher sends, whose own count is one of all
 * spatial layers.
 * @param {import('playwright-core').Page} publisher
 * @param {import('playwright-core').Page} viewer
 * @param {number} share
 * @param {string} what
 */
export async function assertDecodesShare(publisher, viewer, share, what) {
  const look = async () => {
    const [[out], [received]] = await Promise.all([videoStats(publisher, 'outbound-rtp'), videoStats(viewer, 'inbound-rtp')]);
    return { at: received.timestamp, rate: out.framesPerSecond ?? 0, decoded: received.framesDecoded };
  };
  await until(`${what}: ${share} of all frames for two seconds`, async () => {
    const first = await look();
    const last = await until('two seconds', async () => {
      const seen = await look();
      return seen.at - first.at >= 2_000 && seen;
    });
    const seconds = (last.at - first.at) / 1000;
    const sent = (first.rate + last.rate) / 2 * seconds;
    const decoded = last.decoded - first.decoded;
    if (decoded < sent * share * 0.75 || decoded > sent * share * 1.3) throw new Error(`${decoded} of ${sent} in ${seconds} s`);
    return true;
  }, 8_000);
}

/**
 * Times how long the picture stands still from now on.
 * @param {import('playwright-core').Page} page
 * @returns {Promise<{longest: () => Promise<number>}>} milliseconds
 */
export async function watchGaps(page) {
  await page.evaluate(() => /** @type {any} */ (globalThis).probe.watchGaps('[data-testid=watch-video]'));
  return { longest: () => page.evaluate(() => /** @type {any} */ (globalThis).probe.longestGap()) };
}
