// Each kind of panel, from Grafana's own components, used as Grafana's panels use them.
import {
  FieldType,
  VizOrientation,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  renderMarkdown,
} from '@grafana/data';
import { BarGauge, BigValue, EventsCanvas, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { pick } from 'lodash';
import { useCallback, useEffect, useLayoutEffect, useRef } from 'react';

import { forGrafana } from './time.js';

const BAR_SPACING = 10;
const BAR_SIZES = { minVizWidth: 8, minVizHeight: 16, maxVizHeight: 300 };

function orientation({ orientation: wanted }) {
  return Object.values(VizOrientation).includes(wanted) ? wanted : VizOrientation.Auto;
}

function values({ panel, frames, theme, timeZone, replace }, sparkline) {
  return getFieldDisplayValues({
    data: frames,
    fieldConfig: panel.fieldConfig ?? { defaults: {}, overrides: [] },
    reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false, ...panel.options.reduceOptions },
    replaceVariables: replace,
    sparkline,
    theme,
    timeZone,
  });
}

function Stat(props) {
  const { panel, frames, width, height, theme } = props;
  const { options } = panel;
  return (
    <VizRepeater
      autoGrid
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      getValues={() => values(props, options.graphMode !== 'none')}
      height={height}
      itemSpacing={3}
      orientation={orientation(options)}
      renderCounter={0}
      renderValue={({ value, alignmentFactors, width, height, count }) => (
        <BigValue
          alignmentFactors={alignmentFactors}
          colorMode={options.colorMode}
          count={count}
          disableWideLayout={!options.wideLayout}
          graphMode={options.graphMode}
          height={height}
          justifyMode={options.justifyMode}
          sparkline={value.sparkline}
          text={options.text}
          textMode={options.textMode}
          theme={theme}
          value={value.display}
          width={width}
        />
      )}
      source={frames}
      width={width}
    />
  );
}

function Bars(props) {
  const { panel, frames, width, height, theme } = props;
  const { options } = panel;
  // Grafana heeds the sizes that a dashboard gives only when its sizing is manual.
  const given = options.sizing === 'manual' ? pick(options, Object.keys(BAR_SIZES)) : {};
  return (
    <VizRepeater
      {...BAR_SIZES}
      {...given}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      getValues={() => values(props, false)}
      height={height}
      itemSpacing={BAR_SPACING}
      orientation={orientation(options)}
      renderCounter={0}
      renderValue={({ value, alignmentFactors, orientation, width, height, count }) => (
        <BarGauge
          alignmentFactors={alignmentFactors}
          display={value.view?.getFieldDisplayProcessor(value.colIndex)}
          displayMode={options.displayMode}
          field={value.field}
          height={height}
          itemSpacing={BAR_SPACING}
          lcdCellWidth={12}
          namePlacement={options.namePlacement}
          orientation={orientation}
          showUnfilled={options.showUnfilled}
          text={options.text}
          theme={theme}
          // Of a single bar, Grafana leaves out the name unless it was given by hand.
          value={
            count === 1 && !value.field.displayName ? { ...value.display, title: undefined } : value.display
          }
          valueDisplayMode={options.valueMode}
          width={width}
        />
      )}
      source={frames}
      width={width}
    />
  );
}

function Series(props) {
  const { panel, frames, exemplars, width, height, range, timeZone } = props;
  const drawn = frames.filter(canBeDrawn).map(withoutNaN);
  if (!drawn.length) return <Nothing {...props} />;
  return (
    <TimeSeries
      frames={drawn}
      height={height}
      legend={panel.options.legend}
      options={panel.options}
      structureRev={1}
      timeRange={forGrafana(range)}
      timeZone={timeZone}
      width={width}
    >
      {(config) => exemplars.length > 0 && <Exemplars config={config} exemplars={exemplars} {...props} />}
    </TimeSeries>
  );
}

function canBeDrawn({ fields }) {
  const types = fields.map(({ type }) => type);
  return types.includes(FieldType.time) && types.includes(FieldType.number);
}

/** One value that is no number would take the whole axis away. */
function withoutNaN(frame) {
  const finite = (value) => (Number.isFinite(value) ? value : null);
  const fields = frame.fields.map((field) =>
    field.type === FieldType.number ? { ...field, values: field.values.map(finite) } : field,
  );
  return { ...frame, fields };
}

function Exemplars({ config, exemplars, theme }) {
  const plot = useRef(null);
  useLayoutEffect(() => config.addHook('init', (made) => void (plot.current = made)), [config]);
  // Markers are placed when the plot is drawn, but not the first time: they are not there yet.
  useEffect(() => plot.current?.redraw(), []);
  const place = useCallback(
    (_, index) => {
      const { scales, valToPos } = plot.current ?? {};
      const name = Object.keys(scales ?? {}).find((key) => key !== 'x' && key !== 'y');
      if (!name) return undefined;
      const { min, max } = scales[name];
      const { time, value } = exemplars[index];
      // Those beyond the axis are drawn at its edge.
      return { x: valToPos(time, 'x'), y: valToPos(Math.min(max, Math.max(min, value)), name) };
    },
    [exemplars],
  );
  const marker = useCallback(
    () => (
      <svg height={8} style={{ display: 'block' }} viewBox="0 0 10 10" width={8}>
        <path d="M5 0 10 5 5 10 0 5Z" fill={theme.colors.primary.main} />
      </svg>
    ),
    [theme],
  );
  return (
    <EventsCanvas
      config={config}
      events={[exemplars]}
      id="exemplars"
      mapEventToXYCoords={place}
      renderEventMarker={marker}
    />
  );
}

function Table(props) {
  const { panel, frames, width, height } = props;
  const { options } = panel;
  if (!frames.some(({ fields }) => fields.length)) return <Nothing {...props} />;
  return (
    <TableNG
      cellHeight={options.cellHeight}
      data={frames[options.frameIndex] ?? frames[0]}
      enableVirtualization={false}
      fieldConfig={panel.fieldConfig}
      frozenColumns={options.frozenColumns?.left}
      getActions={() => []}
      height={height}
      initialSortBy={options.sortBy}
      noHeader={!options.showHeader}
      noValue={panel.fieldConfig?.defaults?.noValue}
      resizable
      showTypeIcons={options.showTypeIcons}
      sortBy={options.sortBy}
      structureRev={1}
      width={width}
    />
  );
}

function Text({ panel, replace }) {
  const { mode, content } = panel.options;
  const html = mode === 'html' ? replace(content) : renderMarkdown(replace(content));
  return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: html }} />;
}

/** What a panel shows that has nothing to draw. */
export function Nothing({ panel, message, theme }) {
  const { secondary } = theme.colors.text;
  return (
    <div style={{ display: 'grid', placeItems: 'center', height: '100%' }}>
      <div style={{ color: secondary, fontSize: theme.typography.size.lg }}>
        {message ?? panel.fieldConfig?.defaults?.noValue ?? 'No data'}
      </div>
    </div>
  );
}

export const KINDS = { bargauge: Bars, stat: Stat, table: Table, text: Text, timeseries: Series };
/** Kinds that fill the panel to its edge. */
export const WITHOUT_PADDING = ['stat', 'table'];
