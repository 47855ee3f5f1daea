// What Grafana's own date arithmetic makes of time ranges. Reads {cases: [{zone, now, from, to}]} of moments
// in milliseconds and ranges as addresses have them; writes for each its range and the months (UTC) that it means.
const { createRequire } = require('node:module');
const { readFileSync } = require('node:fs');

const [, , modules] = process.argv;
const { dateMath, dateTimeForTimeZone } = createRequire(modules)('@grafana/data');
const BACK = [0, 1, 2, 3];

function parsed(text, roundUp, zone) {
  return /^\d+$/.test(text) ? Number(text) : +dateMath.parse(text, roundUp, zone);
}

/** Of the month in which a range ends and of those before: name, beginning and end. */
function months(to) {
  const last = dateTimeForTimeZone('utc', to - 1);
  return BACK.map((back) => {
    const [start, end] = [false, true].map((up) => dateMath.parseDateMath(`-${back}M/M`, last, up));
    return { name: start.format('YYYY-MM'), start: +start, end: +end + 1 };
  });
}

const { cases } = JSON.parse(readFileSync(0, 'utf8'));
const found = cases.map(({ zone, now, from, to }) => {
  Date.now = () => now;
  const end = parsed(to, true, zone);
  return { from: parsed(from, false, zone), to: end, months: months(end) };
});
process.stdout.write(JSON.stringify(found));
