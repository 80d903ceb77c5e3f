// Tests of the modules that need no browser. TestModules in console_test.go runs them where Node is installed.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isID } from '../static/api.js';
import { iceServers, parseLinks } from '../static/link.js';
import { iceParameters, preferStereo, restartedAnswer, trickleFragment } from '../static/sdp.js';
import { Meter, codecName, readInbound, readOutbound } from '../static/stats.js';
import { backoff } from '../static/supervise.js';
import { cells, decodeTime, delayOf, encodeTime } from '../static/timecode.js';
import { formatBitrate, formatMs, formatPercent } from '../static/ui.js';
import { layerKey, videoLayers } from '../static/whep.js';

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

test('videoLayers', () => {
  const layers = videoLayers({ 0: [{ rid: 'l', width: 320, height: 180 }, { rid: 'h', width: 1280, height: 720 }], 1: [{ rid: 'x' }] });
  assert.deepEqual(layers.map(({ rid }) => rid), ['h', 'l']);
  const known = videoLayers({ 0: [{ rid: 'l', spatialLayerId: 0, temporalLayerId: 2 }, { rid: 'h', spatialLayerId: 0, temporalLayerId: 2 }] });
  assert.deepEqual(known, [{ rid: 'l' }, { rid: 'h' }], 'the rid says it all');
  const scalable = [{ spatialLayerId: 1, temporalLayerId: 2, width: 2, height: 2 }, { spatialLayerId: 0, temporalLayerId: 2, width: 1, height: 1 }];
  assert.deepEqual(videoLayers({ 0: scalable }).map(layerKey), ['/1/', '/0/'], 'spatial layers of one stream');
  const temporal = [{ spatialLayerId: 0, temporalLayerId: 1, bitrate: 2 }, { spatialLayerId: 0, temporalLayerId: 0, bitrate: 1 }];
  assert.deepEqual(videoLayers({ 0: temporal }).map(layerKey), ['/0/1', '/0/0'], 'temporal layers of one stream');
  for (const bad of [undefined, {}, { 0: 'x' }]) assert.deepEqual(videoLayers(bad), []);
  assert.notEqual(layerKey({ spatialLayerId: 1 }), layerKey({ temporalLayerId: 1 }));
  assert.equal(layerKey({ rid: 'h', bitrate: 1 }), layerKey({ rid: 'h', bitrate: 2 }));
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
