// WHEP: plays one publisher, with the server-sent events and layer extensions.

import { request } from './api.js';
import { Session } from './session.js';
import { preferStereo } from './sdp.js';

const relEvents = 'urn:ietf:params:whep:ext:core:server-sent-events';
const relLayer = 'urn:ietf:params:whep:ext:core:layer';

/** Events this player understands. */
const wanted = ['active', 'inactive', 'layers', 'viewercount', 'reconnect'];

/** m-line index of the video, which is the first line of our offer. */
const videoLine = '0';

/**
 * One choice of the layer picker, as the `layers` event lists it.
 * @typedef {object} Layer
 * @property {string} [rid]
 * @property {number} [spatialLayerId]
 * @property {number} [temporalLayerId]
 * @property {number} [bitrate] bits per second; 0 or absent means that nothing flows
 * @property {number} [width]
 * @property {number} [height]
 */

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
   */
  constructor(endpoint, authorization) {
    super(endpoint, authorization);
    this.#authorization = authorization;
    this.pc.addTransceiver('video', { direction: 'recvonly' });
    this.pc.addTransceiver('audio', { direction: 'recvonly' });
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
   * Asks for one layer, or for the server's own choice.
   * @param {Layer | undefined} layer
   */
  async selectLayer(layer) {
    const link = this.links.find(({ rel }) => rel === relLayer);
    if (!link) return;
    const { rid, spatialLayerId, temporalLayerId } = layer ?? {};
    await request(link.target, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ mediaId: videoLine, rid, spatialLayerId, temporalLayerId }),
      authorization: this.#authorization,
    });
  }
}

/**
 * Video layers of a `layers` event, largest first. Ids that tell no two layers apart are left out, so that a
 * layer keeps its name while the server learns more about it, and asking for it means its best.
 * @param {Record<string, Layer[]>} event
 * @returns {Layer[]}
 */
export function videoLayers(event) {
  const layers = Array.isArray(event?.[videoLine]) ? event[videoLine] : [];
  const isShared = (/** @type {(layer: Layer) => string} */ name, /** @type {Layer} */ layer) =>
    layers.filter((other) => name(other) === name(layer)).length > 1;
  const size = (/** @type {Layer} */ layer) => (layer.width ?? 0) * (layer.height ?? 0);
  return layers.map(({ spatialLayerId, temporalLayerId, ...layer }) => ({
    ...layer,
    ...(isShared(({ rid }) => `${rid}`, { ...layer }) ? { spatialLayerId } : {}),
    ...(isShared((other) => `${other.rid} ${other.spatialLayerId}`, { ...layer, spatialLayerId }) ? { temporalLayerId } : {}),
  })).sort((a, b) => size(b) - size(a) || (b.bitrate ?? 0) - (a.bitrate ?? 0));
}

/**
 * A name that stays the same while bitrate and size change.
 * @param {Layer} layer
 */
export function layerKey({ rid, spatialLayerId, temporalLayerId }) {
  return [rid ?? '', spatialLayerId ?? '', temporalLayerId ?? ''].join('/');
}

/** @param {string} data */
function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return {};
  }
}
