// Tests of the modules that need no browser. TestModules in console_test.go runs them where Node is installed.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isID } from '../static/api.js';
import { currentName, mergeLayers, picturesOf, ratesUpTo } from '../static/layers.js';
import { iceServers, parseLinks } from '../static/link.js';
import { iceParameters, preferStereo, restartedAnswer, trickleFragment } from '../static/sdp.js';
import { Meter, codecName, readInbound, readOutbound } from '../static/stats.js';
import { backoff } from '../static/supervise.js';
import { cells, decodeTime, delayOf, encodeTime } from '../static/timecode.js';
import { formatBitrate, formatMs, formatPercent } from '../static/ui.js';
import { scalabilityModes } from '../static/whip.js';

const lines = (...text) => text.join('\r\n') + '\r\n';

test('parseLinks', () => {
  const rows = [
    ['absent', null, []],
    ['one', '</a>; rel="x"', [['/a', 'x']]],
    ['two joined by fetch', '</a>; rel="x"; events="active,inactive", <stun:h:1>; rel=ice-server', [['/a', 'x'], ['stun:h:1', 'ice-server']]],
    ['upper case name', '</a>;REL="x"', [['/a', 'x']]],
    ['first rel counts', '</a>; rel=x; rel=y', [['/a', 'x']]],
    ['escaped quote', '</a>; title="a \\"b\\""; rel=x', [['/a', 'x']]],
    ['comma in target', '</a,b>; rel=x', [['/a,b', 'x']]],
    ['no params', '</a>', [['/a', '']]],
    ['rest is malformed', '</a>; rel=x, nonsense', [['/a', 'x']]],
    ['only nonsense', 'nonsense', []],
  ];
  for (const [name, header, want] of rows) {
    assert.deepEqual(parseLinks(header).map(({ target, rel }) => [target, rel]), want, name);
  }
  assert.equal(parseLinks('</a>; rel=x; events="active,layers"')[0].params.events, 'active,layers');
});

test('iceServers', () => {
  const links = parseLinks('<stun:s>; rel="ice-server", <turn:t?transport=udp>; rel="ice-server"; username="u"; credential="c", </sse>; rel="other"');
  assert.deepEqual(iceServers(links), [{ urls: 'stun:s' }, { urls: 'turn:t?transport=udp', username: 'u', credential: 'c' }]);
});

test('preferStereo', () => {
  const rows = [
    ['opus', 'a=fmtp:111 minptime=10;useinbandfec=1', 'a=fmtp:111 minptime=10;useinbandfec=1;stereo=1'],
    ['already there', 'a=fmtp:111 stereo=0', 'a=fmtp:111 stereo=0'],
    ['sprop-stereo is another parameter', 'a=fmtp:111 sprop-stereo=1', 'a=fmtp:111 sprop-stereo=1;stereo=1'],
    ['other format', 'a=fmtp:96 profile-id=0', 'a=fmtp:96 profile-id=0'],
  ];
  for (const [name, got, want] of rows) {
    const map = 'a=rtpmap:111 opus/48000/2';
    assert.equal(preferStereo(lines('v=0', map, got)), lines('v=0', map, want), name);
  }
});

const offer = lines('v=0', 'a=group:BUNDLE 0 1', 'm=video 9 UDP/TLS/RTP/SAVPF 96', 'a=ice-ufrag:U1', 'a=ice-pwd:P1',
  'a=ice-options:trickle', 'a=mid:0', 'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=ice-ufrag:U1', 'a=ice-pwd:P1', 'a=mid:1');

test('trickleFragment', () => {
  assert.equal(trickleFragment(offer, ['candidate:1 1 udp 1 192.0.2.1 1 typ host'], true), lines(
    'a=group:BUNDLE 0 1', 'a=ice-options:trickle', 'm=video 9 UDP/TLS/RTP/SAVPF 96', 'a=mid:0', 'a=ice-ufrag:U1', 'a=ice-pwd:P1',
    'a=candidate:1 1 udp 1 192.0.2.1 1 typ host', 'a=end-of-candidates'));
  assert.ok(!trickleFragment(offer, [], false).includes('end-of-candidates'));
});

test('iceParameters', () => {
  assert.deepEqual(iceParameters(offer), { ufrag: 'U1', pwd: 'P1' });
  assert.deepEqual(iceParameters('a=ice-ufrag:x\na=ice-pwd:y'), { ufrag: 'x', pwd: 'y' });
  assert.deepEqual(iceParameters(''), { ufrag: '', pwd: '' });
});

test('restartedAnswer', () => {
  const fragment = lines('a=ice-ufrag:U2', 'a=ice-pwd:P2', 'm=video 9 UDP/TLS/RTP/SAVPF 0', 'a=mid:0', 'a=candidate:9 1 udp 1 192.0.2.9 9 typ host', 'a=end-of-candidates');
  const rows = [
    ['credentials in each section',
      lines('v=0', 'm=video', 'a=ice-ufrag:U1', 'a=ice-pwd:P1', 'a=mid:0', 'a=candidate:1', 'm=audio', 'a=ice-ufrag:U1', 'a=ice-pwd:P1', 'a=mid:1'),
      lines('v=0', 'm=video', 'a=ice-ufrag:U2', 'a=ice-pwd:P2', 'a=mid:0', 'a=candidate:9 1 udp 1 192.0.2.9 9 typ host', 'a=end-of-candidates', 'm=audio', 'a=ice-ufrag:U2', 'a=ice-pwd:P2', 'a=mid:1')],
    ['credentials for the whole session',
      lines('v=0', 'a=ice-ufrag:U1', 'a=ice-pwd:P1', 'm=video', 'a=mid:0', 'a=candidate:1', 'm=audio', 'a=mid:1'),
      lines('v=0', 'a=ice-ufrag:U2', 'a=ice-pwd:P2', 'm=video', 'a=mid:0', 'a=candidate:9 1 udp 1 192.0.2.9 9 typ host', 'a=end-of-candidates', 'm=audio', 'a=mid:1')],
  ];
  for (const [name, answer, want] of rows) assert.equal(restartedAnswer(answer, fragment), want, name);
});

test('time code', () => {
  for (const ms of [0, 1, 0xffffffff, 2 ** 32, 1_790_000_000_123]) {
    const code = encodeTime(ms);
    assert.equal(code.length, cells);
    assert.equal(decodeTime(code), ms % 2 ** 32, `time ${ms}`);
  }
  const code = encodeTime(1_790_000_000_123);
  for (let cell = 0; cell < cells; cell++) {
    assert.equal(decodeTime(code.map((bit, index) => (index === cell ? !bit : bit))), undefined, `flipped cell ${cell}`);
  }
  assert.equal(decodeTime(Array(cells).fill(false)), undefined, 'black');
  assert.equal(decodeTime(Array(cells).fill(true)), undefined, 'white');
  assert.equal(decodeTime([]), undefined, 'nothing');
});

test('delayOf', () => {
  assert.equal(delayOf(1000, 1040), 40);
  assert.equal(delayOf(2 ** 32 - 10, 2 ** 32 + 30), 40, 'wraps');
  assert.equal(delayOf(1000, 999), undefined, 'from the future');
  assert.equal(delayOf(1000, 60_000), undefined, 'another clock');
});

test('Meter', () => {
  const meter = new Meter();
  assert.equal(meter.bitrate('a', 1000, 0), undefined, 'first sample');
  assert.equal(meter.bitrate('a', 2000, 1000), 8000);
  assert.equal(meter.bitrate('a', 2000, 2000), 0, 'only the last second counts');
  assert.equal(meter.bitrate('b', 9, 2000), undefined, 'keys are apart');
  assert.equal(meter.bitrate('a', 0, 3000), 0, 'a counter that starts over');
  assert.equal(meter.loss('v', 0, 0, 0), undefined, 'nothing arrived');
  assert.equal(meter.loss('v', 10, 90, 1000), 0.1);
  for (let second = 2; second <= 7; second++) meter.loss('v', 10, 90 + second, second * 1000);
  assert.equal(meter.loss('v', 10, 200, 8000), 0, 'old loss is forgotten');
});

/** @param {number} at @param {number} bytes */
const inboundReport = (at, bytes) => new Map(Object.entries({
  V: { id: 'V', type: 'inbound-rtp', kind: 'video', timestamp: at, bytesReceived: bytes, packetsReceived: bytes / 1000, packetsLost: 0, jitter: 0.002, frameWidth: 1280, frameHeight: 720, framesPerSecond: 30, framesDecoded: 60, freezeCount: 1, nackCount: 2, pliCount: 3, codecId: 'C' },
  A: { id: 'A', type: 'inbound-rtp', kind: 'audio', timestamp: at, bytesReceived: 100, packetsReceived: 1, codecId: 'D' },
  C: { id: 'C', type: 'codec', mimeType: 'video/H264' },
  D: { id: 'D', type: 'codec', mimeType: 'audio/opus' },
  T: { id: 'T', type: 'transport', selectedCandidatePairId: 'P' },
  P: { id: 'P', type: 'candidate-pair', currentRoundTripTime: 0.012, remoteCandidateId: 'R' },
  R: { id: 'R', type: 'remote-candidate', protocol: 'udp', address: '192.0.2.1', port: 10000 },
}));

test('readInbound', () => {
  const meter = new Meter();
  readInbound(inboundReport(0, 1000), meter);
  const got = readInbound(inboundReport(1000, 126_000), meter);
  assert.equal(got.bitrateBps, 1_000_000);
  assert.equal(got.codec, 'H.264 + Opus');
  assert.equal(got.jitterMs, 2);
  assert.deepEqual(got.path, { rttMs: 12, protocol: 'udp', remote: '192.0.2.1:10000' });
  assert.deepEqual([got.width, got.height, got.fps, got.freezes, got.nacks, got.plis, got.loss], [1280, 720, 30, 1, 2, 3, 0]);
  assert.equal(readInbound(new Map(), meter).codec, '', 'empty report');
});

test('readOutbound', () => {
  const report = (at, bytes) => new Map(Object.entries({
    L: { id: 'L', type: 'outbound-rtp', kind: 'video', rid: 'l', timestamp: at, bytesSent: bytes, frameWidth: 320, frameHeight: 180, qualityLimitationReason: 'none', codecId: 'C' },
    H: { id: 'H', type: 'outbound-rtp', kind: 'video', rid: 'h', timestamp: at, bytesSent: bytes * 3, frameWidth: 1280, frameHeight: 720, qualityLimitationReason: 'cpu', codecId: 'C' },
    C: { id: 'C', type: 'codec', mimeType: 'video/VP8' },
    R: { id: 'R', type: 'remote-inbound-rtp', fractionLost: 0.25, roundTripTime: 0.03 },
  }));
  const meter = new Meter();
  readOutbound(report(0, 0), meter);
  const got = readOutbound(report(1000, 1000), meter);
  assert.deepEqual(got.layers.map(({ rid, bitrateBps }) => [rid, bitrateBps]), [['h', 24_000], ['l', 8000]], 'largest first');
  assert.deepEqual([got.bitrateBps, got.loss, got.rttMs, got.limitation, got.codec], [32_000, 0.25, 30, 'cpu', 'VP8']);
});

test('backoff', () => {
  assert.equal(backoff(0, 0.5), 500);
  assert.equal(backoff(3, 0.5), 4000);
  assert.equal(backoff(40, 0.5), 15_000, 'limit');
  assert.ok(backoff(2, 0) < backoff(2, 1), 'spread');
});

const sub = (spatialLayerId, temporalLayerId, more = {}) => ({ spatialLayerId, temporalLayerId, width: 320 << spatialLayerId, height: 180 << spatialLayerId, bitrate: 1, ...more });

test('picturesOf', () => {
  const simulcast = picturesOf([{ rid: 'l', width: 320, height: 180 }, { rid: 'h', width: 1280, height: 720, temporalLayerId: 2 }]);
  assert.deepEqual(simulcast.map(({ name, selection }) => [name, selection]), [['1280×720', { rid: 'h' }], ['320×180', { rid: 'l' }]]);

  const nine = [0, 1, 2].flatMap((spatial) => [0, 1, 2].map((temporal) => sub(spatial, temporal, { bitrate: spatial * 10 + temporal, selected: spatial === 1 && temporal === 1 })));
  const scalable = picturesOf(nine);
  assert.deepEqual(scalable.map(({ name, selection, top, bitrate, selected }) => [name, selection, top, bitrate, selected]), [
    ['1280×720', { spatialLayerId: 2 }, 2, 22, undefined], ['640×360', { spatialLayerId: 1 }, 2, 12, 1], ['320×180', { spatialLayerId: 0 }, 2, 2, undefined],
  ]);
  assert.equal(currentName(scalable), '640×360 ½');

  const temporal = picturesOf([sub(0, 0), sub(0, 1)]);
  assert.deepEqual(temporal.map(({ selection, top }) => [selection, top]), [[{}, 1]], 'one size: nothing to tell apart');

  const equal = picturesOf([{ rid: '0', width: 640, height: 360 }, { rid: '1', width: 640, height: 360 }]);
  assert.deepEqual(equal.map(({ name }) => name), ['640×360 (0)', '640×360 (1)'], 'no two have one name');
  assert.deepEqual(picturesOf([{ rid: 'm' }, { rid: 'l' }]).map(({ name }) => name), ['l', 'm'], 'sizes unknown');
  assert.deepEqual(picturesOf([sub(0, 0, { width: 0 }), sub(1, 0, { width: 0 })]).map(({ name }) => name), ['S0', 'S1']);
  assert.deepEqual(picturesOf([{ spatialLayerId: 0 }]).map(({ name }) => name), ['Picture']);
  assert.equal(currentName(simulcast), '', 'nobody tells');
});

test('mergeLayers', () => {
  const places = (layers) => layers.map(({ rid = '', spatialLayerId, temporalLayerId, bitrate }) => [rid, spatialLayerId, temporalLayerId, bitrate].join('/'));
  for (const bad of [undefined, {}, { 0: 'x' }]) assert.deepEqual(mergeLayers([], bad), []);
  const two = mergeLayers([], { 0: [sub(0, 0), sub(1, 0)], 1: [{ rid: 'x' }] });
  assert.deepEqual(places(two), ['/0/0/1', '/1/0/1'], 'video only');
  assert.deepEqual(places(mergeLayers(two, { 0: [sub(0, 0)] })), ['/0/0/1', '/1/0/0'], 'what stopped stays');
  assert.deepEqual(places(mergeLayers(two, { 0: [{ spatialLayerId: 1, bitrate: 0 }] })), ['/0/0/0', '/1/0/0'], 'all of it stopped');
  assert.deepEqual(places(mergeLayers([{ rid: 'h', bitrate: 5 }], { 0: [sub(0, 0, { rid: 'h' }), sub(0, 1, { rid: 'h' })] })), ['h/0/0/1', 'h/0/1/1'], 'sub-layers become known');
  assert.deepEqual(places(mergeLayers(two, { 0: [{ bitrate: 3 }] })), ['///3'], 'another stream without sub-layers');
});

test('ratesUpTo', () => {
  assert.deepEqual(ratesUpTo(2), [{ name: 'Full' }, { name: 'Half', temporalLayerId: 1 }, { name: 'Quarter', temporalLayerId: 0 }]);
  assert.equal(ratesUpTo(0).length, 1);
});

test('scalabilityModes', () => {
  assert.ok(scalabilityModes('video/VP9', false).includes('L3T3_KEY'));
  for (const [codec, simulcast] of [['video/VP8', false], ['video/VP9', true]]) {
    assert.deepEqual(scalabilityModes(codec, simulcast), ['L1T2', 'L1T3'], `${codec} ${simulcast}`);
  }
  for (const codec of ['', 'video/H265']) assert.deepEqual(scalabilityModes(codec, false), [], codec);
});

test('isID', () => {
  for (const id of ['a', 'cam-1', 'A.b_c~d', '...', 'x'.repeat(64)]) assert.ok(isID(id), id);
  for (const id of ['', '.', '..', 'a/b', 'a b', '<b>', 'ä', 'x'.repeat(65)]) assert.ok(!isID(id), id);
});

test('formats', () => {
  assert.deepEqual([undefined, 950, 64_000, 2_500_000, 12_340_000].map(formatBitrate), ['–', '1 kbit/s', '64 kbit/s', '2.50 Mbit/s', '12.3 Mbit/s']);
  assert.deepEqual([undefined, 0.4, 1, 7.25, 120.6].map(formatMs), ['–', '< 1 ms', '1 ms', '7.3 ms', '121 ms']);
  assert.deepEqual([undefined, 0, 0.005, 0.25].map(formatPercent), ['–', '0.0 %', '0.50 %', '25.0 %']);
  assert.deepEqual(['video/H264', 'opus', 'VP8', 'audio/opus', ''].map(codecName), ['H.264', 'Opus', 'VP8', 'Opus', '']);
});
