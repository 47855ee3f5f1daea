// Gives the browser the page, the dashboards, and the answers of Prometheus and Jaeger, on loopback.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const DIST = join(dirname(fileURLToPath(import.meta.url)), 'dist');
const TYPES = {
  '.css': 'text/css',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};
const PAGE = `<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="main.css">
<body><div id="root"></div>
<script>window.__grafana_public_path__ = "/public/"</script>
<script type="module" src="main.js"></script>`;

/** Serve; `upstream` maps the first part of a path to the address that answers the rest of it. */
export async function serve(upstream, dashboards) {
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    const [, first, ...rest] = url.pathname.split('/');
    try {
      if (upstream[first]) {
        const answer = await ask(`${upstream[first]}/${rest.join('/')}${url.search}`, request);
        response.writeHead(answer.status, { 'content-type': TYPES['.json'] });
        response.end(Buffer.from(await answer.arrayBuffer()));
        return;
      }
      const body = url.pathname === '/' ? PAGE : await readFile(fileOf(url, first, dashboards));
      response.writeHead(200, { 'content-type': TYPES[extname(url.pathname)] ?? 'text/html' });
      response.end(body);
    } catch (problem) {
      response.writeHead(upstream[first] ? 502 : 404).end(String(problem));
    }
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function fileOf(url, first, dashboards) {
  if (first === 'dashboard') return dashboards[Number(url.searchParams.get('number'))];
  return join(DIST, normalize(url.pathname));
}

async function ask(address, request) {
  const body = [];
  for await (const part of request) body.push(part);
  return fetch(address, {
    method: request.method,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: request.method === 'POST' ? Buffer.concat(body) : undefined,
  });
}
