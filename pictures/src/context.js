// What all panels of a dashboard are drawn with: range, variables, and what replaces them in texts.
import { askAnnotations } from './annotations.js';
import { interpolate } from './interpolate.js';
import { parseRange, rangeBuiltins } from './time.js';
import { loadVariables } from './variables.js';

/** A dashboard as the address `query` wants it; `still` holds what does not depend on it. */
export async function contextOf(dashboard, query, report, still) {
  const raw = rawRange(dashboard, query);
  const range = parseRange(raw.from, raw.to);
  const variables = await loadVariables(dashboard.templating?.list ?? [], range, chosen(query));
  const annotations = await annotationsOf(dashboard, range, variables, report);
  const texts = {
    ...rangeBuiltins(range),
    __url_time_range: String(new URLSearchParams(raw)),
    __all_variables: addressOf(variables),
  };
  return {
    ...still,
    annotations,
    raw,
    range,
    report,
    variables,
    replace: (text, scope, format = 'text') =>
      interpolate(text, variables, { builtin: texts, scope, format }),
  };
}

/** Without them, a dashboard is still one. */
async function annotationsOf(dashboard, range, variables, report) {
  try {
    return await askAnnotations(dashboard, range, variables);
  } catch (problem) {
    report.error(`annotations: ${problem.message}`);
    return [];
  }
}

export const rawRange = (dashboard, query) => ({
  from: query.get('from') ?? dashboard.time.from,
  to: query.get('to') ?? dashboard.time.to,
});

/** The part of an address that says what is chosen. */
export const addressOf = (variables) =>
  Object.keys(variables)
    .map((name) => interpolate(`\${${name}:queryparam}`, variables))
    .join('&');

function chosen(query) {
  const names = [...query.keys()].filter((key) => key.startsWith('var-'));
  return Object.fromEntries(names.map((key) => [key.slice(4), query.getAll(key)]));
}
