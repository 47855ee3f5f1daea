// Time ranges, and how far apart the points of a query are.
import { dateMath, dateTime, rangeUtil } from '@grafana/data';

const MOST_POINTS = 11_000;
const LEAST_WIDTH = 100;

/** A range of two moments, in milliseconds; relative ones are told from now. */
export function parseRange(from, to) {
  const at = (text, roundUp) =>
    +(/^\d+$/.test(text) ? dateTime(Number(text)) : dateMath.parse(text, roundUp));
  const range = { from: at(from, false), to: at(to, true) };
  if (!(range.from < range.to)) throw new Error(`there is no time from ${from} to ${to}`);
  return range;
}

/** The range that a panel asks for: its own beginning, and its shift, which (1M/M) may also round it. */
export function rangeOf(panel, range, raw) {
  return shiftRange(beginAt(panel.timeFrom, range, raw), panel.timeShift);
}

/** A panel's own beginning holds where the dashboard's is told from now, too. */
function beginAt(beginning, range, raw) {
  if (!beginning || !rangeUtil.isRelativeTime(raw.from)) return range;
  const own = rangeUtil.describeTextRange(beginning);
  return parseRange(own.from, own.to);
}

function shiftRange(range, shift) {
  if (!shift) return range;
  return {
    from: +dateMath.parseDateMath(`-${shift}`, dateTime(range.from), false),
    to: +dateMath.parseDateMath(`-${shift}`, dateTime(range.to), true),
  };
}

/** A range as Grafana's components take it; `raw` is what a person chose, such as now-7d. */
export function forGrafana({ from, to }, raw) {
  const range = { from: dateTime(from), to: dateTime(to) };
  return { ...range, raw: raw ?? range };
}

export function rangeBuiltins({ from, to }) {
  const seconds = Math.round((to - from) / 1000);
  return { __from: from, __to: to, __range: `${seconds}s`, __range_s: seconds, __range_ms: seconds * 1000 };
}

/** The step, in seconds, below which Prometheus refuses a question. */
export const leastStep = ({ from, to }) => Math.ceil((to - from) / 1000 / MOST_POINTS);

/** How the Prometheus data source chooses the step of a query, in seconds, and what depends on it. */
export function stepOf({ from, to }, { least, points, width }) {
  const span = to - from;
  const wanted = rangeUtil.roundInterval(span / (points ?? Math.max(LEAST_WIDTH, width))) / 1000;
  const step = Math.max(wanted, least, leastStep({ from, to }));
  return {
    step,
    builtin: {
      ...rangeBuiltins({ from, to }),
      __interval: `${step}s`,
      __interval_ms: step * 1000,
      __rate_interval: `${Math.max(step + least, 4 * least)}s`,
    },
  };
}

export const secondsOf = (interval) =>
  interval ? rangeUtil.intervalToMs(interval.replace(/^>/, '')) / 1000 : 0;
