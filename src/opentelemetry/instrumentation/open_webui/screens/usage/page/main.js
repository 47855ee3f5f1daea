/* The page: which view is shown, by which choices, and how it stays up to date. */

import { download, Failed, get } from "./api.js";
import { calls, filters } from "./calls.js";
import * as desk from "./desk.js";
import { choice, labelled, make, replace, select } from "./dom.js";
import * as held from "./limits.js";
import { overview } from "./overview.js";
import { asked, change, here, linkTo, onMove } from "./place.js";
import { locale, text } from "./texts.js";

const PERIODS = ["today", "7d", "30d", "90d", "365d", "month", "last_month", "all"];
const SOURCES = ["both", "ui", "api", "background"];
const LIST = ["user_id", "group", "sort", "order", "offset", "limit"];
const CALLS = ["failed", "unpriced", "before", "limit"];
/* Which of the page's choices are shown as something to take back. */
const CHIPS = { user_id: "user", group: "group", model: "model", provider: "provider" };
const SOON = 5_000;
const LATER = 15_000;

/* A view: what is asked for, with which parameters, and how that is shown. */
const VIEWS = {
  mine: {
    path: "mine",
    names: ["split"],
    also: "mine/limits",
    show: (answer, place, _again, limits) => [held.mine(limits), overview(answer, "history", place)],
    every: SOON,
  },
  history: {
    path: "mine/calls",
    names: CALLS,
    filters,
    show: (answer, place) => calls(answer, true, place),
    every: SOON,
  },
  leaderboard: {
    path: "leaderboard",
    asked: (place) => ({
      period: place.period,
      source: place.source,
      sort: place.sort || "tokens",
    }),
    filters: (place) => [desk.boardSort(place)],
    show: desk.board,
    is: (you) => you.leaderboard !== "off",
  },
  all: {
    path: "summary",
    names: ["user_id", "group", "split"],
    show: (answer, place) => overview(answer, "calls", place),
  },
  users: {
    path: "users",
    names: [...LIST, "search"],
    filters: (place) => [desk.search(place)],
    show: (answer, place) => desk.list(answer, "users", place),
  },
  groups: { path: "groups", names: LIST, show: (answer, place) => desk.list(answer, "groups", place) },
  models: { path: "models", names: LIST, show: (answer, place) => desk.list(answer, "models", place) },
  calls: {
    path: "calls",
    names: [...CALLS, "user_id", "group"],
    filters,
    show: (answer, place) => calls(answer, false, place),
    every: SOON,
  },
  chargeback: {
    path: "chargeback",
    asked: ({ month, charge, priority }) => ({ month, charge, priority }),
    filters: desk.chargeFilters,
    show: desk.chargeback,
    hasDays: false,
  },
  limits: {
    path: "limits",
    asked: () => ({}),
    show: held.limits,
    hasDays: false,
    hasTable: false,
  },
};
const OF_ALL = ["all", "users", "groups", "models", "calls", "chargeback", "limits"];

let you = null;
let shown = null;
let timer = 0;
let running = new AbortController();

const status = document.getElementById("status");
const content = document.getElementById("content");

const placeOf = () => {
  const place = here();
  if (!Object.hasOwn(VIEWS, place.view) || !mayShow(place.view)) place.view = "mine";
  if (place.view === "chargeback") place.month ||= desk.months()[1];
  if (["users", "groups", "models"].includes(place.view)) place.limit = desk.ROWS;
  return place;
};

const mayShow = (view) => {
  if (OF_ALL.includes(view)) return Boolean(you?.is_admin);
  return VIEWS[view].is?.(you) ?? true;
};

const parametersOf = (view, place) => view.asked?.(place) ?? asked(place, ...view.names);

const header = (place) => [
  make(
    "div",
    { class: "top" },
    make("h1", {}, text("title")),
    make("a", { href: "./" }, text("back"))
  ),
  make(
    "nav",
    { "aria-label": text("views") },
    make(
      "ul",
      {},
      Object.keys(VIEWS)
        .filter(mayShow)
        .map((view) =>
          make(
            "li",
            {},
            make(
              "a",
              {
                href: linkTo(view),
                "data-inside": true,
                "data-key": `view-${view}`,
                "aria-current": view === place.view ? "page" : null,
              },
              text(view)
            )
          )
        )
    )
  ),
];

const period = (place) => {
  const named = PERIODS.map((name) => [name, text(name === "all" ? "ever" : name)]);
  const isDays = place.from || place.to;
  const days = [["", text("days", { first: place.from || "…", last: place.to || "…" })]];
  return labelled(
    text("period"),
    select(
      isDays ? [...days, ...named] : named,
      isDays ? "" : place.period,
      (chosen) => change({ period: chosen, from: "", to: "" }),
      { "data-key": "period" }
    )
  );
};

const choices = (view, place) =>
  make(
    "div",
    { class: "choices" },
    view.hasDays === false
      ? null
      : [
          period(place),
          choice(
            "source",
            text("source"),
            SOURCES.map((source) => [source, text(source)]),
            place.source,
            (source) => change({ source })
          ),
        ],
    view.filters?.(place) ?? null,
    view.hasTable === false
      ? null
      : make(
          "button",
          { type: "button", "data-key": "csv", onclick: () => attempt(() => save(view, place)) },
          text("csv")
        )
  );

const save = (view, place) => {
  const { before, offset, ...given } = parametersOf(view, place);
  const limit = view.names?.includes("limit") ? { limit: 1000 } : {};
  return download(view.path, { ...given, ...limit }, `usage-${place.view}.csv`);
};

const chips = (place, answer) =>
  make(
    "div",
    { class: "chips" },
    Object.entries(CHIPS)
      .filter(([name]) => place[name] && (OF_ALL.includes(place.view) || name === "model"))
      .map(([name, what]) =>
        make(
          "button",
          {
            type: "button",
            "data-key": `chip-${name}`,
            title: text("remove"),
            onclick: () => change({ [name]: "" }),
          },
          text("only", { what: text(what), name: nameOf(name, place, answer) }),
          " ✕"
        )
      )
  );

/* A user is shown by name where the answer has it. */
const nameOf = (name, place, answer) =>
  (name === "user_id" && answer.data?.find((row) => row.user_id === place.user_id)?.user) ||
  place[name];

const attempt = async (work) => {
  try {
    await work();
    status.textContent = "";
  } catch (error) {
    if (error.name === "AbortError") return;
    status.textContent = text("failure", { why: error.message });
    if (!(error instanceof Failed)) console.error(error);
  }
};

const render = (place, [main, also], isNew) => {
  const view = VIEWS[place.view];
  const now = [location.search, main.text, also?.text].join(" ");
  if (!isNew && (now === shown || held.isEditing())) return;
  shown = now;
  const { answer } = main;
  replace(document.getElementById("header"), header(place));
  replace(content, choices(view, place), chips(place, answer), view.show(answer, place, load, also?.answer));
};

const load = (isNew = true) =>
  attempt(async () => {
    running.abort();
    running = new AbortController();
    clearTimeout(timer);
    const { signal } = running;
    if (isNew) status.textContent = text("loading");
    try {
      if (!you) await meet(signal);
      const place = placeOf();
      const view = VIEWS[place.view];
      const asked = [get(view.path, parametersOf(view, place), signal)];
      if (view.also) asked.push(get(view.also, {}, signal));
      render(place, await Promise.all(asked), isNew);
    } finally {
      if (!signal.aborted) again();
    }
  });

/* Who is signed in is told with what is their own. */
const meet = async (signal) => {
  const { answer } = await get("mine", { period: "today" }, signal);
  you = answer.you;
};

const again = () => {
  const every = VIEWS[here().view]?.every ?? LATER;
  timer = setTimeout(() => (document.hidden ? again() : load(false)), every);
};

const begin = () => {
  document.documentElement.lang = locale;
  document.title = `${text("title")} · Open WebUI`;
  document.getElementById("skip").textContent = text("skip");
  onMove((toContent) => {
    held.leave();
    load().then(() => toContent === true && content.focus());
  });
  load();
};

begin();
