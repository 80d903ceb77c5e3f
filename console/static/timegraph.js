// What arrived over the last minute: the size of the picture as steps, the bitrate below it, and a line wherever the layer changed.

import { fill, formatBitrate, h, s } from './ui.js';

/**
 * @typedef {object} Sample one second
 * @property {number} bitrateBps
 * @property {number} height of the picture in pixels, 0 while there is none
 * @property {string} layer how people call what arrives, such as `640×360`
 */

/** Samples that fit. */
const capacity = 60;
/** Pixels, from the top: names and steps, then the bitrate, then the axis. */
const stepsTop = 20;
const stepsBottom = 46;
const rateTop = 62;
const rateBottom = 122;
const height = 142;
/** Width of a character of a name, on the safe side, and the space that a name keeps to its neighbour. */
const characterWidth = 7.2;
const nameGap = 10;

export class TimeGraph {
  /** @type {Sample[]} */
  #samples = [];
  #svg = s('svg', { class: 'timegraph', role: 'img', 'aria-label': 'Bitrate and size of the picture over the last minute', testid: 'layer-graph' });
  element = h('section', { class: 'panel panel-graph', 'aria-label': 'The last minute', hidden: true }, this.#svg);
  /** Pixels; measured, so that letters keep their shape. */
  #width = 0;

  /** @param {AbortSignal} signal ends it */
  constructor(signal) {
    const observer = new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width === this.#width) return;
      this.#width = contentRect.width;
      this.#draw();
    });
    observer.observe(this.#svg);
    signal.addEventListener('abort', () => observer.disconnect());
  }

  /** @param {Sample} sample */
  push(sample) {
    this.#samples.push(sample);
    if (this.#samples.length > capacity) this.#samples.shift();
    this.element.hidden = false;
    this.#draw();
  }

  #draw() {
    if (this.#width === 0 || this.#samples.length === 0) return;
    this.#svg.setAttribute('viewBox', `0 0 ${this.#width} ${height}`);
    const peak = Math.max(...this.#samples.map(({ bitrateBps }) => bitrateBps), 1);
    fill(this.#svg, ...this.#axis(peak), ...this.#rate(peak * 1.1), ...this.#steps());
  }

  /** Where the n-th sample lies; the newest is at the right edge. @param {number} index */
  #x(index) {
    return this.#width * (1 - (this.#samples.length - 1 - index) / (capacity - 1));
  }

  /** @param {number} peak bit/s */
  #axis(peak) {
    const text = (/** @type {number} */ x, /** @type {number} */ y, /** @type {string} */ anchor, /** @type {string} */ words) =>
      s('text', { class: 'graph-text', x, y, 'text-anchor': anchor }, words);
    return [
      s('path', { class: 'graph-axis', d: `M0 ${rateBottom}.5H${this.#width}` }),
      text(0, height - 4, 'start', '1 min ago'),
      text(this.#width / 2, height - 4, 'middle', `peak ${formatBitrate(peak)}`),
      text(this.#width, height - 4, 'end', 'now'),
    ];
  }

  /** @param {number} top bit/s at the upper edge */
  #rate(top) {
    const y = (/** @type {number} */ bps) => rateBottom - bps / top * (rateBottom - rateTop);
    const points = this.#samples.map(({ bitrateBps }, index) => `${this.#x(index).toFixed(1)} ${y(bitrateBps).toFixed(1)}`);
    const line = `M${points.join('L')}`;
    return [
      s('path', { class: 'spark-area', d: `${line}V${rateBottom}H${this.#x(0).toFixed(1)}Z` }),
      s('path', { class: 'spark-line', d: line }),
    ];
  }

  /** Stretches of one layer each, and what marks their beginnings. */
  #steps() {
    const tallest = Math.max(...this.#samples.map((sample) => sample.height), 1);
    const stretches = stretchesOf(this.#samples);
    let line = '';
    /** @type {SVGElement[]} */
    const marks = [];
    stretches.forEach(({ from, to, sample }, index) => {
      const [left, right] = [this.#x(from), to < this.#samples.length ? this.#x(to) : this.#width];
      const y = stepsBottom - sample.height / tallest * (stepsBottom - stepsTop);
      line += `${line === '' ? 'M' : 'L'}${left.toFixed(1)} ${y.toFixed(1)}H${right.toFixed(1)}`;
      if (index > 0) marks.push(s('path', { class: 'graph-switch', d: `M${left.toFixed(1)} ${stepsTop}V${rateBottom}`, testid: 'graph-switch', 'data-layer': sample.layer }));
      const isLast = index === stretches.length - 1;
      const room = sample.layer.length * characterWidth + nameGap;
      if (isLast && right - left < room) marks.push(s('text', { class: 'graph-name', x: right, y: y - 6, 'text-anchor': 'end' }, sample.layer));
      else if (right - left >= room + (isLast ? 0 : this.#lastOverhang(stretches, index))) marks.push(s('text', { class: 'graph-name', x: left + (index > 0 ? 4 : 0), y: y - 6 }, sample.layer));
    });
    return [s('path', { class: 'graph-size', d: line }), ...marks];
  }

  /**
   * How far the name of the last stretch, which is always written, reaches into the one before it.
   * @param {ReturnType<typeof stretchesOf>} stretches
   * @param {number} index
   */
  #lastOverhang(stretches, index) {
    const last = stretches[stretches.length - 1];
    const start = this.#width - last.sample.layer.length * characterWidth - nameGap;
    const { to } = stretches[index];
    return Math.max(0, this.#x(to) - start);
  }
}

/** Samples that a picture takes to follow the server's word. */
const settling = 2;

/**
 * @param {Sample[]} samples
 * @returns {{from: number, to: number, sample: Sample}[]} to is behind the last
 */
function stretchesOf(samples) {
  /** @type {{from: number, to: number, sample: Sample}[]} */
  const stretches = [];
  samples.forEach((sample, index) => {
    const last = stretches[stretches.length - 1];
    const isSame = last && last.sample.layer === sample.layer && (last.sample.height === sample.height || index - last.from <= settling);
    if (isSame) Object.assign(last, { to: index + 1, sample });
    else stretches.push({ from: index, to: index + 1, sample });
  });
  return stretches;
}
