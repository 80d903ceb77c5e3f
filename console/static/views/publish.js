// The Publish page: a form, a stage and what is being sent.

import { idPattern, list, setToken, token, credentials, watchURL, whipURL } from '../api.js';
import { broadcast } from '../broadcast.js';
import { canCapture, captureMessage } from '../capture.js';
import { ChatPanel } from '../chat.js';
import { Figures } from '../figures.js';
import { codecName } from '../stats.js';
import { scalabilityModes, videoCodecs } from '../whip.js';
import { copyButton, copyLine, curtain, field, fill, formatBitrate, formatMs, formatPercent, formatSize, h, icon, setText } from '../ui.js';

/** @typedef {import('../broadcast.js').Settings} Settings */

/** Pictures people ask for, with a bitrate that suits them. */
const qualities = [
  { height: 360, bitrateKbps: 800 },
  { height: 540, bitrateKbps: 1500 },
  { height: 720, bitrateKbps: 2500 },
  { height: 1080, bitrateKbps: 4500 },
];

/** What the form starts with; remembered while the page lives. @type {Settings} */
const initial = {
  source: 'pattern', router: 'live', publisher: `web-${Math.floor(Math.random() * 36 ** 4).toString(36).padStart(4, '0')}`,
  codec: '', height: 720, bitrateBps: 2_500_000, simulcast: false, scalability: '', audio: true,
};

/** @type {import('../app.js').Mount} */
export function publishView(root) {
  const view = new PublishView(root);
  return { title: 'Publish', unmount: () => view.stop() };
}

class PublishView {
  #abort = new AbortController();
  #form = new PublishForm(broadcast.settings ?? initial);
  #video = h('video', { class: 'stage-video', muted: true, playsinline: true, autoplay: true, 'aria-label': 'Preview of what you send', testid: 'publish-video' });
  #curtain = h('div', { class: 'stage-cover' });
  #state = h('span', { class: 'pill', testid: 'publish-state' });
  #error = h('p', { class: 'notice notice-error', role: 'alert', testid: 'publish-error', hidden: true });
  #start = h('button', { type: 'submit', class: 'button button-primary button-large', testid: 'publish-start' }, 'Go live');
  #stop = h('button', { type: 'button', class: 'button button-stop button-large', testid: 'publish-stop', onclick: () => broadcast.stop() }, 'Stop');
  #name = h('h2', { class: 'live-name' });
  #figuresSlot = h('div', { class: 'slot' });
  #figures = outboundFigures();
  #share = h('div', { class: 'slot' });
  #chat = new ChatPanel(broadcast.chat, this.#abort.signal);
  #below = h('div', { class: 'slot split-below' });
  #formPanel;
  #livePanel;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#video.muted = true;
    this.#formPanel = h('form', { class: 'panel publish-form', 'aria-label': 'What to publish' },
      this.#form.element, h('div', { class: 'publish-actions' }, this.#start));
    this.#livePanel = h('section', { class: 'panel live-panel', 'aria-label': 'On air' }, this.#name, this.#stop, this.#figuresSlot);
    this.#formPanel.addEventListener('submit', (event) => { event.preventDefault(); this.#go(); });
    root.append(
      h('div', { class: 'page-head' },
        h('div', {}, h('h1', { class: 'page-title' }, 'Publish'), h('p', { class: 'lead' }, 'Send a camera, a screen or a test pattern from this browser.'))),
      h('div', { class: 'split' },
        h('div', { class: 'split-main' },
          h('div', { class: 'stage' }, this.#video, this.#curtain, h('div', { class: 'stage-badges' }, this.#state)),
          this.#error, this.#share),
        h('div', { class: 'split-side' }, this.#formPanel, this.#livePanel, this.#chat.element),
        this.#below));
    const { signal } = this.#abort;
    broadcast.addEventListener('change', () => this.#show(), { signal });
    broadcast.addEventListener('stats', () => this.#measure(), { signal });
    this.#form.addEventListener('change', () => this.#formChanged());
    this.#formChanged();
    this.#show();
  }

  stop() {
    this.#abort.abort();
    this.#form.stop();
    broadcast.endPreview();
  }

  async #go() {
    await this.#try(() => broadcast.start(this.#form.settings));
  }

  /** The pattern asks nobody, so it shows at once; camera and screen wait for a click. */
  #formChanged() {
    if (broadcast.isOn) return;
    Object.assign(initial, this.#form.settings);
    this.#say('');
    if (this.#form.settings.source === 'pattern') this.#try(() => broadcast.preview(this.#form.settings));
    else broadcast.endPreview();
    this.#show();
  }

  /** @param {() => Promise<void>} work */
  async #try(work) {
    this.#say('');
    try {
      await work();
    } catch (error) {
      this.#say(captureMessage(error));
    }
  }

  /** @param {string} text */
  #say(text) {
    setText(this.#error, text);
    this.#error.hidden = text === '';
  }

  #show() {
    const { isOn, state, reason, stream = null } = broadcast;
    if (this.#video.srcObject !== stream) this.#video.srcObject = stream;
    this.#video.hidden = !stream;
    this.#swap(isOn);
    const texts = { idle: stream ? 'Preview' : 'Off air', connecting: 'Connecting', live: 'On air', retrying: 'Reconnecting', failed: 'Off air' };
    setText(this.#state, texts[state]);
    this.#state.classList.toggle('pill-live', state === 'live');
    this.#state.setAttribute('data-state', state);
    if (state === 'failed') this.#say(reason);
    if (state === 'retrying') this.#say(`${reason} Trying again.`);
    if (state === 'live') this.#say('');
    this.#cover(Boolean(stream));
  }

  /** The form, or what is on air in its place. @param {boolean} isOn */
  #swap(isOn) {
    if (this.#livePanel.hidden === !isOn && this.#figuresSlot.firstChild) return;
    const hadFocus = this.#formPanel.contains(document.activeElement) || this.#livePanel.contains(document.activeElement);
    this.#formPanel.hidden = isOn;
    this.#livePanel.hidden = !isOn;
    this.#chat.element.hidden = !isOn;
    if (hadFocus) (isOn ? this.#stop : this.#start).focus();
    const { router, publisher } = broadcast.settings ?? this.#form.settings;
    fill(this.#name, h('span', { class: 'live-name-router' }, `${router} / `), publisher);
    this.#figures = outboundFigures();
    fill(this.#figuresSlot, this.#figures.element);
    fill(this.#share, isOn && shareLine(router, publisher));
    fill(this.#below, !isOn && obsPanel(this.#form, this.#abort.signal));
  }

  /** @param {boolean} hasPicture */
  #cover(hasPicture) {
    if (hasPicture) return fill(this.#curtain);
    const isCamera = this.#form.settings.source === 'camera';
    const open = h('button', { type: 'button', class: 'button button-on-dark', testid: 'publish-preview', onclick: () => this.#try(() => broadcast.preview(this.#form.settings)) },
      isCamera ? 'Check the camera' : 'Choose a screen');
    fill(this.#curtain, curtain({
      title: isCamera ? 'The camera is closed' : 'No screen chosen',
      text: canCapture() ? 'It opens when you go live. Nobody sees it before.' : 'Browsers open cameras and screens over HTTPS or on localhost only. The test pattern works everywhere.',
      actions: canCapture() ? [open] : [],
    }));
  }

  #measure() {
    const { stats } = broadcast;
    if (!stats) return;
    /** @type {import('../stats.js').OutboundLayer} */
    const top = stats.layers[0] ?? { rid: '' };
    const limits = { none: 'nothing', cpu: 'processor', bandwidth: 'network', other: 'other' };
    this.#figures.set({
      resolution: [formatSize(top.width, top.height), top.width && `${top.width}x${top.height}`],
      fps: [top.fps === undefined ? '–' : `${Math.round(top.fps)}`, top.fps],
      bitrate: [formatBitrate(stats.bitrateBps), stats.bitrateBps],
      loss: [formatPercent(stats.loss), stats.loss],
      rtt: [formatMs(stats.rttMs), stats.rttMs],
      codec: [stats.codec || '–', stats.codec],
      limit: [limits[/** @type {keyof typeof limits} */ (stats.limitation)] ?? stats.limitation, stats.limitation],
      protocol: [stats.path.protocol.toUpperCase() || '–', stats.path.protocol],
    });
    this.#figures.setLayers(stats.layers.length > 1 ? stats.layers : []);
  }
}

/**
 * @param {string} router
 * @param {string} publisher
 */
function shareLine(router, publisher) {
  const link = watchURL(router, publisher);
  return h('div', { class: 'share' },
    h('a', { class: 'share-link', href: link, target: '_blank', rel: 'noopener', testid: 'publish-watch-link' }, link),
    copyButton('Copy watch link', () => link));
}

function outboundFigures() {
  return new Figures({
    title: 'Outgoing bitrate',
    rows: {
      resolution: 'Resolution', fps: 'Frames per second', loss: 'Packet loss', rtt: 'Round trip',
      codec: 'Codec', limit: 'Held back by', protocol: 'Transport',
    },
  });
}

/** The form's controls. Fires `change` when the settings do. */
class PublishForm extends EventTarget {
  element = h('div', { class: 'publish-fields' });
  #abort = new AbortController();
  #routers = h('datalist', { id: 'router-names' });
  #router = input({ required: true, pattern: idPattern, list: 'router-names', testid: 'router-input', title: 'Letters, digits and . _ ~ -' });
  #publisher = input({ required: true, pattern: idPattern, testid: 'publisher-input', title: 'Letters, digits and . _ ~ -' });
  #codec = h('select', { class: 'input', testid: 'codec-select' }, h('option', { value: '' }, 'Auto'),
    ...videoCodecs().map((codec) => h('option', { value: codec }, codecName(codec))));
  #height = h('select', { class: 'input', testid: 'resolution-select' }, ...qualities.map(({ height }) => h('option', { value: height }, `${height}p`)));
  #bitrate = input({ type: 'number', min: 50, max: 50000, step: 50, required: true, inputmode: 'numeric', testid: 'bitrate-input' });
  #simulcast = h('input', { type: 'checkbox', class: 'switch', role: 'switch', testid: 'simulcast-toggle' });
  #scalability = h('select', { class: 'input', testid: 'scalability-select' });
  #audio = h('input', { type: 'checkbox', class: 'switch', role: 'switch', testid: 'audio-toggle' });
  #token = input({ type: 'password', placeholder: 'none', testid: 'token-input' });
  /** @type {HTMLInputElement[]} */
  #sources = [];

  /** @param {Settings} settings */
  constructor(settings) {
    super();
    this.element.append(
      this.#sourcePicker(settings.source),
      h('div', { class: 'fields fields-two' }, field('Router', this.#router), field('Name', this.#publisher)), this.#routers,
      h('div', { class: 'fields fields-three' }, field('Codec', this.#codec), field('Picture', this.#height), field('kbit/s', this.#bitrate)),
      h('div', { class: 'toggles' },
        toggle('Simulcast', 'Smaller copies too, so that viewers can choose', this.#simulcast),
        toggle('Sound', 'Microphone, screen sound, or a tone each second', this.#audio)),
      field('Bearer token', this.#token, 'Kept in memory only.'),
      h('details', { class: 'more', open: settings.scalability !== '', testid: 'publish-more' },
        h('summary', {}, 'More'),
        field('Layers within the stream', this.#scalability, 'SVC: L is sizes, T is frame rates. VP8 and H.264 have frame rates only; choose a codec first.')));
    this.#load(settings);
    this.element.addEventListener('change', (event) => this.#changed(event));
    credentials.addEventListener('change', () => { this.#token.value = token(); }, { signal: this.#abort.signal });
    this.#suggestRouters();
  }

  stop() {
    this.#abort.abort();
  }

  /** @returns {Settings} */
  get settings() {
    const checked = this.#sources.find((source) => source.checked)?.value ?? 'pattern';
    return {
      source: /** @type {import('../capture.js').Source} */ (checked),
      router: this.#router.value, publisher: this.#publisher.value,
      codec: this.#codec.value, height: Number(this.#height.value), bitrateBps: Number(this.#bitrate.value) * 1000,
      simulcast: this.#simulcast.checked, scalability: this.#scalability.value, audio: this.#audio.checked,
    };
  }

  /** @param {Settings} settings */
  #load(settings) {
    this.#router.value = settings.router;
    this.#publisher.value = settings.publisher;
    this.#codec.value = settings.codec;
    this.#height.value = String(settings.height);
    this.#bitrate.value = String(settings.bitrateBps / 1000);
    this.#simulcast.checked = settings.simulcast;
    this.#offerModes(settings.scalability);
    this.#audio.checked = settings.audio;
    this.#token.value = token();
  }

  /** @param {import('../capture.js').Source} chosen */
  #sourcePicker(chosen) {
    /** @type {[import('../capture.js').Source, string][]} */
    const choices = [['pattern', 'Pattern'], ['camera', 'Camera'], ['screen', 'Screen']];
    const labels = choices.map(([value, text]) => {
      const radio = h('input', { type: 'radio', name: 'source', value, class: 'segment-input', testid: `source-${value}`, checked: value === chosen });
      this.#sources.push(radio);
      return h('label', { class: 'segment' }, radio, h('span', { class: 'segment-face' }, icon(value), text));
    });
    return h('fieldset', { class: 'plain-fieldset' }, h('legend', { class: 'field-label' }, 'Source'), h('div', { class: 'segments' }, ...labels));
  }

  /** @param {Event} event */
  #changed({ target }) {
    if (target === this.#token) setToken(this.#token.value);
    if (target === this.#height) this.#suggestBitrate();
    if (target === this.#codec || target === this.#simulcast) this.#offerModes(this.#scalability.value);
    this.dispatchEvent(new Event('change'));
  }

  /** @param {string} wanted */
  #offerModes(wanted) {
    const modes = scalabilityModes(this.#codec.value, this.#simulcast.checked);
    fill(this.#scalability, h('option', { value: '' }, 'Auto'), ...modes.map((mode) => h('option', { value: mode }, mode)));
    this.#scalability.value = modes.includes(wanted) ? wanted : '';
    this.#scalability.disabled = modes.length === 0;
  }

  #suggestBitrate() {
    const quality = qualities.find(({ height }) => height === Number(this.#height.value));
    if (quality) this.#bitrate.value = String(quality.bitrateKbps);
  }

  async #suggestRouters() {
    const routers = await list('api/v1/routers', this.#abort.signal).catch(() => []);
    fill(this.#routers, ...routers.map(({ id }) => h('option', { value: id })));
  }
}

/** @param {Record<string, any>} props */
function input(props) {
  return h('input', { class: 'input', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'none', ...props });
}

/**
 * @param {string} label
 * @param {string} hint
 * @param {HTMLInputElement} control
 */
function toggle(label, hint, control) {
  return h('label', { class: 'toggle' }, control,
    h('span', { class: 'toggle-text' }, h('span', { class: 'toggle-label' }, label), h('span', { class: 'field-hint' }, hint)));
}

/**
 * @param {PublishForm} form
 * @param {AbortSignal} signal
 */
function obsPanel(form, signal) {
  const endpoint = () => whipURL(form.settings.router || 'live', form.settings.publisher || 'obs');
  const server = copyLine('Server', endpoint, { testid: 'obs-server' });
  const bearer = copyLine('Bearer token', () => token() || '(empty)', { testid: 'obs-token' });
  const both = () => `Service: WHIP\nServer: ${endpoint()}\nBearer Token: ${token()}\n`;
  form.addEventListener('change', server.refresh, { signal });
  credentials.addEventListener('change', bearer.refresh, { signal });
  return h('section', { class: 'aside', 'aria-label': 'Settings for OBS' },
    h('div', { class: 'aside-head' }, h('h2', { class: 'section-title' }, 'Or publish from OBS'),
      copyButton('Copy settings', both, { testid: 'obs-copy' })),
    h('p', { class: 'aside-text' }, 'Settings, Stream, service WHIP. In Output, a key-frame interval of 1 s and no B-frames.'),
    server.line, bearer.line);
}
