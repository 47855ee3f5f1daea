// Transformations and field configuration. Grafana itself registers what these need; here it is done by hand.
import {
  FieldConfigOptionsRegistry,
  FieldType,
  applyFieldOverrides,
  cacheFieldDisplayNames,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  identityOverrideProcessor,
  numberOverrideProcessor,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  thresholdsOverrideProcessor,
  transformDataFrame,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';
import { lastValueFrom } from 'rxjs';

// Some transformers are listed twice, under an older name as well; the registry wants each id once.
standardTransformersRegistry.setInit(() =>
  [...new Set(Object.values(standardTransformers))].map((transformer) => ({
    id: transformer.id,
    name: transformer.name,
    transformation: async () => transformer,
  })),
);

const PROCESSORS = {
  color: identityOverrideProcessor,
  decimals: numberOverrideProcessor,
  description: identityOverrideProcessor,
  displayName: displayNameOverrideProcessor,
  fieldMinMax: identityOverrideProcessor,
  filterable: identityOverrideProcessor,
  links: dataLinksOverrideProcessor,
  mappings: valueMappingsOverrideProcessor,
  max: numberOverrideProcessor,
  min: numberOverrideProcessor,
  noValue: identityOverrideProcessor,
  thresholds: thresholdsOverrideProcessor,
  unit: unitOverrideProcessor,
};

const property = (path, isCustom) => ({
  id: isCustom ? `custom.${path}` : path,
  path,
  name: path,
  isCustom,
  settings: { expandTemplateVars: path === 'displayName' },
  shouldApply: (field) => path !== 'axisLabel' || field.type === FieldType.number,
  process: (!isCustom && PROCESSORS[path]) || identityOverrideProcessor,
  editor: () => null,
  override: () => null,
});
const STANDARD = Object.keys(PROCESSORS).map((path) => property(path, false));
standardFieldConfigEditorRegistry.setInit(() => STANDARD);

// What each kind of panel has where a dashboard says nothing; the kinds themselves are not published.
const CUSTOM = {
  timeseries: {
    axisBorderShow: false,
    axisCenteredZero: false,
    axisColorMode: 'text',
    axisLabel: '',
    axisPlacement: 'auto',
    barAlignment: 0,
    barWidthFactor: 0.6,
    drawStyle: 'line',
    fillOpacity: 0,
    gradientMode: 'none',
    hideFrom: { tooltip: false, viz: false, legend: false },
    insertNulls: false,
    lineInterpolation: 'linear',
    lineWidth: 1,
    pointSize: 5,
    scaleDistribution: { type: 'linear' },
    showPoints: 'auto',
    spanNulls: false,
    stacking: { mode: 'none', group: 'A' },
    thresholdsStyle: { mode: 'off' },
  },
  table: {
    align: 'auto',
    cellOptions: { type: 'auto' },
    footer: { reducers: [] },
    inspect: false,
  },
};
const THRESHOLDS = {
  mode: 'absolute',
  steps: [
    { value: -Infinity, color: 'green' },
    { value: 80, color: 'red' },
  ],
};

export async function transform(panel, frames, replace) {
  const steps = (panel.transformations ?? []).filter((step) => !step.disabled);
  const unknown = steps.find((step) => !standardTransformersRegistry.getIfExists(step.id));
  if (unknown) throw new Error(`there is no transformation ${unknown.id}`);
  if (!steps.length) return frames;
  return lastValueFrom(transformDataFrame(steps, frames, { interpolate: replace }));
}

/** Give each field its unit, colours, links and so on. */
export function configure(panel, frames, { theme, timeZone, replace }) {
  const defaults = structuredClone(panel.fieldConfig?.defaults ?? {});
  const overrides = structuredClone(panel.fieldConfig?.overrides ?? []);
  defaults.custom = { ...CUSTOM[panel.type], ...defaults.custom };
  defaults.color ??= { mode: panel.type === 'timeseries' ? 'palette-classic' : 'thresholds' };
  defaults.thresholds ??= THRESHOLDS;
  const properties = overrides.flatMap((override) => override.properties);
  // Tables called it so before Grafana 12, which tells them anew when it loads them.
  for (const setting of properties.filter(({ id }) => id === 'custom.hidden')) {
    Object.assign(setting, { id: 'custom.hideFrom', value: { viz: setting.value } });
  }
  const thresholds = properties.filter(({ id }) => id === 'thresholds').map(({ value }) => value);
  for (const { steps } of [defaults.thresholds, ...thresholds]) {
    // JSON has no infinity: the lowest step has null in its place.
    if (steps.length) steps[0].value = -Infinity;
  }
  const custom = new Set([
    ...Object.keys(defaults.custom),
    ...properties.filter(({ id }) => id.startsWith('custom.')).map(({ id }) => id.slice(7)),
  ]);
  const known = [...STANDARD, ...[...custom].map((path) => property(path, true))];
  const configured = applyFieldOverrides({
    data: frames,
    fieldConfig: { defaults, overrides },
    fieldConfigRegistry: new FieldConfigOptionsRegistry(() => known),
    replaceVariables: replace,
    theme,
    timeZone,
  });
  // Tables read the names from here only.
  cacheFieldDisplayNames(configured);
  return configured;
}
