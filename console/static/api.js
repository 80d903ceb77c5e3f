// The server's HTTP interface: credentials, problem documents (RFC 9457) and cursor paging.

/** The token lives in this variable and nowhere else: a reload forgets it. */
let bearer = '';

/** Fires `change` when the token changes. */
export const credentials = new EventTarget();

export function token() {
  return bearer;
}

/** @param {string} value */
export function setToken(value) {
  const trimmed = value.trim();
  if (trimmed === bearer) return;
  bearer = trimmed;
  credentials.dispatchEvent(new Event('change'));
}

/** An answer that is not a success. `status` 0 means that the server was not reached. */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {string} message one sentence for people
   * @param {{cause?: string, retryAfter?: number}} [facts] cause is the last part of the problem's type; retryAfter is in seconds
   */
  constructor(status, message, { cause = '', retryAfter = 0 } = {}) {
    super(message);
    this.status = status;
    this.cause = cause;
    this.retryAfter = retryAfter;
  }
}

/**
 * Resolves a path of this server, also when a proxy serves the console under a prefix.
 * @param {string} path without a leading slash
 */
export function url(path) {
  return new URL(path, document.baseURI.split('#')[0]).href;
}

/** @param {string} router @param {string} publisher */
export function whipURL(router, publisher) {
  return url(`whip/${encodeURIComponent(router)}/${encodeURIComponent(publisher)}`);
}

/** @param {string} router @param {string} publisher */
export function whepURL(router, publisher) {
  return url(`whep/${encodeURIComponent(router)}/${encodeURIComponent(publisher)}`);
}

/** @param {string} router @param {string} publisher */
export function watchURL(router, publisher) {
  return url('') + `#/watch/${encodeURIComponent(router)}/${encodeURIComponent(publisher)}`;
}

/** Characters of an id; `.` and `..` are left out because a URL would swallow them. */
export const idPattern = '(?!\\.{1,2}$)[A-Za-z0-9._~\\-]{1,64}';

/** @param {string} id */
export function isID(id) {
  return new RegExp(`^${idPattern}$`).test(id);
}

/**
 * fetch with the token; rejects with a Problem for every status outside 200–299.
 * @param {string} target
 * @param {RequestInit & {authorization?: string}} [init] authorization replaces the current token
 * @returns {Promise<Response>}
 */
export async function request(target, { authorization = bearer, ...init } = {}) {
  const headers = new Headers(init.headers);
  if (authorization) headers.set('Authorization', `Bearer ${authorization}`);
  let response;
  try {
    response = await fetch(target, { cache: 'no-store', ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Problem(0, 'The server does not answer.');
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

/**
 * @param {Response} response
 * @returns {Promise<Problem>}
 */
async function problemOf(response) {
  const retryAfter = Number(response.headers.get('Retry-After')) || 0;
  /** @type {any} */
  let body = {};
  if (response.headers.get('Content-Type')?.includes('json')) {
    body = await response.json().catch(() => ({}));
  }
  const cause = String(body.type || '').split(':').pop() || '';
  // The detail of a refusal names operation, resource and key for operators; people know the first two.
  const message = String(cause !== 'forbidden' && (body.detail || body.title) || describe(response.status));
  return new Problem(response.status, message, { cause, retryAfter });
}

/** @param {number} status */
function describe(status) {
  switch (status) {
    case 401: return 'The server asks for a token.';
    case 403: return 'The token does not allow this.';
    case 404: return 'The server does not know this name.';
    case 409: return 'Somebody else uses this name.';
    case 429: return 'Too many requests.';
    case 503: return 'The server takes no new sessions at the moment.';
    default: return `The server answered with status ${status}.`;
  }
}

/** Items that a list shows at most; a console that lists more helps nobody. */
const listLimit = 1000;

/**
 * Reads a list to its end, page by page.
 * @param {string} path
 * @param {AbortSignal} signal
 * @returns {Promise<any[]>}
 */
export async function list(path, signal) {
  const items = [];
  let cursor = '';
  do {
    const target = new URL(url(path));
    target.searchParams.set('limit', '100');
    if (cursor) target.searchParams.set('cursor', cursor);
    const page = await (await request(target.href, { signal })).json();
    items.push(...(page.items ?? []));
    cursor = page.next_cursor ?? '';
  } while (cursor && items.length < listLimit);
  return items;
}
