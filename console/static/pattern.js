// The test pattern: colour bars, a running clock, a current that shows smooth motion, and a short tone
// with a flash on every second, so that sound and picture can be compared. Needs no permission.

import { cells, codeHeight, encodeTime } from './timecode.js';

const fps = 30;
/** Tone at the start of every second. */
const beepHertz = 880;
const beepSeconds = 0.06;
const beepGain = 0.12;
/** How far ahead tones are scheduled, seconds. */
const beepAhead = 1.5;

const bars = ['#c8d2d0', '#c9b458', '#4fb3a5', '#4d9a5f', '#9a5f9c', '#c4533c', '#3d5f9e'];

/**
 * @param {{height: number, label: string, audio: boolean}} options
 * @returns {{stream: MediaStream, resume: () => void, stop: () => void}}
 */
export function createPattern({ height, label, audio }) {
  const canvas = document.createElement('canvas');
  canvas.height = height;
  canvas.width = Math.round(height * 16 / 9);
  const output = videoOutput(canvas);
  const sound = audio ? createTone() : undefined;
  const frame = () => {
    draw(canvas, label, Date.now());
    output.commit();
    sound?.schedule();
  };
  const stopTicking = tick(frame, 1000 / fps);
  frame();
  const tracks = sound ? [output.track, sound.track] : [output.track];
  return {
    stream: new MediaStream(tracks),
    resume: () => sound?.resume(),
    stop: () => {
      stopTicking();
      tracks.forEach((track) => track.stop());
      sound?.close();
    },
  };
}

/**
 * @param {() => void} work
 * @param {number} periodMs
 * @returns {() => void} stops it
 */
function tick(work, periodMs) {
  const worker = new Worker(/** @type {any} */ (trusted(new URL('ticker.js', import.meta.url).href)));
  worker.onmessage = work;
  worker.postMessage({ periodMs });
  return () => worker.terminate();
}

/**
 * The page's policy forbids strings where scripts load (Trusted Types); this is the one exception.
 * @param {string} script
 */
function trusted(script) {
  policy ??= /** @type {any} */ (globalThis).trustedTypes?.createPolicy('rheomesh', { createScriptURL: (/** @type {string} */ own) => own });
  return policy ? policy.createScriptURL(script) : script;
}
/** @type {any} */
let policy;

/**
 * A canvas stream of Chromium stops while its page is hidden, a track generator does not.
 * @param {HTMLCanvasElement} canvas
 * @returns {{track: MediaStreamTrack, commit: () => void}}
 */
function videoOutput(canvas) {
  const Generator = /** @type {any} */ (globalThis).MediaStreamTrackGenerator;
  if (!Generator) {
    const [track] = canvas.captureStream(fps).getVideoTracks();
    return { track, commit: () => {} };
  }
  const track = new Generator({ kind: 'video' });
  const writer = track.writable.getWriter();
  const commit = () => {
    const frame = new VideoFrame(canvas, { timestamp: performance.now() * 1000 });
    writer.write(frame).catch(() => frame.close());
  };
  return { track, commit };
}

/** The tones follow the wall clock, as the flash does. */
function createTone() {
  const context = new AudioContext();
  const destination = context.createMediaStreamDestination();
  let scheduledSecond = 0;
  const beep = (/** @type {number} */ at) => {
    const oscillator = new OscillatorNode(context, { frequency: beepHertz });
    const gain = new GainNode(context, { gain: 0 });
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(beepGain, at + 0.005);
    gain.gain.setValueAtTime(beepGain, at + beepSeconds - 0.01);
    gain.gain.linearRampToValueAtTime(0, at + beepSeconds);
    oscillator.connect(gain).connect(destination);
    oscillator.start(at);
    oscillator.stop(at + beepSeconds);
  };
  return {
    track: destination.stream.getAudioTracks()[0],
    resume: () => context.resume(),
    close: () => context.close(),
    schedule: () => {
      const now = Date.now() / 1000;
      const second = Math.floor(now + beepAhead);
      if (context.state !== 'running' || second <= scheduledSecond) return;
      scheduledSecond = second;
      if (second > now) beep(context.currentTime + second - now);
    },
  };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {string} label
 * @param {number} now milliseconds since 1970
 */
function draw(canvas, label, now) {
  const context = canvas.getContext('2d', { alpha: false });
  if (!context) return;
  const { width, height } = canvas;
  const phase = now % 1000 / 1000;
  context.fillStyle = '#081413';
  context.fillRect(0, 0, width, height);
  drawBars(context, width, height);
  drawCurrent(context, width, height, now);
  drawSecond(context, width, height, phase);
  drawText(context, width, height, label, new Date(now));
  drawCode(context, width, height, now);
}

/** @param {CanvasRenderingContext2D} context @param {number} width @param {number} height */
function drawBars(context, width, height) {
  bars.forEach((colour, index) => {
    context.fillStyle = colour;
    const left = Math.round(index * width / bars.length);
    context.fillRect(left, 0, Math.round((index + 1) * width / bars.length) - left, height * 0.24);
  });
}

/** @param {CanvasRenderingContext2D} context @param {number} width @param {number} height @param {number} now */
function drawCurrent(context, width, height, now) {
  const middle = height * 0.78;
  const step = width / 48;
  context.lineWidth = height / 180;
  ['#1d5f59', '#2e9c90', '#5fd3c2'].forEach((colour, line) => {
    context.strokeStyle = colour;
    context.beginPath();
    for (let x = 0; x <= width + step; x += step) {
      const y = middle + Math.sin(x / width * 9 - now / (900 - line * 180) + line) * height * 0.06;
      context.lineTo(x, y);
    }
    context.stroke();
  });
}

/** A hand that goes round once a second, and a flash when it starts. @param {CanvasRenderingContext2D} context @param {number} width @param {number} height @param {number} phase 0 to 1 */
function drawSecond(context, width, height, phase) {
  const radius = height * 0.11;
  const x = width * 0.86;
  const y = height * 0.49;
  context.lineWidth = height / 60;
  context.strokeStyle = '#23403d';
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.stroke();
  context.strokeStyle = '#ff7f5c';
  context.beginPath();
  context.arc(x, y, radius, -Math.PI / 2, (phase * 2 - 0.5) * Math.PI);
  context.stroke();
  if (phase > beepSeconds * 1.5) return;
  context.fillStyle = '#ffffff';
  context.beginPath();
  context.arc(x, y, radius * 0.6, 0, 2 * Math.PI);
  context.fill();
}

/** @param {CanvasRenderingContext2D} context @param {number} width @param {number} height @param {string} label @param {Date} time */
function drawText(context, width, height, label, time) {
  const two = (/** @type {number} */ value) => String(value).padStart(2, '0');
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, '0')}`;
  context.textBaseline = 'alphabetic';
  context.fillStyle = '#e8f3f1';
  context.font = `600 ${Math.round(height * 0.13)}px ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace`;
  context.fillText(clock, width * 0.06, height * 0.5, width * 0.66);
  context.fillStyle = '#8fb5b0';
  context.font = `500 ${Math.round(height * 0.05)}px system-ui, sans-serif`;
  context.fillText(`${label}   ${width}×${height}`, width * 0.06, height * 0.6, width * 0.66);
}

/** @param {CanvasRenderingContext2D} context @param {number} width @param {number} height @param {number} now */
function drawCode(context, width, height, now) {
  const top = Math.floor(height * (1 - codeHeight));
  encodeTime(now).forEach((white, cell) => {
    context.fillStyle = white ? '#ffffff' : '#000000';
    const left = Math.round(cell * width / cells);
    context.fillRect(left, top, Math.round((cell + 1) * width / cells) - left, height - top);
  });
}
