/* The admin's lists, the chargeback, and everybody's leaderboard. */

import { labelled, make, select } from "./dom.js";
import { send } from "./api.js";
import * as numbers from "./numbers.js";
import { change, linkTo } from "./place.js";
import { inside, ofSums, pages, plain } from "./tables.js";
import { text } from "./texts.js";

export const ROWS = 50;
const MONTHS = 24;

const user = (row) => [
  inside(linkTo("all", { user_id: row.user_id }), row.user || row.user_id),
  row.email ? make("div", { class: "note" }, row.email) : null,
];

/* What each list is of: its columns, and the parameters of the calls behind a row. */
const LISTS = {
  users: [[["user", user]], (row) => ({ user_id: row.user_id })],
  groups: [
    [["group", (row) => inside(linkTo("users", { group: row.group }), row.group)]],
    (row) => ({ group: row.group }),
  ],
  models: [
    [
      ["model", (row) => inside(linkTo("all", { model: row.model }), row.model)],
      ["active_users", (row) => inside(linkTo("users", { model: row.model }), numbers.count(row.users))],
    ],
    (row) => ({ model: row.model }),
  ],
};

export const list = (answer, name, place) => {
  const [columns, calls] = LISTS[name];
  const sorted = { sort: place.sort || "cost", order: place.order || "desc", choose: change };
  return [
    ofSums(
      text(name),
      answer.data,
      columns.map(([heading, show]) => [text(heading), show]),
      calls,
      "calls",
      sorted
    ),
    name === "groups" ? make("p", { class: "note" }, text("groups_note")) : null,
    pages(answer, Number(place.offset || 0), ROWS, (offset) => change({ offset: offset || "" })),
  ];
};

export const search = (place) => {
  const field = make("input", {
    type: "search",
    value: place.search || "",
    maxlength: "256",
    "data-key": "search",
    onchange: () => change({ search: field.value.trim() }),
  });
  return labelled(text("search"), field);
};

export const months = () => {
  const now = new Date();
  return Array.from({ length: MONTHS }, (_, back) => {
    const day = new Date(Date.UTC(now.getFullYear(), now.getMonth() - back, 1));
    return day.toISOString().slice(0, 7);
  });
};

export const chargeFilters = (place) => {
  const order = make("input", {
    value: place.priority || "",
    maxlength: "4096",
    "data-key": "priority",
    onchange: () => change({ priority: order.value.trim() }),
  });
  return [
    labelled(
      text("period"),
      select(months().map((month) => [month, month]), place.month, (month) => change({ month }), {
        "data-key": "month",
      })
    ),
    labelled(
      text("charge_rule"),
      select(
        [["split", text("split")], ["first", text("first")]],
        place.charge || "split",
        (charge) => change({ charge }),
        { "data-key": "charge" }
      )
    ),
    place.charge === "first" ? labelled(text("order"), order) : null,
  ];
};

const lastOf = (month) => {
  const [year, number] = month.split("-").map(Number);
  return new Date(Date.UTC(year, number, 0)).toISOString().slice(0, 10);
};

export const chargeback = (answer, place) => {
  const span = { period: "", from: `${place.month}-01`, to: lastOf(place.month) };
  const behind = (row) => ({ ...span, group: row.group });
  return [
    ofSums(text("chargeback"), answer.data, [[text("group"), (row) => row.group]], behind, "calls"),
    answer.data.length ? total(answer.total) : null,
    answer.unpriced.length
      ? [
          make("h2", {}, text("without_price")),
          plain(
            text("without_price"),
            [
              make("th", { scope: "col" }, text("model")),
              make("th", { scope: "col" }, text("provider")),
              ...["requests", "input", "output"].map((name) =>
                make("th", { scope: "col", class: "number" }, text(name))
              ),
            ],
            answer.unpriced.map((row) => [
              make("th", { scope: "row" }, row.provider_model),
              make("td", {}, row.provider),
              ...[row.unpriced_requests, row.input_tokens, row.output_tokens].map((number) =>
                make("td", { class: "number" }, numbers.count(number))
              ),
            ])
          ),
        ]
      : null,
  ];
};

const total = (sums) =>
  make(
    "p",
    { "data-total": sums.cost_usd ?? "" },
    `${text("in_all")}: ${numbers.money(sums.cost_usd)}, `,
    `${text("requests")}: ${numbers.count(sums.requests)}, `,
    `${text("tokens")}: ${numbers.count(sums.tokens)}`
  );

export const boardSort = (place) =>
  labelled(
    text("leaderboard"),
    select(
      ["tokens", "requests", "messages"].map((name) => [name, text(name)]),
      place.sort || "tokens",
      (sort) => change({ sort }),
      { "data-key": "board" }
    )
  );

export const board = (answer, _place, again) => {
  const wish = make("input", {
    type: "checkbox",
    id: "show-me",
    "data-key": "show-me",
    checked: answer.you_are_shown,
    onchange: async () => {
      await send("PUT", "leaderboard/me", { shown: wish.checked });
      again();
    },
  });
  const name = (place) => {
    const shown = place.user || text("somebody");
    return place.is_you ? `${shown} (${text("you")})` : shown;
  };
  const figures = ["tokens", "requests", "messages"];
  return [
    plain(
      text("leaderboard"),
      [
        make("th", { scope: "col" }, text("rank")),
        make("th", { scope: "col" }, text("user")),
        ...figures.map((measure) => make("th", { scope: "col", class: "number" }, text(measure))),
      ],
      answer.data.map((place) => [
        make("td", {}, numbers.count(place.rank)),
        make("th", { scope: "row" }, name(place)),
        ...figures.map((measure) => make("td", { class: "number" }, numbers.count(place[measure]))),
      ]),
      (place) => (answer.data[place].is_you ? "you" : null)
    ),
    make("p", {}, wish, " ", make("label", { for: "show-me", class: "beside" }, text("show_me"))),
  ];
};
