// What happened when: the annotations of a dashboard, asked once for all its plots.
import { interpolate } from './interpolate.js';
import { runRange } from './prometheus.js';
import { leastStep, rangeBuiltins, secondsOf } from './time.js';

const STEP = 60;

/** Events of all annotations that are on: when, what, and in which colour. */
export async function askAnnotations({ annotations }, range, variables) {
  const wanted = (annotations?.list ?? []).filter(({ enable, expr }) => enable && expr);
  const answers = await Promise.all(wanted.map((annotation) => eventsOf(annotation, range, variables)));
  return answers.flat();
}

async function eventsOf(annotation, range, variables) {
  const step = Math.max(secondsOf(annotation.step) || STEP, leastStep(range));
  const expr = interpolate(annotation.expr, variables, {
    builtin: { ...rangeBuiltins(range), __interval: `${step}s` },
    format: 'promql',
  });
  const series = await runRange(expr, range, step);
  return series.flatMap(({ labels, times, values }) => {
    const found = annotation.useValueForTime ? values : times.filter((_, index) => values[index]);
    return [...new Set(found)]
      .filter((time) => time >= range.from && time <= range.to)
      .map((time) => ({ time, title: titled(annotation, labels), color: annotation.iconColor }));
  });
}

const titled = ({ name, titleFormat }, labels) =>
  titleFormat ? titleFormat.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => labels[label] ?? '') : name;
