// Asks for the bearer token when the server wants one.

import { Problem, setToken, token } from './api.js';
import { h, field } from './ui.js';

/** One dialog at a time; whoever asks meanwhile waits for the same answer. @type {Promise<boolean> | undefined} */
let pending;

/**
 * @param {string} [reason]
 * @returns {Promise<boolean>} whether a token was given
 */
export function askToken(reason) {
  pending ??= show(reason).finally(() => { pending = undefined; });
  return pending;
}

/**
 * Runs work; when the server answers 401, asks for a token and runs it again.
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withToken(work) {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 401) throw error;
      if (!await askToken(token() ? 'The server refused this token.' : 'This server asks for a token.')) throw error;
    }
  }
}

/**
 * @param {string} [reason]
 * @returns {Promise<boolean>}
 */
function show(reason = 'Sent with every request, as OBS sends its bearer token.') {
  const input = h('input', { type: 'password', class: 'input', autocomplete: 'off', spellcheck: 'false', testid: 'token-dialog-input', 'aria-describedby': 'token-reason' });
  input.value = token();
  const cancel = h('button', { type: 'button', class: 'button', testid: 'token-dialog-cancel' }, 'Cancel');
  const form = h('form', { method: 'dialog', class: 'dialog-form' },
    h('h2', { id: 'token-title', class: 'dialog-title' }, 'Access token'),
    h('p', { id: 'token-reason', class: 'dialog-text' }, reason),
    field('Bearer token', input, 'Kept in memory only. Reloading the page forgets it.'),
    h('div', { class: 'dialog-actions' }, cancel,
      h('button', { type: 'submit', class: 'button button-primary', testid: 'token-dialog-save' }, 'Use token')));
  const dialog = h('dialog', { class: 'dialog', testid: 'token-dialog', 'aria-labelledby': 'token-title' }, form);
  document.body.append(dialog);
  dialog.showModal();
  input.select();
  return new Promise((resolve) => {
    let given = false;
    form.addEventListener('submit', () => { given = true; setToken(input.value); });
    cancel.addEventListener('click', () => dialog.close());
    dialog.addEventListener('close', () => { dialog.remove(); resolve(given); });
  });
}
