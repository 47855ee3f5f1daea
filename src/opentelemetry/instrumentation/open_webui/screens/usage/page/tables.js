/* Tables whose every number leads to the calls behind it. */

import { make } from "./dom.js";
import * as numbers from "./numbers.js";
import { linkTo } from "./place.js";
import { text } from "./texts.js";

export const inside = (href, ...children) => make("a", { href, "data-inside": true }, ...children);

/* The cost, and beside it what has none. */
export const cost = (sums, calls) => [
  sums.cost_usd === null
    ? text("unknown_price")
    : make("a", { href: calls({}), "data-inside": true, title: `${sums.cost_usd} USD` }, numbers.money(sums.cost_usd)),
  sums.unpriced_requests > 0
    ? make(
        "div",
        { class: "note" },
        inside(calls({ unpriced: "true" }), text("unpriced", { n: numbers.count(sums.unpriced_requests) }))
      )
    : null,
];

/* Tokens; with a mark if some of them are estimated. */
const tokens = (amount, sums, calls) => {
  const mark = sums.estimated_requests > 0 && amount > 0 ? "≈ " : "";
  const title = mark && text("estimated", { n: numbers.count(sums.estimated_requests) });
  return make("a", { href: calls({}), "data-inside": true, title: title || null }, mark + numbers.count(amount));
};

const failed = (sums, calls) =>
  sums.failed ? inside(calls({ failed: "true" }), numbers.count(sums.failed)) : "0";

/* The columns of all tables of sums: what they are sorted by, and what is in a cell. */
const MEASURES = [
  ["requests", (sums, calls) => inside(calls({}), numbers.count(sums.requests))],
  ["input", (sums, calls) => tokens(sums.input_tokens, sums, calls)],
  ["output", (sums, calls) => tokens(sums.output_tokens, sums, calls)],
  ["cost", cost],
  ["failed", failed],
];

const heading = (name, sorted) => {
  if (!sorted) return make("th", { class: "number", scope: "col" }, text(name));
  const is = sorted.sort === name;
  const order = is && sorted.order !== "asc" ? "asc" : "desc";
  const arrow = is ? (sorted.order === "asc" ? " ↑" : " ↓") : "";
  const direction = sorted.order === "asc" ? "ascending" : "descending";
  return make(
    "th",
    { class: "number", scope: "col", "aria-sort": is ? direction : null },
    make(
      "button",
      {
        type: "button",
        "data-key": `sort-${name}`,
        title: text("sort_by", { what: text(name) }),
        onclick: () => sorted.choose({ sort: name, order }),
      },
      text(name),
      arrow
    )
  );
};

/* A table of sums.
 *
 * `columns` are what rows are of: pairs of a heading and of what a row shows below it.
 * `calls` returns the parameters of the calls behind a row; `view` is where calls are shown. */
export const ofSums = (caption, rows, columns, calls, view, sorted = null) =>
  plain(
    caption,
    [
      ...columns.map(([name]) => make("th", { scope: "col" }, name)),
      ...MEASURES.map(([name]) => heading(name, sorted)),
    ],
    rows.map((row) => [
      ...columns.map(([, show], place) => make(place ? "td" : "th", place ? {} : { scope: "row" }, show(row))),
      ...MEASURES.map(([, show]) =>
        make("td", { class: "number" }, show(row, (more) => linkTo(view, { ...calls(row), ...more })))
      ),
    ])
  );

export const plain = (caption, headings, rows, classes = () => null) =>
  rows.length === 0
    ? make("p", {}, text("nothing"))
    : make(
        "div",
        { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
        make(
          "table",
          {},
          make("caption", {}, caption),
          make("thead", {}, make("tr", {}, headings)),
          make("tbody", {}, rows.map((cells, place) => make("tr", { class: classes(place) }, cells)))
        )
      );

/* The pages of a list that is counted. */
export const pages = (answer, offset, limit, choose) => {
  if (answer.total <= limit && offset === 0) return null;
  const last = Math.min(offset + limit, answer.total);
  const turn = (name, to, is) =>
    make(
      "button",
      { type: "button", "data-key": name, disabled: !is, onclick: () => choose(to) },
      text(name)
    );
  return make(
    "div",
    { class: "pager" },
    turn("previous", Math.max(0, offset - limit), offset > 0),
    make("span", {}, text("rows", {
      first: numbers.count(Math.min(offset + 1, last)),
      last: numbers.count(last),
      total: numbers.count(answer.total),
    })),
    turn("next", offset + limit, last < answer.total)
  );
};
