// A publisher that does what OBS Studio 32 does, on the stack that OBS has (libdatachannel): the offer holds no
// candidates, nothing is trickled, keyframes come when the encoder makes one whatever a PLI asks for, and the
// connection is closed before the DELETE. It runs in a process of its own: its pace does not depend on the tests, and
// a native crash of the binding is not theirs.

import { fork } from 'node:child_process';
import { once } from 'node:events';

const program = new URL('obs-process.js', import.meta.url).pathname;

export class Obs {
  #process;
  /** @type {Promise<number> | undefined} */
  #stopped;

  /**
   * @param {import('node:child_process').ChildProcess} process
   * @param {{status: number, offer: string, answer: string}} session
   */
  constructor(process, { status, offer, answer }) {
    this.#process = process;
    /** Status of the POST. */
    this.status = status;
    this.offer = offer;
    this.answer = answer;
  }

  /**
   * Publishes the built-in clip; resolves when the connection stands.
   * @param {string} url WHIP endpoint
   * @param {object} [options]
   * @param {string} [options.token]
   * @param {number} [options.layers] 0: one stream without rid; OBS 32 sends 1 to 4
   */
  static async publish(url, options = {}) {
    const child = fork(program, [url, JSON.stringify(options)]);
    const session = await reply(child);
    return new Obs(child, session);
  }

  /** Ends the session; returns the status of the DELETE. May be called twice. */
  stop() {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop() {
    this.#process.send('stop');
    const { deleted } = await reply(this.#process);
    this.#process.kill('SIGKILL');
    return deleted;
  }
}

/** @param {import('node:child_process').ChildProcess} child */
async function reply(child) {
  const exited = new AbortController();
  child.once('exit', () => exited.abort());
  try {
    const [message] = await once(child, 'message', { signal: exited.signal });
    if (message.error) throw new Error(message.error);
    return message;
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}
