// Each kind of panel, from Grafana's own components, used as Grafana's panels use them.
import {
  FieldType,
  VizOrientation,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  renderMarkdown,
  textUtil,
} from '@grafana/data';
import {
  BarGauge,
  BigValue,
  DataLinksContextMenu,
  TimeSeries,
  VizRepeater,
} from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { pick } from 'lodash';

import { Alerts } from './alerts.jsx';
import { Annotations, Exemplars } from './marks.jsx';
import { Nothing } from './nothing.jsx';
import { forGrafana } from './time.js';
import { Tooltip } from './tooltip.jsx';

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

/** What a value is drawn by, with a menu of its links if it has any. */
function Linked({ value, children }) {
  if (!value.hasLinks || !value.getLinks) return children({});
  return (
    <DataLinksContextMenu links={value.getLinks} style={{ display: 'block' }}>
      {children}
    </DataLinksContextMenu>
  );
}

function Stat(props) {
  const { panel, frames, width, height, theme } = props;
  const { options } = panel;
  const one = ({ value, alignmentFactors, width, height, count }) => (menu) => (
    <BigValue
      alignmentFactors={alignmentFactors}
      className={menu.targetClassName}
      colorMode={options.colorMode}
      count={count}
      disableWideLayout={!options.wideLayout}
      graphMode={options.graphMode}
      hasLinks={value.hasLinks}
      height={height}
      justifyMode={options.justifyMode}
      onClick={menu.openMenu}
      sparkline={value.sparkline}
      text={options.text}
      textMode={options.textMode}
      theme={theme}
      value={value.display}
      width={width}
    />
  );
  return (
    <VizRepeater
      autoGrid
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      getValues={() => values(props, options.graphMode !== 'none')}
      height={height}
      itemSpacing={3}
      orientation={orientation(options)}
      renderCounter={0}
      renderValue={(drawn) => <Linked value={drawn.value}>{one(drawn)}</Linked>}
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
  const one = ({ value, alignmentFactors, orientation, width, height, count }) => (menu) => (
    <BarGauge
      alignmentFactors={alignmentFactors}
      className={menu.targetClassName}
      display={value.view?.getFieldDisplayProcessor(value.colIndex)}
      displayMode={options.displayMode}
      field={value.field}
      height={height}
      itemSpacing={BAR_SPACING}
      lcdCellWidth={12}
      namePlacement={options.namePlacement}
      onClick={menu.openMenu}
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
  );
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
      renderValue={(drawn) => <Linked value={drawn.value}>{one(drawn)}</Linked>}
      source={frames}
      width={width}
    />
  );
}

function Series(props) {
  const { panel, frames, exemplars, structureRev, width, height, range, timeZone } = props;
  const drawn = frames.filter(canBeDrawn).map(withoutNaN);
  if (!drawn.length) return <Nothing {...props} />;
  return (
    <TimeSeries
      frames={drawn}
      height={height}
      legend={panel.options.legend}
      options={panel.options}
      structureRev={structureRev}
      timeRange={forGrafana(range)}
      timeZone={timeZone}
      width={width}
    >
      {(config, aligned) => (
        <>
          {exemplars.length > 0 && <Exemplars config={config} {...props} />}
          {props.annotations.length > 0 && <Annotations config={config} {...props} />}
          {props.onZoom && <Tooltip config={config} frame={aligned} {...props} />}
        </>
      )}
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

function Table(props) {
  const { panel, frames, structureRev, width, height } = props;
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
      structureRev={structureRev}
      width={width}
    />
  );
}

function Text({ panel, replace }) {
  const { mode, content } = panel.options;
  const html = mode === 'html' ? textUtil.sanitize(replace(content)) : renderMarkdown(replace(content));
  return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: html }} />;
}

export const KINDS = {
  alertlist: Alerts,
  bargauge: Bars,
  stat: Stat,
  table: Table,
  text: Text,
  timeseries: Series,
};
/** Kinds that fill the panel to its edge. */
export const WITHOUT_PADDING = ['stat', 'table'];
