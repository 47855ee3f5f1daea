/* Single calls, newest first: one's own, or everybody's. */

import { labelled, make, select } from "./dom.js";
import * as numbers from "./numbers.js";
import { change, linkTo } from "./place.js";
import { inside, plain } from "./tables.js";
import { text } from "./texts.js";

export const filters = (place) => [
  labelled(
    text("state"),
    select(
      [["", text("any")], ["true", text("failed")], ["false", text("ok")]],
      place.failed || "",
      (failed) => change({ failed }),
      { "data-key": "failed" }
    )
  ),
  labelled(
    text("cost"),
    select(
      [["", text("any")], ["true", text("unknown_price")]],
      place.unpriced || "",
      (unpriced) => change({ unpriced }),
      { "data-key": "unpriced" }
    )
  ),
];

const amount = (tokens, isEstimated) =>
  tokens === null
    ? "–"
    : make(
        "span",
        { title: isEstimated ? text("is_estimated") : null },
        (isEstimated ? "≈ " : "") + numbers.count(tokens)
      );

const price = (call) => {
  if (call.unpriced) return text("unknown_price");
  return call.cost_usd === null ? "–" : numbers.exactly(call.cost_usd);
};

const state = (call) =>
  call.error ? make("span", { class: "bad" }, call.error) : text("ok");

/* A temporary chat, a channel and work without a chat have no page of their own. */
const chat = (call, isMine) =>
  isMine && /^[0-9a-f-]{36}$/.test(call.chat_id || "")
    ? make("a", { href: `c/${call.chat_id}` }, call.task)
    : call.task;

const row = (call, isMine, view) => [
  make("th", { scope: "row" }, make("time", { datetime: call.time }, numbers.time(call.time))),
  isMine
    ? null
    : make("td", {}, inside(linkTo(view, { user_id: call.user_id }), call.user || call.user_id)),
  make("td", {}, inside(linkTo(view, { model: call.model }), call.model)),
  make("td", {}, text(call.source)),
  make("td", {}, chat(call, isMine), call.route ? make("div", { class: "note" }, call.route) : null),
  make("td", { class: "number" }, amount(call.input_tokens, call.input_estimated)),
  make("td", { class: "number" }, amount(call.output_tokens, call.output_estimated)),
  make("td", { class: "number" }, price(call)),
  make("td", { class: "number" }, numbers.seconds(call.seconds)),
  make("td", {}, state(call)),
];

const headings = (isMine) => {
  const words = ["time", isMine ? null : "user", "model", "source", "task"].filter(Boolean);
  const figures = ["input", "output", "cost", "duration"];
  return [
    ...words.map((name) => make("th", { scope: "col" }, text(name))),
    ...figures.map((name) => make("th", { class: "number", scope: "col" }, text(name))),
    make("th", { scope: "col" }, text("state")),
  ];
};

export const calls = (answer, isMine, place) => {
  const next = answer.next && new URLSearchParams(answer.next.split("?")[1]).get("before");
  const turn = (name, before, is) =>
    make(
      "button",
      {
        type: "button",
        "data-key": name,
        disabled: !is,
        onclick: () => change({ before }),
      },
      text(name)
    );
  return [
    plain(
      text("calls"),
      headings(isMine),
      answer.data.map((call) => row(call, isMine, place.view))
    ),
    make("div", { class: "pager" }, turn("newest", "", Boolean(place.before)), turn("older", next, Boolean(next))),
  ];
};
