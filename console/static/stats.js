// Turns getStats reports into the figures that the page shows. No DOM and no timers: a report goes in, figures come out.

/**
 * @typedef {object} Path how packets travel
 * @property {number} [rttMs]
 * @property {string} protocol `udp`, `tcp`, or '' while unknown
 * @property {string} remote address and port of the server
 */

/**
 * @typedef {object} Inbound
 * @property {number} [width] pixels
 * @property {number} [height] pixels
 * @property {number} [fps]
 * @property {number} [bitrateBps] video and audio payload over the last second
 * @property {number} [loss] share of packets lost over the last five seconds, 0 to 1
 * @property {number} [jitterMs]
 * @property {number} [bufferMs] mean time a frame waited in the jitter buffer
 * @property {number} freezes
 * @property {number} frames decoded so far
 * @property {number} videoBytes received so far
 * @property {number} audioBytes received so far
 * @property {number} nacks
 * @property {number} plis
 * @property {string} codec such as `VP8 + Opus`
 * @property {Path} path
 */

/**
 * @typedef {object} OutboundLayer
 * @property {string} rid
 * @property {number} [width]
 * @property {number} [height]
 * @property {number} [fps]
 * @property {number} [bitrateBps]
 */

/**
 * @typedef {object} Outbound
 * @property {OutboundLayer[]} layers largest first
 * @property {number} [bitrateBps] all layers and audio
 * @property {number} [loss] as the server reports it, 0 to 1
 * @property {number} [rttMs]
 * @property {string} limitation what holds the quality back: `none`, `cpu`, `bandwidth`, `other`
 * @property {string} codec
 * @property {Path} path
 */

/** Rates look at the last second, loss at more, because one lost packet a second is a lot. Milliseconds. */
const rateWindow = 1_000;
const lossWindow = 5_000;

/** Remembers counters, so that growth can be told. */
export class Meter {
  /** @type {Map<string, {at: number, value: number}[]>} */
  #series = new Map();

  /**
   * How much a counter grew over the window.
   * @param {string} key
   * @param {number} value
   * @param {number} at milliseconds
   * @param {number} window milliseconds
   */
  growth(key, value, at, window) {
    const samples = this.#series.get(key) ?? [];
    this.#series.set(key, samples);
    samples.push({ at, value });
    // The oldest sample kept is the youngest that covers the whole window; a tenth is slack for late timers.
    while (samples.length > 2 && samples[1].at <= at - window * 0.9) samples.shift();
    const [oldest] = samples;
    return { amount: Math.max(0, value - oldest.value), seconds: (at - oldest.at) / 1000 };
  }

  /**
   * @param {string} key
   * @param {number} bytes counter
   * @param {number} at milliseconds
   * @returns {number | undefined} bits per second; undefined after the first sample
   */
  bitrate(key, bytes, at) {
    const { amount, seconds } = this.growth(key, bytes, at, rateWindow);
    return seconds > 0 ? amount * 8 / seconds : undefined;
  }

  /**
   * @param {string} key
   * @param {number} lost counter
   * @param {number} received counter
   * @param {number} at milliseconds
   * @returns {number | undefined} 0 to 1
   */
  loss(key, lost, received, at) {
    const gone = this.growth(`${key}/lost`, lost, at, lossWindow).amount;
    const arrived = this.growth(`${key}/received`, received, at, lossWindow).amount;
    return gone + arrived > 0 ? gone / (gone + arrived) : undefined;
  }
}

/** @typedef {ReadonlyMap<string, any> | RTCStatsReport} Report */

/**
 * @param {Report} report
 * @returns {any[]}
 */
function rows(report) {
  return [.../** @type {ReadonlyMap<string, any>} */ (report).values()];
}

/**
 * @param {Report} report
 * @param {Meter} meter
 * @returns {Inbound}
 */
export function readInbound(report, meter) {
  const inbound = rows(report).filter(({ type }) => type === 'inbound-rtp');
  const video = inbound.find(({ kind }) => kind === 'video') ?? {};
  const audio = inbound.find(({ kind }) => kind === 'audio') ?? {};
  const at = inbound[0]?.timestamp ?? 0;
  const main = video.packetsReceived ? video : audio;
  return {
    width: video.frameWidth,
    height: video.frameHeight,
    fps: video.framesPerSecond,
    bitrateBps: sum(inbound.map(({ id, bytesReceived }) => meter.bitrate(id, bytesReceived ?? 0, at))),
    loss: main.id && meter.loss(main.id, main.packetsLost ?? 0, main.packetsReceived ?? 0, at),
    jitterMs: main.jitter === undefined ? undefined : main.jitter * 1000,
    bufferMs: bufferMs(main, meter, at),
    freezes: video.freezeCount ?? 0,
    frames: video.framesDecoded ?? 0,
    videoBytes: video.bytesReceived ?? 0,
    audioBytes: audio.bytesReceived ?? 0,
    nacks: video.nackCount ?? 0,
    plis: video.pliCount ?? 0,
    codec: codecNames(report, [video, audio].filter(({ packetsReceived }) => packetsReceived)),
    path: pathOf(report),
  };
}

/**
 * @param {any} stream
 * @param {Meter} meter
 * @param {number} at
 */
function bufferMs(stream, meter, at) {
  if (!stream.jitterBufferEmittedCount) return undefined;
  const waited = meter.growth(`${stream.id}/waited`, stream.jitterBufferDelay, at, lossWindow).amount;
  const emitted = meter.growth(`${stream.id}/emitted`, stream.jitterBufferEmittedCount, at, lossWindow).amount;
  return emitted > 0 ? waited / emitted * 1000 : undefined;
}

/**
 * @param {Report} report
 * @param {Meter} meter
 * @returns {Outbound}
 */
export function readOutbound(report, meter) {
  const outbound = rows(report).filter(({ type }) => type === 'outbound-rtp');
  const video = outbound.filter(({ kind }) => kind === 'video');
  const remote = rows(report).filter(({ type }) => type === 'remote-inbound-rtp');
  const at = outbound[0]?.timestamp ?? 0;
  const path = pathOf(report);
  const rates = new Map(outbound.map(({ id, bytesSent }) => [id, meter.bitrate(id, bytesSent ?? 0, at)]));
  const layers = video.map((row) => ({
    rid: row.rid ?? '', width: row.frameWidth, height: row.frameHeight, fps: row.framesPerSecond, bitrateBps: rates.get(row.id),
  }));
  const roundTrips = remote.map(({ roundTripTime }) => roundTripTime).filter((time) => time > 0);
  return {
    layers: layers.sort((a, b) => (b.width ?? 0) - (a.width ?? 0) || a.rid.localeCompare(b.rid)),
    bitrateBps: sum([...rates.values()]),
    loss: remote.length > 0 ? Math.max(...remote.map(({ fractionLost }) => fractionLost ?? 0)) : undefined,
    rttMs: path.rttMs ?? (roundTrips.length > 0 ? Math.min(...roundTrips) * 1000 : undefined),
    limitation: video.map(({ qualityLimitationReason }) => qualityLimitationReason).find((reason) => reason && reason !== 'none') ?? 'none',
    codec: codecNames(report, [video.find(({ codecId }) => codecId), ...outbound.filter(({ kind }) => kind === 'audio')]),
    path,
  };
}

/**
 * @param {Report} report
 * @param {any[]} streams
 */
function codecNames(report, streams) {
  const names = streams.map((stream) => codecName(report.get(stream?.codecId)?.mimeType ?? ''));
  return [...new Set(names.filter(Boolean))].join(' + ');
}

/**
 * How people write a codec: `video/H264` is H.264.
 * @param {string} mime or the bare name
 */
export function codecName(mime) {
  const name = mime.split('/').pop() ?? '';
  /** @type {Record<string, string>} */
  const written = { H264: 'H.264', H265: 'H.265', OPUS: 'Opus' };
  return written[name.toUpperCase()] ?? name;
}

/**
 * @param {Report} report
 * @returns {Path}
 */
function pathOf(report) {
  const transport = rows(report).find(({ type }) => type === 'transport');
  // Firefox has no transport row; there the nominated pair is marked as selected.
  const pair = report.get(transport?.selectedCandidatePairId)
    ?? rows(report).find(({ type, selected }) => type === 'candidate-pair' && selected);
  const remote = report.get(pair?.remoteCandidateId);
  return {
    rttMs: pair?.currentRoundTripTime === undefined ? undefined : pair.currentRoundTripTime * 1000,
    protocol: remote?.protocol ?? '',
    remote: remote?.address ? `${remote.address}:${remote.port}` : '',
  };
}

/**
 * @param {(number | undefined)[]} values
 * @returns {number | undefined} undefined if none is known
 */
function sum(values) {
  const known = values.filter((value) => value !== undefined);
  return known.length > 0 ? known.reduce((a, b) => a + b, 0) : undefined;
}
