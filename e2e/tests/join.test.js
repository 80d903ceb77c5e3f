// How long a viewer looks at nothing: from the POST to the first painted frame, with a publisher that makes a keyframe
// each second and does not hear requests for one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closePage, openPage } from '../lib/browser.js';
import { Obs } from '../lib/obs.js';
import { setStage } from '../lib/stage.js';
import { percentile } from '../lib/until.js';

const stage = setStage();

const joins = 15;
/** Ten times what a machine needs, but less than half a second, which is the mean wait for the next keyframe. */
const boundMs = 400;

test('first painted frame', async (t) => {
  const obs = await Obs.publish(stage.node.whip('join'));
  t.after(() => obs.stop());
  const page = await openPage(stage.browser, `${stage.node.url}/#/publish`);
  t.after(() => closePage(page));

  const times = [];
  for (let join = 0; join < joins; join++) times.push(await page.evaluate(joinOnce, 'join'));
  const [p50, p90, max] = [0.5, 0.9, 1].map((share) => Math.round(percentile(times, share)));
  t.diagnostic(`first painted frame of ${joins} joins: p50 ${p50} ms, p90 ${p90} ms, max ${max} ms`);
  assert.ok(p50 < boundMs, `p50 is ${p50} ms`);
  assert.deepEqual(page.faults, []);
});

/**
 * Runs in the page, with the page's own player.
 * @param {string} name
 * @returns {Promise<number>} milliseconds
 */
async function joinOnce(name) {
  const { Player } = await import(new URL('console/player.js', document.baseURI).href);
  const video = Object.assign(document.createElement('video'), { muted: true, autoplay: true });
  document.body.append(video);
  const player = new Player('live', name, video);
  player.start();
  const time = await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error('no frame within 20 s')), 20_000);
    // The number of viewers comes with the events; to leave before they flow would make the browser complain.
    const isComplete = () => player.firstFrameMs !== undefined && player.viewers !== undefined;
    player.addEventListener('change', () => { if (isComplete()) resolve(player.firstFrameMs); });
  });
  player.stop();
  video.remove();
  return time;
}
