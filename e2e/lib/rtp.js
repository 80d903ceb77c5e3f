// RTP packets for H.264 (RFC 3550, RFC 6184) with one-byte header extensions (RFC 8285).

const maxPayload = 1200;
/** NAL unit type of a fragment (RFC 6184 section 5.8). */
const fuA = 28;

/**
 * @typedef {object} Stream
 * @property {number} type payload type
 * @property {number} ssrc
 * @property {number} sequence of the next packet
 * @property {Record<number, string>} extensions text by extension id
 */

/**
 * @param {Stream} stream its sequence number moves on
 * @param {Buffer[]} units NAL units of one frame
 * @param {number} timestamp
 * @returns {Buffer[]}
 */
export function packetize(stream, units, timestamp) {
  const payloads = units.flatMap(fragments);
  return payloads.map((payload, index) => Buffer.concat([header(stream, timestamp, index === payloads.length - 1), payload]));
}

/** @param {Buffer} unit @returns {Buffer[]} */
function fragments(unit) {
  if (unit.length <= maxPayload) return [unit];
  const parts = [];
  for (let at = 1; at < unit.length; at += maxPayload - 2) {
    const isLast = at + maxPayload - 2 >= unit.length;
    const flags = (at === 1 ? 128 : 0) | (isLast ? 64 : 0);
    parts.push(Buffer.concat([Buffer.from([unit[0] & 0xe0 | fuA, unit[0] & 31 | flags]), unit.subarray(at, at + maxPayload - 2)]));
  }
  return parts;
}

/** @param {Stream} stream @param {number} timestamp @param {boolean} marker */
function header(stream, timestamp, marker) {
  const fixed = Buffer.alloc(16);
  fixed[0] = 0x90; // version 2, with extensions
  fixed[1] = stream.type | (marker ? 128 : 0);
  fixed.writeUInt16BE(stream.sequence, 2);
  fixed.writeUInt32BE(timestamp, 4);
  fixed.writeUInt32BE(stream.ssrc, 8);
  stream.sequence = (stream.sequence + 1) % 2 ** 16;
  const elements = Buffer.concat(Object.entries(stream.extensions)
    .map(([id, text]) => Buffer.from([Number(id) << 4 | text.length - 1, ...Buffer.from(text)])));
  const padding = Buffer.alloc((4 - elements.length % 4) % 4);
  fixed.writeUInt16BE(0xbede, 12);
  fixed.writeUInt16BE((elements.length + padding.length) / 4, 14);
  return Buffer.concat([fixed, elements, padding]);
}
