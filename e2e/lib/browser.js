// Chromium with a fake camera, and pages that report every fault.

import { chromium } from 'playwright-core';
import { installProbes } from './probes.js';

const flags = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
];

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: flags });
}

/** @typedef {import('playwright-core').Page & {faults: string[], requests: {method: string, url: string, status?: number}[]}} WatchedPage */

/**
 * Opens a page in a context of its own. What is wrong with it collects in `faults`: console errors and warnings, uncaught
 * exceptions, and requests to other origins than the page's own and those of `origins`.
 * @param {import('playwright-core').Browser} browser
 * @param {string} url
 * @param {object} [options]
 * @param {import('playwright-core').BrowserContextOptions} [options.context]
 * @param {string[]} [options.origins]
 * @returns {Promise<WatchedPage>}
 */
export async function openPage(browser, url, { context: contextOptions = {}, origins = [] } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, permissions: ['camera', 'microphone'], ...contextOptions });
  await context.addInitScript(installProbes);
  const page = /** @type {WatchedPage} */ (await context.newPage());
  page.faults = [];
  page.requests = [];
  const allowed = [new URL(url).origin, ...origins];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) page.faults.push(`console ${message.type()}: ${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => page.faults.push(`uncaught: ${error.message}`));
  page.on('request', (request) => {
    page.requests.push({ method: request.method(), url: request.url() });
    const { protocol, origin } = new URL(request.url());
    if (protocol.startsWith('http') && !allowed.includes(origin)) page.faults.push(`request to another origin: ${request.url()}`);
  });
  page.on('response', (response) => {
    const row = page.requests.findLast(({ method, url: asked }) => method === response.request().method() && asked === response.url());
    if (row) row.status = response.status();
  });
  await page.goto(url);
  return page;
}

/** @param {import('playwright-core').Page} page */
export async function closePage(page) {
  await page.close({ runBeforeUnload: false });
  await page.context().close();
}
