// Building blocks of the page: elements, icons, copy buttons, notices and number formats.
// Data reaches the document as text nodes and attributes only; nothing here parses markup.

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Creates an element. In props, `class` and `aria-*` are attributes, `testid` becomes `data-testid`,
 * `on…` functions are listeners, booleans are present or absent attributes.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, props = {}, ...children) {
  return assemble(document.createElement(tag), props, children);
}

/**
 * Creates an SVG element; the same rules as h.
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [props]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[T]}
 */
export function s(tag, props = {}, ...children) {
  return assemble(document.createElementNS('http://www.w3.org/2000/svg', tag), props, children);
}

/**
 * @template {Element} E
 * @param {E} element
 * @param {Record<string, any>} props
 * @param {Child[]} children
 * @returns {E}
 */
function assemble(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'testid') element.setAttribute('data-testid', value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  append(element, children);
  return element;
}

/**
 * @param {Element} parent
 * @param {Child[]} children
 */
function append(parent, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : String(child));
  }
}

/**
 * Replaces everything in parent.
 * @param {Element} parent
 * @param {...Child} children
 */
export function fill(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
}

/**
 * Sets the text if it differs, so that polling does not disturb a selection or a screen reader.
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Outlines on a 20 × 20 grid. */
const icons = {
  camera: ['M3 6.5h9a1.5 1.5 0 0 1 1.5 1.5v4a1.5 1.5 0 0 1-1.5 1.5H3A1.5 1.5 0 0 1 1.5 12V8A1.5 1.5 0 0 1 3 6.5Z', 'M13.5 9.2l5-2.7v7l-5-2.7'],
  screen: ['M3 3.5h14A1.5 1.5 0 0 1 18.5 5v7a1.5 1.5 0 0 1-1.5 1.5H3A1.5 1.5 0 0 1 1.5 12V5A1.5 1.5 0 0 1 3 3.5Z', 'M7 17h6M10 13.5V17'],
  pattern: ['M3 3.5h14A1.5 1.5 0 0 1 18.5 5v10a1.5 1.5 0 0 1-1.5 1.5H3A1.5 1.5 0 0 1 1.5 15V5A1.5 1.5 0 0 1 3 3.5Z', 'M7.2 3.5v13M12.8 3.5v13M1.5 12.5h17'],
  copy: ['M8 7h8a1 1 0 0 1 1 1v8a1 1 0 0 1-1 1H8a1 1 0 0 1-1-1V8a1 1 0 0 1 1-1Z', 'M4.5 13H4a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1h8a1 1 0 0 1 1 1v.5'],
  check: ['M4 10.5l4 4 8-9'],
  key: ['M7.5 8.5a4 4 0 1 1-4 4 4 4 0 0 1 4-4Z', 'M10.4 9.6L17 3M14 6l2.5 2.5'],
  arrow: ['M4 10h12M11 5l5 5-5 5'],
  sound: ['M3 8v4h3l4 3.5v-11L6 8H3Z', 'M13 7.5a3.6 3.6 0 0 1 0 5M15.3 5.2a7 7 0 0 1 0 9.6'],
  back: ['M16 10H4M9 5l-5 5 5 5'],
  eye: ['M1.5 10S4.6 4.5 10 4.5 18.5 10 18.5 10 15.4 15.5 10 15.5 1.5 10 1.5 10Z', 'M10 7.7a2.3 2.3 0 1 1 0 4.6 2.3 2.3 0 0 1 0-4.6Z'],
  relay: ['M4 7.7a2.3 2.3 0 1 1 0 4.6 2.3 2.3 0 0 1 0-4.6ZM16 7.7a2.3 2.3 0 1 1 0 4.6 2.3 2.3 0 0 1 0-4.6ZM6.3 10h7.4'],
};

/**
 * @param {keyof typeof icons} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  return s('svg', { class: 'icon', viewBox: '0 0 20 20', 'aria-hidden': 'true' },
    ...icons[name].map((d) => s('path', { d })));
}

/**
 * Tells screen readers what happened.
 * @param {string} text
 */
export function announce(text) {
  const announcer = document.getElementById('announcer');
  if (announcer) announcer.textContent = text;
}

/**
 * A button that copies what text() returns at the time of the click.
 * @param {string} label
 * @param {() => string} text
 * @param {Record<string, any>} [props]
 * @returns {HTMLButtonElement}
 */
export function copyButton(label, text, props = {}) {
  const caption = h('span', {}, label);
  const button = h('button', { type: 'button', class: 'button button-small', ...props }, icon('copy'), caption);
  button.addEventListener('click', async () => {
    const done = await copy(text());
    setText(caption, done ? 'Copied' : 'Press Ctrl+C');
    button.firstElementChild?.replaceWith(icon(done ? 'check' : 'copy'));
    announce(done ? 'Copied to the clipboard' : 'The browser refused to copy');
    setTimeout(() => {
      setText(caption, label);
      button.firstElementChild?.replaceWith(icon('copy'));
    }, 1600);
  });
  return button;
}

/**
 * The clipboard interface exists in secure contexts only; elsewhere the old command still works.
 * @param {string} text
 * @returns {Promise<boolean>} whether the text is on the clipboard
 */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h('textarea', { class: 'visually-hidden', 'aria-hidden': 'true' });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

/**
 * One line of text with a button that copies it.
 * @param {string} label
 * @param {() => string} text
 * @param {Record<string, any>} [props]
 */
export function copyLine(label, text, props = {}) {
  const value = h('code', { class: 'copy-value', tabindex: '0', ...props }, text());
  const line = h('div', { class: 'copy-line' },
    h('span', { class: 'copy-label' }, label), value,
    copyButton('Copy', text, { 'aria-label': `Copy ${label}` }));
  return { line, refresh: () => setText(value, text()) };
}

/**
 * A text field with its label and an optional hint.
 * @param {string} label
 * @param {HTMLElement} control
 * @param {Child} [hint]
 */
export function field(label, control, hint) {
  return h('label', { class: 'field' },
    h('span', { class: 'field-label' }, label), control,
    hint && h('span', { class: 'field-hint' }, hint));
}

/**
 * Five lines of current that cross the empty stage; `moving` lets them flow.
 * @param {boolean} moving
 */
export function currents(moving) {
  const lines = [0, 1, 2, 3, 4].map((n) => {
    const y = 190 + n * 130;
    const lift = 120 - n * 60;
    return s('path', { class: 'current', d: `M-100 ${y}C250 ${y - lift} 450 ${y + lift} 800 ${y}S1350 ${y - lift} 1700 ${y}` });
  });
  return s('svg', { class: moving ? 'currents currents-moving' : 'currents', viewBox: '0 0 1600 900', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, ...lines);
}

/**
 * What the stage shows while there is no picture.
 * @param {{title: string, text?: string, moving?: boolean, actions?: Child[], tone?: 'error', testid?: string}} message
 */
export function curtain({ title, text, moving = false, actions = [], tone, testid }) {
  return h('div', { class: `curtain${tone ? ` curtain-${tone}` : ''}`, testid },
    currents(moving),
    h('div', { class: 'curtain-body' },
      h('p', { class: 'curtain-title' }, title),
      text && h('p', { class: 'curtain-text' }, text),
      actions.length > 0 && h('div', { class: 'curtain-actions' }, ...actions)));
}

/** @param {number | undefined} bps bits per second */
export function formatBitrate(bps) {
  if (bps === undefined || !Number.isFinite(bps)) return '–';
  if (bps >= 1e6) return `${(bps / 1e6).toFixed(bps >= 1e7 ? 1 : 2)} Mbit/s`;
  return `${Math.round(bps / 1e3)} kbit/s`;
}

/**
 * @param {number | undefined} width
 * @param {number | undefined} height
 */
export function formatSize(width, height) {
  return width && height ? `${width}×${height}` : '–';
}

/** @param {number | undefined} ms */
export function formatMs(ms) {
  if (ms === undefined || !Number.isFinite(ms)) return '–';
  if (ms < 1) return '< 1 ms';
  return `${Number(ms.toFixed(ms < 10 ? 1 : 0))} ms`;
}

/** @param {number | undefined} ratio 0 to 1 */
export function formatPercent(ratio) {
  if (ratio === undefined || !Number.isFinite(ratio)) return '–';
  return `${(ratio * 100).toFixed(ratio > 0 && ratio < 0.1 ? 2 : 1)} %`;
}

/**
 * @param {number} count
 * @param {string} one
 * @param {string} many
 */
export function plural(count, one, many) {
  return `${count} ${count === 1 ? one : many}`;
}
