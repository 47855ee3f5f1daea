// Draws the dashboard that the address names, and tells through window what it found.
import { EventBusSrv, ThemeContext, createTheme, setTimeZoneResolver } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { GlobalStyles, PanelContextProvider } from '@grafana/ui';
import { createRoot } from 'react-dom/client';

import { Dashboard } from './dashboard.jsx';
import { interpolate } from './interpolate.js';
import { parseRange } from './time.js';
import { loadVariables } from './variables.js';

const WEIGHTS = { 400: 'Regular', 500: 'Medium', 600: 'SemiBold' };
const TIME_ZONE = 'utc';

// What is waited for; a picture is taken when nothing is left.
const found = (window.__found = { errors: [], empty: [], waiting: ['the dashboard'] });
const report = {
  error: (text) => found.errors.push(text),
  empty: (title) => found.empty.push(title),
  finished: (title) => void found.waiting.splice(found.waiting.indexOf(title), 1),
};

async function main() {
  const query = new URLSearchParams(location.search);
  await initPluginTranslations('grafana-ui');
  await loadFonts();
  const dashboard = await (await fetch(`dashboard/?number=${query.get('number')}`)).json();
  const theme = createTheme({ colors: { mode: query.get('theme') } });
  setTimeZoneResolver(() => TIME_ZONE);
  const range = parseRange(query.get('from') ?? dashboard.time.from, query.get('to') ?? dashboard.time.to);
  const variables = await loadVariables(dashboard.templating?.list ?? [], range, chosen(query));
  const context = {
    hasJaeger: query.has('jaeger'),
    range,
    replace: (text, scope) => interpolate(text, variables, { scope, format: 'text' }),
    report,
    theme,
    timeZone: TIME_ZONE,
    variables,
  };
  const panels = dashboard.panels.filter(({ type }) => type !== 'row');
  found.waiting = panels.map(({ title }) => context.replace(title));
  const panelContext = {
    canEditThresholds: false,
    eventBus: new EventBusSrv(),
    eventsScope: 'dashboard',
    onSeriesColorChange() {},
  };
  createRoot(document.getElementById('root')).render(
    <ThemeContext.Provider value={theme}>
      <PanelContextProvider value={panelContext}>
        <GlobalStyles />
        <Dashboard context={context} dashboard={dashboard} width={Number(query.get('width'))} />
      </PanelContextProvider>
    </ThemeContext.Provider>,
  );
}

/** Sizes of big values are measured before the first drawing, so the font has to be there by then. */
async function loadFonts() {
  const faces = Object.entries(WEIGHTS).map(([weight, name]) =>
    new FontFace('Inter', `url(/public/fonts/inter/Inter-${name}.woff2)`, { weight }).load(),
  );
  for (const face of await Promise.all(faces)) document.fonts.add(face);
}

function chosen(query) {
  const names = [...query.keys()].filter((key) => key.startsWith('var-'));
  return Object.fromEntries(names.map((key) => [key.slice(4), query.getAll(key)]));
}

main().catch((problem) => {
  report.error(String(problem.stack ?? problem));
  found.waiting = [];
});
