// The built-in clip as coded samples, read from the files that the binary embeds.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { repository } from './node.js';

/** @param {string} file */
const media = (file) => readFile(join(repository, 'clip', 'media', file));

/** NAL unit types (H.264 table 7-1). */
const slice = 1;
const idrSlice = 5;

/**
 * Access units of the H.264 clip, one for each of its 30 frames a second.
 * @returns {Promise<Buffer[][]>} NAL units without start codes
 */
export async function h264Frames() {
  /** @type {Buffer[][]} */
  const frames = [];
  let isFull = true;
  for (const unit of nalUnits(await media('360.h264'))) {
    const isSlice = [slice, idrSlice].includes(unit[0] & 31);
    // first_mb_in_slice is 0, which is a single 1 bit, in the first slice of a picture (H.264 section 7.3.3).
    const startsPicture = isSlice && (unit[1] & 128) !== 0;
    if (isFull && (startsPicture || !isSlice)) {
      frames.push([]);
      isFull = false;
    }
    frames[frames.length - 1].push(unit);
    isFull ||= isSlice;
  }
  return frames;
}

/** Splits a byte stream (H.264 annex B). @param {Buffer} stream */
function nalUnits(stream) {
  const units = [];
  const startCode = Buffer.from([0, 0, 1]);
  for (let at = stream.indexOf(startCode); at >= 0;) {
    const next = stream.indexOf(startCode, at + 3);
    let end = next < 0 ? stream.length : next;
    while (stream[end - 1] === 0) end--;
    units.push(stream.subarray(at + 3, end));
    at = next;
  }
  return units;
}

/**
 * Opus packets of the clip's sound, 20 ms each.
 * @returns {Promise<Buffer[]>}
 */
export async function opusPackets() {
  const file = await media('tone.ogg');
  const packets = [];
  let partial = Buffer.alloc(0);
  for (let at = 0; at < file.length;) {
    const lacing = file.subarray(at + 27, at + 27 + file[at + 26]); // RFC 3533 section 6
    at += 27 + lacing.length;
    for (const size of lacing) {
      partial = Buffer.concat([partial, file.subarray(at, at + size)]);
      at += size;
      if (size === 255) continue;
      packets.push(partial);
      partial = Buffer.alloc(0);
    }
  }
  return packets.slice(2); // identification and tags
}
