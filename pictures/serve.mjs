// Gives the browser the pages, the dashboards, and the answers of Prometheus and Jaeger, on loopback.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const DIST = join(dirname(fileURLToPath(import.meta.url)), 'dist');
const HOST = '127.0.0.1';
const LONGEST_BODY = 1_000_000;
const TIMEOUT = 60_000;
const TYPES = {
  '.css': 'text/css',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};
const JSON_TYPE = TYPES['.json'];
const HEADERS = {
  'cache-control': 'no-cache',
  'content-security-policy':
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; " +
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

// What may be asked of each program: that only reads, and is what dashboards need.
const ASKED = {
  prometheus: /^api\/v1\/(query|query_range|query_exemplars|labels|label\/\w+\/values|series|alerts)$/,
  jaeger: /^api\/traces(\/[0-9a-f]{1,32})?$/,
};

const page = (name) => `<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Open WebUI</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/${name}.css">
<body><div id="root"></div><script type="module" src="/${name}.js"></script>`;

class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * Serve on loopback.
 *
 * `upstream` maps `prometheus` and `jaeger` to their addresses, `dashboards` are files, `settings` is
 * told to the live page, and `home` is where / leads.
 */
export async function serve({ upstream, dashboards, settings = {}, home = '/', port = 0 }) {
  const files = new Map(dashboards.map((file) => [JSON.parse(readFileSync(file)).uid, file]));
  const told = JSON.stringify({ ...settings, hasJaeger: Boolean(upstream.jaeger) });
  const routes = {
    '': () => ({ status: 302, headers: { location: home } }),
    d: () => ({ body: page('live') }),
    trace: () => ({ body: page('live') }),
    picture: () => ({ body: page('picture') }),
    'settings.json': () => ({ type: JSON_TYPE, body: told }),
    dashboards: async ([uid]) => {
      if (!files.has(uid)) throw new Refusal(404, `there is no dashboard ${uid}`);
      return { type: JSON_TYPE, body: await readFile(files.get(uid)) };
    },
    prometheus: (rest, request, url) => ask('prometheus', rest, request, url),
    jaeger: (rest, request, url) => ask('jaeger', rest, request, url),
  };

  async function ask(program, rest, request, url) {
    const path = rest.join('/');
    if (!upstream[program] || !ASKED[program].test(path)) throw new Refusal(404, 'this is not served here');
    const { status, text } = await forward(`${upstream[program]}/${path}${url.search}`, request);
    return { status, type: JSON_TYPE, body: text };
  }

  const server = createServer(async (request, response) => {
    try {
      const url = new URL(request.url, `http://${HOST}`);
      const [, first, ...rest] = url.pathname.split('/');
      admit(request, server.address().port, first in ASKED);
      const route = routes[first] ?? (() => file(url.pathname));
      const { status = 200, type = 'text/html', headers = {}, body } = await route(rest, request, url);
      response.writeHead(status, { ...HEADERS, 'content-type': type, ...headers }).end(body);
    } catch (problem) {
      const status = problem.status ?? (problem.code === 'ENOENT' ? 404 : 502);
      response.writeHead(status, { ...HEADERS, 'content-type': 'text/plain' }).end(problem.message);
    }
  });
  await new Promise((ready, failed) => {
    server.once('error', failed);
    server.listen(port, HOST, ready);
  });
  return {
    url: `http://${HOST}:${server.address().port}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Let nobody in but our own pages: names that lead here, other sites, and other ports are refused. */
function admit({ headers, method }, port, isData) {
  if (![`${HOST}:${port}`, `localhost:${port}`].includes(headers.host)) {
    throw new Refusal(403, `this is ${HOST}:${port}, not ${headers.host}`);
  }
  if (headers.origin && headers.origin !== `http://${headers.host}`) {
    throw new Refusal(403, 'other origins are refused');
  }
  const site = headers['sec-fetch-site'] ?? 'none';
  if (isData && !['none', 'same-origin'].includes(site)) {
    throw new Refusal(403, 'other sites are refused');
  }
  if (!(isData ? ['GET', 'POST'] : ['GET']).includes(method)) throw new Refusal(405, 'this only reads');
}

async function file(path) {
  const type = TYPES[extname(path)];
  if (!type) throw new Refusal(404, 'there is nothing here');
  return { type, body: await readFile(join(DIST, normalize(path))) };
}

async function forward(address, request) {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > LONGEST_BODY) throw new Refusal(413, 'this is too long');
    parts.push(part);
  }
  const answer = await fetch(address, {
    method: request.method,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: request.method === 'POST' ? Buffer.concat(parts) : undefined,
    redirect: 'error',
    signal: AbortSignal.timeout(TIMEOUT),
  });
  return { status: answer.status, text: await answer.text() };
}
