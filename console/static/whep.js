// WHEP: plays one publisher, with the server-sent events and layer extensions.

import { request } from './api.js';
import { Session } from './session.js';
import { preferStereo } from './sdp.js';

const relEvents = 'urn:ietf:params:whep:ext:core:server-sent-events';
const relLayer = 'urn:ietf:params:whep:ext:core:layer';

/** Events this player understands. */
const wanted = ['active', 'inactive', 'layers', 'viewercount', 'reconnect'];

/** End of the URI of the header extension that says on which frames a frame depends. */
const dependencyDescriptor = '#dependency-descriptor-rtp-header-extension';

/** m-line index of the video, which is the first line of our offer. */
const videoLine = '0';

export class Whep extends Session {
  stream = new MediaStream();
  /** Fires `active`, `inactive`, `layers`, `viewercount` and `reconnect` as CustomEvents with the parsed data. */
  events = new EventTarget();
  /** @type {EventSource | undefined} */
  #source;
  #authorization;

  /**
   * @param {string} endpoint
   * @param {string} authorization
   * @param {import('./chat.js').Chat} chat
   */
  constructor(endpoint, authorization, chat) {
    super(endpoint, authorization);
    this.#authorization = authorization;
    askForDependencies(this.pc.addTransceiver('video', { direction: 'recvonly' }));
    this.pc.addTransceiver('audio', { direction: 'recvonly' });
    chat.join(this.pc);
    this.pc.addEventListener('track', ({ track }) => this.stream.addTrack(track));
    this.ended.then(() => this.#source?.close());
  }

  /** @param {string} sdp */
  prepareOffer(sdp) {
    return preferStereo(sdp);
  }

  /** @param {AbortSignal} [signal] */
  async open(signal) {
    await super.open(signal);
    // The picture does not wait for the events, and a server without them is fine.
    this.#subscribe().catch(() => {});
  }

  get hasLayers() {
    return this.links.some(({ rel }) => rel === relLayer);
  }

  /** Creates the event stream and reads it (webrtc-http-egress-events, "Create"). */
  async #subscribe() {
    const link = this.links.find(({ rel }) => rel === relEvents);
    if (!link) return;
    const offered = link.params.events?.split(',').map((name) => name.trim());
    const names = offered ? wanted.filter((name) => offered.includes(name)) : wanted;
    const response = await request(link.target, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(names),
      authorization: this.#authorization,
    });
    const location = response.headers.get('Location');
    if (location && this.pc.connectionState !== 'closed') this.#listen(new URL(location, response.url).href, names);
  }

  /**
   * @param {string} target
   * @param {string[]} names
   */
  #listen(target, names) {
    this.#source = new EventSource(target);
    for (const name of names) {
      this.#source.addEventListener(name, (event) => {
        this.events.dispatchEvent(new CustomEvent(name, { detail: parse(event.data) }));
      });
    }
  }

  /**
   * Asks for a layer; what the selection leaves open is the server's choice.
   * @param {import('./layers.js').Selection} selection
   */
  async selectLayer(selection) {
    const link = this.links.find(({ rel }) => rel === relLayer);
    if (!link) return;
    await request(link.target, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ mediaId: videoLine, ...selection }),
      authorization: this.#authorization,
    });
  }
}

/**
 * Offers the dependency descriptor, which Chromium leaves out unless asked. Without it, it does not decode AV1 with several sizes in one stream.
 * @param {any} transceiver
 */
function askForDependencies(transceiver) {
  const known = transceiver.getHeaderExtensionsToNegotiate?.() ?? [];
  const asked = known.map((/** @type {any} */ extension) => (
    extension.uri.endsWith(dependencyDescriptor) ? { ...extension, direction: 'sendrecv' } : extension));
  if (known.length > 0) transceiver.setHeaderExtensionsToNegotiate(asked);
}

/** @param {string} data */
function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return {};
  }
}
