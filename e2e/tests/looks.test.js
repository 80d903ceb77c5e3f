// How the pages look: screenshots for people, and what a program can judge, which is contrast, names and overflow.

import axe from 'axe-core';
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { test } from 'node:test';
import { closePage, openPage } from '../lib/browser.js';
import { hook, publish, state } from '../lib/console.js';
import { Obs } from '../lib/obs.js';
import { setStage } from '../lib/stage.js';
import { until } from '../lib/until.js';

const stage = setStage();

const directory = new URL('../screenshots/', import.meta.url).pathname;

/** @type {{name: string, context: import('playwright-core').BrowserContextOptions}[]} */
const devices = ['light', 'dark'].flatMap((colorScheme) => [
  { name: `1280-${colorScheme}`, context: { viewport: { width: 1280, height: 800 }, colorScheme } },
  { name: `390-${colorScheme}`, context: { viewport: { width: 390, height: 844 }, colorScheme, isMobile: true, hasTouch: true } },
]);

/** Shows a view and returns when it has what it will have. @type {Record<string, (page: import('playwright-core').Page) => Promise<unknown>>} */
const busyViews = {
  streams: async (page) => {
    await go(page, '#/');
    await until('both publishers are listed', async () => await hook(page, 'publisher-row').count() === 2);
    await until('a bitrate is listed', async () => /bit\/s/.test(await hook(page, 'publisher-list').textContent() ?? ''));
  },
  publish: async (page) => {
    await go(page, '#/publish');
    await until('the preview shows', () => hook(page, 'publish-video').evaluate((video) => /** @type {HTMLVideoElement} */ (video).videoWidth > 0));
  },
  watch: async (page) => {
    await go(page, '#/watch/live/studio');
    await state(page, 'watch-state', 'playing');
    await until('figures are shown', async () => Number(await hook(page, 'stat-bitrate').getAttribute('data-value')) > 0);
  },
};

test('an empty node', async () => {
  for (const device of devices) {
    await visit(device, async (page) => {
      await hook(page, 'streams-empty').waitFor();
      await judge(page, `empty-${device.name}`);
    });
  }
});

test('a busy node', async (t) => {
  const obs = await Obs.publish(stage.node.whip('studio'), { layers: 2 });
  t.after(() => obs.stop());
  const publisher = await publish(stage.browser, stage.node, { name: 'garden', codec: 'video/VP8' });
  t.after(() => closePage(publisher));
  for (const device of devices) {
    await visit(device, async (page) => {
      for (const [view, show] of Object.entries(busyViews)) {
        await show(page);
        await judge(page, `${view}-${device.name}`);
      }
    });
  }
  await judge(publisher, 'on-air-1280-light');
});

/** @param {import('playwright-core').Page} page @param {string} hash */
function go(page, hash) {
  return page.evaluate((target) => { location.hash = target; }, hash);
}

/**
 * @param {typeof devices[number]} device
 * @param {(page: import('../lib/browser.js').WatchedPage) => Promise<void>} work
 */
async function visit({ context }, work) {
  const page = await openPage(stage.browser, `${stage.node.url}/`, { context });
  try {
    await work(page);
    assert.deepEqual(page.faults, []);
  } finally {
    await closePage(page);
  }
}

/** @param {import('playwright-core').Page} page @param {string} name */
async function judge(page, name) {
  await mkdir(directory, { recursive: true });
  await page.evaluate(() => document.fonts.ready);
  await page.screenshot({ path: `${directory}${name}.png`, fullPage: true });
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= window, `${name} scrolls sideways: ${content} px in ${window} px`);
  assert.deepEqual(await violations(page), [], name);
}

/** Serious and critical violations that axe finds. @param {import('playwright-core').Page} page */
async function violations(page) {
  if (!await page.evaluate(() => 'axe' in globalThis)) await page.evaluate(axe.source);
  const found = await page.evaluate(async () => (await /** @type {any} */ (globalThis).axe.run(document, { resultTypes: ['violations'] })).violations);
  return found.filter(({ impact }) => ['serious', 'critical'].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target.join(' ')} ${failureSummary}`).join(' | ')}`);
}
