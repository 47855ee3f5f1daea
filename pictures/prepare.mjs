// Installs and bundles what draws, once for each state of its sources.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const OLDEST_NODE = 20;
const PROGRESS = 15_000;

/** Leave `dist` as the sources want it; node_modules, too, where it is not. */
export async function prepare() {
  if (Number(process.versions.node.split('.')[0]) < OLDEST_NODE) {
    throw new Error(`Node ${OLDEST_NODE} or newer is needed; this is ${process.versions.node}`);
  }
  await install();
  const stamp = join(HERE, 'dist', `.${digest(['build.mjs', 'package-lock.json', ...sources()])}`);
  if (existsSync(stamp)) return;
  console.log('building the page that draws dashboards');
  const { build } = await import('./build.mjs');
  await build(stamp);
}

async function install() {
  // npm ci begins with an empty node_modules, so this tells whether it was finished, and of what.
  const done = join(HERE, 'node_modules', `.installed-${digest(['package-lock.json'])}`);
  if (existsSync(done)) return;
  console.log("installing Grafana's components into pictures/node_modules, about 500 MB, once");
  const began = Date.now();
  const progress = setInterval(() => {
    console.log(`  ${Math.round((Date.now() - began) / 1000)} s`);
  }, PROGRESS);
  const arguments_ = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = spawn('npm', arguments_, { cwd: HERE, stdio: 'inherit' });
  const [code] = await once(npm, 'exit').finally(() => clearInterval(progress));
  if (code !== 0) throw new Error('npm could not install what pictures/package-lock.json names');
  writeFileSync(done, '');
}

const sources = () => readdirSync(join(HERE, 'src')).sort().map((name) => `src/${name}`);

function digest(names) {
  const hash = createHash('sha256');
  for (const name of names) hash.update(name).update(readFileSync(join(HERE, name)));
  return hash.digest('hex').slice(0, 12);
}
