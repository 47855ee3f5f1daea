// Puts the values of variables into text, in the formats that Grafana knows.

import { get } from 'lodash';

const REFERENCE =
  /\$(\w+)|\[\[(\w+)(?::(\w+))?\]\]|\$\{(\w+)(?:\.([^:}]+))?(?::(\w+))?\}/g;

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
  queryparam: (values, { name }) =>
    values.map((value) => `var-${name}=${encodeURIComponent(value)}`).join('&'),
  raw: (values) => values.join(','),
  regex: (values) => anyOf(values.map(escapeRegex)),
  // What the Prometheus data source does where no format is named.
  promql: (values, { multi, includeAll }) =>
    multi || includeAll
      ? anyOf(values.map(escapeQuotedRegex))
      : values.map(escapeQuoted).join(','),
};

/**
 * Replace all references to variables; those to unknown ones stay, such as $1 in label_replace.
 *
 * `builtin` holds what is the same for all formats, such as __range. `scope` is what Grafana tells of
 * the place where the text stands: with it, ${__field.labels.x} is known.
 */
export function interpolate(text, variables, { builtin = {}, scope = {}, format = 'raw' } = {}) {
  return String(text ?? '').replace(REFERENCE, (whole, ...groups) => {
    const [plain, square, squareFormat, curly, path, named] = groups;
    const name = plain ?? square ?? curly;
    if (name in builtin) return builtin[name];
    if (name === '__field' && scope.__dataContext) return ofField(scope, path) ?? '';
    const variable = variables[name];
    if (!variable) return whole;
    const chosen = named ?? squareFormat ?? format;
    if (chosen === 'text') return variable.text;
    if (variable.all && variable.allValue) return variable.allValue;
    return (FORMATS[chosen] ?? FORMATS.raw)(variable.values, variable);
  });
}

function ofField({ __dataContext: { value } }, path) {
  const { name, labels } = value.field;
  return get({ name, labels }, path);
}
