// The chat beside the video: text in a data channel. What the publisher says reaches every viewer; what a viewer says reaches the publisher's page, which
// repeats it to all.

import { announce, h, setText } from './ui.js';

/** Label of the channel, on every page. */
const label = 'chat';
/** Protocol of the channels in which viewers' messages reach a publisher; the subscriber's id follows. */
const fromViewer = 'rheomesh.from=';
/** Lines that are kept. */
const keptLines = 200;
/** Characters of one message, and of a name. */
const longestText = 500;
const longestName = 40;

/**
 * @typedef {object} Line
 * @property {string} id drawn by whoever wrote it, so that its repetition is known
 * @property {string} from
 * @property {string} text
 */

/** Fires `line` with a Line as detail, and `change` when it opens or closes. Outlives its sessions. */
export class Chat extends EventTarget {
  /** @type {Line[]} */
  lines = [];
  #name;
  #repeats;
  /** @type {RTCDataChannel | undefined} */
  #channel;

  /**
   * @param {string} name of whoever writes on this page
   * @param {boolean} repeats whether viewers' messages are repeated to all
   */
  constructor(name, repeats) {
    super();
    this.#name = name;
    this.#repeats = repeats;
  }

  get isOpen() {
    return this.#channel?.readyState === 'open';
  }

  /**
   * Makes the channel of a new session. It must come before the offer.
   * @param {RTCPeerConnection} pc
   */
  join(pc) {
    const channel = pc.createDataChannel(label);
    this.#channel = channel;
    for (const event of ['open', 'close']) channel.addEventListener(event, () => this.dispatchEvent(new Event('change')));
    channel.addEventListener('message', ({ data }) => this.#hear(data, 'Server'));
    pc.addEventListener('datachannel', ({ channel: other }) => {
      if (!this.#repeats || other.label !== label || !other.protocol.startsWith(fromViewer)) return;
      const from = `Viewer ${other.protocol.slice(-4)}`;
      other.addEventListener('message', ({ data }) => this.#repeat(data, from));
    });
  }

  /** @param {string} text */
  say(text) {
    const line = { id: crypto.getRandomValues(new Uint32Array(2)).join('-'), from: this.#name, text: text.slice(0, longestText) };
    this.#send(line);
    this.#add(line);
  }

  /**
   * @param {unknown} data
   * @param {string} from who sends plain text
   */
  #hear(data, from) {
    const line = parse(data, from);
    if (line) this.#add(line);
  }

  /**
   * A viewer does not choose the name that others see.
   * @param {unknown} data
   * @param {string} from
   */
  #repeat(data, from) {
    const line = parse(data, from);
    if (!line) return;
    line.from = from;
    this.#send(line);
    this.#add(line);
  }

  /** @param {Line} line */
  #send(line) {
    if (this.isOpen) this.#channel?.send(JSON.stringify(line));
  }

  /** @param {Line} line */
  #add(line) {
    if (line.id && this.lines.some(({ id }) => id === line.id)) return;
    this.lines = [...this.lines, line].slice(-keptLines);
    this.dispatchEvent(new CustomEvent('line', { detail: line }));
  }
}

/**
 * Reads a message: a Line as JSON, or plain text as the API or another client may send it.
 * @param {unknown} data
 * @param {string} from who sends plain text
 * @returns {Line | undefined}
 */
export function parse(data, from) {
  if (typeof data !== 'string') return undefined;
  /** @type {any} */
  let value;
  try {
    value = JSON.parse(data);
  } catch { /* plain text */ }
  if (typeof value?.text !== 'string') return { id: '', from, text: data.slice(0, longestText) };
  const name = typeof value.from === 'string' && value.from !== '' ? value.from : from;
  return { id: typeof value.id === 'string' ? value.id.slice(0, longestName) : '', from: name.slice(0, longestName), text: value.text.slice(0, longestText) };
}

/** The panel that shows a chat. */
export class ChatPanel {
  #chat;
  #log = h('ol', { class: 'chat-log', testid: 'chat-log', role: 'log', 'aria-label': 'Messages', tabindex: '0' });
  #input = h('input', { type: 'text', class: 'input', testid: 'chat-input', maxlength: String(longestText), autocomplete: 'off', 'aria-label': 'Message' });
  #send = h('button', { type: 'submit', class: 'button', testid: 'chat-send' }, 'Send');
  #state = h('span', { class: 'chat-state', testid: 'chat-state' });
  element;

  /**
   * @param {Chat} chat
   * @param {AbortSignal} signal ends the panel
   */
  constructor(chat, signal) {
    this.#chat = chat;
    this.element = h('section', { class: 'panel chat', 'aria-label': 'Chat' },
      h('div', { class: 'chat-head' }, h('h2', { class: 'chat-title' }, 'Chat'), this.#state),
      this.#log,
      h('form', { class: 'chat-form', testid: 'chat-form', onsubmit: (/** @type {Event} */ event) => this.#say(event) }, this.#input, this.#send));
    for (const line of chat.lines) this.#show(line);
    chat.addEventListener('line', (event) => this.#arrived(/** @type {CustomEvent} */ (event).detail), { signal });
    chat.addEventListener('change', () => this.#update(), { signal });
    this.#update();
  }

  /** @param {Event} event */
  #say(event) {
    event.preventDefault();
    const text = this.#input.value.trim();
    if (text === '' || !this.#chat.isOpen) return;
    this.#chat.say(text);
    this.#input.value = '';
  }

  /** @param {Line} line */
  #arrived(line) {
    this.#show(line);
    announce(`${line.from}: ${line.text}`);
  }

  /** @param {Line} line */
  #show({ from, text }) {
    const atEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 40;
    this.#log.append(h('li', { class: 'chat-line', testid: 'chat-line' }, h('b', { class: 'chat-from' }, from), ' ', text));
    if (this.#log.childElementCount > keptLines) this.#log.firstElementChild?.remove();
    if (atEnd) this.#log.scrollTop = this.#log.scrollHeight;
  }

  #update() {
    const { isOpen } = this.#chat;
    this.#input.disabled = this.#send.disabled = !isOpen;
    setText(this.#state, isOpen ? '' : 'Not connected');
    this.#state.setAttribute('data-state', isOpen ? 'open' : 'closed');
  }
}
