// The list of publishers in all routers.

import { Problem, credentials, idPattern, list, token, whipURL } from '../api.js';
import { Sparkline } from '../sparkline.js';
import { codecName } from '../stats.js';
import { askToken } from '../tokendialog.js';
import { copyLine, currents, fill, formatBitrate, h, icon, plural, setText } from '../ui.js';

/** Milliseconds between two readings of the lists. */
const period = 2000;
/** From so many rows on, a filter helps. */
const filterFrom = 9;

/** @type {import('../app.js').Mount} */
export function streamsView(root) {
  const view = new StreamsView(root);
  view.start();
  return { title: 'Streams', unmount: () => view.stop() };
}

class StreamsView {
  #lead = h('p', { class: 'lead', testid: 'streams-summary' }, 'Looking for streams …');
  #notice = h('div', { class: 'slot' });
  #filter = h('input', { class: 'input input-filter', type: 'search', placeholder: 'Filter by name', 'aria-label': 'Filter streams by name', testid: 'streams-filter', hidden: true });
  #head = h('div', { class: 'row-head', 'aria-hidden': 'true', hidden: true },
    h('span', {}, 'Stream'), h('span', {}, 'Media'), h('span', {}, 'Bitrate'), h('span', {}, 'Viewers'), h('span', {}));
  #list = h('ul', { class: 'rows', 'aria-label': 'Publishers', testid: 'publisher-list' });
  #empty = h('div', { class: 'slot' });
  /** @type {Map<string, Row>} */
  #rows = new Map();
  #abort = new AbortController();
  #timer = 0;
  /** The dialog opens by itself once; after that a button does. */
  #asked = false;

  /** @param {HTMLElement} root */
  constructor(root) {
    root.append(
      h('div', { class: 'page-head' },
        h('div', {}, h('h1', { class: 'page-title' }, 'Live streams'), this.#lead),
        openForm()),
      this.#notice, this.#filter, this.#head, this.#list, this.#empty);
    this.#filter.addEventListener('input', () => this.#applyFilter());
  }

  start() {
    const again = () => this.#poll();
    credentials.addEventListener('change', again, { signal: this.#abort.signal });
    document.addEventListener('visibilitychange', again, { signal: this.#abort.signal });
    this.#poll();
  }

  stop() {
    this.#abort.abort();
    clearTimeout(this.#timer);
  }

  async #poll() {
    clearTimeout(this.#timer);
    if (document.hidden || this.#abort.signal.aborted) return;
    try {
      this.#show(await readPublishers(this.#abort.signal));
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      this.#fail(error instanceof Problem ? error : new Problem(0, String(error)));
      if (error instanceof Problem && (error.status === 401 || error.status === 403)) return;
    }
    clearTimeout(this.#timer);
    if (!this.#abort.signal.aborted) this.#timer = window.setTimeout(() => this.#poll(), period);
  }

  /** @param {{routers: any[], publishers: any[]}} lists */
  #show({ routers, publishers }) {
    fill(this.#notice);
    const live = publishers.filter(({ state }) => state === 'live').length;
    setText(this.#lead, publishers.length === 0
      ? 'Nobody publishes at the moment.'
      : `${live} live of ${plural(publishers.length, 'publisher', 'publishers')} in ${plural(routers.length, 'router', 'routers')}.`);
    this.#reconcile(publishers);
    this.#head.hidden = publishers.length === 0;
    this.#filter.hidden = publishers.length < filterFrom;
    if (publishers.length > 0) fill(this.#empty);
    else if (!this.#empty.firstChild) fill(this.#empty, firstSteps(routers[0]?.id ?? 'live'));
  }

  /** Keeps the rows that stay, so that focus and graphs survive. @param {any[]} publishers sorted */
  #reconcile(publishers) {
    const wanted = new Set(publishers.map(keyOf));
    for (const [key, row] of this.#rows) {
      if (wanted.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    publishers.forEach((publisher, index) => {
      const key = keyOf(publisher);
      const row = this.#rows.get(key) ?? new Row(publisher);
      this.#rows.set(key, row);
      row.update(publisher);
      if (this.#list.children[index] !== row.element) this.#list.insertBefore(row.element, this.#list.children[index] ?? null);
    });
    this.#applyFilter();
  }

  #applyFilter() {
    const text = this.#filter.hidden ? '' : this.#filter.value.trim().toLowerCase();
    for (const [key, { element }] of this.#rows) element.hidden = !key.toLowerCase().includes(text);
  }

  /** @param {Problem} problem */
  #fail(problem) {
    if (problem.status !== 401 && problem.status !== 403) {
      setText(this.#lead, 'The list may be out of date.');
      fill(this.#notice, h('p', { class: 'notice notice-error', role: 'alert', testid: 'streams-error' }, `${problem.message} Trying again every two seconds.`));
      return;
    }
    this.#reconcile([]);
    fill(this.#empty);
    this.#head.hidden = true;
    setText(this.#lead, 'The list is not public.');
    fill(this.#notice, lockedNotice(problem));
    if (problem.status === 401 && !this.#asked) askToken('This server asks for a token.');
    this.#asked = true;
  }
}

/** @param {number} status 401 or 403 @param {string} message */
function lockedText(status, message) {
  if (status === 403) return 'One that may administer this server does.';
  return token() ? message : 'With it you see who is live, and can watch or publish.';
}

/** @param {Problem} problem 401 or 403 */
function lockedNotice({ status, message }) {
  return h('div', { class: 'steps', testid: 'streams-locked' },
    h('section', { class: 'step step-main' }, currents(false),
      h('div', { class: 'step-body' },
        h('h2', { class: 'step-title' }, status === 401 ? 'This server asks for a token' : 'This token does not list streams'),
        h('p', {}, lockedText(status, message)),
        h('p', {}, 'A stream whose name you know may open without the list.'),
        h('button', { type: 'button', class: 'button', onclick: () => askToken() }, token() ? 'Use another token' : 'Enter a token'))));
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<{routers: any[], publishers: any[]}>} publishers live first, then by name
 */
async function readPublishers(signal) {
  const routers = await list('api/v1/routers', signal);
  const lists = await Promise.all(routers.map(({ id }) => list(`api/v1/routers/${encodeURIComponent(id)}/publishers`, signal)
    // A router may be deleted between the two requests.
    .catch((error) => { if (error instanceof Problem && error.status === 404) return []; throw error; })));
  const publishers = lists.flatMap((items, index) => items.map((item) => ({ ...item, router_id: item.router_id ?? routers[index].id })));
  const rank = (/** @type {any} */ publisher) => (publisher.state === 'live' ? 0 : 1);
  publishers.sort((a, b) => rank(a) - rank(b) || keyOf(a).localeCompare(keyOf(b), undefined, { numeric: true }));
  return { routers, publishers };
}

/** @param {any} publisher */
function keyOf(publisher) {
  return `${publisher.router_id}/${publisher.id}`;
}

/** One publisher: a link that covers the row. */
class Row {
  #state = h('span', { class: 'dot', 'aria-hidden': 'true' });
  #stateText = h('span', { class: 'visually-hidden' });
  #relayed = h('span', { class: 'tag', hidden: true }, icon('relay'), 'relayed');
  #codecs = h('span', { class: 'row-codecs' });
  #size = h('span', { class: 'row-size' });
  #bitrate = h('span', { class: 'row-rate' });
  #viewers = h('span', { class: 'row-viewers-count' });
  #spark = new Sparkline('Bitrate over the last minute', 30);

  /** @param {any} publisher */
  constructor({ id, router_id: router }) {
    this.element = h('li', {}, h('a', {
      class: 'row', testid: 'publisher-row', 'data-router': router, 'data-publisher': id,
      href: `#/watch/${encodeURIComponent(router)}/${encodeURIComponent(id)}`,
    },
    h('span', { class: 'row-name' }, this.#state,
      h('span', { class: 'row-title' }, h('span', { class: 'row-id' }, id), this.#stateText, this.#relayed),
      h('span', { class: 'row-router' }, router)),
    h('span', { class: 'row-media' }, this.#codecs, this.#size),
    h('span', { class: 'row-bitrate' }, this.#bitrate, this.#spark.element),
    h('span', { class: 'row-viewers' }, icon('eye'), this.#viewers, h('span', { class: 'visually-hidden' }, ' viewers')),
    h('span', { class: 'row-go', 'aria-hidden': 'true' }, 'Watch', icon('arrow'))));
  }

  /** @param {any} publisher */
  update(publisher) {
    const isLive = publisher.state === 'live';
    const { codecs, size, bitrateBps } = summarise(publisher.tracks ?? []);
    this.#state.classList.toggle('dot-live', isLive);
    setText(this.#stateText, isLive ? ', live,' : ', idle,');
    this.element.firstElementChild?.setAttribute('data-state', publisher.state);
    const hops = publisher.origin?.hops ?? [];
    this.#relayed.hidden = hops.length === 0;
    this.#relayed.title = hops.length > 0 ? `from node ${publisher.origin.node_id}` : '';
    setText(this.#codecs, isLive ? codecs : 'Idle');
    setText(this.#size, isLive ? size : '');
    setText(this.#bitrate, isLive ? formatBitrate(bitrateBps) : '');
    setText(this.#viewers, String(publisher.subscribers ?? 0));
    this.#spark.push(isLive ? bitrateBps : 0);
  }
}

/**
 * @param {any[]} tracks
 * @returns {{codecs: string, size: string, bitrateBps: number}}
 */
function summarise(tracks) {
  const shown = ['video', 'audio'].flatMap((kind) => tracks.filter((track) => track.kind === kind));
  const layers = tracks.flatMap((track) => track.layers ?? []);
  const video = tracks.filter(({ kind }) => kind === 'video').flatMap((track) => track.layers ?? []);
  const active = video.filter((layer) => layer.active);
  const largest = [...video].sort((a, b) => (b.height ?? 0) - (a.height ?? 0))[0];
  const size = largest?.height ? `${largest.width}×${largest.height}` : '';
  return {
    codecs: shown.map(({ codec }) => codecName(codec ?? '')).filter(Boolean).join(' + '),
    size: [size, video.length > 1 && `${active.length} of ${video.length} layers`].filter(Boolean).join(', '),
    bitrateBps: layers.reduce((total, layer) => total + (layer.bitrate_bps ?? 0), 0),
  };
}

/** Viewers may come before the publisher: any name can be opened. */
function openForm() {
  const router = h('input', { class: 'input', name: 'router', required: true, pattern: idPattern, value: 'live', 'aria-label': 'Router', autocomplete: 'off', spellcheck: 'false', testid: 'open-router' });
  const publisher = h('input', { class: 'input', name: 'publisher', required: true, pattern: idPattern, placeholder: 'name', 'aria-label': 'Publisher name', autocomplete: 'off', spellcheck: 'false', testid: 'open-publisher' });
  const form = h('form', { class: 'open-form', 'aria-label': 'Open a stream by name' },
    h('span', { class: 'field-label', 'aria-hidden': 'true' }, 'Open a stream by name'),
    h('span', { class: 'open-fields' },
      router, h('span', { class: 'open-slash', 'aria-hidden': 'true' }, '/'), publisher,
      h('button', { type: 'submit', class: 'button', testid: 'open-submit' }, 'Open')));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    location.hash = `#/watch/${encodeURIComponent(router.value)}/${encodeURIComponent(publisher.value)}`;
  });
  return form;
}

/**
 * How to get a first stream, with the URLs of this server.
 * @param {string} router
 */
function firstSteps(router) {
  const endpoint = (/** @type {string} */ publisher) => () => whipURL(router, publisher);
  return h('section', { class: 'steps', 'aria-label': 'Three ways to publish', testid: 'streams-empty' },
    h('article', { class: 'step step-main' }, currents(false),
      h('div', { class: 'step-body' },
        h('h2', { class: 'step-title' }, 'Publish from this page'),
        h('p', {}, 'Send a camera, a screen, or a test pattern that needs no permission.'),
        h('a', { class: 'button button-primary', href: '#/publish', testid: 'empty-publish' }, 'Start publishing', icon('arrow')))),
    h('article', { class: 'step' },
      h('h2', { class: 'step-title' }, 'From OBS'),
      h('p', {}, 'Settings, Stream, service WHIP. A key-frame interval of 1 s lets viewers join fast.'),
      copyLine('Server', endpoint('obs')).line,
      token() ? copyLine('Bearer token', token).line : h('p', { class: 'step-note' }, 'Leave the bearer token empty unless this server asks for one.')),
    h('article', { class: 'step' },
      h('h2', { class: 'step-title' }, 'From a terminal'),
      h('p', {}, 'Rheomesh brings a clip of its own. curl shows the HTTP half with an offer of yours.'),
      copyLine('Built-in clip', () => `rheomesh publish ${whipURL(router, 'clip')}`).line,
      copyLine('curl', () => `curl -i -H 'Content-Type: application/sdp' \\\n  --data-binary @offer.sdp \\\n  ${whipURL(router, 'curl')}`).line));
}
