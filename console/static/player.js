// Plays one publisher: keeps a WHEP session alive and tells what it sees.

import { token, whepURL } from './api.js';
import { Chat } from './chat.js';
import { mergeLayers } from './layers.js';
import { Meter, readInbound } from './stats.js';
import { supervise } from './supervise.js';
import { TimecodeReader } from './timecode.js';
import { withToken } from './tokendialog.js';
import { Whep } from './whep.js';

/**
 * `waiting`: the session stands and nothing is published; `playing`: media arrives.
 * @typedef {'connecting' | 'waiting' | 'playing' | 'retrying' | 'failed'} State
 */

/** Samples without media, one a second, after which the page says that nothing is published. */
const patience = 3;
/** The same before the first frame, when there is nothing that a message would cover. */
const firstPatience = 1;

/** Samples with sound and no video packet after which the stream counts as sound only; pictures often come second. */
const soundOnlyAfter = 2;

/** Fires `change` when state, layers or viewers change, and `stats` once a second. */
export class Player extends EventTarget {
  /** @type {State} */
  state = 'connecting';
  reason = '';
  /** Status of the answer that failed, 0 if there was none. */
  status = 0;
  /** @type {import('./stats.js').Inbound | undefined} */
  stats;
  /** From the POST, or from the publisher's arrival if that was later, to the first painted frame. @type {number | undefined} */
  firstFrameMs;
  /** Glass to glass, if the test pattern plays. @type {number | undefined} */
  latencyMs;
  /** @type {import('./layers.js').Layer[]} */
  layers = [];
  /** The layer asked for. @type {import('./layers.js').Selection} */
  selected = {};
  /** @type {number | undefined} */
  viewers;
  chat = new Chat('Viewer', false);

  #router;
  #publisher;
  #video;
  /** @type {AbortController} */
  #run = new AbortController();
  /** @type {Whep | undefined} */
  #session;
  #meter = new Meter();
  #reader = new TimecodeReader();
  /** Where the first-frame time starts, in performance.now() milliseconds. */
  #startedAt = 0;
  /** What the events say; undefined while they say nothing. @type {boolean | undefined} */
  #published;
  #silence = 0;
  #seen = 0;
  #soundOnly = 0;

  /**
   * @param {string} router
   * @param {string} publisher
   * @param {HTMLVideoElement} video
   */
  constructor(router, publisher, video) {
    super();
    this.#router = router;
    this.#publisher = publisher;
    this.#video = video;
  }

  /** Plays until stop. Called again, it starts over at once. */
  async start() {
    this.stop();
    const run = new AbortController();
    this.#run = run;
    const ticker = setInterval(() => this.#sample(), 1000);
    await supervise({
      open: (signal) => this.#open(signal),
      report: (progress) => { if (!run.signal.aborted) this.#report(progress); },
      signal: run.signal,
    });
    clearInterval(ticker);
  }

  stop() {
    this.#run.abort();
    this.#session = undefined;
  }

  /** For a page that goes away: there is time for one request. */
  abandon() {
    this.#session?.delete();
  }

  /**
   * @param {import('./layers.js').Selection} selection
   */
  async select(selection) {
    const before = this.selected;
    this.selected = selection;
    this.#changed();
    try {
      await this.#session?.selectLayer(selection);
    } catch (error) {
      this.selected = before;
      this.#changed();
      throw error;
    }
  }

  /** @param {AbortSignal} signal */
  #open(signal) {
    return withToken(async () => {
      const session = new Whep(whepURL(this.#router, this.#publisher), token(), this.chat);
      this.#forget();
      this.#session = session;
      this.#follow(session);
      this.#video.srcObject = session.stream;
      await session.open(signal);
      this.#startedAt = session.postedAt;
      this.#awaitFirstFrame(session);
      return session;
    });
  }

  /** A new session starts with nothing known. */
  #forget() {
    this.#meter = new Meter();
    this.#published = undefined;
    this.#silence = 0;
    this.#seen = 0;
    this.#soundOnly = 0;
    this.stats = undefined;
    this.firstFrameMs = undefined;
    this.latencyMs = undefined;
    this.layers = [];
    this.selected = {};
  }

  /** @param {Whep} session */
  #awaitFirstFrame(session) {
    this.#video.requestVideoFrameCallback?.(() => {
      if (this.#session !== session) return;
      this.firstFrameMs = Math.round((performance.now() - this.#startedAt) * 10) / 10;
      this.#set('playing');
    });
  }

  /** @param {Whep} session */
  #follow({ events }) {
    const on = (/** @type {string} */ name, /** @type {(data: any) => void} */ work) =>
      events.addEventListener(name, (event) => work(/** @type {CustomEvent} */ (event).detail));
    on('active', () => this.#activated());
    on('inactive', () => { this.#published = false; this.layers = []; this.#set('waiting'); });
    on('layers', (data) => { this.layers = mergeLayers(this.layers, data); this.#changed(); });
    on('viewercount', (data) => { this.viewers = Number(data.viewercount); this.#changed(); });
    on('reconnect', () => this.start());
  }

  #activated() {
    if (this.state === 'waiting' && this.firstFrameMs === undefined) this.#startedAt = performance.now();
    this.#published = true;
    this.#silence = 0;
  }

  /** @param {import('./supervise.js').Progress} progress */
  #report(progress) {
    switch (progress.phase) {
      case 'opening':
        if (this.state !== 'retrying') this.#set('connecting');
        break;
      case 'connected':
        // The picture is allowed its patience before the page says that nobody publishes.
        if (this.state !== 'playing') this.#set(this.#published === false ? 'waiting' : 'connecting');
        break;
      case 'retrying':
        // 409: this server wants a publisher first (WHEP, "Session Management").
        this.#set(progress.status === 409 ? 'waiting' : 'retrying', progress.reason, progress.status);
        break;
      case 'failed':
        this.#set('failed', progress.problem.message, progress.problem.status);
        break;
    }
  }

  async #sample() {
    const session = this.#session;
    if (!session || session.pc.connectionState !== 'connected') return;
    const stats = readInbound(await session.pc.getStats(), this.#meter);
    if (session !== this.#session) return;
    this.stats = stats;
    this.latencyMs = this.state === 'playing' ? this.#reader.delay(this.#video) : undefined;
    this.#judge(stats);
    this.dispatchEvent(new Event('stats'));
  }

  /**
   * Whether media arrives, told by pictures that were decoded and by sound.
   * @param {import('./stats.js').Inbound} stats
   */
  #judge({ frames, videoBytes, audioBytes }) {
    const grew = frames + audioBytes > this.#seen;
    this.#seen = frames + audioBytes;
    this.#silence = grew ? 0 : this.#silence + 1;
    this.#soundOnly = grew && videoBytes === 0 ? this.#soundOnly + 1 : 0;
    const plays = frames > 0 || this.#soundOnly >= soundOnlyAfter;
    if (grew && plays && this.state !== 'playing' && this.#published !== false) this.#set('playing');
    const enough = this.firstFrameMs === undefined ? firstPatience : patience;
    if (this.#silence >= enough && this.state !== 'waiting') this.#set('waiting');
  }

  /**
   * @param {State} state
   * @param {string} [reason]
   * @param {number} [status]
   */
  #set(state, reason = '', status = 0) {
    if (this.state === state && this.reason === reason) return;
    this.state = state;
    this.reason = reason;
    this.status = status;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}
