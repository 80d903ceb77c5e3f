// Entry point: routes, the frame around the views, and what must happen when the page goes away.

import { credentials, isID, request, token, url } from './api.js';
import { broadcast } from './broadcast.js';
import { askToken } from './tokendialog.js';
import { fill, h, icon, setText } from './ui.js';
import { publishView } from './views/publish.js';
import { streamsView } from './views/streams.js';
import { unknownView } from './views/unknown.js';
import { watchView } from './views/watch.js';

/**
 * A view fills its root and returns what ends it.
 * @typedef {(root: HTMLElement) => View} Mount
 * @typedef {object} View
 * @property {string} title
 * @property {() => void} unmount
 * @property {() => void} [abandon] the page goes away: there is time for one request
 */

const main = /** @type {HTMLElement} */ (document.getElementById('main'));
/** @type {View | undefined} */
let view;

/**
 * @param {string} hash such as `#/watch/live/cam1`
 * @returns {{name: string, mount: Mount}}
 */
function route(hash) {
  const [page = '', router = '', publisher = '', ...rest] = hash.replace(/^#\/?/, '').split('/').map(decode);
  if (page === '' && router === '') return { name: 'streams', mount: streamsView };
  if (page === 'publish' && router === '') return { name: 'publish', mount: publishView };
  if (page === 'watch' && isID(router) && isID(publisher) && rest.length === 0) {
    return { name: 'watch', mount: (root) => watchView(root, router, publisher) };
  }
  return { name: '', mount: unknownView };
}

/** @param {string} part */
function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function show() {
  const { name, mount } = route(location.hash);
  const isFirst = view === undefined;
  view?.unmount();
  main.replaceChildren();
  view = mount(main);
  document.title = `${view.title} · Rheomesh`;
  for (const link of document.querySelectorAll('[data-nav]')) {
    if (link.getAttribute('data-nav') === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (isFirst) return;
  window.scrollTo(0, 0);
  main.focus({ preventScroll: true });
}

function showToken() {
  const button = /** @type {HTMLElement} */ (document.getElementById('token-button'));
  const isSet = token() !== '';
  button.setAttribute('aria-label', isSet ? 'Change the access token' : 'Set an access token');
  button.classList.toggle('is-set', isSet);
  fill(button, icon('key'), h('span', { class: 'button-caption' }, isSet ? 'Token set' : 'Token'));
}

function showOnAir() {
  const badge = /** @type {HTMLElement} */ (document.getElementById('on-air'));
  badge.hidden = !broadcast.isOn;
  const { settings, state } = broadcast;
  if (badge.hidden || !settings) return;
  badge.classList.toggle('is-live', state === 'live');
  fill(badge, h('span', { class: 'dot', 'aria-hidden': 'true' }), h('span', {}, state === 'live' ? 'On air' : 'Connecting'),
    h('span', { class: 'on-air-name' }, ` ${settings.publisher}`));
}

/** Names the node, if we may ask. */
async function showNode() {
  const node = await request(url('api/v1/node')).then((response) => response.json()).catch(() => undefined);
  const line = /** @type {HTMLElement} */ (document.getElementById('node'));
  if (!node) return;
  setText(line, [`Rheomesh ${node.version ?? ''}`.trim(), node.id && `node ${node.id}`, node.draining && 'draining: takes no new sessions'].filter(Boolean).join(' · '));
}

/** Links to what else the node serves. */
function showDocuments() {
  const documents = [['swagger/index.html', 'API reference'], ['metrics', 'Metrics']];
  fill(/** @type {HTMLElement} */ (document.getElementById('documents')), ...documents.map(([path, text]) => h('a', { href: url(path) }, text)));
}

function start() {
  window.addEventListener('hashchange', show);
  // A session that nobody ends would hold its name until the server notices.
  window.addEventListener('pagehide', () => {
    broadcast.abandon();
    view?.abandon?.();
  });
  window.addEventListener('pageshow', ({ persisted }) => { if (persisted) location.reload(); });
  broadcast.addEventListener('change', showOnAir);
  credentials.addEventListener('change', () => { showToken(); showNode(); });
  document.getElementById('token-button')?.addEventListener('click', () => askToken());
  document.querySelector('.skip')?.addEventListener('click', (event) => { event.preventDefault(); main.focus(); });
  showToken();
  showNode();
  showDocuments();
  // A video without a picture yet would hold back the page's load event, and the tab would spin while it waits.
  if (document.readyState === 'complete') show();
  else window.addEventListener('load', show, { once: true });
}

start();
