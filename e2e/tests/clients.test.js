// Web clients of others, on a page of another origin: they see what CORS lets them see.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { closePage, openPage } from '../lib/browser.js';
import { watch } from '../lib/console.js';
import { Obs } from '../lib/obs.js';
import { serveOtherSite } from '../lib/origin.js';
import { assertClipRuns, assertDecodes } from '../lib/picture.js';
import { setStage } from '../lib/stage.js';
import { until } from '../lib/until.js';

const stage = setStage();
/** @type {Awaited<ReturnType<typeof serveOtherSite>>} */
let site;
before(async () => { site = await serveOtherSite(); });
after(() => site?.close());

const visit = () => openPage(stage.browser, site.url, { origins: [stage.node.url] });

/** Requests to the node that were not answered with success. @param {import('../lib/browser.js').WatchedPage} page */
const refused = (page) => page.requests.filter(({ url, status }) => url.startsWith(stage.node.url) && status !== undefined && status >= 300);

test('Eyevinn whip-web-client publishes', async (t) => {
  const page = await visit();
  t.after(() => closePage(page));
  await page.evaluate(async (endpoint) => {
    const { EyevinnWhip } = /** @type {any} */ (globalThis).clients;
    const client = new EyevinnWhip({ endpoint, opts: { iceServers: [], authkey: 'none' } });
    /** @type {any} */ (globalThis).client = client;
    await client.setIceServersFromEndpoint();
    await client.ingest(await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 180 }, audio: true }));
  }, stage.node.whip('eyevinn'));
  const viewer = await watch(stage.browser, stage.node, 'eyevinn');
  t.after(() => closePage(viewer));
  await assertDecodes(viewer);
  assert.ok(page.requests.some(({ method, status }) => method === 'PATCH' && status === 204), 'it trickles, since it reads that PATCH is allowed');

  await page.evaluate(() => /** @type {any} */ (globalThis).client.destroy());
  await until('its DELETE ends the session', async () => (await stage.node.publisher('eyevinn'))?.state !== 'live', 5_000);
  assert.deepEqual(refused(page), []);
  assert.deepEqual([...page.faults, ...viewer.faults], []);
});

test('Eyevinn webrtc-player plays', async (t) => {
  const obs = await Obs.publish(stage.node.whip('for-eyevinn'));
  t.after(() => obs.stop());
  const page = await visit();
  t.after(() => closePage(page));
  await page.evaluate(async (endpoint) => {
    const { EyevinnPlayer } = /** @type {any} */ (globalThis).clients;
    const player = new EyevinnPlayer({ video: document.querySelector('video'), type: 'whep', iceServers: [] });
    /** @type {any} */ (globalThis).player = player;
    await player.load(new URL(endpoint));
  }, stage.node.whep('for-eyevinn'));
  await assertDecodes(page);
  await assertClipRuns(page, 'video');
  await page.evaluate(() => /** @type {any} */ (globalThis).player.unload());
  await until('its DELETE ends the session', async () => (await stage.node.subscribers('for-eyevinn')).length === 0, 5_000);
  assert.deepEqual(refused(page), []);
  assert.deepEqual(page.faults, []);
  assert.equal(await obs.stop(), 200);
});

test('medooze whip.js publishes and whep.js plays', async (t) => {
  const page = await visit();
  t.after(() => closePage(page));
  await page.evaluate(async ({ whip, whep }) => {
    const { MedoozeWhip, MedoozeWhep } = /** @type {any} */ (globalThis).clients;
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 180 }, audio: true });
    const sender = new RTCPeerConnection();
    stream.getTracks().forEach((track) => sender.addTransceiver(track, { direction: 'sendonly' }));
    const publisher = new MedoozeWhip();
    await publisher.publish(sender, whip, 'none');

    const receiver = new RTCPeerConnection();
    receiver.addTransceiver('audio', { direction: 'recvonly' });
    receiver.addTransceiver('video', { direction: 'recvonly' });
    receiver.ontrack = ({ streams: [incoming] }) => { /** @type {HTMLVideoElement} */ (document.querySelector('video')).srcObject = incoming; };
    const player = new MedoozeWhep();
    await player.view(receiver, whep, 'none');
    Object.assign(globalThis, { publisher, player });
  }, { whip: stage.node.whip('medooze'), whep: stage.node.whep('medooze') });
  await assertDecodes(page);
  await page.evaluate(async () => {
    const { publisher, player } = /** @type {any} */ (globalThis);
    await player.stop();
    await publisher.stop();
  });
  await until('both sessions ended', async () => (await stage.node.subscribers('medooze')).length === 0
    && (await stage.node.publisher('medooze'))?.state !== 'live', 5_000);
  assert.deepEqual(refused(page), []);
  assert.deepEqual(page.faults, []);
});
