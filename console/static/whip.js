// WHIP: publishes one MediaStream (RFC 9725).

import { Session } from './session.js';

/**
 * @typedef {object} Encoding
 * @property {string} codec mime type such as `video/VP8`, or '' for the browser's choice
 * @property {number} bitrateBps of the full picture
 * @property {boolean} simulcast whether smaller sizes are sent too
 * @property {string} scalability mode of the layers within one encoding, such as `L3T3_KEY`, or '' for the browser's choice
 * @property {number} height of the picture in pixels, if the track does not know
 */

/**
 * Three sizes, smallest first: browsers give bandwidth to encodings in this order.
 * A quarter of the pixels needs roughly a third of the bits.
 */
const threeLayers = [
  { rid: 'l', scale: 4, share: 0.1 },
  { rid: 'm', scale: 2, share: 0.33 },
  { rid: 'h', scale: 1, share: 1 },
];
const twoLayers = [
  { rid: 'l', scale: 2, share: 0.33 },
  { rid: 'h', scale: 1, share: 1 },
];
/** Chromium encodes at most two sizes of a smaller picture, and would leave out the full one. Pixels. */
const threeLayersFrom = 540;

export class Whip extends Session {
  /**
   * @param {string} endpoint
   * @param {string} authorization
   * @param {MediaStream} stream
   * @param {Encoding} encoding
   * @param {import('./chat.js').Chat} chat
   */
  constructor(endpoint, authorization, stream, encoding, chat) {
    super(endpoint, authorization);
    const [audio] = stream.getAudioTracks();
    const [video] = stream.getVideoTracks();
    if (audio) this.pc.addTransceiver(audio, { direction: 'sendonly', streams: [stream] });
    if (video) {
      const transceiver = this.pc.addTransceiver(video, {
        direction: 'sendonly', streams: [stream], sendEncodings: encodingsOf({ ...encoding, height: video.getSettings().height ?? encoding.height }),
      });
      preferCodec(transceiver, encoding.codec);
    }
    chat.join(this.pc);
  }
}

/**
 * @param {Encoding} encoding
 * @returns {RTCRtpEncodingParameters[]}
 */
function encodingsOf({ codec, bitrateBps, simulcast, scalability, height }) {
  const chosen = scalabilityModes(codec, simulcast).includes(scalability) ? scalability : '';
  if (!simulcast) return [{ maxBitrate: bitrateBps, ...chosen && { scalabilityMode: chosen } }];
  // VP9 and AV1 make layers inside one stream unless told that each stream has one layer.
  const scalabilityMode = chosen || (/VP9|AV1/.test(codec) ? 'L1T1' : '');
  const mode = scalabilityMode ? { scalabilityMode } : {};
  return (height < threeLayersFrom ? twoLayers : threeLayers).map(({ rid, scale, share }) => ({
    rid, scaleResolutionDownBy: scale, maxBitrate: Math.round(bitrateBps * share), ...mode,
  }));
}

/**
 * Modes of layers within one encoding (W3C WebRTC SVC) that make sense with a codec. Sizes within an encoding and encodings of several sizes do not go together.
 * @param {string} codec mime type
 * @param {boolean} simulcast
 */
export function scalabilityModes(codec, simulcast) {
  const rates = ['L1T2', 'L1T3'];
  if (simulcast || !/VP9|AV1/.test(codec)) return /VP8|VP9|AV1|H264/.test(codec) ? rates : [];
  return [...rates, 'L2T1', 'L2T2', 'L2T3_KEY', 'L3T1', 'L3T3', 'L3T3_KEY'];
}

/** Formats that accompany a codec: retransmission and redundancy. */
const companion = /\/(rtx|red|ulpfec|flexfec-03)$/i;

/**
 * @param {RTCRtpTransceiver} transceiver
 * @param {string} codec
 */
function preferCodec(transceiver, codec) {
  if (!codec || !transceiver.setCodecPreferences) return;
  const offered = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
  const chosen = offered.filter(({ mimeType }) => mimeType.toLowerCase() === codec.toLowerCase());
  if (chosen.length === 0) return;
  transceiver.setCodecPreferences([...chosen, ...offered.filter(({ mimeType }) => companion.test(mimeType))]);
}

/**
 * Video codecs that this browser can send, without their companions.
 * @returns {string[]} mime types
 */
export function videoCodecs() {
  if (!globalThis.RTCRtpSender?.getCapabilities) return [];
  const offered = (RTCRtpSender.getCapabilities('video')?.codecs ?? []).map(({ mimeType }) => mimeType);
  return ['video/VP8', 'video/VP9', 'video/H264', 'video/AV1', 'video/H265']
    .filter((codec) => offered.some((mime) => mime.toLowerCase() === codec.toLowerCase()));
}
