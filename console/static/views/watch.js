// The Watch page: one stream, its layers and what arrives.

import { watchURL, whepURL } from '../api.js';
import { ChatPanel } from '../chat.js';
import { Figures } from '../figures.js';
import { LayerPicker } from '../layerpicker.js';
import { currentName, picturesOf } from '../layers.js';
import { Player } from '../player.js';
import { TimeGraph } from '../timegraph.js';
import { askToken } from '../tokendialog.js';
import { announce, copyButton, copyLine, curtain, fill, formatBitrate, formatMs, formatPercent, formatSize, h, icon, plural, setText } from '../ui.js';

/**
 * @param {HTMLElement} root
 * @param {string} router
 * @param {string} publisher
 * @returns {import('../app.js').View}
 */
export function watchView(root, router, publisher) {
  const view = new WatchView(root, router, publisher);
  view.start();
  return { title: publisher, unmount: () => view.stop(), abandon: () => view.abandon() };
}

class WatchView {
  #video = h('video', { class: 'stage-video', playsinline: true, autoplay: true, controls: true, testid: 'watch-video' });
  #cover = h('div', { class: 'stage-cover' });
  #state = h('span', { class: 'pill', role: 'status', testid: 'watch-state' });
  #viewers = h('span', { class: 'pill', testid: 'watch-viewers', hidden: true });
  #sound = h('button', { type: 'button', class: 'button button-on-dark stage-sound', testid: 'watch-unmute', hidden: true, onclick: () => this.#unmute() }, icon('sound'), 'Turn on sound');
  #picker = new LayerPicker((selection, name) => this.#select(selection, name));
  /** @type {import('../layers.js').Picture[]} */
  #pictures = [];
  #notice = h('p', { class: 'notice notice-error', role: 'alert', hidden: true });
  #figures = new Figures({
    title: 'Incoming bitrate', isGraphed: false,
    rows: {
      resolution: 'Resolution', fps: 'Frames per second', loss: 'Packet loss', rtt: 'Round trip', jitter: 'Jitter', buffer: 'Jitter buffer',
      freezes: 'Freezes', first: 'First frame', latency: 'Glass to glass, test pattern', codec: 'Codec', protocol: 'Transport', repair: 'NACK / PLI sent',
    },
  });
  #panel = h('div', { class: 'panel panel-empty' }, this.#figures.element);
  #abort = new AbortController();
  #graph = new TimeGraph(this.#abort.signal);
  #player;
  #publisher;

  /**
   * @param {HTMLElement} root
   * @param {string} router
   * @param {string} publisher
   */
  constructor(root, router, publisher) {
    this.#publisher = publisher;
    this.#player = new Player(router, publisher, this.#video);
    this.#video.setAttribute('aria-label', `Stream ${publisher}`);
    const link = () => watchURL(router, publisher);
    root.append(
      h('div', { class: 'page-head page-head-watch' },
        h('div', {},
          h('p', { class: 'crumb' }, h('a', { href: '#/' }, icon('back'), 'Streams'), h('span', { class: 'crumb-router' }, router)),
          h('h1', { class: 'page-title page-title-id', testid: 'watch-title' }, publisher)),
        copyButton('Share', link, { class: 'button', testid: 'watch-share' })),
      h('div', { class: 'split' },
        h('div', { class: 'split-main' },
          h('div', { class: 'stage' }, this.#video, this.#cover, h('div', { class: 'stage-badges' }, this.#state, this.#viewers), this.#sound),
          this.#notice, this.#picker.element, this.#graph.element),
        h('div', { class: 'split-side' }, this.#panel, new ChatPanel(this.#player.chat, this.#abort.signal).element),
        h('div', { class: 'split-below' }, copyLine('WHEP', () => whepURL(router, publisher)).line)));
    this.#player.addEventListener('change', () => this.#show());
    this.#player.addEventListener('stats', () => this.#measure());
  }

  start() {
    this.#show();
    this.#play();
    this.#player.start();
  }

  stop() {
    this.#abort.abort();
    this.#player.stop();
    this.#video.srcObject = null;
  }

  abandon() {
    this.#player.abandon();
  }

  /** Browsers refuse sound before the first click on a page; then the picture starts without. */
  async #play() {
    this.#video.addEventListener('loadedmetadata', async () => {
      try {
        await this.#video.play();
      } catch (error) {
        if (/** @type {any} */ (error).name !== 'NotAllowedError') return;
        this.#video.muted = true;
        this.#sound.hidden = false;
        await this.#video.play().catch(() => {});
      }
    });
    this.#video.addEventListener('volumechange', () => { if (!this.#video.muted) this.#sound.hidden = true; });
  }

  #unmute() {
    this.#video.muted = false;
    this.#sound.hidden = true;
    this.#video.focus();
  }

  #show() {
    const { state, viewers } = this.#player;
    const texts = { connecting: 'Connecting', waiting: 'Waiting', playing: 'Live', retrying: 'Reconnecting', failed: 'Not playing' };
    setText(this.#state, texts[state]);
    this.#state.setAttribute('data-state', state);
    this.#state.classList.toggle('pill-live', state === 'playing');
    this.#viewers.hidden = viewers === undefined;
    if (viewers !== undefined) fill(this.#viewers, icon('eye'), plural(viewers, 'viewer', 'viewers'));
    this.#showCover();
    this.#showLayers();
  }

  #showCover() {
    const message = this.#message();
    this.#video.classList.toggle('is-covered', message !== undefined);
    const key = message ? `${message.title}${message.text}` : '';
    if (this.#cover.getAttribute('data-key') === key) return;
    this.#cover.setAttribute('data-key', key);
    fill(this.#cover, message && curtain(message));
  }

  /** @returns {Parameters<typeof curtain>[0] | undefined} undefined while the picture speaks for itself */
  #message() {
    const { state, reason, status, stats } = this.#player;
    switch (state) {
      case 'connecting':
        return { title: 'Connecting', moving: true, testid: 'watch-connecting' };
      case 'waiting':
        return { title: `Waiting for ${this.#publisher}`, text: 'Nothing is published under this name yet. The picture starts by itself when it is.', moving: true, testid: 'watch-waiting' };
      case 'retrying':
        return { title: 'Reconnecting', text: reason, moving: true, actions: [this.#again('Try now')], testid: 'watch-retrying' };
      case 'failed':
        return { title: status === 404 ? 'No such router' : 'This stream does not play', text: reason, tone: 'error', actions: this.#ways(status), testid: 'watch-error' };
      case 'playing':
        return stats?.frames === 0 ? { title: 'Sound only', text: 'This publisher sends no picture.', moving: true, testid: 'watch-audio-only' } : undefined;
    }
  }

  /** @param {number} status */
  #ways(status) {
    const isAccess = status === 401 || status === 403;
    return [isAccess ? h('button', { type: 'button', class: 'button button-on-dark', onclick: () => this.#enterToken() }, 'Enter a token') : this.#again('Try again')];
  }

  async #enterToken() {
    if (await askToken()) this.#player.start();
  }

  /** @param {string} text */
  #again(text) {
    return h('button', { type: 'button', class: 'button button-on-dark', testid: 'watch-retry', onclick: () => this.#player.start() }, text);
  }

  #showLayers() {
    this.#pictures = picturesOf(this.#player.layers);
    this.#picker.show(this.#pictures, this.#player.selected);
  }

  /**
   * @param {import('../layers.js').Selection} selection
   * @param {string} name
   */
  async #select(selection, name) {
    try {
      await this.#player.select(selection);
      this.#say('');
      announce(`Asked for ${name}`);
    } catch (error) {
      this.#say(`The layer was not changed: ${/** @type {Error} */ (error).message}`);
    }
  }

  /** @param {string} text */
  #say(text) {
    setText(this.#notice, text);
    this.#notice.hidden = text === '';
  }

  #measure() {
    const { stats, firstFrameMs, latencyMs } = this.#player;
    if (!stats) return;
    this.#panel.classList.remove('panel-empty');
    const { width, height = 0, bitrateBps } = stats;
    const layer = currentName(this.#pictures) || (height ? formatSize(width, height) : '');
    if (bitrateBps !== undefined) this.#graph.push({ bitrateBps, height, layer });
    this.#figures.set({
      resolution: [formatSize(stats.width, stats.height), stats.width && `${stats.width}x${stats.height}`],
      fps: [stats.fps === undefined ? '–' : String(Math.round(stats.fps)), stats.fps],
      bitrate: [formatBitrate(stats.bitrateBps), stats.bitrateBps],
      loss: [formatPercent(stats.loss), stats.loss],
      rtt: [formatMs(stats.path.rttMs), stats.path.rttMs],
      jitter: [formatMs(stats.jitterMs), stats.jitterMs],
      buffer: [formatMs(stats.bufferMs), stats.bufferMs],
      freezes: [String(stats.freezes), stats.freezes],
      first: [formatMs(firstFrameMs), firstFrameMs],
      latency: [formatMs(latencyMs), latencyMs],
      codec: [stats.codec || '–', stats.codec],
      protocol: [stats.path.protocol.toUpperCase() || '–', stats.path.protocol],
      repair: [`${stats.nacks} / ${stats.plis}`, `${stats.nacks}/${stats.plis}`],
    });
  }
}
