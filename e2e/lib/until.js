// Waiting for conditions. Deadlines are generous, because machines that run tests are busy; conditions are strict.

import { setTimeout as sleep } from 'node:timers/promises';

/** From one look at a condition to the next, milliseconds. */
const pollInterval = 50;

/** Thrown by a probe when waiting longer is pointless. */
export class Hopeless extends Error {}

/**
 * Calls probe until it returns something truthy, and returns that.
 * @template T
 * @param {string} what names the condition in the error
 * @param {() => T | Promise<T>} probe what it throws counts as "not yet" and is told when time runs out
 * @param {number} [deadlineMs]
 * @returns {Promise<T>}
 */
export async function until(what, probe, deadlineMs = 20_000) {
  const end = performance.now() + deadlineMs;
  let last;
  for (;;) {
    try {
      last = await probe();
      if (last) return last;
    } catch (error) {
      if (error instanceof Hopeless) throw error;
      last = error;
    }
    if (performance.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}; last seen: ${describe(last)}`);
    await sleep(pollInterval);
  }
}

/** @param {unknown} value */
function describe(value) {
  return value instanceof Error ? value.message : JSON.stringify(value);
}

/** @param {number[]} values @param {number} share 0 to 1 */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}
