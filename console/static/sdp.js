// The few edits of session descriptions that WHIP and WHEP need in a browser. Pure functions of text.

const eol = '\r\n';

/** @param {string} sdp */
function linesOf(sdp) {
  return sdp.split(/\r?\n/).filter((line) => line !== '');
}

/**
 * Asks for two channels in every Opus format. A browser plays Opus in mono unless its own
 * description says stereo=1 (RFC 7587 section 6.1: a preference of the receiver).
 * @param {string} sdp
 */
export function preferStereo(sdp) {
  const lines = linesOf(sdp);
  const opus = new Set(lines.map((line) => /^a=rtpmap:(\d+) opus\//i.exec(line)?.[1]).filter(Boolean));
  return lines.map((line) => {
    const format = /^a=fmtp:(\d+) /.exec(line)?.[1];
    return format && opus.has(format) && !/[ ;]stereo=/.test(line) ? `${line};stereo=1` : line;
  }).join(eol) + eol;
}

/**
 * @typedef {object} IceParameters
 * @property {string} ufrag
 * @property {string} pwd
 */

/**
 * The first ICE user name and password of a description or fragment.
 * @param {string} sdp
 * @returns {IceParameters}
 */
export function iceParameters(sdp) {
  return {
    ufrag: /^a=ice-ufrag:(.*?)\r?$/m.exec(sdp)?.[1] ?? '',
    pwd: /^a=ice-pwd:(.*?)\r?$/m.exec(sdp)?.[1] ?? '',
  };
}

/**
 * A trickle-ice-sdpfrag body (RFC 8840 section 4.4). Under max-bundle only the m-section that
 * leads the bundle appears (RFC 9725 section 4.3.2).
 * @param {string} offer the current local description
 * @param {string[]} candidates values of the candidate attribute, each starting with `candidate:`
 * @param {boolean} complete whether the last candidate is known
 */
export function trickleFragment(offer, candidates, complete) {
  const lines = linesOf(offer);
  const { ufrag, pwd } = iceParameters(offer);
  const pick = (/** @type {RegExp} */ pattern) => lines.filter((line) => pattern.test(line)).slice(0, 1);
  return [
    ...pick(/^a=group:BUNDLE /),
    ...pick(/^a=ice-options:/),
    ...pick(/^m=/),
    ...pick(/^a=mid:/),
    `a=ice-ufrag:${ufrag}`,
    `a=ice-pwd:${pwd}`,
    ...candidates.map((candidate) => `a=${candidate}`),
    ...(complete ? ['a=end-of-candidates'] : []),
  ].join(eol) + eol;
}

/**
 * The answer after an ICE restart: the old answer with the user name, password and candidates of
 * the server's fragment. Nothing else may change (RFC 9725 section 4.3.3).
 * @param {string} answer
 * @param {string} fragment
 */
export function restartedAnswer(answer, fragment) {
  const { ufrag, pwd } = iceParameters(fragment);
  const isCandidate = (/** @type {string} */ line) => /^a=(candidate:|end-of-candidates)/.test(line);
  const fresh = linesOf(fragment).filter(isCandidate);
  const lines = linesOf(answer).filter((line) => !isCandidate(line));
  // The candidates belong to the m-section that leads the bundle, whose first line of ours is its mid.
  const leader = lines.find((line) => line.startsWith('a=mid:'));
  return lines.flatMap((line) => {
    if (line.startsWith('a=ice-ufrag:')) return [`a=ice-ufrag:${ufrag}`];
    if (line.startsWith('a=ice-pwd:')) return [`a=ice-pwd:${pwd}`];
    return line === leader ? [line, ...fresh] : [line];
  }).join(eol) + eol;
}
