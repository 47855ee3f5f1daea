// Puts the values of variables into text, in the formats that Grafana knows.

import { dateTime, formattedValueToString, getFieldDisplayValuesProxy } from '@grafana/data';
import { get } from 'lodash';

const REFERENCE =
  /\$(\w+)|\[\[(\w+)(?::(\w+))?\]\]|\$\{(\w+)(?:\.([^:}]+))?(?::([^}]+))?\}/g;
const ALL = '$__all';

const escapeRegex = (text) => text.replace(/[-/\\^$*+?.()|[\]{}]/g, '\\$&');
// In a PromQL string in double quotes, a backslash has to be doubled once more.
const escapeQuotedRegex = (text) =>
  text.replace(/\\/g, '\\\\\\\\').replace(/[$^*{}[\]'+?.()|]/g, '\\\\$&');
const escapeQuoted = (text) => text.replace(/\\/g, '\\\\').replace(/'/g, "\\\\'");
const anyOf = (values) => (values.length === 1 ? values[0] : `(${values.join('|')})`);

const FORMATS = {
  csv: (values) => values.join(','),
  percentencode: (values) => encodeURIComponent(values.join(',')),
  pipe: (values) => values.join('|'),
  queryparam: (values, { name, all }) =>
    (all ? [ALL] : values).map((value) => `var-${name}=${encodeURIComponent(value)}`).join('&'),
  raw: (values) => values.join(','),
  regex: (values) => anyOf(values.map(escapeRegex)),
  uriencode: (values) => encodeURIComponent(values.join(',')),
  // What the Prometheus data source does where no format is named.
  promql: (values, { multi, includeAll }) =>
    multi || includeAll
      ? anyOf(values.map(escapeQuotedRegex))
      : values.map(escapeQuoted).join(','),
};

// What a link or a text may say of the place where it stands.
const PLACES = {
  __data: ofRow,
  __field: ({ field: { name, labels } }, path) => get({ name, labels }, path),
  __series: ({ frame }, path) => get({ name: frame.name }, path),
  __value: ofValue,
};

/**
 * Replace all references to variables; those to unknown ones stay, such as $1 in label_replace.
 *
 * `builtin` holds what is no variable of the dashboard, such as __range. `scope` is what Grafana tells
 * of the place where the text stands: with it, ${__field.labels.x} is known.
 */
export function interpolate(text, variables, { builtin = {}, scope = {}, format = 'raw' } = {}) {
  return String(text ?? '').replace(REFERENCE, (whole, ...groups) => {
    const [plain, square, squareFormat, curly, path, named] = groups;
    const name = plain ?? square ?? curly;
    if (name in builtin) return ofBuiltin(builtin[name], named);
    const place = scope.__dataContext?.value;
    if (place && PLACES[name]) return inAddress(PLACES[name](place, path) ?? '', named ?? format);
    const variable = variables[name];
    if (!variable) return whole;
    const chosen = named ?? squareFormat ?? format;
    if (chosen === 'text') return variable.text;
    if (variable.all && variable.allValue && chosen !== 'queryparam') return variable.allValue;
    return (FORMATS[chosen] ?? FORMATS.raw)(variable.values, variable);
  });
}

/** A time may be wanted as a date: `__from:date:YYYY-MM`. */
function ofBuiltin(value, format = '') {
  const [kind, ...how] = format.split(':');
  if (kind !== 'date') return value;
  const wanted = how.join(':');
  if (wanted === 'seconds') return Math.round(value / 1000);
  return wanted && wanted !== 'iso' ? dateTime(value).utc().format(wanted) : dateTime(value).toISOString();
}

const inAddress = (value, format) =>
  ['uriencode', 'percentencode'].includes(format) ? encodeURIComponent(value) : String(value);

function ofRow({ frame, rowIndex }, path) {
  const [, plain, quoted] = /^fields(?:\.(.+)|\["?([^"\]]+)"?\])$/.exec(path) ?? [];
  const name = plain ?? quoted;
  const value = name && rowIndex !== undefined && getFieldDisplayValuesProxy({ frame, rowIndex })[name];
  return value ? formattedValueToString(value) : undefined;
}

function ofValue({ field, rowIndex, calculatedValue }, path = 'raw') {
  const raw = field.values[rowIndex];
  const shown = calculatedValue ?? field.display?.(raw);
  const known = {
    raw: raw ?? calculatedValue?.numeric,
    numeric: shown?.numeric,
    text: shown && formattedValueToString(shown),
  };
  return known[path];
}
