// What the `layers` event of WHEP means to people: pictures of several sizes, each at several frame rates. Functions of data.

import { formatSize } from './ui.js';

/**
 * One entry of the event: an encoding, or one up to some of its sub-layers.
 * @typedef {object} Layer
 * @property {string} [rid]
 * @property {number} [spatialLayerId]
 * @property {number} [temporalLayerId]
 * @property {number} [bitrate] bits per second; 0 or absent means that nothing flows
 * @property {number} [width]
 * @property {number} [height]
 * @property {boolean} [selected] what this player gets now
 */

/**
 * What a viewer asks for; what is absent is the server's choice.
 * @typedef {object} Selection
 * @property {string} [rid]
 * @property {number} [spatialLayerId]
 * @property {number} [temporalLayerId]
 */

/**
 * @typedef {object} Picture one size, with all its frame rates
 * @property {string} key stays while bitrate and size change
 * @property {string} name differs from that of every other
 * @property {Selection} selection
 * @property {number} bitrate of all its frames
 * @property {number} pixels
 * @property {number} top its highest temporal layer
 * @property {number} [selected] the temporal layer up to which this player gets it now; undefined while it gets another
 */

/** m-line index of the video, which is the first line of our offer. */
const videoLine = '0';

/**
 * The layers of an event on top of those known before. A sub-layer that has stopped stays in the list with no bitrate: it may come back, and the choices do not jump.
 * @param {Layer[]} known
 * @param {any} event
 * @returns {Layer[]}
 */
export function mergeLayers(known, event) {
  /** @type {Layer[]} */
  const fresh = Array.isArray(event?.[videoLine]) ? event[videoLine] : [];
  const isPart = (/** @type {Layer} */ layer) => layer.spatialLayerId !== undefined && layer.temporalLayerId !== undefined;
  const parts = known.filter(isPart);
  // An encoding that has stopped is listed as a whole.
  const listed = fresh.filter((layer) => isPart(layer) || layer.bitrate || !parts.some(({ rid }) => rid === layer.rid));
  const isListed = (/** @type {Layer} */ layer) => listed.some((other) => placeOf(other) === placeOf(layer));
  const isWhole = (/** @type {Layer} */ { rid }) => listed.some((other) => other.rid === rid && !isPart(other));
  const stopped = parts.filter((layer) => !isListed(layer) && !isWhole(layer)).map((layer) => ({ ...layer, bitrate: 0, selected: false }));
  return [...listed, ...stopped];
}

/** @param {Layer} layer */
function placeOf({ rid, spatialLayerId, temporalLayerId }) {
  return [rid, spatialLayerId, temporalLayerId].join('/');
}

/**
 * Layers as pictures, largest first. Ids that tell nothing apart are left out of keys and selections, so that both stay while the server learns more.
 * @param {Layer[]} layers
 * @returns {Picture[]}
 */
export function picturesOf(layers) {
  const pictures = [...groups(layers).values()].map((group) => pictureOf(group, layers));
  const shared = pictures.filter(({ name }) => pictures.filter((other) => other.name === name).length > 1);
  for (const picture of shared) {
    const { rid, spatialLayerId } = picture.selection;
    picture.name += ` (${[rid, spatialLayerId === undefined ? '' : `S${spatialLayerId}`].filter(Boolean).join(' ')})`;
  }
  return pictures.sort((a, b) => b.pixels - a.pixels || a.key.localeCompare(b.key));
}

/**
 * Layers that differ in their frame rate only.
 * @param {Layer[]} layers
 */
function groups(layers) {
  /** @type {Map<string, Layer[]>} */
  const found = new Map();
  for (const layer of layers) {
    const key = `${layer.rid ?? ''}/${layer.spatialLayerId ?? 0}`;
    found.set(key, [...found.get(key) ?? [], layer]);
  }
  return found;
}

/**
 * @param {Layer[]} group
 * @param {Layer[]} all
 * @returns {Picture}
 */
function pictureOf(group, all) {
  const rate = (/** @type {Layer} */ { temporalLayerId = 0 }) => temporalLayerId;
  const best = group.reduce((a, b) => (rate(b) > rate(a) ? b : a));
  const { rid, spatialLayerId, width = 0, height = 0 } = best;
  const isOneOfSeveral = all.some((layer) => layer.rid === rid && layer.spatialLayerId !== spatialLayerId);
  const selection = { ...rid && { rid }, ...isOneOfSeveral && { spatialLayerId } };
  const place = isOneOfSeveral ? `S${spatialLayerId}` : '';
  return {
    key: `${rid ?? ''}/${selection.spatialLayerId ?? ''}`,
    name: width && height ? formatSize(width, height) : [rid, place].filter(Boolean).join(' ') || 'Picture',
    selection, bitrate: Math.max(...group.map(({ bitrate = 0 }) => bitrate)), pixels: width * height, top: rate(best),
    selected: group.filter(({ selected }) => selected).map(rate)[0],
  };
}

/** Names of frame rates: all frames, then every second one, and so on. Each temporal layer doubles the rate. */
const rateNames = ['Full', 'Half', 'Quarter', 'Eighth'];

/**
 * Frame rates that can be asked for, best first; a single one is no choice.
 * @param {number} top highest temporal layer
 * @returns {{name: string, temporalLayerId?: number}[]} without a layer for the best that the server can do
 */
export function ratesUpTo(top) {
  return rateNames.slice(0, top + 1).map((name, step) => (step === 0 ? { name } : { name, temporalLayerId: top - step }));
}

/**
 * What this player gets now, such as `640×360` or `640×360 ½`; '' while the server does not tell.
 * @param {Picture[]} pictures
 */
export function currentName(pictures) {
  const picture = pictures.find(({ selected }) => selected !== undefined);
  if (!picture) return '';
  const share = ['', ' ½', ' ¼', ' ⅛'][picture.top - (picture.selected ?? 0)] ?? '';
  return picture.name + share;
}
