// A headless Chromium that can reach nothing but this machine.
import { accessSync, constants } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

import { chromium } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

export function findBrowser() {
  for (const directory of process.env.PATH.split(delimiter)) {
    for (const name of NAMES) {
      try {
        accessSync(join(directory, name), constants.X_OK);
        return join(directory, name);
      } catch {
        continue;
      }
    }
  }
  throw new Error(`no browser to draw with: install one of ${NAMES.join(', ')}`);
}

export async function openBrowser() {
  const profile = await mkdtemp(join(tmpdir(), 'pictures-'));
  // Time zone, locale and motion are fixed, so that the same data gives the same picture.
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: findBrowser(),
    headless: true,
    deviceScaleFactor: 1,
    timezoneId: 'UTC',
    locale: 'en-GB',
    reducedMotion: 'reduce',
    args: [
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-gpu',
      '--disable-quic',
      '--disable-sync',
      '--no-first-run',
      // Chromium refuses to sandbox itself as root, which containers are.
      ...(process.getuid() === 0 ? ['--no-sandbox'] : []),
    ],
  });
  await context.route(
    (url) => url.hostname !== '127.0.0.1',
    (route) => route.abort(),
  );
  return {
    context,
    async close() {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}
