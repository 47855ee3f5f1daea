// Shows the dashboards on live data in a browser: node live.mjs --prometheus URL [options]
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { prepare } from './prepare.mjs';
import { serve } from './serve.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const USAGE = `node live.mjs --prometheus URL [options]

  --jaeger URL        where the traces are
  --port 3001         of the page, on loopback; else a free one
  --interval 60       how often Open WebUI exports, in seconds
  --dashboards DIR    with the JSON of the dashboards; else dashboards/exact
  --prepare           only install and build what is missing`;
const UNAVAILABLE = 3;
const OPTIONS = {
  prometheus: { type: 'string' },
  jaeger: { type: 'string' },
  port: { type: 'string', default: '0' },
  interval: { type: 'string', default: '60' },
  dashboards: { type: 'string', default: join(dirname(HERE), 'dashboards/exact') },
  prepare: { type: 'boolean', default: false },
};
// What a stack that has just begun has to show, and that it moves.
const HOME = '/d/open-webui-usage?from=now-15m&to=now&refresh=10s';

const { values } = parseArgs({ options: OPTIONS });
if (!values.prometheus && !values.prepare) {
  console.error(USAGE);
  process.exit(2);
}
try {
  await prepare();
} catch (problem) {
  console.error(problem.message);
  process.exit(UNAVAILABLE);
}
if (!values.prepare) {
  const names = readdirSync(values.dashboards).filter((name) => name.endsWith('.json')).sort();
  const dashboards = names.map((name) => join(values.dashboards, name));
  const upstream = { prometheus: values.prometheus.replace(/\/$/, '') };
  if (values.jaeger) upstream.jaeger = values.jaeger.replace(/\/$/, '');
  const settings = {
    interval: Number(values.interval),
    dashboards: dashboards.map((file) => {
      const { uid, title, tags } = JSON.parse(readFileSync(file));
      return { uid, title, tags };
    }),
  };
  const { url } = await serve({ upstream, dashboards, settings, home: HOME, port: Number(values.port) });
  console.log(`${url}${HOME}`);
}
