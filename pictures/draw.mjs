// Draws dashboards: node draw.mjs --prometheus URL --out DIRECTORY DASHBOARD.json…
import { mkdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { openBrowser } from './browser.mjs';
import { prepare } from './prepare.mjs';
import { serve } from './serve.mjs';

const USAGE = `node draw.mjs --prometheus URL --out DIRECTORY [options] DASHBOARD.json…

  --jaeger URL          where the traces are
  --from MS --to MS     the time range, in milliseconds; else the dashboard's own, until now
  --theme dark          light or dark; more than one may be given
  --width 1400          of the picture; more than one may be given
  --var name=value      what a dropdown chooses; more than one may be given
  --full                panels without data are errors, too`;

const OPTIONS = {
  prometheus: { type: 'string' },
  jaeger: { type: 'string' },
  out: { type: 'string' },
  from: { type: 'string' },
  to: { type: 'string' },
  theme: { type: 'string', multiple: true, default: ['dark'] },
  width: { type: 'string', multiple: true, default: ['1400'] },
  var: { type: 'string', multiple: true, default: [] },
  full: { type: 'boolean', default: false },
};

// Not at each frame, which a browser without a screen may stop to make.
const WAIT = { timeout: 120_000, polling: 100 };

/** Draw each dashboard in each theme and width; whether all went well. */
export async function draw(dashboards, options) {
  await prepare();
  mkdirSync(options.out, { recursive: true });
  const upstream = { prometheus: options.prometheus?.replace(/\/$/, '') };
  if (options.jaeger) upstream.jaeger = options.jaeger.replace(/\/$/, '');
  const server = await serve({ upstream, dashboards });
  const browser = await openBrowser();
  let good = true;
  try {
    for (const dashboard of dashboards) {
      const { uid } = JSON.parse(readFileSync(dashboard));
      for (const theme of options.theme) {
        for (const width of options.width) {
          const file = join(options.out, `${basename(dashboard, '.json')}-${theme}-${width}.png`);
          const query = new URLSearchParams({ uid, theme, width });
          for (const name of ['from', 'to']) if (options[name]) query.set(name, options[name]);
          for (const chosen of options.var) {
            const [name, ...value] = chosen.split('=');
            query.append(`var-${name}`, value.join('='));
          }
          const found = await picture(browser.context, `${server.url}/picture?${query}`, width, file);
          good = tell(file, found, options.full) && good;
        }
      }
    }
  } finally {
    await browser.close();
    server.close();
  }
  return good;
}

async function picture(context, url, width, file) {
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (problem) => errors.push(problem.stack));
  try {
    await page.setViewportSize({ width: Number(width), height: 900 });
    await page.goto(url);
    await page.waitForFunction(() => window.__found?.waiting.length === 0, null, WAIT);
    const dashboard = page.locator('#dashboard');
    if ((await dashboard.count()) === 1) {
      // A table draws only the rows that are in view: all of the page has to be.
      const { height } = await dashboard.boundingBox();
      await page.setViewportSize({ width: Number(width), height: Math.ceil(height) });
      await page.evaluate(() => document.fonts.ready);
      // Plots and tables measure themselves and draw again, and say nothing when they are done.
      await page.waitForTimeout(1200);
      await dashboard.screenshot({ path: file });
    }
    const found = await page.evaluate(() => window.__found);
    return { errors: [...errors, ...found.errors], empty: found.empty };
  } catch (problem) {
    const waiting = await page.evaluate(() => window.__found?.waiting).catch(() => []);
    return { errors: [...errors, String(problem), `waited for: ${waiting}`], empty: [] };
  } finally {
    await page.close();
  }
}

function tell(file, { errors, empty }, full) {
  const bad = errors.length > 0 || (full && empty.length > 0);
  console.log(`${bad ? 'BAD ' : 'drew'} ${file}`);
  for (const error of errors) console.log(`  error: ${error}`);
  if (empty.length) console.log(`  without data: ${empty.join('; ')}`);
  return !bad;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
  if (!values.prometheus || !values.out || !positionals.length) {
    console.error(USAGE);
    process.exit(2);
  }
  process.exit((await draw(positionals, values)) ? 0 : 1);
}
