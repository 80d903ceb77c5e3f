// The node's own page as people use it, through the hooks of console/README.md.

import { openPage } from './browser.js';
import { until } from './until.js';

/** @param {import('playwright-core').Page} page @param {string} id */
export function hook(page, id) {
  return page.locator(`[data-testid="${id}"]`);
}

/**
 * @typedef {object} Publication
 * @property {string} name
 * @property {'pattern' | 'camera'} [source]
 * @property {string} [codec] mime type
 * @property {number} [height]
 * @property {number} [kbps]
 * @property {boolean} [simulcast]
 * @property {string} [scalability] such as `L3T3_KEY`
 * @property {boolean} [audio]
 */

/**
 * Fills in the Publish form and goes live.
 * @param {import('playwright-core').Page} page
 * @param {Publication} publication
 */
export async function goLive(page, { name, source = 'pattern', codec = '', height = 360, kbps, simulcast = false, scalability = '', audio = true }) {
  await hook(page, `source-${source}`).check({ force: true });
  await hook(page, 'publisher-input').fill(name);
  await hook(page, 'codec-select').selectOption(codec);
  await hook(page, 'resolution-select').selectOption(String(height));
  if (kbps) await hook(page, 'bitrate-input').fill(String(kbps));
  await hook(page, 'simulcast-toggle').setChecked(simulcast, { force: true });
  if (scalability) {
    await hook(page, 'publish-more').evaluate((more) => { /** @type {HTMLDetailsElement} */ (more).open = true; });
    await hook(page, 'scalability-select').selectOption(scalability);
  }
  await hook(page, 'audio-toggle').setChecked(audio, { force: true });
  await hook(page, 'publish-start').click();
  await state(page, 'publish-state', 'live');
}

/**
 * @param {import('playwright-core').Browser} browser
 * @param {import('./node.js').Node} node
 * @param {Publication} publication
 */
export async function publish(browser, node, publication) {
  const page = await openPage(browser, `${node.url}/#/publish`);
  await goLive(page, publication);
  return page;
}

/**
 * Opens the Watch page and waits for its picture.
 * @param {import('playwright-core').Browser} browser
 * @param {import('./node.js').Node} node
 * @param {string} name
 */
export async function watch(browser, node, name) {
  const page = await openPage(browser, node.watch(name));
  await state(page, 'watch-state', 'playing');
  return page;
}

/**
 * @param {import('playwright-core').Page} page
 * @param {'publish-state' | 'watch-state'} id
 * @param {string} wanted
 */
export function state(page, id, wanted) {
  return until(`${id} is ${wanted}`, async () => await hook(page, id).getAttribute('data-state') === wanted);
}

/**
 * Value of a figure in the panel, '' while there is none.
 * @param {import('playwright-core').Page} page
 * @param {string} key such as `bitrate`
 */
export async function figure(page, key) {
  return await hook(page, `stat-${key}`).getAttribute('data-value') ?? '';
}

/**
 * Chooses in the layer picker. What is left out stays as it is; '' is automatic, or all frames.
 * @param {import('playwright-core').Page} page
 * @param {{rid?: string, spatial?: string, temporal?: string}} layer
 */
export async function pick(page, { rid = '', spatial = '', temporal }) {
  await page.locator(`[data-testid="layer-option"][data-rid="${rid}"][data-spatial="${spatial}"]`).check({ force: true });
  if (temporal !== undefined) await page.locator(`[data-testid="rate-option"][data-temporal="${temporal}"]`).check({ force: true });
}

/** What the chat beside the video shows. @param {import('playwright-core').Page} page */
export function lines(page) {
  return hook(page, 'chat-line').allTextContents();
}

/** @param {import('playwright-core').Page} page @param {string} text */
export async function say(page, text) {
  await until('the chat is open', async () => await hook(page, 'chat-state').getAttribute('data-state') === 'open');
  await hook(page, 'chat-input').fill(text);
  await hook(page, 'chat-send').click();
}
