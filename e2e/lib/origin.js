// A web site that is not the node: an empty page that brings the WHIP and WHEP clients of others.

import { build } from 'esbuild';
import { once } from 'node:events';
import { createServer } from 'node:http';

/** Makes the clients global as `clients`. */
const entry = `
  import { WHIPClient as EyevinnWhip } from '@eyevinn/whip-web-client';
  import { WebRTCPlayer as EyevinnPlayer } from '@eyevinn/webrtc-player';
  import { WHIPClient as MedoozeWhip } from 'whip-whep/whip.js';
  import { WHEPClient as MedoozeWhep } from 'whip-whep/whep.js';
  globalThis.clients = { EyevinnWhip, EyevinnPlayer, MedoozeWhip, MedoozeWhep };
`;

const page = '<!doctype html><title>another site</title><link rel="icon" href="data:,"><video muted autoplay playsinline></video><script src="clients.js"></script>';

/** @returns {Promise<{url: string, close: () => Promise<void>}>} */
export async function serveOtherSite() {
  const { outputFiles } = await build({
    stdin: { contents: entry, resolveDir: new URL('..', import.meta.url).pathname },
    bundle: true, write: false, platform: 'browser', logLevel: 'error',
  });
  const server = createServer((request, response) => {
    const isScript = request.url === '/clients.js';
    response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html');
    response.end(isScript ? outputFiles[0].text : page);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${port}/`,
    close: async () => { server.close(); server.closeAllConnections(); await once(server, 'close'); },
  };
}
