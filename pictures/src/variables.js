// The dropdowns: which options there are, and what is chosen.
import { interpolate } from './interpolate.js';
import { askLabels, prometheus } from './prometheus.js';
import { rangeBuiltins } from './time.js';

const ALL = '$__all';
const SORTS = {
  1: (a, b) => compare(a.text, b.text),
  2: (a, b) => compare(b.text, a.text),
  3: (a, b) => parseFloat(a.text) - parseFloat(b.text),
  4: (a, b) => parseFloat(b.text) - parseFloat(a.text),
  5: (a, b) => compare(a.text.toLowerCase(), b.text.toLowerCase()),
  6: (a, b) => compare(b.text.toLowerCase(), a.text.toLowerCase()),
};
const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

/** Kinds of variables that are chosen from a list. */
const OPTIONS = {
  custom: (variable) => pairs(variable.query),
  datasource: () => [{ text: 'default', value: 'default' }],
  query: asked,
};

export const LISTED = Object.keys(OPTIONS);

/** All variables of a dashboard, in order: one may depend on those before it. */
export async function loadVariables(list, range, chosen) {
  const variables = {};
  for (const variable of list) {
    const options = (await OPTIONS[variable.type]?.(variable, variables, range)) ?? [];
    variables[variable.name] = { ...variable, options, ...choose(variable, options, chosen[variable.name]) };
  }
  return variables;
}

function choose(variable, options, wanted) {
  const current = [wanted ?? variable.current?.value ?? []].flat();
  if (variable.includeAll && (!current.length || current.includes(ALL))) {
    return { all: true, values: options.map(({ value }) => value), text: 'All' };
  }
  if (!OPTIONS[variable.type]) {
    const value = current.join() || variable.query || '';
    return { values: [value], text: value };
  }
  const found = options.filter(({ value }) => current.includes(value));
  // What an address asks for is taken, also where it is not (or no longer) on the list.
  const wishes = [wanted ?? []].flat().filter((value) => value && value !== ALL);
  const wished = wishes.map((value) => ({ text: value, value }));
  const [picked] = [found, wished, options.slice(0, 1)].filter(({ length }) => length).concat([[]]);
  return {
    values: picked.map(({ value }) => value),
    text: picked.map(({ text }) => text).join(' + ') || 'None',
  };
}

function pairs(query) {
  return query.split(/(?<!\\),/).map((pair) => {
    const [text, ...value] = pair.trim().split(' : ');
    return { text: text.trim(), value: (value.length ? value.join(' : ') : text).trim() };
  });
}

async function asked(variable, variables, range) {
  const query = interpolate(variable.query.query ?? variable.query, variables, {
    builtin: rangeBuiltins(range),
    format: 'promql',
  });
  const options = (await texts(query, range)).flatMap((text) => matched(text, variable.regex));
  const distinct = [...new Map(options.reverse().map((o) => [o.value, o])).values()].reverse();
  return SORTS[variable.sort] ? distinct.sort(SORTS[variable.sort]) : distinct;
}

async function texts(query, range) {
  const result = /^query_result\((.+)\)\s*$/s.exec(query);
  if (result) {
    const { result: series } = await prometheus('query', { query: result[1], time: range.to / 1000 });
    return series.map(asText);
  }
  const labels = /^label_values\((?:(.+),)?\s*(\w+)\s*\)\s*$/s.exec(query);
  if (labels) return askLabels(labels[2], labels[1], range);
  throw new Error(`only query_result(…) and label_values(…) are known, not ${query}`);
}

/** What Grafana makes of a result before the regex looks at it. Quotes in it are not escaped. */
function asText({ metric: { __name__: name = '', ...labels }, value: [time, value] }) {
  const inner = Object.entries(labels).map(([label, text]) => `${label}="${text}"`);
  return `${name}{${inner.join(',')}} ${value} ${time * 1000}`;
}

function matched(text, regex) {
  if (!regex) return [{ text, value: text }];
  const [, pattern, flags] = /^\/(.*)\/(\w*)$/s.exec(regex) ?? [null, regex, ''];
  const match = new RegExp(pattern, flags.replace('g', '')).exec(text);
  if (!match) return [];
  const { text: shown, value } = match.groups ?? {};
  if (shown || value) return [{ text: shown || value, value: value || shown }];
  return [{ text: match[1] ?? text, value: match[1] ?? text }];
}
