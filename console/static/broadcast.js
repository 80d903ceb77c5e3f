// What this page publishes. It outlives the Publish view, so that people can look around while on air.

import { token, whipURL } from './api.js';
import { capture } from './capture.js';
import { Chat } from './chat.js';
import { Meter, readOutbound } from './stats.js';
import { supervise } from './supervise.js';
import { withToken } from './tokendialog.js';
import { Whip } from './whip.js';

/**
 * @typedef {object} Settings
 * @property {import('./capture.js').Source} source
 * @property {string} router
 * @property {string} publisher
 * @property {string} codec mime type, or '' for the browser's choice
 * @property {number} height pixels
 * @property {number} bitrateBps
 * @property {boolean} simulcast
 * @property {string} scalability mode of the layers within one encoding, or '' for the browser's choice
 * @property {boolean} audio
 */

/** @typedef {'idle' | 'connecting' | 'live' | 'retrying' | 'failed'} State */

/** Fires `change` when state or stream change, and `stats` once a second while live. */
class Broadcast extends EventTarget {
  /** @type {State} */
  state = 'idle';
  /** Why it failed or what it waits for. */
  reason = '';
  /** @type {Settings | undefined} */
  settings;
  /** @type {import('./stats.js').Outbound | undefined} */
  stats;
  chat = new Chat('Publisher', true);

  /** @type {import('./capture.js').Capture | undefined} */
  #capture;
  /** What the capture was or is being opened for. */
  #captured = '';
  /** @type {AbortController | undefined} */
  #run;
  /** @type {Whip | undefined} */
  #session;
  #meter = new Meter();

  get stream() {
    return this.#capture?.stream;
  }

  get isOn() {
    return this.state === 'connecting' || this.state === 'live' || this.state === 'retrying';
  }

  /**
   * Opens the source without publishing it. A source that is open already is kept.
   * @param {Settings} settings
   */
  async preview(settings) {
    const { source, height, audio, router, publisher } = settings;
    const label = `${router} / ${publisher}`;
    const wanted = [source, height, audio, source === 'pattern' && label].join(' ');
    if (this.#capture && this.#captured === wanted) return;
    this.#captured = wanted;
    const opened = await capture({ source, height, audio, label });
    if (this.#captured !== wanted) {
      // While the browser asked for permission, another source was chosen, or none.
      opened.stop();
      return;
    }
    this.#capture?.stop();
    this.#capture = opened;
    // The browser's own "stop sharing" button.
    opened.stream.getVideoTracks()[0].addEventListener('ended', () => {
      if (this.#capture === opened) this.stop();
    });
    this.#changed();
  }

  /** Closes the source if it is not on air. */
  endPreview() {
    if (this.isOn) return;
    this.#capture?.stop();
    this.#capture = undefined;
    this.#captured = '';
    this.#changed();
  }

  /** @param {Settings} settings */
  async start(settings) {
    if (this.isOn) return;
    this.settings = settings;
    const run = new AbortController();
    this.#run = run;
    this.#set('connecting');
    try {
      await this.preview(settings);
    } catch (error) {
      this.stop();
      throw error;
    }
    if (run.signal.aborted) return;
    this.#capture?.resume();
    const ticker = setInterval(() => this.#sample(), 1000);
    await supervise({
      open: (signal) => this.#open(settings, signal),
      report: (progress) => { if (!run.signal.aborted) this.#report(progress); },
      signal: run.signal,
    });
    clearInterval(ticker);
  }

  /** Ends the session on the server and closes the source. */
  stop() {
    this.#run?.abort();
    this.#session = undefined;
    this.stats = undefined;
    this.#set('idle');
    this.endPreview();
  }

  /** For a page that goes away: there is time for one request. */
  abandon() {
    this.#session?.delete();
  }

  /**
   * @param {Settings} settings
   * @param {AbortSignal} signal
   */
  #open(settings, signal) {
    return withToken(async () => {
      if (!this.#capture) throw new Error('The source is closed.');
      const session = new Whip(whipURL(settings.router, settings.publisher), token(), this.#capture.stream, settings, this.chat);
      await session.open(signal);
      this.#session = session;
      this.#meter = new Meter();
      return session;
    });
  }

  /** @param {import('./supervise.js').Progress} progress */
  #report(progress) {
    switch (progress.phase) {
      case 'opening': return this.state === 'retrying' || this.#set('connecting');
      case 'connected': return this.#set('live');
      case 'retrying': return this.#set('retrying', progress.reason);
      case 'failed': return this.#set('failed', progress.problem.message);
    }
  }

  async #sample() {
    const session = this.#session;
    if (this.state !== 'live' || !session) return;
    this.stats = readOutbound(await session.pc.getStats(), this.#meter);
    this.dispatchEvent(new Event('stats'));
  }

  /**
   * @param {State} state
   * @param {string} [reason]
   */
  #set(state, reason = '') {
    this.state = state;
    this.reason = reason;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}

export const broadcast = new Broadcast();
