// A trace of Jaeger: its spans one below the other, each as long as it took, with its tags on a click.
import { dateTimeFormat, getValueFormat, formattedValueToString } from '@grafana/data';
import { Alert } from '@grafana/ui';
import { groupBy } from 'lodash';
import { useEffect, useState } from 'react';

import { askTrace } from './jaeger.js';
import { newReport } from './report.js';

const NAMES = 360;
const DURATIONS = 100;
const INDENT = 16;
const COLUMN = { boxSizing: 'border-box', flexShrink: 0, overflow: 'hidden', whiteSpace: 'nowrap' };

const duration = (microseconds) => formattedValueToString(getValueFormat('µs')(microseconds, 2));

export function Trace({ id, theme }) {
  const [trace, setTrace] = useState();
  const [problem, setProblem] = useState();
  useEffect(() => {
    const report = newReport();
    document.title = `Trace ${id}`;
    askTrace(id)
      .then(setTrace)
      .catch((error) => setProblem(error.message))
      .finally(() => report.expect([]));
  }, [id]);
  if (problem) return <Alert title="This trace cannot be shown">{problem}</Alert>;
  if (!trace) return null;
  const spans = inOrder(trace.spans);
  const start = Math.min(...spans.map(({ startTime }) => startTime));
  const whole = Math.max(...spans.map(({ startTime, duration: took }) => startTime + took)) - start || 1;
  return (
    <div id="trace" style={{ padding: 16, minHeight: '100vh', background: theme.colors.background.canvas }}>
      <h3>{spans[0].operationName}</h3>
      <p style={{ color: theme.colors.text.secondary }}>
        Trace {id}, {dateTimeFormat(start / 1000)}, {spans.length} spans in {duration(whole)}
      </p>
      {spans.map((span) => (
        <Span key={span.spanID} span={span} start={start} theme={theme} whole={whole} />
      ))}
    </div>
  );
}

/** Depth first, as they called each other; what called whom is not in the trace comes as if by itself. */
function inOrder(spans) {
  const known = new Set(spans.map(({ spanID }) => spanID));
  const parentOf = ({ references = [] }) =>
    references.find(({ refType, spanID }) => refType === 'CHILD_OF' && known.has(spanID))?.spanID;
  const below = new Map(Object.entries(groupBy(spans, (span) => parentOf(span) ?? '')));
  const flat = (parent, depth) =>
    (below.get(parent) ?? [])
      .sort((a, b) => a.startTime - b.startTime)
      .flatMap((span) => [{ ...span, depth }, ...flat(span.spanID, depth + 1)]);
  return flat('', 0);
}

function Span({ span, start, whole, theme }) {
  const [isOpen, setOpen] = useState(false);
  const { colors } = theme;
  const failed = span.tags.some(({ key, value }) => key === 'error' && value === true);
  const bar = {
    position: 'absolute',
    left: `${(100 * (span.startTime - start)) / whole}%`,
    width: `max(2px, ${(100 * span.duration) / whole}%)`,
    height: 12,
    top: 6,
    background: failed ? colors.error.main : colors.primary.main,
  };
  const line = { all: 'unset', display: 'flex', width: '100%', cursor: 'pointer', height: 24 };
  return (
    <div style={{ borderBottom: `1px solid ${colors.border.weak}` }}>
      <button aria-expanded={isOpen} onClick={() => setOpen(!isOpen)} style={line}>
        <span style={{ ...COLUMN, width: NAMES, paddingLeft: span.depth * INDENT }}>{span.operationName}</span>
        <span style={{ ...COLUMN, width: DURATIONS, color: colors.text.secondary }}>{duration(span.duration)}</span>
        <span style={{ flex: 1, position: 'relative' }}>
          <span style={bar} />
        </span>
      </button>
      {isOpen && <Tags tags={[...span.tags].sort((a, b) => a.key.localeCompare(b.key))} theme={theme} />}
    </div>
  );
}

function Tags({ tags, theme }) {
  return (
    <table style={{ margin: '4px 0 8px 16px', fontSize: 12 }}>
      <tbody>
        {tags.map(({ key, value }) => (
          <tr key={key}>
            <td style={{ color: theme.colors.text.secondary, paddingRight: 16 }}>{key}</td>
            <td>{String(value)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
