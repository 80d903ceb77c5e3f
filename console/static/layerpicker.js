// Chooses among the pictures of a stream: one row of sizes, and one of frame rates if there are several.

import { currentName, ratesUpTo } from './layers.js';
import { fill, formatBitrate, h, setText } from './ui.js';

/** @typedef {import('./layers.js').Picture} Picture */
/** @typedef {import('./layers.js').Selection} Selection */

export class LayerPicker {
  element = h('div', { class: 'slot' });
  #choose;
  /** @type {Picture[]} */
  #pictures = [];
  /** @type {Selection} */
  #selection = {};
  /** Key of a picture, '' for automatic, to its parts. @type {Map<string, {radio: HTMLInputElement, note: HTMLElement}>} */
  #sizes = new Map();
  /** @type {{temporalLayerId?: number, radio: HTMLInputElement}[]} */
  #rates = [];

  /**
   * @param {(selection: Selection, name: string) => void} choose called with what a person has chosen, and how to call it
   */
  constructor(choose) {
    this.#choose = choose;
  }

  /**
   * @param {Picture[]} pictures
   * @param {Selection} selection
   */
  show(pictures, selection) {
    this.#pictures = pictures;
    this.#selection = selection;
    const key = [...pictures.map((picture) => `${picture.key} ${picture.name}`), this.#top].join(',');
    if (this.element.getAttribute('data-key') !== key) {
      this.element.setAttribute('data-key', key);
      fill(this.element, (pictures.length > 1 || this.#top > 0) && this.#picker());
    }
    this.#refresh();
  }

  /** The picture that was asked for, if it is still there. */
  get #picture() {
    const { rid, spatialLayerId } = this.#selection;
    return this.#pictures.find(({ selection }) => selection.rid === rid && selection.spatialLayerId === spatialLayerId);
  }

  /** Highest temporal layer of what is asked for. */
  get #top() {
    return this.#picture?.top ?? Math.max(0, ...this.#pictures.map(({ top }) => top));
  }

  #picker() {
    this.#sizes.clear();
    const sizes = this.#pictures.length > 1 ? [undefined, ...this.#pictures] : [undefined];
    const rates = ratesUpTo(this.#top);
    this.#rates = [];
    return h('div', { class: 'layer-picker', testid: 'layer-picker' },
      h('fieldset', { class: 'plain-fieldset layer-sizes' },
        h('legend', { class: 'field-label' }, 'Quality'),
        h('div', { class: 'segments' }, ...sizes.map((picture) => this.#size(picture)))),
      rates.length > 1 && h('fieldset', { class: 'plain-fieldset layer-rates' },
        h('legend', { class: 'field-label' }, 'Frame rate'),
        h('div', { class: 'segments' }, ...rates.map((rate) => this.#rate(rate)))));
  }

  /** @param {Picture | undefined} picture undefined leaves the choice to the server */
  #size(picture) {
    const radio = h('input', {
      type: 'radio', name: 'layer', value: picture?.key ?? '', class: 'segment-input', testid: 'layer-option',
      'data-rid': picture?.selection.rid ?? '', 'data-spatial': picture?.selection.spatialLayerId ?? '', onchange: () => this.#pick(picture, this.#step),
    });
    const note = h('span', { class: 'segment-note' });
    this.#sizes.set(picture?.key ?? '', { radio, note });
    return h('label', { class: 'segment' }, radio, h('span', { class: 'segment-face' }, picture?.name ?? 'Automatic', note));
  }

  /** @param {{name: string, temporalLayerId?: number}} rate */
  #rate({ name, temporalLayerId }) {
    const step = this.#rates.length;
    const radio = h('input', {
      type: 'radio', name: 'rate', value: temporalLayerId ?? '', class: 'segment-input', testid: 'rate-option',
      'data-temporal': temporalLayerId ?? '', onchange: () => this.#pick(this.#picture, step),
    });
    this.#rates.push({ temporalLayerId, radio });
    return h('label', { class: 'segment' }, radio, h('span', { class: 'segment-face' }, name));
  }

  /** Halvings of the frame rate that are asked for. */
  get #step() {
    return Math.max(0, this.#rates.findIndex(({ temporalLayerId }) => temporalLayerId === this.#selection.temporalLayerId));
  }

  /**
   * @param {Picture | undefined} picture
   * @param {number} step halvings of the frame rate
   */
  #pick(picture, step) {
    const rate = ratesUpTo(picture?.top ?? Math.max(0, ...this.#pictures.map(({ top }) => top)))[step] ?? { name: 'Full' };
    const { name, temporalLayerId } = rate;
    const selection = { ...picture?.selection, ...temporalLayerId !== undefined && { temporalLayerId } };
    this.#choose(selection, `${picture?.name ?? 'automatic size'}, ${name.toLowerCase()} frame rate`);
  }

  #refresh() {
    const chosen = this.#picture?.key ?? '';
    for (const [key, { radio }] of this.#sizes) radio.checked = key === chosen;
    this.#rates.forEach(({ radio }, step) => { radio.checked = step === this.#step; });
    for (const { key, bitrate } of this.#pictures) {
      const note = this.#sizes.get(key)?.note;
      if (note) setText(note, bitrate ? formatBitrate(bitrate) : 'off');
    }
    const automatic = this.#sizes.get('')?.note;
    if (automatic) setText(automatic, currentName(this.#pictures));
  }
}
