// Bundles src/ with Grafana's components into dist/, which the browser loads.
import { cpSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build as bundle } from 'esbuild';

const HERE = dirname(fileURLToPath(import.meta.url));
const FONTS = {
  'inter/files/inter-latin-400-normal.woff2': 'inter/Inter-Regular.woff2',
  'inter/files/inter-latin-500-normal.woff2': 'inter/Inter-Medium.woff2',
  'inter/files/inter-latin-600-normal.woff2': 'inter/Inter-SemiBold.woff2',
  // Grafana's stylesheet asks for its monospaced font by this name.
  'roboto-mono/files/roboto-mono-latin-400-normal.woff2':
    'roboto/L0xTDF4xlVMF-BfR8bXMIhJHg45mwgGEFl0_3vrtSM1J-gEPT5Ese6hmHSh0mQ.woff2',
};

export async function build() {
  rmSync(join(HERE, 'dist'), { recursive: true, force: true });
  await bundle({
    absWorkingDir: HERE,
    entryPoints: ['src/main.jsx'],
    outdir: 'dist',
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
  cpSync(join(HERE, 'node_modules/@grafana/ui/dist/public/img'), join(HERE, 'dist/public/build/img'), {
    recursive: true,
  });
  for (const [from, to] of Object.entries(FONTS)) {
    cpSync(join(HERE, 'node_modules/@fontsource', from), join(HERE, 'dist/public/fonts', to));
  }
}
