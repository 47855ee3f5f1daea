// Searches Jaeger, and makes of its answer the table that Grafana's data source makes.
import { FieldType, createDataFrame } from '@grafana/data';

import { interpolate } from './interpolate.js';

const TAG = /([^\s=]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))/g;

export async function askJaeger(panel, { range, variables }) {
  const frames = await Promise.all(panel.targets.map((target) => search(target, range, variables)));
  return { frames, exemplars: [] };
}

export const askTrace = async (id) => (await jaeger(`/${id}`))[0];

async function jaeger(what) {
  const answer = await fetch(`/jaeger/api/traces${what}`);
  if (!answer.ok) throw new Error(`Jaeger: ${(await answer.text()).slice(0, 200)}`);
  return (await answer.json()).data ?? [];
}

async function search(target, range, variables) {
  const tags = {};
  for (const [, name, quoted, plain] of interpolate(target.tags, variables).matchAll(TAG)) {
    tags[name] = quoted?.replace(/\\(.)/g, '$1') ?? plain;
  }
  const query = new URLSearchParams({
    service: interpolate(target.service, variables),
    tags: JSON.stringify(tags),
    limit: target.limit,
    start: range.from * 1000,
    end: range.to * 1000,
    lookback: 'custom',
  });
  const traces = (await jaeger(`?${query}`)).map(summary).sort((a, b) => b.start - a.start);
  const column = (name) => traces.map((trace) => trace[name]);
  const link = { title: 'Trace: ${__value.raw}', url: '/trace/${__value.raw}' };
  return createDataFrame({
    refId: target.refId,
    fields: [
      {
        name: 'traceID',
        type: FieldType.string,
        config: { unit: 'string', displayNameFromDS: 'Trace ID', links: [link] },
        values: column('id'),
      },
      {
        name: 'traceName',
        type: FieldType.string,
        config: { displayNameFromDS: 'Trace name' },
        values: column('name'),
      },
      {
        name: 'startTime',
        type: FieldType.time,
        config: { displayNameFromDS: 'Start time' },
        values: column('start'),
      },
      {
        name: 'duration',
        type: FieldType.number,
        config: { displayNameFromDS: 'Duration', unit: 'µs' },
        values: column('duration'),
      },
    ],
  });
}

function summary({ traceID, spans, processes }) {
  const known = new Set(spans.map(({ spanID }) => spanID));
  const isRoot = ({ references = [] }) => !references.some(({ spanID }) => known.has(spanID));
  const [root] = spans.filter(isRoot).sort((a, b) => a.startTime - b.startTime);
  const start = Math.min(...spans.map(({ startTime }) => startTime));
  const end = Math.max(...spans.map(({ startTime, duration }) => startTime + duration));
  return {
    id: traceID,
    name: root ? `${processes[root.processID].serviceName}: ${root.operationName}` : '',
    start: start / 1000,
    duration: end - start,
  };
}
