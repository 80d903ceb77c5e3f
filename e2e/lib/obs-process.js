// The process behind obs.js: publishes the built-in clip until it is told to stop.

import datachannel from 'node-datachannel';
import { randomInt } from 'node:crypto';
import { h264Frames, opusPackets } from './clip.js';
import { packetize } from './rtp.js';
import { until } from './until.js';

const videoType = 96;
const audioType = 111;
const frameMs = 1000 / 30;
const opusMs = 20;
/** Of the identifiers in the offer (RFC 8843, RFC 8852). */
const midExtension = 1;
const ridExtension = 2;
/** Packets that OBS keeps for NACK. */
const nackHistory = 4000;

class Obs {
  #connection = new datachannel.PeerConnection('obs', { iceServers: [], disableAutoNegotiation: true });
  #resource = '';
  #token;
  /** @type {NodeJS.Timeout[]} */
  #timers = [];
  /** The binding frees what the garbage collector takes although libdatachannel still uses it. @type {unknown[]} */
  #kept = [];
  /** Status of the POST. */
  status = 0;
  offer = '';
  answer = '';

  /** @param {string} token */
  constructor(token) {
    this.#token = token;
  }

  /**
   * Publishes the built-in clip.
   * @param {string} url WHIP endpoint
   * @param {object} [options]
   * @param {string} [options.token]
   * @param {number} [options.layers] 0: one stream without rid; OBS 32 sends 1 to 4
   */
  static async publish(url, { token = '', layers = 0 } = {}) {
    const obs = new Obs(token);
    const rids = Array.from({ length: layers }, (_, index) => String(index));
    const audio = obs.#addAudio();
    const video = obs.#addVideo(rids);
    await obs.#negotiate(url);
    await until('libdatachannel connects', () => obs.#connection.state() === 'connected');
    obs.#every(opusMs, await opusPackets(), audio);
    obs.#every(frameMs, await h264Frames(), video);
    return obs;
  }

  #headers() {
    return { 'User-Agent': 'Mozilla/5.0 (OBS-Studio/32.1.0; Linux x86_64; en-US)', ...(this.#token && { Authorization: `Bearer ${this.#token}` }) };
  }

  #addAudio() {
    const ssrc = randomInt(1, 2 ** 31);
    const description = new datachannel.Audio('0', 'SendOnly');
    description.addOpusCodec(audioType, 'minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1');
    description.parseSdpLine(`a=extmap:${midExtension} urn:ietf:params:rtp-hdrext:sdes:mid`);
    description.addSSRC(ssrc, 'obs', 'obs-stream', 'obs-audio');
    const track = this.#connection.addTrack(description);
    const config = new datachannel.RtpPacketizationConfig(ssrc, 'obs', audioType, 48_000);
    this.#kept.push(description, track);
    track.setMediaHandler(this.#withReports(new datachannel.RtpPacketizer(config), config));
    return (/** @type {Buffer} */ packet, /** @type {number} */ ms) => {
      config.timestamp = Math.round(ms * 48) >>> 0;
      track.sendMessageBinary(packet);
    };
  }

  /** @param {string[]} rids */
  #addVideo(rids) {
    const ssrc = randomInt(1, 2 ** 31);
    const description = new datachannel.Video('1', 'SendOnly');
    // OBS writes this whatever its encoder does.
    description.addH264Codec(videoType, 'profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1');
    description.parseSdpLine(`a=extmap:${midExtension} urn:ietf:params:rtp-hdrext:sdes:mid`);
    description.parseSdpLine(`a=extmap:${ridExtension} urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id`);
    if (rids.length > 0) return this.#addLayers(description, rids, ssrc);
    description.addSSRC(ssrc, 'obs', 'obs-stream', 'obs-video');
    const track = this.#connection.addTrack(description);
    const config = new datachannel.RtpPacketizationConfig(ssrc, 'obs', videoType, 90_000);
    this.#kept.push(description, track);
    track.setMediaHandler(this.#withReports(new datachannel.H264RtpPacketizer('LongStartSequence', config, 1200), config));
    const startCode = Buffer.from([0, 0, 0, 1]);
    return (/** @type {Buffer[]} */ units, /** @type {number} */ ms) => {
      config.timestamp = Math.round(ms * 90) >>> 0;
      track.sendMessageBinary(Buffer.concat(units.flatMap((unit) => [startCode, unit])));
    };
  }

  /**
   * Layers as OBS sends them: told apart by rid alone. The binding cannot put a rid into packets, so that they are made
   * here; all layers carry the same picture.
   * @param {datachannel.Video} description
   * @param {string[]} rids
   * @param {number} ssrc of the first layer
   */
  #addLayers(description, rids, ssrc) {
    for (const rid of rids) description.parseSdpLine(`a=rid:${rid} send`);
    description.parseSdpLine(`a=simulcast:send ${rids.join(';')}`);
    const track = this.#connection.addTrack(description);
    this.#kept.push(description, track);
    const streams = rids.map((rid, index) => ({
      type: videoType, ssrc: ssrc + index, sequence: randomInt(2 ** 16), extensions: { [midExtension]: '1', [ridExtension]: rid },
    }));
    return (/** @type {Buffer[]} */ units, /** @type {number} */ ms) => {
      for (const stream of streams) {
        for (const packet of packetize(stream, units, Math.round(ms * 90) >>> 0)) track.sendMessageBinary(packet);
      }
    };
  }

  /** @param {string} url */
  async #negotiate(url) {
    this.#connection.setLocalDescription('offer');
    // OBS gathers after the answer. The binding gathers at once; what it found is not told.
    this.offer = (this.#connection.localDescription()?.sdp ?? '').replace(/^a=(candidate:.*|end-of-candidates)\r\n/gm, '');
    const response = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/sdp', ...this.#headers() }, body: this.offer });
    this.status = response.status;
    this.answer = await response.text();
    if (response.status !== 201) throw new Error(`POST ${response.status}: ${this.answer}`);
    this.#resource = new URL(response.headers.get('Location') ?? '', url).href;
    this.#connection.setRemoteDescription(this.answer, 'answer');
  }

  /**
   * Sends samples in real time, over and over.
   * @template T
   * @param {number} periodMs
   * @param {T[]} samples
   * @param {(sample: T, ms: number) => void} send
   */
  #every(periodMs, samples, send) {
    const start = performance.now();
    let count = 0;
    const timer = setInterval(() => {
      for (; count * periodMs <= performance.now() - start; count++) send(samples[count % samples.length], count * periodMs);
    }, periodMs / 2);
    this.#timers.push(timer);
  }

  /** Closes the connection, then ends the session, as OBS does. Returns the status of the DELETE. */
  async stop() {
    this.#timers.forEach(clearInterval);
    this.#connection.close();
    const response = await fetch(this.#resource, { method: 'DELETE', headers: this.#headers() });
    return response.status;
  }

  /** @param {datachannel.RtpPacketizer} packetizer @param {datachannel.RtpPacketizationConfig} config */
  #withReports(packetizer, config) {
    const handlers = [new datachannel.RtcpSrReporter(config), new datachannel.RtcpNackResponder(nackHistory)];
    handlers.forEach((handler) => packetizer.addToChain(handler));
    this.#kept.push(packetizer, config, ...handlers);
    return packetizer;
  }
}

process.once('disconnect', () => process.exit()); // the tests are gone

const [url, options] = process.argv.slice(2);
const obs = await Obs.publish(url, JSON.parse(options)).catch((error) => {
  process.send?.({ error: error.message });
  return undefined;
});
if (obs) {
  process.once('message', async () => process.send?.({ deleted: await obs.stop() }));
  process.send?.({ status: obs.status, offer: obs.offer, answer: obs.answer });
}
