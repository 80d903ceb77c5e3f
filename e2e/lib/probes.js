// What tests look at inside a page. installProbes runs there before any script of the page; it must not refer to
// anything outside itself.

/** Puts `probe` onto the page's global object. */
export function installProbes() {
  /** Every connection that the page ever made, oldest first. @type {RTCPeerConnection[]} */
  const connections = [];
  const Native = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Native {
    /** @param {RTCConfiguration} [configuration] */
    constructor(configuration) {
      super(configuration);
      connections.push(this);
    }
  };

  const canvas = document.createElement('canvas');

  /**
   * Brightness, 0 to 255, of points of the picture as it is now.
   * @param {HTMLVideoElement} video
   * @param {[x: number, y: number][]} points as shares of width and height
   */
  function sample(video, points) {
    if (!video.videoWidth) return undefined;
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context.drawImage(video, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return points.map(([x, y]) => {
      const at = (Math.floor(y * canvas.height) * canvas.width + Math.floor(x * canvas.width)) * 4;
      return (data[at] + data[at + 1] + data[at + 2]) / 3;
    });
  }

  /** @param {boolean[]} bits most significant first */
  const number = (bits) => bits.reduce((value, bit) => value * 2 + (bit ? 1 : 0), 0);

  /**
   * Sender's clock in the lowest rows of the page's test pattern: white, black, 32 bits of milliseconds, 8 of check sum,
   * white, black. The check sum is left to the page; guards are enough here, because the caller knows about what to expect.
   * @param {HTMLVideoElement} video
   */
  function patternClock(video) {
    const cells = 44;
    const levels = sample(video, Array.from({ length: cells }, (_, cell) => [(cell + 0.5) / cells, 1 - 1 / 36]));
    if (!levels) return undefined;
    const bits = levels.map((level) => level > 127);
    const isGuarded = bits[0] && !bits[1] && bits[cells - 2] && !bits[cells - 1];
    return isGuarded ? number(bits.slice(2, 34)) : undefined;
  }

  /**
   * Number of the frame in the built-in clip, 0 to 119: a white cell, 7 bits, even parity, a black cell.
   * @param {HTMLVideoElement} video
   */
  function clipFrame(video) {
    const levels = sample(video, Array.from({ length: 10 }, (_, cell) => [(48 + 56 * cell + 20) / 640, 320 / 360]));
    if (!levels || levels[0] - levels[9] < 100) return undefined;
    const bits = levels.map((level) => level > (levels[0] + levels[9]) / 2);
    const isEven = bits.slice(1, 9).filter(Boolean).length % 2 === 0;
    return isEven ? number(bits.slice(1, 8)) : undefined;
  }

  /**
   * Counters of the youngest connection that is not closed.
   * @param {'inbound-rtp' | 'outbound-rtp'} type
   */
  async function video(type) {
    const connection = connections.findLast(({ connectionState }) => connectionState !== 'closed');
    if (!connection) return [];
    const rows = [...(await connection.getStats()).values()];
    return rows.filter((row) => row.type === type && row.kind === 'video')
      .map((row) => ({ ...row, mimeType: rows.find(({ id }) => id === row.codecId)?.mimeType }));
  }

  /**
   * @param {'patternClock' | 'clipFrame'} reader
   * @param {string} selector of the video element
   */
  function read(reader, selector) {
    const element = document.querySelector(selector);
    if (!(element instanceof HTMLVideoElement)) return undefined;
    const value = { patternClock, clipFrame }[reader](element);
    return value === undefined ? undefined : { value, at: Date.now(), width: element.videoWidth, height: element.videoHeight };
  }

  /** Between frames that were shown; each watch ends the one before. @type {{longest: number, last: number}} */
  let gaps = { longest: 0, last: 0 };

  /** @param {string} selector of the video element */
  function watchGaps(selector) {
    const element = /** @type {HTMLVideoElement} */ (document.querySelector(selector));
    const mine = { longest: 0, last: performance.now() };
    gaps = mine;
    const next = () => element.requestVideoFrameCallback((now) => {
      if (gaps !== mine) return;
      mine.longest = Math.max(mine.longest, now - mine.last);
      mine.last = now;
      next();
    });
    next();
  }

  /** Milliseconds, the time since the newest frame included. */
  function longestGap() {
    return Math.round(Math.max(gaps.longest, performance.now() - gaps.last));
  }

  Object.assign(globalThis, { probe: { connections, sample, read, video, watchGaps, longestGap } });
}
