// Keeps one session alive: opens it, waits until it ends, opens it again after a growing delay.

import { Problem } from './api.js';

/**
 * @typedef {{phase: 'opening'}
 *   | {phase: 'connected'}
 *   | {phase: 'retrying', delayMs: number, reason: string, status: number}
 *   | {phase: 'failed', problem: Problem}} Progress
 */

/** Milliseconds. The first retry is quick, because most losses are restarts of the server. */
const firstDelay = 500;
/** Milliseconds. Longer than this, people reload the page. */
const longestDelay = 15_000;

/**
 * @param {number} attempt 0 for the first retry
 * @param {number} [random] 0 to 1; spreads the players that lost the same server
 * @returns {number} milliseconds
 */
export function backoff(attempt, random = Math.random()) {
  return Math.min(firstDelay * 2 ** attempt, longestDelay) * (0.75 + random / 2);
}

/** Answers that will be the same next time. @param {Problem} problem */
function isFinal({ status }) {
  return status >= 400 && status < 500 && ![408, 409, 425, 429].includes(status);
}

/**
 * Runs until signal aborts or the server refuses for good.
 * @param {object} options
 * @param {(signal: AbortSignal) => Promise<import('./session.js').Session>} options.open
 * @param {(progress: Progress) => void} options.report
 * @param {AbortSignal} options.signal
 */
export async function supervise({ open, report, signal }) {
  for (let attempt = 0; !signal.aborted; attempt++) {
    report({ phase: 'opening' });
    const outcome = await runOnce(open, report, signal);
    if (signal.aborted) return;
    if (outcome.problem && isFinal(outcome.problem)) {
      report({ phase: 'failed', problem: outcome.problem });
      return;
    }
    if (outcome.wasConnected) attempt = 0;
    const delayMs = Math.max(backoff(attempt), (outcome.problem?.retryAfter ?? 0) * 1000);
    report({ phase: 'retrying', delayMs, reason: outcome.reason, status: outcome.problem?.status ?? 0 });
    await sleep(delayMs, signal);
  }
}

/**
 * One session from its POST to its end.
 * @param {(signal: AbortSignal) => Promise<import('./session.js').Session>} open
 * @param {(progress: Progress) => void} report
 * @param {AbortSignal} signal
 * @returns {Promise<{reason: string, wasConnected: boolean, problem?: Problem}>}
 */
async function runOnce(open, report, signal) {
  let session;
  try {
    session = await open(signal);
  } catch (error) {
    const problem = error instanceof Problem ? error : new Problem(-1, String(error));
    return { reason: problem.message, wasConnected: false, problem };
  }
  const close = () => session.close();
  if (signal.aborted) close();
  signal.addEventListener('abort', close, { once: true });
  let wasConnected = false;
  session.connected.then(() => {
    wasConnected = true;
    report({ phase: 'connected' });
  });
  const reason = await session.ended;
  signal.removeEventListener('abort', close);
  return { reason, wasConnected };
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal ends the sleep early
 */
function sleep(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => { clearTimeout(timer); resolve(undefined); }, { once: true });
  });
}
