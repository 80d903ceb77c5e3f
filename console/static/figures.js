// The panel of measured figures: one large bitrate with or without a graph, then a list of the others, then one row per layer.

import { Sparkline } from './sparkline.js';
import { fill, formatBitrate, formatSize, h, setText } from './ui.js';

export class Figures {
  #bitrate = h('output', { class: 'figure-large', testid: 'stat-bitrate' }, '–');
  #spark;
  #layers = h('div', { class: 'slot' });
  /** @type {Record<string, HTMLElement>} */
  #values = {};

  /**
   * @param {{title: string, rows: Record<string, string>, isGraphed?: boolean}} options rows: key, which becomes the test id `stat-<key>`, and label
   */
  constructor({ title, rows, isGraphed = true }) {
    this.#spark = new Sparkline(`${title} over the last minute`);
    const terms = Object.entries(rows).map(([key, label]) => {
      const value = h('dd', { testid: `stat-${key}` }, '–');
      this.#values[key] = value;
      return h('div', { class: 'figure' }, h('dt', {}, label), value);
    });
    this.#values.bitrate = this.#bitrate;
    this.element = h('section', { class: 'figures', 'aria-label': 'Statistics', testid: 'stats' },
      h('div', { class: 'figures-head' },
        h('div', {}, h('h2', { class: 'figures-title' }, title), this.#bitrate), isGraphed && this.#spark.element),
      h('dl', { class: 'figure-list' }, ...terms),
      this.#layers);
  }

  /**
   * @param {Record<string, [text: string, value: string | number | undefined]>} figures value is for scripts, as `data-value`
   */
  set(figures) {
    for (const [key, [text, value]] of Object.entries(figures)) {
      const element = this.#values[key];
      if (!element) continue;
      setText(element, text);
      element.setAttribute('data-value', String(value ?? ''));
    }
    const bitrate = figures.bitrate?.[1];
    if (typeof bitrate === 'number') this.#spark.push(bitrate);
  }

  /** @param {import('./stats.js').OutboundLayer[]} layers */
  setLayers(layers) {
    if (layers.length === 0) return fill(this.#layers);
    const rows = layers.map((layer) => h('tr', { testid: 'stat-layer', 'data-rid': layer.rid },
      h('th', { scope: 'row' }, layer.rid), h('td', {}, formatSize(layer.width, layer.height)),
      h('td', {}, layer.fps === undefined ? '–' : String(Math.round(layer.fps))), h('td', {}, formatBitrate(layer.bitrateBps))));
    fill(this.#layers, h('table', { class: 'layers-table' },
      h('thead', {}, h('tr', {}, ...['Layer', 'Size', 'fps', 'Bitrate'].map((name) => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, ...rows)));
  }
}
