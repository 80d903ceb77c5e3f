// A client with the WebRTC stack of OBS that has data channels only.

import assert from 'node:assert/strict';
import datachannel from 'node-datachannel';
import { until } from './until.js';

/**
 * Connects, and returns what ends the session again.
 * @param {string} url WHIP or WHEP endpoint
 * @param {(pc: any) => void} prepare makes the channels
 */
export async function connectData(url, prepare) {
  const pc = new datachannel.PeerConnection('peer', { iceServers: [], bindAddress: '127.0.0.1' });
  const gathered = new Promise((resolve) => pc.onGatheringStateChange((state) => { if (state === 'complete') resolve(undefined); }));
  prepare(pc);
  await gathered;
  const response = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: pc.localDescription()?.sdp });
  const answer = await response.text();
  assert.equal(response.status, 201, answer);
  pc.setRemoteDescription(answer, 'answer');
  const resource = new URL(response.headers.get('Location') ?? '', url).href;
  return async () => {
    await fetch(resource, { method: 'DELETE' });
    pc.close();
    await until('libdatachannel has closed', () => pc.state() === 'closed');
  };
}
