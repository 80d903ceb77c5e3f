// Where pictures come from: camera, screen or test pattern.

import { createPattern } from './pattern.js';

/** @typedef {'camera' | 'screen' | 'pattern'} Source */

/**
 * @typedef {object} Capture
 * @property {MediaStream} stream
 * @property {() => void} resume starts the sound after a click
 * @property {() => void} stop
 */

/** Camera and screen exist in secure contexts only: HTTPS, or a loopback address. */
export function canCapture() {
  return Boolean(navigator.mediaDevices?.getUserMedia);
}

/**
 * @param {{source: Source, height: number, audio: boolean, label: string}} options
 * @returns {Promise<Capture>}
 */
export async function capture({ source, height, audio, label }) {
  if (source === 'pattern') return createPattern({ height, audio, label });
  if (!canCapture()) throw new Error('Browsers open cameras and screens over HTTPS or on localhost only.');
  const size = { height: { ideal: height }, width: { ideal: Math.round(height * 16 / 9) }, frameRate: { ideal: 30 } };
  const stream = source === 'camera'
    ? await navigator.mediaDevices.getUserMedia({ video: size, audio })
    : await navigator.mediaDevices.getDisplayMedia({ video: size, audio });
  const [video] = stream.getVideoTracks();
  if (source === 'screen') video.contentHint = 'detail';
  return { stream, resume: () => {}, stop: () => stream.getTracks().forEach((track) => track.stop()) };
}

/**
 * What to say when a source does not open.
 * @param {unknown} error
 */
export function captureMessage(error) {
  const { name = '', message = '' } = /** @type {any} */ (error ?? {});
  switch (name) {
    case 'NotAllowedError': return 'The browser did not allow it. Check the permission beside the address bar.';
    case 'NotFoundError': return 'No camera or microphone was found.';
    case 'NotReadableError': return 'Another program uses the camera or microphone.';
    default: return message || 'The source did not open.';
  }
}
