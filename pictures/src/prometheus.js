// Asks Prometheus, and makes of its answers the data frames that Grafana's data source makes.
import { FieldType, createDataFrame } from '@grafana/data';

import { interpolate } from './interpolate.js';
import { secondsOf, stepOf } from './time.js';

/** Where nobody says how often Open WebUI exports: the data source's setting timeInterval, in seconds. */
const EXPORT_INTERVAL = 60;

export const prometheus = (path, parameters) =>
  ask(path, { method: 'POST', body: new URLSearchParams(parameters) });

/** The values of a label, in the series of a selector if there is one. */
export const askLabels = (label, selector, { from, to }) =>
  ask(
    `label/${label}/values?${new URLSearchParams({
      start: from / 1000,
      end: to / 1000,
      ...(selector && { 'match[]': selector.trim() }),
    })}`,
  );

export const askAlerts = async () => (await ask('alerts')).alerts;

async function ask(path, options) {
  const answer = await fetch(`/prometheus/api/v1/${path}`, options);
  const text = await answer.text();
  let result;
  try {
    result = JSON.parse(text);
  } catch {
    throw new Error(`Prometheus: ${text.slice(0, 200)}`);
  }
  if (result.status !== 'success') throw new Error(`Prometheus: ${result.error}`);
  return result.data;
}

/** The frames of all queries of a panel, and the exemplars of those that want them. */
export async function askPrometheus(panel, { interval: exported, range, variables, width }) {
  const targets = panel.targets.filter((target) => !target.hide && target.expr);
  const tables = targets.filter((target) => target.format === 'table');
  const answers = await Promise.all(
    targets.map(async (target) => {
      const interval = interpolate(target.interval || panel.interval, variables);
      const least = secondsOf(interval) || exported || EXPORT_INTERVAL;
      const { step, builtin } = stepOf(range, { least, points: panel.maxDataPoints, width });
      const expr = interpolate(target.expr, variables, { builtin, format: 'promql' });
      const series = await run(target, expr, range, step);
      const frames = tables.includes(target)
        ? table(target.refId, series, tables.length)
        : lines(target, expr, series, step);
      return { frames, exemplars: target.exemplar ? await exemplars(expr, range, step) : [] };
    }),
  );
  return {
    frames: answers.flatMap(({ frames }) => frames),
    exemplars: answers.flatMap((answer) => answer.exemplars),
  };
}

const run = (target, query, range, step) =>
  target.instant && !target.range ? runInstant(query, range) : runRange(query, range, step);

const runInstant = async (query, { to }) => seriesOf(await prometheus('query', { query, time: to / 1000 }));

/** The series of a query over time, at whole steps as Grafana asks for them. */
export async function runRange(query, { from, to }, step) {
  const aligned = (time) => Math.floor(time / 1000 / step) * step;
  const range = { start: aligned(from), end: aligned(to), step };
  return seriesOf(await prometheus('query_range', { query, ...range }));
}

function seriesOf({ resultType, result }) {
  const series = resultType === 'scalar' ? [{ metric: {}, value: result }] : result;
  return series.map(({ metric, values, value }) => ({
    labels: metric,
    times: (values ?? [value]).map(([time]) => time * 1000),
    values: (values ?? [value]).map(([, text]) => number(text)),
  }));
}

const number = (text) => Number(text.replace('Inf', 'Infinity'));

function lines(target, expr, series, step) {
  // A query without a result is a frame without fields, not nothing: merging tables counts it.
  if (!series.length) return [createDataFrame({ refId: target.refId, fields: [] })];
  return series.map(({ labels, times, values }) => {
    const name = nameOf(target.legendFormat, labels, expr);
    const config = name ? { displayNameFromDS: name } : {};
    return createDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, config: { interval: step * 1000 }, values: times },
        { name: 'Value', type: FieldType.number, labels, config, values },
      ],
    });
  });
}

function table(refId, series, tables) {
  if (!series.length && tables === 1) return [createDataFrame({ refId, fields: [] })];
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.labels).sort()))];
  const column = (values) => series.flatMap(values);
  const text = (label) => column((one) => one.times.map(() => one.labels[label] ?? ''));
  const value = tables > 1 ? `Value #${refId}` : 'Value';
  return [
    createDataFrame({
      refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: column((one) => one.times) },
        ...labels.map((name) => ({ name, type: FieldType.string, values: text(name) })),
        { name: value, type: FieldType.number, values: column((one) => one.values) },
      ],
    }),
  ];
}

/** A series' name. None for __auto: then Grafana names it by the labels in which it differs. */
function nameOf(format, labels, expr) {
  const names = Object.keys(labels);
  if (format === '__auto') return names.length ? undefined : expr;
  if (format) return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name) => labels[name] ?? '');
  if (!names.length) return expr;
  const inner = names.filter((name) => name !== '__name__').sort();
  const shown = inner.map((name) => `${name}=${JSON.stringify(labels[name])}`);
  return `${labels.__name__ ?? ''}{${shown.join(', ')}}`;
}

async function exemplars(query, range, step) {
  const found = await prometheus('query_exemplars', {
    query,
    start: range.from / 1000,
    end: range.to / 1000,
  });
  const all = found.flatMap((series) =>
    series.exemplars.map(({ labels, timestamp, value }) => ({
      time: timestamp * 1000,
      trace: labels.trace_id,
      value: number(value),
    })),
  );
  return sample(all, step * 1000);
}

/** Of each step the highest, and of the others those that stand out from it: as many as can be told apart. */
function sample(all, step) {
  const mean = all.reduce((sum, { value }) => sum + value, 0) / all.length;
  const deviation = Math.sqrt(
    all.reduce((sum, { value }) => sum + (value - mean) ** 2, 0) / all.length,
  );
  const last = new Map();
  return [...all]
    .sort((a, b) => b.value - a.value)
    .filter(({ time, value }) => {
      const bucket = Math.floor(time / step);
      if (last.has(bucket) && last.get(bucket) - value <= 2 * deviation) return false;
      last.set(bucket, value);
      return true;
    });
}
