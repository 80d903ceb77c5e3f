// Prints how fast the bitrate of Chromium grows: camera to this node, and beside it the same camera from one connection
// to another inside the page, which is what the browser's own feedback makes of this machine.
//
// usage: node tools/bitrate.js [seconds]

import { closePage, launch, openPage } from '../lib/browser.js';
import { Node } from '../lib/node.js';

const seconds = Number(process.argv[2] ?? 25);

/**
 * Runs in the page.
 * @param {{endpoint: string, seconds: number}} options endpoint '' is the loopback
 */
async function curve({ endpoint, seconds: length }) {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 1280, height: 720, frameRate: 30 } });
  const [track] = stream.getVideoTracks();
  const sender = new RTCPeerConnection();
  const receiver = new RTCPeerConnection();
  const transceiver = sender.addTransceiver(track, { direction: 'sendonly', streams: [stream], sendEncodings: [{ maxBitrate: 2_500_000 }] });
  const { codecs } = RTCRtpSender.getCapabilities('video') ?? { codecs: [] };
  transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => /VP8|rtx/.test(mimeType)));
  sender.onicecandidate = ({ candidate }) => candidate && !endpoint && receiver.addIceCandidate(candidate);
  receiver.onicecandidate = ({ candidate }) => candidate && sender.addIceCandidate(candidate);
  await sender.setLocalDescription();
  let resource = '';
  if (endpoint) {
    const response = await fetch(endpoint, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: sender.localDescription?.sdp });
    resource = new URL(response.headers.get('Location') ?? '', endpoint).href;
    await sender.setRemoteDescription({ type: 'answer', sdp: await response.text() });
  } else {
    await receiver.setRemoteDescription(/** @type {RTCSessionDescription} */ (sender.localDescription));
    await receiver.setLocalDescription();
    await sender.setRemoteDescription(/** @type {RTCSessionDescription} */ (receiver.localDescription));
  }
  await new Promise((resolve) => { sender.onconnectionstatechange = () => { if (sender.connectionState === 'connected') resolve(undefined); }; });
  const rows = [];
  let before = { bytes: 0, at: performance.now() };
  for (let second = 0; second < length; second++) {
    await new Promise((resolve) => { setTimeout(resolve, 1000); });
    const report = await sender.getStats();
    const stats = [...report.values()];
    const out = stats.find(({ type }) => type === 'outbound-rtp');
    const pair = report.get(stats.find(({ type }) => type === 'transport')?.selectedCandidatePairId);
    const remote = stats.find(({ type }) => type === 'remote-inbound-rtp');
    const at = performance.now();
    rows.push({
      sent: Math.round((out.bytesSent - before.bytes) * 8 / (at - before.at)),
      target: Math.round((out.targetBitrate ?? 0) / 1000),
      available: Math.round((pair?.availableOutgoingBitrate ?? 0) / 1000),
      rtt: Math.round((pair?.currentRoundTripTime ?? 0) * 1000),
      loss: remote?.fractionLost,
      size: `${out.frameWidth}x${out.frameHeight}`, fps: out.framesPerSecond, limit: out.qualityLimitationReason,
    });
    before = { bytes: out.bytesSent, at };
  }
  sender.close();
  receiver.close();
  track.stop();
  if (resource) await fetch(resource, { method: 'DELETE' });
  return rows;
}

const node = await Node.start();
const browser = await launch();
const page = await openPage(browser, `${node.url}/#/publish`);
for (const endpoint of [node.whip('bitrate'), '']) {
  const rows = await page.evaluate(curve, { endpoint, seconds });
  console.log(endpoint ? 'to the node' : 'loopback inside the page');
  console.table(rows);
}
await closePage(page);
await browser.close();
await node.stop();
