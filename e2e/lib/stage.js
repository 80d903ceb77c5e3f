// What every file of tests needs: one node and one browser.

import { after, before } from 'node:test';
import { launch } from './browser.js';
import { Node } from './node.js';

/**
 * Starts both before the tests of the calling file and ends them afterwards.
 * @param {Parameters<typeof Node.start>[0]} [options]
 */
export function setStage(options) {
  const stage = /** @type {{node: Node, browser: import('playwright-core').Browser}} */ ({});
  before(async () => {
    stage.node = await Node.start(options);
    stage.browser = await launch();
  });
  after(async () => {
    await stage.browser?.close();
    await stage.node?.stop();
  });
  return stage;
}
