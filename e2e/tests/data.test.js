// Data channels: the chat of the page, and a client with the WebRTC stack of OBS.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import datachannel from 'node-datachannel';
import { closePage } from '../lib/browser.js';
import { lines, publish, say, watch } from '../lib/console.js';
import { connectData } from '../lib/datachannel.js';
import { setStage } from '../lib/stage.js';
import { until } from '../lib/until.js';

const stage = setStage();
after(() => datachannel.cleanup()); // its threads keep the process

/** @param {string} name @param {object} message */
async function post(name, message) {
  const response = await fetch(`${stage.node.url}/api/v1/routers/live/data`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ publisher: name, ...message }),
  });
  assert.equal(response.status, 202, await response.text());
}

/** @param {string} name */
const dataTrack = async (name) => (await stage.node.publisher(name))?.tracks.find((/** @type {any} */ { kind }) => kind === 'data');

test('publisher and viewers chat, and the server may join in', async (t) => {
  const publisher = await publish(stage.browser, stage.node, { name: 'chatty', codec: 'video/VP8' });
  t.after(() => closePage(publisher));
  const [one, two] = [await watch(stage.browser, stage.node, 'chatty'), await watch(stage.browser, stage.node, 'chatty')];
  t.after(() => Promise.all([closePage(one), closePage(two)]));
  const viewers = await stage.node.subscribers('chatty');
  await until('both viewers have the channel', async () => (await stage.node.subscribers('chatty')).every(({ tracks }) => tracks.some((/** @type {any} */ { kind }) => kind === 'data')));

  await say(publisher, 'hello <b>all</b>');
  for (const viewer of [one, two]) await until('the greeting is there', async () => (await lines(viewer)).includes('Publisher hello <b>all</b>'));

  await say(one, 'hello back');
  await until('the publisher reads it', async () => (await lines(publisher)).some((line) => line.endsWith(' hello back')));
  await until('the other viewer too', async () => (await lines(two)).some((line) => line.endsWith(' hello back')));
  const name = (await lines(two)).at(-1)?.slice(0, 'Viewer xxxx'.length);
  assert.ok(viewers.some(({ id }) => name === `Viewer ${id.slice(-4)}`), `${name} is one of the subscribers`);
  assert.deepEqual(await lines(one), ['Publisher hello <b>all</b>', 'Viewer hello back'], 'what one has said oneself is not repeated');

  await post('chatty', { label: 'chat', text: 'from the server' });
  for (const viewer of [one, two]) await until('the server is heard', async () => (await lines(viewer)).at(-1) === 'Server from the server');

  const track = await dataTrack('chatty');
  assert.deepEqual(track.channels.map((/** @type {any} */ { label, ordered, messages }) => ({ label, ordered, messages })), [{ label: 'chat', ordered: true, messages: 3 }]);
  assert.deepEqual([...publisher.faults, ...one.faults, ...two.faults], []);
});

test('libdatachannel publishes data alone, and plays it', async (t) => {
  /** @type {any} */
  let channel;
  t.after(await connectData(stage.node.whip('sensor'), (pc) => { channel = pc.createDataChannel('readings', { protocol: 'csv', unordered: true, maxRetransmits: 2 }); }));
  await until('the node has the channel', async () => (await dataTrack('sensor'))?.channels.length === 1);
  const [described] = (await dataTrack('sensor')).channels;
  assert.deepEqual({ ...described }, { label: 'readings', protocol: 'csv', ordered: false, max_retransmits: 2, messages: 0, bytes: 0 });

  /** @type {(string | Buffer)[]} */
  const heard = [];
  /** @type {any[]} */
  const opened = [];
  /** The binding frees what the garbage collector takes although libdatachannel still uses it. @type {any} */
  let own;
  t.after(await connectData(stage.node.whip('sensor').replace('/whip/', '/whep/'), (pc) => {
    pc.onDataChannel((/** @type {any} */ other) => {
      opened.push(other);
      other.onMessage((/** @type {any} */ message) => heard.push(message));
    });
    own = pc.createDataChannel('own');
  }));
  await until('the viewer has the channel', () => opened.length === 1);
  assert.equal(opened[0].getLabel(), 'readings');
  assert.equal(opened[0].getProtocol(), 'csv');
  assert.equal(own.getLabel(), 'own');
  channel.sendMessage('1,2,3');
  channel.sendMessageBinary(Buffer.from([0, 255]));
  channel.sendMessageBinary(Buffer.alloc(64 << 10, 7));
  await until('all have come', () => heard.length === 3);
  assert.ok(heard.includes('1,2,3'));
  const lengths = heard.filter((message) => typeof message !== 'string').map(({ length }) => length).sort((a, b) => a - b);
  assert.deepEqual(lengths, [2, 64 << 10]);
});
