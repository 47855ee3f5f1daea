// Bundles src/ with Grafana's components into dist/, which the browser loads.
import { cpSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build as bundle } from 'esbuild';

const HERE = dirname(fileURLToPath(import.meta.url));
const FONTS = {
  'inter/files/inter-latin-400-normal.woff2': 'inter/Inter-Regular.woff2',
  'inter/files/inter-latin-400-italic.woff2': 'inter/Inter-Italic.woff2',
  'inter/files/inter-latin-500-normal.woff2': 'inter/Inter-Medium.woff2',
  'inter/files/inter-latin-600-normal.woff2': 'inter/Inter-SemiBold.woff2',
  // Grafana's stylesheet asks for its monospaced font by this name.
  'roboto-mono/files/roboto-mono-latin-400-normal.woff2':
    'roboto/L0xTDF4xlVMF-BfR8bXMIhJHg45mwgGEFl0_3vrtSM1J-gEPT5Ese6hmHSh0mQ.woff2',
};

/** The package lacks an icon that its own time picker shows: make it of the one that is its mirror image. */
function mirror(directory, from, to) {
  const drawing = readFileSync(join(directory, `${from}.svg`), 'utf8');
  const mirrored = drawing.replace('<path', '<path transform="matrix(-1 0 0 1 24 0)"');
  writeFileSync(join(directory, `${to}.svg`), mirrored);
}

/** Make dist/ anew, with this file in it as a sign that all of it is there. */
export async function build(stamp) {
  const unfinished = join(HERE, `node_modules/.dist-${process.pid}`);
  await bundle({
    absWorkingDir: HERE,
    entryPoints: ['src/picture.jsx', 'src/live.jsx'],
    outdir: unfinished,
    publicPath: '/',
    bundle: true,
    format: 'esm',
    splitting: true,
    minify: true,
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"', global: 'globalThis' },
    loader: { '.svg': 'dataurl', '.woff2': 'file', '.ttf': 'file' },
    logLevel: 'warning',
  });
  // Icons are loaded when they are drawn, from where Grafana serves them.
  cpSync(join(HERE, 'node_modules/@grafana/ui/dist/public/img'), join(unfinished, 'public/build/img'), {
    recursive: true,
  });
  mirror(join(unfinished, 'public/build/img/icons/unicons'), 'angle-double-right', 'angle-double-left');
  for (const [from, to] of Object.entries(FONTS)) {
    cpSync(join(HERE, 'node_modules/@fontsource', from), join(unfinished, 'public/fonts', to));
  }
  writeFileSync(join(unfinished, basename(stamp)), '');
  rmSync(join(HERE, 'dist'), { recursive: true, force: true });
  renameSync(unfinished, join(HERE, 'dist'));
}
