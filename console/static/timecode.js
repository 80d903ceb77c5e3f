// A time code made of black and white cells in the lowest rows of the test pattern. A viewer that plays the
// pattern reads it back and so knows the delay from glass to glass, as long as both clocks agree.
//
// Cells: white, black · 32 bits of milliseconds, most significant first · 8 bits of check sum · white, black.

const bits = 32;
const checkBits = 8;
export const cells = 2 + bits + checkBits + 2;
/** Share of the picture's height that the code covers. */
export const codeHeight = 1 / 18;

/** Delays above this are another clock or another picture. Milliseconds. */
const longestDelay = 20_000;

/**
 * @param {number} ms since 1970
 * @returns {boolean[]} true is white
 */
export function encodeTime(ms) {
  const value = ms % 2 ** bits >>> 0;
  return [true, false, ...toBits(value, bits), ...toBits(checksum(value), checkBits), true, false];
}

/**
 * @param {boolean[]} code
 * @returns {number | undefined} milliseconds modulo 2^32
 */
export function decodeTime(code) {
  if (code.length !== cells || !code[0] || code[1] || !code[cells - 2] || code[cells - 1]) return undefined;
  const value = fromBits(code.slice(2, 2 + bits));
  return fromBits(code.slice(2 + bits, -2)) === checksum(value) ? value : undefined;
}

/**
 * @param {number} code milliseconds modulo 2^32
 * @param {number} now milliseconds since 1970
 * @returns {number | undefined} milliseconds; undefined if the clocks do not agree
 */
export function delayOf(code, now) {
  const delay = (now % 2 ** bits - code + 2 ** bits) % 2 ** bits;
  return delay <= longestDelay ? delay : undefined;
}

/**
 * @param {number} value
 * @param {number} count
 */
function toBits(value, count) {
  return Array.from({ length: count }, (_, index) => (value >>> (count - 1 - index) & 1) === 1);
}

/** @param {boolean[]} code */
function fromBits(code) {
  return code.reduce((value, bit) => value * 2 + (bit ? 1 : 0), 0);
}

/**
 * Sum of the bytes with their positions, inverted so that an all-black strip is not a valid code.
 * @param {number} value
 */
function checksum(value) {
  const bytes = [24, 16, 8, 0].map((shift) => value >>> shift & 255);
  return ~bytes.reduce((total, byte, index) => total + byte * (2 * index + 1), 0) & 255;
}

/** Reads the code out of a playing video. */
export class TimecodeReader {
  #canvas = document.createElement('canvas');

  /**
   * @param {HTMLVideoElement} video
   * @returns {number | undefined} delay in milliseconds; undefined if this is not our pattern
   */
  delay(video) {
    const { videoWidth, videoHeight } = video;
    if (!videoWidth) return undefined;
    this.#canvas.width = cells * 4;
    this.#canvas.height = 1;
    const context = this.#canvas.getContext('2d', { willReadFrequently: true });
    if (!context) return undefined;
    // One row from the middle of the strip, squeezed to four pixels a cell.
    context.drawImage(video, 0, videoHeight * (1 - codeHeight / 2), videoWidth, 1, 0, 0, cells * 4, 1);
    const now = Date.now();
    const { data } = context.getImageData(0, 0, cells * 4, 1);
    const code = decodeTime(Array.from({ length: cells }, (_, cell) => data[(cell * 4 + 2) * 4 + 1] > 127));
    return code === undefined ? undefined : delayOf(code, now);
  }
}
