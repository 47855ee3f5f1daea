/* Totals, a chart, models and sources: of one's own, or of everybody. */

import { chart, legend } from "./chart.js";
import { make, select } from "./dom.js";
import * as numbers from "./numbers.js";
import { change, linkTo } from "./place.js";
import { cost, inside, ofSums } from "./tables.js";
import { text } from "./texts.js";

const MEASURES = {
  cost: [(part) => Number(part.cost_usd || 0), (part) => numbers.money(part.cost_usd), numbers.money],
  tokens: [(part) => part.tokens, (part) => numbers.count(part.tokens), numbers.count],
  requests: [(part) => part.requests, (part) => numbers.count(part.requests), numbers.count],
};

const tile = (name, number, ...notes) =>
  make(
    "div",
    { class: "tile", "data-tile": name },
    make("dt", {}, text(name)),
    make("dd", {}, make("span", { class: "number" }, number), notes)
  );

const note = (...words) => make("div", { class: "note" }, words);

const tiles = (answer, calls) => {
  const total = answer.total;
  const estimated = total.estimated_requests;
  return make(
    "dl",
    { class: "tiles" },
    tile("cost", ...cost(total, calls)),
    tile(
      "tokens",
      inside(calls({}), (estimated ? "≈ " : "") + numbers.count(total.tokens)),
      note(text("in_out", {
        input: numbers.count(total.input_tokens),
        output: numbers.count(total.output_tokens),
      })),
      estimated ? note(text("estimated", { n: numbers.count(estimated) })) : null
    ),
    tile("requests", inside(calls({}), numbers.count(total.requests))),
    tile("failed", total.failed ? inside(calls({ failed: "true" }), numbers.count(total.failed)) : "0"),
    "users" in answer ? tile("active_users", inside(linkTo("users"), numbers.count(answer.users))) : null
  );
};

/* The days of a part: its own, and those until the next one begins. */
const days = (parts, place, last) => {
  const from = parts[place].begin.slice(0, 10);
  const next = parts[place + 1]?.begin.slice(0, 10);
  if (next === undefined) return { from, to: last };
  if (next === from) return { from, to: from };
  const end = new Date(`${next}T00:00:00Z`);
  end.setUTCDate(end.getUTCDate() - 1);
  return { from, to: end.toISOString().slice(0, 10) };
};

/* The models that a chart shows one by one; all others are together. */
const SHOWN = 5;

/* What bars are made of, from below: each a name, its part of a bar, and where it leads. */
const layersOf = (answer, value, format, view) => {
  if (!answer.data.some((part) => part.models)) return [];
  const first = [...answer.models].sort((one, other) => value(other) - value(one)).slice(0, SHOWN);
  const names = first.map((row) => row.model);
  const among = (is) => (part) =>
    part.models.filter((row) => is(row.model)).reduce((sum, row) => sum + value(row), 0);
  const layer = (name, is, href) => ({ name, value: among(is), format, href });
  const made = names.map((name) =>
    layer(name, (model) => model === name, linkTo(view, { model: name }))
  );
  if (answer.models.length <= SHOWN) return made;
  return [...made, layer(text("others"), (model) => !names.includes(model))];
};

/* `view` is where the calls behind the numbers are shown. */
export const overview = (answer, view, place) => {
  const measure = Object.hasOwn(MEASURES, place.chart ?? "") ? place.chart : "cost";
  const [value, shown, format] = MEASURES[measure];
  const parts = answer.data;
  const of = new Map(parts.map((part, number) => [part, days(parts, number, answer.period.last)]));
  const behind = (part) => ({ ...of.get(part), period: "" });
  const calls = (more) => linkTo(view, more);
  const what = text(measure);
  const layers = layersOf(answer, value, format, place.view);
  return [
    tiles(answer, calls),
    make(
      "div",
      { class: "top" },
      make("h2", {}, text("over_time", { what })),
      select(
        [["", text("in_all")], ["model", text("by_model")]],
        place.split || "",
        (split) => change({ split }),
        { class: "aside", "aria-label": text("by_model"), "data-key": "split" }
      ),
      select(
        Object.keys(MEASURES).map((name) => [name, text(name)]),
        measure,
        (chosen) => change({ chart: chosen }),
        { "aria-label": text("over_time", { what: "" }).trim(), "data-key": "measure" }
      )
    ),
    chart(parts, answer.every, value, shown, (part) => linkTo(view, behind(part)), layers),
    legend(layers),
    make(
      "details",
      { "data-key": "as-table" },
      make("summary", { "data-key": "as-table-summary" }, text("as_table")),
      ofSums(
        text("over_time", { what }),
        parts.filter((part) => part.requests),
        [[text("begin"), (part) => numbers.begin(part.begin, answer.every)]],
        behind,
        view
      )
    ),
    make("h2", {}, text("by_model")),
    ofSums(
      text("by_model"),
      answer.models,
      [[text("model"), (row) => inside(linkTo(place.view, { model: row.model }), row.model)]],
      (row) => ({ model: row.model }),
      view
    ),
    make("h2", {}, text("by_source")),
    ofSums(
      text("by_source"),
      answer.sources,
      [[text("source"), (row) => text(row.source)]],
      (row) => ({ source: row.source }),
      view
    ),
  ];
};
