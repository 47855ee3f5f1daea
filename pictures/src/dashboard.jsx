// A dashboard: its title, dropdowns, rows, and the frames of its panels.
import { dateTimeFormat } from '@grafana/data';
import { Icon, PanelChrome } from '@grafana/ui';
import { Component, useEffect, useState } from 'react';

import { configure, transform } from './fields.js';
import { askJaeger } from './jaeger.js';
import { KINDS, Nothing, WITHOUT_PADDING } from './panels.jsx';
import { askPrometheus } from './prometheus.js';
import { shiftRange } from './time.js';

const COLUMNS = 24;
const LINE = 30;
const GAP = 8;
const PADDING = 16;
const HIDE_LABEL = 1;
const HIDE_ALL = 2;
const CAPTION =
  "Drawn with Grafana's React components (@grafana/ui 13.2.2) from Prometheus data; not a Grafana server.";

export function Dashboard({ dashboard, context, width }) {
  const { theme, range, timeZone } = context;
  const unit = (width - 2 * PADDING - GAP * (COLUMNS - 1)) / COLUMNS;
  const box = ({ x, y, w, h }) => ({
    left: Math.round(x * (unit + GAP)),
    top: y * (LINE + GAP),
    width: Math.round(w * unit + (w - 1) * GAP),
    height: h * LINE + (h - 1) * GAP,
  });
  const bottom = Math.max(...dashboard.panels.map(({ gridPos: { y, h } }) => y + h));
  const time = (at) => dateTimeFormat(at, { timeZone });
  return (
    <div
      id="dashboard"
      style={{ width, padding: PADDING, background: theme.colors.background.canvas }}
    >
      <div style={{ display: 'flex', justifyContent: 'space-between', marginBottom: 12 }}>
        <h3 style={{ margin: 0 }}>{dashboard.title}</h3>
        <Chip theme={theme}>
          <Icon name="clock-nine" /> {time(range.from)} to {time(range.to)} UTC
        </Chip>
      </div>
      <Dropdowns variables={context.variables} links={dashboard.links ?? []} theme={theme} />
      <div style={{ position: 'relative', height: bottom * (LINE + GAP) }}>
        {dashboard.panels.map((panel) =>
          panel.type === 'row' ? (
            <div
              key={panel.id}
              style={{ position: 'absolute', ...box(panel.gridPos), lineHeight: '30px', fontWeight: 500 }}
            >
              <Icon name="angle-down" /> {context.replace(panel.title)}
            </div>
          ) : (
            <Panel key={panel.id} panel={panel} context={context} box={box(panel.gridPos)} />
          ),
        )}
      </div>
      <div style={{ fontSize: 11, color: theme.colors.text.secondary }}>{CAPTION}</div>
    </div>
  );
}

function Dropdowns({ variables, links, theme }) {
  const shown = Object.values(variables).filter(({ hide }) => hide !== HIDE_ALL);
  return (
    <div style={{ display: 'flex', flexWrap: 'wrap', gap: 8, marginBottom: 12 }}>
      {shown.map(({ name, label, text, type, hide }) => (
        <span key={name} style={{ display: 'flex' }}>
          {hide !== HIDE_LABEL && (
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

async function ask(panel, context, range, width) {
  const source = panel.datasource?.type;
  if (!panel.targets?.length) return { frames: [], exemplars: [] };
  if (source === 'jaeger' && !context.hasJaeger) return { message: 'no Jaeger here' };
  const { frames, exemplars } = await (source === 'jaeger' ? askJaeger : askPrometheus)(panel, {
    range,
    variables: context.variables,
    width,
  });
  const transformed = await transform(panel, frames, context.replace);
  return { frames: configure(panel, transformed, context), exemplars };
}

function Panel({ panel, context, box }) {
  const [state, setState] = useState({});
  const range = shiftRange(context.range, panel.timeShift);
  const title = context.replace(panel.title);
  useEffect(() => {
    const empty = ({ frames }) => panel.type !== 'text' && !frames?.some(({ length }) => length);
    ask(panel, context, range, box.width)
      .then((answer) => {
        if (empty(answer)) context.report.empty(title);
        setState({ frames: [], exemplars: [], ...answer });
      })
      .catch((problem) => {
        context.report.error(`${title}: ${problem.message}`);
        setState({ frames: [], exemplars: [], error: problem.message });
      })
      .finally(() => context.report.finished(title));
  }, []);
  const Kind = state.message ? Nothing : (KINDS[panel.type] ?? Nothing);
  return (
    <div style={{ position: 'absolute', ...box }}>
      <PanelChrome
        description={panel.description}
        displayMode={panel.transparent ? 'transparent' : 'default'}
        height={box.height}
        hoverHeader={!title}
        padding={WITHOUT_PADDING.includes(panel.type) ? 'none' : 'md'}
        statusMessage={state.error}
        title={title}
        titleItems={panel.timeShift && <Shift shift={panel.timeShift} />}
        width={box.width}
      >
        {(width, height) =>
          state.frames && (
            <Guard report={context.report} title={title}>
              <Kind {...context} {...state} height={height} panel={panel} range={range} width={width} />
            </Guard>
          )
        }
      </PanelChrome>
    </div>
  );
}

function Shift({ shift }) {
  return (
    <PanelChrome.TitleItem>
      <span style={{ whiteSpace: 'nowrap' }}>
        <Icon name="clock-nine" /> timeshift -{shift}
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
