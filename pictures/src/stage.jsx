// What every page of Grafana's components stands on: language, fonts, theme.
import { EventBusSrv, ThemeContext } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { GlobalStyles, PanelContextProvider } from '@grafana/ui';

const WEIGHTS = { 400: 'Regular', 500: 'Medium', 600: 'SemiBold' };

export async function prepareStage() {
  await initPluginTranslations('grafana-ui');
  await loadFonts();
}

/** Sizes of big values are measured before the first drawing, so the font has to be there by then. */
async function loadFonts() {
  const faces = Object.entries(WEIGHTS).map(([weight, name]) =>
    new FontFace('Inter', `url(/public/fonts/inter/Inter-${name}.woff2)`, { weight }).load(),
  );
  for (const face of await Promise.all(faces)) document.fonts.add(face);
}

/** `cursor` is 1 for a crosshair that all plots share, as a dashboard's graphTooltip is. */
const panelContext = {
  canEditThresholds: false,
  eventBus: new EventBusSrv(),
  eventsScope: 'dashboard',
  onSeriesColorChange() {},
};

export function Stage({ theme, cursor = 0, children }) {
  return (
    <ThemeContext.Provider value={theme}>
      <PanelContextProvider value={{ ...panelContext, sync: () => cursor }}>
        <GlobalStyles />
        {children}
      </PanelContextProvider>
    </ThemeContext.Provider>
  );
}
