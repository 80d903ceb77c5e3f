// The page for an address that leads nowhere.

import { h } from '../ui.js';

/** @type {import('../app.js').Mount} */
export function unknownView(root) {
  root.append(h('section', { class: 'narrow', testid: 'unknown' },
    h('h1', { class: 'page-title' }, 'Nothing here'),
    h('p', { class: 'lead' }, 'This address does not name a page or a stream of this console.'),
    h('a', { class: 'button button-primary', href: '#/' }, 'All streams')));
  return { title: 'Nothing here', unmount() {} };
}
