// A dashboard: its rows and the frames of its panels, below what it is controlled with.
import {
  LoadingState,
  compareArrayValues,
  compareDataFrameStructures,
  dateTimeFormat,
} from '@grafana/data';
import { Icon, PanelChrome } from '@grafana/ui';
import { Component, useEffect, useState } from 'react';

import { configure, transform } from './fields.js';
import { askJaeger } from './jaeger.js';
import { Nothing } from './nothing.jsx';
import { KINDS, WITHOUT_PADDING } from './panels.jsx';
import { askAlerts, askPrometheus } from './prometheus.js';
import { rangeOf } from './time.js';

const COLUMNS = 24;
const LINE = 30;
const GAP = 8;
const PADDING = 16;
const HIDE_LABEL = 1;
const HIDE_ALL = 2;

/** `controls` are above the panels, and the children below them. */
export function Dashboard({ dashboard, context, controls, width, children }) {
  const [folded, setFolded] = useState({});
  const unit = (width - 2 * PADDING - GAP * (COLUMNS - 1)) / COLUMNS;
  const box = ({ x, y, w, h }) => ({
    position: 'absolute',
    left: Math.round(x * (unit + GAP)),
    top: y * (LINE + GAP),
    width: Math.round(w * unit + (w - 1) * GAP),
    height: h * LINE + (h - 1) * GAP,
  });
  const shown = unfold(dashboard.panels, folded);
  useEffect(() => {
    context.report.expect(shown.filter(asks).map(({ title }) => context.replace(title)));
  }, [context]);
  const bottom = Math.max(...shown.map(({ gridPos: { y, h } }) => y + h));
  return (
    <div id="dashboard" style={{ width, padding: PADDING, background: context.theme.colors.background.canvas }}>
      {controls}
      <div style={{ position: 'relative', height: bottom * (LINE + GAP) }}>
        {shown.map((panel) =>
          panel.type === 'row' ? (
            <Row key={panel.id} panel={panel} context={context} style={box(panel.gridPos)} fold={setFolded} />
          ) : (
            <Panel key={panel.id} panel={panel} context={context} box={box(panel.gridPos)} />
          ),
        )}
      </div>
      {children}
    </div>
  );
}

const asks = ({ type }) => type !== 'row';
const isFolded = (row, folded) => folded[row.id] ?? Boolean(row.collapsed);

/** Panels where they are once rows are opened or closed as a person wants: what is below moves. */
function unfold(panels, folded) {
  const shown = [];
  let moved = 0;
  for (const section of sections(panels)) {
    const [first] = section;
    const isRow = first?.type === 'row';
    const hidden = isRow && isFolded(first, folded);
    const inside = isRow ? [...section.slice(1), ...(first.panels ?? [])] : section;
    const place = (panel) => ({ ...panel, gridPos: { ...panel.gridPos, y: panel.gridPos.y + moved } });
    if (isRow) shown.push({ ...place(first), folded: hidden });
    if (!hidden) shown.push(...inside.map(place));
    const height = heightBelow(first, inside);
    // A row that is folded in the file takes one line there; its panels are told as if it were open.
    if (isRow && first.collapsed && !hidden) moved += height;
    if (isRow && !first.collapsed && hidden) moved -= height;
  }
  return shown;
}

const heightBelow = (row, panels) =>
  row && panels.length ? Math.max(...panels.map(({ gridPos: { y, h } }) => y + h)) - row.gridPos.y - 1 : 0;

function sections(panels) {
  const found = [[]];
  for (const panel of panels) {
    if (panel.type === 'row') found.push([]);
    found.at(-1).push(panel);
  }
  return found.filter(({ length }) => length);
}

function Row({ panel, context, style, fold }) {
  const look = { all: 'unset', cursor: 'pointer', lineHeight: '30px', fontWeight: 500, ...style };
  return (
    <button
      aria-expanded={!panel.folded}
      onClick={() => fold((others) => ({ ...others, [panel.id]: !panel.folded }))}
      style={look}
    >
      <Icon name={panel.folded ? 'angle-right' : 'angle-down'} /> {context.replace(panel.title)}
    </button>
  );
}

/** What a picture of a dashboard has in place of controls. */
export function Chips({ context, dashboard }) {
  const { range, theme, timeZone, variables } = context;
  const time = (at) => dateTimeFormat(at, { timeZone });
  return (
    <>
      <div style={{ display: 'flex', justifyContent: 'space-between', marginBottom: 12 }}>
        <h3 style={{ margin: 0 }}>{dashboard.title}</h3>
        <Chip theme={theme}>
          <Icon name="clock-nine" /> {time(range.from)} to {time(range.to)} UTC
        </Chip>
      </div>
      <Dropdowns variables={variables} links={dashboard.links ?? []} theme={theme} />
    </>
  );
}

function Dropdowns({ variables, links, theme }) {
  const shown = Object.values(variables).filter(isShown);
  return (
    <div style={{ display: 'flex', flexWrap: 'wrap', gap: 8, marginBottom: 12 }}>
      {shown.map(({ name, label, text, type, hide }) => (
        <span key={name} style={{ display: 'flex' }}>
          {hasLabel({ hide }) && (
            <Chip theme={theme} style={{ fontWeight: 500, background: theme.colors.background.secondary }}>
              {label || name}
            </Chip>
          )}
          <Chip theme={theme}>
            {text} {type !== 'textbox' && <Icon name="angle-down" />}
          </Chip>
        </span>
      ))}
      <span style={{ display: 'flex', flexWrap: 'wrap', gap: 8, marginLeft: 'auto' }}>
        {links.map(({ title, icon }) => (
          <Chip key={title} theme={theme}>
            <Icon name={icon === 'dashboard' ? 'apps' : 'external-link-alt'} /> {title}
          </Chip>
        ))}
      </span>
    </div>
  );
}

export const isShown = ({ hide }) => hide !== HIDE_ALL;
export const hasLabel = ({ hide }) => hide !== HIDE_LABEL;

const CAPTION =
  "Drawn with Grafana's React components (@grafana/ui 13.2.2) from Prometheus data; not a Grafana server.";

export function Caption({ theme }) {
  return <div style={{ fontSize: 11, color: theme.colors.text.secondary }}>{CAPTION}</div>;
}

function Chip({ theme, style, children }) {
  const { colors } = theme;
  const look = {
    padding: '4px 8px',
    border: `1px solid ${colors.border.medium}`,
    background: colors.background.primary,
    fontSize: 12,
    whiteSpace: 'nowrap',
  };
  return <span style={{ ...look, ...style }}>{children}</span>;
}

const SOURCES = { jaeger: askJaeger, prometheus: askPrometheus };

async function ask(panel, context, range, width) {
  const source = panel.datasource?.type;
  if (panel.type === 'alertlist') return { frames: [], alerts: await askAlerts() };
  if (!panel.targets?.length) return { frames: [], exemplars: [] };
  if (source === 'jaeger' && !context.hasJaeger) return { message: 'no Jaeger here' };
  const { interval, variables } = context;
  const request = { interval, range, variables, width };
  const { frames, exemplars } = await (SOURCES[source] ?? askPrometheus)(panel, request);
  const transformed = await transform(panel, frames, context.replace);
  return { frames: configure(panel, transformed, context), exemplars };
}

const WITHOUT_DATA = ['text', 'alertlist'];
const isEmpty = (panel, { frames }) =>
  !WITHOUT_DATA.includes(panel.type) && !frames?.some(({ length }) => length);

const isAlike = (frames, others) => compareArrayValues(frames, others, compareDataFrameStructures);

/** The answer to a panel's queries. Until a new one is there, the one before it is shown. */
function useAnswer(panel, context, range, width, title) {
  const [state, setState] = useState({});
  useEffect(() => {
    let wanted = true;
    const { report } = context;
    const set = (answer) => wanted && setState((old) => next(old, range, answer));
    setState((old) => ({ ...old, isLoading: true }));
    ask(panel, context, range, width)
      .then((answer) => {
        if (isEmpty(panel, answer)) report.empty(title);
        set(answer);
      })
      .catch((problem) => {
        report.error(`${title}: ${problem.message}`);
        set({ error: problem.message });
      })
      .finally(() => report.finished(title));
    return () => void (wanted = false);
  }, [context]);
  return state;
}

/** Plots and tables are made anew only when `structureRev` changes. */
function next(old, range, { frames = [], exemplars = [], ...others }) {
  const { structureRev = 0 } = old;
  const isNew = !old.frames || !isAlike(frames, old.frames);
  return { frames, exemplars, range, structureRev: structureRev + (isNew ? 1 : 0), ...others };
}

function Panel({ panel, context, box }) {
  const range = rangeOf(panel, context.range, context.raw);
  const title = context.replace(panel.title);
  const state = useAnswer(panel, context, range, box.width, title);
  const Kind = state.message ? Nothing : (KINDS[panel.type] ?? Nothing);
  return (
    <div style={box}>
      <PanelChrome
        description={panel.description}
        displayMode={panel.transparent ? 'transparent' : 'default'}
        height={box.height}
        loadingState={state.isLoading ? LoadingState.Loading : LoadingState.Done}
        hoverHeader={!title}
        padding={WITHOUT_PADDING.includes(panel.type) ? 'none' : 'md'}
        statusMessage={state.error}
        title={title}
        titleItems={shiftOf(panel) && <Shift text={shiftOf(panel)} />}
        width={box.width}
      >
        {(width, height) =>
          state.frames && (
            <Guard report={context.report} title={title}>
              <Kind {...context} {...state} height={height} panel={panel} width={width} />
            </Guard>
          )
        }
      </PanelChrome>
    </div>
  );
}

const shiftOf = ({ hideTimeOverride, timeFrom, timeShift }) =>
  !hideTimeOverride && [timeFrom, timeShift && `timeshift -${timeShift}`].filter(Boolean).join(' ');

function Shift({ text }) {
  return (
    <PanelChrome.TitleItem>
      <span style={{ whiteSpace: 'nowrap' }}>
        <Icon name="clock-nine" /> {text}
      </span>
    </PanelChrome.TitleItem>
  );
}

/** A panel that crashes takes only itself away, and is reported. */
class Guard extends Component {
  state = {};

  static getDerivedStateFromError(problem) {
    return { problem };
  }

  componentDidCatch(problem) {
    this.props.report.error(`${this.props.title}: ${problem.stack ?? problem}`);
  }

  render() {
    return this.state.problem ? String(this.state.problem) : this.props.children;
  }
}
