// Time ranges, and how far apart the points of a query are.
import { dateMath, dateTime, rangeUtil } from '@grafana/data';

const MOST_POINTS = 11_000;
const LEAST_WIDTH = 100;

/** A range of two moments, in milliseconds; relative ones are told from now. */
export function parseRange(from, to) {
  const at = (text, roundUp) =>
    +(/^\d+$/.test(text) ? dateTime(Number(text)) : dateMath.parse(text, roundUp));
  return { from: at(from, false), to: at(to, true) };
}

/** The range that a panel with a time shift has: a shift like 1M/M also rounds it, to a whole month. */
export function shiftRange(range, shift) {
  if (!shift) return range;
  return {
    from: +dateMath.parseDateMath(`-${shift}`, dateTime(range.from), false),
    to: +dateMath.parseDateMath(`-${shift}`, dateTime(range.to), true),
  };
}

export function forGrafana({ from, to }) {
  const range = { from: dateTime(from), to: dateTime(to) };
  return { ...range, raw: range };
}

export function rangeBuiltins({ from, to }) {
  const seconds = Math.round((to - from) / 1000);
  return { __range: `${seconds}s`, __range_s: seconds, __range_ms: seconds * 1000 };
}

/** How the Prometheus data source chooses the step of a query, in seconds, and what depends on it. */
export function stepOf({ from, to }, { least, points, width }) {
  const span = to - from;
  const wanted = rangeUtil.roundInterval(span / (points ?? Math.max(LEAST_WIDTH, width))) / 1000;
  const step = Math.max(wanted, least, span / 1000 / MOST_POINTS);
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
