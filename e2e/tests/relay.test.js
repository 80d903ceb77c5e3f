// Three nodes in a row: what is published on the first is watched, and talked about, on the last.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import datachannel from 'node-datachannel';
import { closePage } from '../lib/browser.js';
import { lines, publish, say, watch } from '../lib/console.js';
import { connectData } from '../lib/datachannel.js';
import { Node } from '../lib/node.js';
import { assertPatternRuns } from '../lib/picture.js';
import { setStage } from '../lib/stage.js';
import { until } from '../lib/until.js';

const stage = setStage(); // its node is the first
/** @type {Node} */
let middle;
/** @type {Node} */
let last;
before(async () => { [middle, last] = await Promise.all([Node.start(), Node.start()]); });
after(async () => {
  await Promise.all([middle?.stop(), last?.stop()]);
  datachannel.cleanup(); // its threads keep the process
});

/** @param {string} publisher */
async function relayThrough(publisher) {
  await stage.node.relay(middle, publisher);
  await middle.relay(last, publisher);
}

/** @param {Node} node @param {string} publisher */
const hops = async (node, publisher) => (await node.publisher(publisher))?.origin.hops.length;

test('Chromium is watched by Chromium three nodes away, and both chat', async (t) => {
  const publisher = await publish(stage.browser, stage.node, { name: 'far', codec: 'video/VP8' });
  t.after(() => closePage(publisher));
  await relayThrough('far');
  const viewer = await watch(stage.browser, last, 'far');
  t.after(() => closePage(viewer));
  await assertPatternRuns(viewer);
  assert.equal(await hops(last, 'far'), 2);

  await say(publisher, 'hello out there');
  await until('the viewer reads it', async () => (await lines(viewer)).includes('Publisher hello out there'));
  await say(viewer, 'hello back');
  await until('the publisher reads it', async () => (await lines(publisher)).some((line) => line.endsWith(' hello back')));
  assert.deepEqual([...publisher.faults, ...viewer.faults], []);
});

test('data of libdatachannel cross three nodes whole', async (t) => {
  /** @type {any} */
  let channel;
  t.after(await connectData(stage.node.whip('meter'), (pc) => { channel = pc.createDataChannel('readings', { protocol: 'csv' }); }));
  await relayThrough('meter');
  await until('the last node has the channel', async () => (await last.publisher('meter'))?.tracks.find((/** @type {any} */ { kind }) => kind === 'data')?.channels.length === 1);
  /** @type {(string | Buffer)[]} */
  const heard = [];
  /** Kept, since the binding frees what the garbage collector takes. @type {any} */
  let opened;
  /** @type {any} */
  let own;
  t.after(await connectData(last.whep('meter'), (pc) => {
    pc.onDataChannel((/** @type {any} */ other) => {
      opened = other;
      other.onMessage((/** @type {any} */ message) => heard.push(message));
    });
    own = pc.createDataChannel('own');
  }));
  await until('the viewer has the channel', () => opened?.getLabel() === 'readings');
  assert.equal(opened.getProtocol(), 'csv');
  assert.equal(own.getLabel(), 'own');
  const large = Buffer.alloc(64 << 10, 7);
  channel.sendMessage('1,2,3');
  channel.sendMessageBinary(large);
  channel.sendMessage('4,5,6');
  await until('all have come', () => heard.length === 3);
  assert.equal(heard[0], '1,2,3');
  assert.ok(large.equals(Buffer.from(/** @type {Buffer} */ (heard[1]))));
  assert.equal(heard[2], '4,5,6');
});
