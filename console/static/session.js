// What WHIP (RFC 9725) and WHEP have in common: one RTCPeerConnection and its session resource.
//
// 1. open: the offer is POSTed at once, without waiting for candidates; 201 brings the answer.
// 2. Candidates found later are collected and sent in one PATCH.
// 3. A connection that falters gets an ICE restart; one that stays down ends the session.
// 4. close: DELETE, then the connection is closed.

import { request, Problem } from './api.js';
import { parseLinks, iceServers } from './link.js';
import { iceParameters, trickleFragment, restartedAnswer } from './sdp.js';

/** Candidates found within this time share one PATCH. Milliseconds. */
const trickleDelay = 50;
/** From the answer to a working path, as long as the server waits before it reaps a session. Milliseconds. */
const connectTimeout = 10_000;
/** A short gap in connectivity often heals by itself; after this an ICE restart helps. Milliseconds. */
const restartDelay = 2_000;
/** From an ICE restart to a working path. Milliseconds. */
const restartTimeout = 6_000;

const fragmentType = 'application/trickle-ice-sdpfrag';

export class Session {
  /** Resolves when media can flow; never rejects. @type {Promise<void>} */
  connected;
  /** Resolves with a sentence when the session is over, whoever ended it. @type {Promise<string>} */
  ended;
  /** Time of the POST, in performance.now() milliseconds. */
  postedAt = 0;
  /** @type {import('./link.js').Link[]} */
  links = [];

  /** URL of the session resource. */
  #resource = '';
  #etag = '';
  #endpoint;
  #authorization;

  /** @type {string[]} */
  #candidates = [];
  #complete = false;
  #trickles = true;
  /** While true, candidates wait: there is no resource yet, or a restart is under way. */
  #held = true;
  #trickleTimer = 0;
  #deadline = 0;
  #over = false;
  /** @type {() => void} */
  #connect = () => {};
  /** @type {(reason: string) => void} */
  #end = () => {};

  /**
   * @param {string} endpoint
   * @param {string} authorization bearer token, or ''
   */
  constructor(endpoint, authorization) {
    this.#endpoint = endpoint;
    this.#authorization = authorization;
    this.connected = new Promise((resolve) => { this.#connect = resolve; });
    this.ended = new Promise((resolve) => { this.#end = resolve; });
    this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require' });
    this.pc.addEventListener('icecandidate', ({ candidate }) => this.#found(candidate));
    this.pc.addEventListener('connectionstatechange', () => this.#stateChanged());
  }

  /**
   * Edits the offer before it is applied and sent.
   * @param {string} sdp
   */
  prepareOffer(sdp) {
    return sdp;
  }

  /**
   * Creates the session on the server. Rejects with a Problem; the connection is closed then.
   * @param {AbortSignal} [signal]
   */
  async open(signal) {
    try {
      const offer = await this.#offer();
      this.postedAt = performance.now();
      const response = await this.#send(this.#endpoint, 'POST', 'application/sdp', { body: offer, signal });
      await this.#accept(response);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** @param {RTCOfferOptions} [options] */
  async #offer(options) {
    const { sdp = '' } = await this.pc.createOffer(options);
    await this.pc.setLocalDescription({ type: 'offer', sdp: this.prepareOffer(sdp) });
    return this.pc.localDescription?.sdp ?? sdp;
  }

  /** @param {Response} response */
  async #accept(response) {
    const location = response.headers.get('Location');
    if (response.status !== 201 || !location) throw new Problem(response.status, 'The server did not create a session.');
    this.#resource = new URL(location, response.url).href;
    this.#etag = response.headers.get('ETag') ?? '';
    this.links = parseLinks(response.headers.get('Link'))
      .map((link) => ({ ...link, target: resolve(link.target, response.url) }));
    const servers = iceServers(this.links);
    if (servers.length > 0) this.pc.setConfiguration({ ...this.pc.getConfiguration(), iceServers: servers });
    await this.pc.setRemoteDescription({ type: 'answer', sdp: await response.text() });
    this.#watchDTLS();
    this.#expect(connectTimeout, 'No media path to the server was found.');
    this.#held = false;
    this.#scheduleTrickle();
  }

  /** The server ends a session by closing DTLS, which shows here at once (RFC 9725 section 4.2). */
  #watchDTLS() {
    const [first] = this.pc.getTransceivers();
    const transport = first?.sender.transport ?? first?.receiver.transport;
    transport?.addEventListener('statechange', () => {
      if (transport.state === 'closed') this.#gone();
      if (transport.state === 'failed') this.#finish('The secure handshake failed.');
    });
  }

  /** @param {RTCIceCandidate | null} candidate */
  #found(candidate) {
    if (!candidate || candidate.candidate === '') this.#complete = true;
    else this.#candidates.push(candidate.candidate);
    this.#scheduleTrickle();
  }

  #scheduleTrickle() {
    if (this.#held || !this.#trickles || this.#over || this.#trickleTimer) return;
    if (this.#candidates.length === 0 && !this.#complete) return;
    this.#trickleTimer = window.setTimeout(() => {
      this.#trickleTimer = 0;
      this.#trickle();
    }, trickleDelay);
  }

  /** Sends what was found. A server without trickle is fine: it learns our address from our checks. */
  async #trickle() {
    if (this.#held || this.#over) return;
    const body = trickleFragment(this.pc.localDescription?.sdp ?? '', this.#candidates.splice(0), this.#complete);
    this.#complete = false;
    try {
      await this.#send(this.#resource, 'PATCH', fragmentType, { body, headers: this.#etag ? { 'If-Match': this.#etag } : {} });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if ([405, 422, 501].includes(error.status)) this.#trickles = false;
      if (error.status === 404) this.#gone();
    }
  }

  #stateChanged() {
    switch (this.pc.connectionState) {
      case 'connected':
        clearTimeout(this.#deadline);
        this.#connect();
        break;
      case 'disconnected':
        clearTimeout(this.#deadline);
        this.#deadline = window.setTimeout(() => this.restart(), restartDelay);
        break;
      case 'failed':
        this.restart();
        break;
    }
  }

  /** ICE restart: new credentials for the same media. Ends the session if the server refuses. */
  async restart() {
    if (this.#over || this.#held) return;
    this.#held = true;
    this.#candidates = [];
    this.#complete = false;
    this.#expect(restartTimeout, 'The connection was lost.');
    try {
      const body = trickleFragment(await this.#offer({ iceRestart: true }), [], false);
      const response = await this.#send(this.#resource, 'PATCH', fragmentType, { body, headers: { 'If-Match': '*' } });
      const fragment = await response.text();
      if (response.status !== 200 || !iceParameters(fragment).ufrag) throw new Problem(response.status, 'The server did not restart.');
      this.#etag = response.headers.get('ETag') ?? this.#etag;
      const answer = restartedAnswer(this.pc.remoteDescription?.sdp ?? '', fragment);
      await this.pc.setRemoteDescription({ type: 'answer', sdp: answer });
    } catch {
      this.#finish('The connection was lost.');
      return;
    }
    this.#held = false;
    this.#scheduleTrickle();
  }

  /**
   * @param {number} ms
   * @param {string} reason what to say when the connection is not up by then
   */
  #expect(ms, reason) {
    clearTimeout(this.#deadline);
    this.#deadline = window.setTimeout(() => {
      if (this.pc.connectionState !== 'connected') this.#finish(reason);
    }, ms);
  }

  /**
   * @param {string} target
   * @param {string} method
   * @param {string} type
   * @param {RequestInit} [init]
   */
  #send(target, method, type, init = {}) {
    const headers = { 'Content-Type': type, ...init.headers };
    return request(target, { ...init, method, headers, authorization: this.#authorization });
  }

  /** The server ended the session; there is nothing left to delete. */
  #gone() {
    this.#resource = '';
    this.#finish('The server ended the session.');
  }

  /** @param {string} reason */
  #finish(reason) {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#deadline);
    clearTimeout(this.#trickleTimer);
    this.delete();
    this.pc.close();
    this.#end(reason);
  }

  /** Tells the server; also works while the page goes away. May be called twice. */
  delete() {
    if (!this.#resource) return;
    request(this.#resource, { method: 'DELETE', keepalive: true, authorization: this.#authorization }).catch(() => {});
    this.#resource = '';
  }

  close() {
    this.#finish('');
  }
}

/**
 * @param {string} target
 * @param {string} base
 */
function resolve(target, base) {
  return URL.canParse(target, base) ? new URL(target, base).href : target;
}
