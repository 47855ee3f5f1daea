// Draws all dashboards for `make pictures`, light and dark, wide and narrow, into out/.
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import { prepare } from './prepare.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = dirname(HERE);
const STACK = join(ROOT, '.stack/env');
const OUT = join(HERE, 'out');
const LONGEST = 60 * 60_000;
const SHORTEST = 10 * 60_000;
const NOWHERE = `There is no Prometheus to ask. Either
  - run \`make stack\` in another terminal, wait until it says that all is ready, and try again; or
  - name one with usage: PROMETHEUS_URL=http://… [JAEGER_URL=http://…] make pictures`;

function places() {
  const { PROMETHEUS_URL, JAEGER_URL } = process.env;
  if (PROMETHEUS_URL) return { PROMETHEUS_URL, JAEGER_URL };
  if (!existsSync(STACK)) return {};
  const lines = readFileSync(STACK, 'utf8').trim().split('\n');
  return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2)));
}

/** The time since which there is data, so that a stack that has just begun does not look empty. */
async function since(prometheus, now) {
  const answer = await fetch(`${prometheus}/api/v1/status/tsdb`);
  const oldest = answer.ok ? (await answer.json()).data?.headStats?.minTime : undefined;
  return Math.max(now - LONGEST, Math.min(now - SHORTEST, oldest ?? 0));
}

const { PROMETHEUS_URL: prometheus, JAEGER_URL: jaeger } = places();
if (!prometheus) {
  console.error(NOWHERE);
  process.exit(2);
}
const to = Date.now();
let from;
try {
  from = await since(prometheus, to);
} catch {
  console.error(`Nothing answers at ${prometheus}.\n${NOWHERE}`);
  process.exit(2);
}
await prepare();
const { draw } = await import('./draw.mjs');
const directory = join(ROOT, 'dashboards/exact');
const dashboards = readdirSync(directory).filter((name) => name.endsWith('.json')).sort();
rmSync(OUT, { recursive: true, force: true });
const good = await draw(
  dashboards.map((name) => join(directory, name)),
  {
    prometheus,
    jaeger,
    out: OUT,
    from: String(from),
    to: String(to),
    theme: ['light', 'dark'],
    width: ['1400', '800'],
    var: [],
    full: false,
  },
);
console.log(`the pictures are in ${relative(ROOT, OUT)}`);
process.exit(good ? 0 : 1);
