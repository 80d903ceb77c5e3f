// One node under test: the real binary on free ports, with a directory of its own.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Hopeless, until } from './until.js';

export const repository = new URL('../../', import.meta.url).pathname;

/** @type {Promise<string> | undefined} */
let built;

/** The binary to test: RHEOMESH_BIN, or one that is built from this checkout. */
function binary() {
  if (process.env.RHEOMESH_BIN) return Promise.resolve(process.env.RHEOMESH_BIN);
  built ??= build();
  return built;
}

async function build() {
  const file = join(repository, 'bin', 'rheomesh');
  await promisify(execFile)('go', ['build', '-o', file, './cmd/rheomesh'], { cwd: repository });
  return file;
}

/** Ours without the variables that would configure the node. */
function environment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('RHEOMESH_')));
}

/** Nodes that must not outlive the tests, however these end. @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));
process.once('SIGTERM', () => process.exit(1)); // the test runner's time-out

export class Node {
  #process;
  #directory;
  #log = '';

  /**
   * @param {import('node:child_process').ChildProcessWithoutNullStreams} child
   * @param {string} directory
   */
  constructor(child, directory) {
    this.#process = child;
    this.#directory = directory;
    /** Base URL without a slash at its end. */
    this.url = '';
    child.stderr.on('data', (chunk) => { this.#log += chunk; });
    running.add(child);
    child.once('exit', () => running.delete(child));
  }

  /**
   * @param {object} [options]
   * @param {object} [options.config] keys of the configuration file
   */
  static async start({ config } = {}) {
    const directory = await mkdtemp(join(tmpdir(), 'rheomesh-e2e-'));
    const args = ['serve', '--http', '127.0.0.1:0', '--relay', '127.0.0.1:0', '--media', 'localhost:0', '--data-dir', directory];
    if (config) {
      const file = join(directory, 'config.yaml'); // JSON is YAML
      await writeFile(file, JSON.stringify(config));
      args.push('--config', file);
    }
    const node = new Node(spawn(await binary(), args, { env: environment() }), directory);
    await node.#ready();
    return node;
  }

  async #ready() {
    let banner = '';
    this.#process.stdout.on('data', (chunk) => { banner += chunk; });
    this.url = await until('the node prints its URL', () => {
      if (this.#process.exitCode !== null) throw new Hopeless(`exit ${this.#process.exitCode}: ${this.#log}`);
      return /^Page +(\S+)\/$/m.exec(banner)?.[1];
    });
    await until('the node is ready', async () => (await fetch(`${this.url}/readyz`)).ok);
  }

  /** @param {string} publisher @param {string} [router] */
  whip(publisher, router = 'live') {
    return `${this.url}/whip/${router}/${publisher}`;
  }

  /** @param {string} publisher @param {string} [router] */
  whep(publisher, router = 'live') {
    return `${this.url}/whep/${router}/${publisher}`;
  }

  /** @param {string} publisher @param {string} [router] */
  watch(publisher, router = 'live') {
    return `${this.url}/#/watch/${router}/${publisher}`;
  }

  /**
   * Reads a resource under /api/v1; undefined if there is none.
   * @param {string} path
   * @param {string} [token]
   */
  async api(path, token = '') {
    const response = await fetch(`${this.url}/api/v1/${path}`, { headers: token ? { Authorization: `Bearer ${token}` } : {} });
    if (response.status === 404) return undefined;
    if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** @param {string} publisher */
  publisher(publisher) {
    return this.api(`routers/live/publishers/${publisher}`);
  }

  /** Viewers of one publisher. @param {string} publisher @returns {Promise<any[]>} */
  async subscribers(publisher) {
    const page = await this.api('routers/live/subscribers?limit=100');
    return page.items.filter((/** @type {any} */ subscriber) => subscriber.publisher_id === publisher);
  }

  /**
   * Relays a publisher of the router live to another node.
   * @param {Node} other
   * @param {string} publisher
   */
  async relay(other, publisher) {
    const peer = (await other.api('node')).listeners.find((/** @type {any} */ { name }) => name === 'relay').addr;
    const response = await fetch(`${this.url}/api/v1/routers/live/relays/${publisher}`, {
      method: 'PUT', headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ peer, remote_router: 'live', publishers: [publisher], mode: 'push' }),
    });
    if (!response.ok) throw new Error(`relay to ${peer}: ${response.status} ${await response.text()}`);
  }

  /** Stops the node and fails if it had anything to complain about. */
  async stop() {
    if (this.#process.exitCode === null) {
      const exited = once(this.#process, 'exit');
      this.#process.kill('SIGTERM');
      const impatient = setTimeout(() => this.#process.kill('SIGKILL'), 20_000);
      await exited;
      clearTimeout(impatient);
    }
    await rm(this.#directory, { recursive: true });
    const complaints = this.#log.split('\n').filter((line) => line && !/"level":"(INFO|DEBUG)"/.test(line));
    if (this.#process.exitCode !== 0 || complaints.length > 0) {
      throw new Error(`the node ended with ${this.#process.exitCode ?? this.#process.signalCode} and said:\n${complaints.join('\n')}`);
    }
  }
}
