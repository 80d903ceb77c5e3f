// A small graph of the last minute, scaled to its own highest value.

import { s } from './ui.js';

const width = 240;
const height = 48;

export class Sparkline {
  /** @type {number[]} */
  #values = [];
  #area = s('path', { class: 'spark-area' });
  #line = s('path', { class: 'spark-line', 'vector-effect': 'non-scaling-stroke' });

  /**
   * @param {string} label what the graph shows
   * @param {number} [capacity] samples that fit
   */
  constructor(label, capacity = 60) {
    this.capacity = capacity;
    this.element = s('svg', { class: 'spark', viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label }, this.#area, this.#line);
  }

  /** @param {number} value */
  push(value) {
    this.#values.push(value);
    if (this.#values.length > this.capacity) this.#values.shift();
    this.#draw();
  }

  #draw() {
    const step = width / (this.capacity - 1);
    const start = width - (this.#values.length - 1) * step;
    const highest = Math.max(...this.#values, 1) * 1.15;
    const points = this.#values.map((value, index) =>
      `${(start + index * step).toFixed(1)} ${(height - 1.5 - value / highest * (height - 3)).toFixed(1)}`);
    const line = `M${points.join('L')}`;
    this.#line.setAttribute('d', line);
    this.#area.setAttribute('d', `${line}L${width} ${height}L${start.toFixed(1)} ${height}Z`);
  }
}
