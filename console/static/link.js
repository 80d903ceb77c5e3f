// Link headers (RFC 8288), as WHIP and WHEP answers carry them.

/**
 * @typedef {object} Link
 * @property {string} target as written, not yet resolved
 * @property {string} rel
 * @property {Record<string, string>} params names in lower case
 */

/**
 * Reads a Link header; fetch joins several header lines with a comma. Malformed rest is dropped.
 * @param {string | null} header
 * @returns {Link[]}
 */
export function parseLinks(header) {
  const links = [];
  const entry = /\s*<([^>]*)>((?:\s*;\s*[^\s=;,]+(?:\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;,"]*))?)*)\s*(?:,|$)/y;
  const text = header ?? '';
  while (entry.lastIndex < text.length) {
    const match = entry.exec(text);
    if (!match) break;
    const params = parseParams(match[2]);
    links.push({ target: match[1], rel: params.rel ?? '', params });
  }
  return links;
}

/**
 * @param {string} text
 * @returns {Record<string, string>}
 */
function parseParams(text) {
  /** @type {Record<string, string>} */
  const params = {};
  for (const [, name, quoted, bare] of text.matchAll(/;\s*([^\s=;,]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?/g)) {
    // RFC 8288 section 3.3: the first rel counts.
    params[name.toLowerCase()] ??= quoted !== undefined ? quoted.replace(/\\(.)/g, '$1') : bare ?? '';
  }
  return params;
}

/**
 * ICE servers named by `rel="ice-server"` (RFC 9725 section 4.6).
 * @param {Link[]} links
 * @returns {RTCIceServer[]}
 */
export function iceServers(links) {
  return links.filter(({ rel }) => rel === 'ice-server').map(({ target, params }) => ({
    urls: target,
    ...(params.username ? { username: params.username, credential: params.credential ?? '' } : {}),
  }));
}
