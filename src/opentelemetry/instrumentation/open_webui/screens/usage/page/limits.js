/* Limits: what is left of one's own, and for admins all of them, to make and to change. */

import { Failed, get, send, zone } from "./api.js";
import { labelled, make, replace, select } from "./dom.js";
import * as numbers from "./numbers.js";
import { plain } from "./tables.js";
import { locale, text } from "./texts.js";

const MEASURES = ["requests", "tokens", "input_tokens", "output_tokens", "cost"];
const PERS = ["hour", "day", "week", "month"];
const PREVIEWED = 5;

const when = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short", timeZone: zone });

const amount = (number, measure) => {
  if (number === null || number === undefined) return "–";
  if (number === "unlimited") return text("unlimited");
  return measure === "cost" ? numbers.money(String(number)) : numbers.count(Number(number));
};

const back = (limit) =>
  limit.resets_at ? text("back_at", { time: when.format(new Date(limit.resets_at * 1000)) }) : "";

// --- one's own ----------------------------------------------------------------------------------

const left = (limit) => {
  const { measure } = limit;
  const words = text("left_of", {
    left: amount(limit.left, measure),
    allowed: amount(limit.allowed, measure),
    measure: text(measure),
  });
  return make(
    "div",
    { class: "tile", "data-limit": limit.name },
    make("dt", {}, limit.name, limit.shared ? ` (${text("shared")})` : ""),
    make(
      "dd",
      {},
      make("progress", { class: "gauge", max: limit.allowed || 1, value: limit.used, "aria-label": words }),
      make("span", { class: limit.warn ? "bad" : null }, words),
      make("div", { class: "note" }, back(limit))
    )
  );
};

export const mine = (answer) => {
  const held = answer.limits.filter((limit) => limit.allowed !== null);
  if (held.length === 0) return null;
  return [make("h2", {}, text("my_limits")), make("dl", { class: "tiles" }, held.map(left))];
};

// --- all of them --------------------------------------------------------------------------------

/* What is being made or changed, and what the preview said of it: none of it is in the address. */
let draft = null;

const who = (one) => {
  if (one.everyone) return text("everyone");
  return one.group === undefined ? `${text("user")}: ${one.user_name || one.user}` : `${text("group")}: ${one.group}`;
};

const per = (limit) => (PERS.includes(limit.per) ? text(`per_${limit.per}`) : limit.per);

const button = (name, onclick, attributes = {}) =>
  make("button", { type: "button", onclick, ...attributes }, text(name));

const state = (limit) => [
  limit.used === null ? "–" : amount(limit.used, limit.measure),
  limit.observe ? make("div", { class: "note" }, text("observe")) : null,
];

const acts = (kind, one, isFixed, actions) =>
  isFixed
    ? ""
    : [
        button("edit", () => actions.edit(kind, one), { "aria-label": `${text("edit")}: ${nameOf(one)}` }),
        " ",
        button("delete", () => actions.remove(kind, one), {
          "aria-label": `${text("delete")}: ${nameOf(one)}`,
        }),
      ];

const nameOf = (one) => one.name ?? one.limit;

const column = (name, kind = null) => make("th", { scope: "col", class: kind }, text(name));

const limitTable = (answer, actions) =>
  plain(
    text("limits"),
    [
      ...["name", "who", "measure"].map((name) => column(name)),
      ...["amount", "used"].map((name) => column(name, "number")),
      column("per"),
      column("actions"),
    ],
    answer.limits.map((limit) => [
      make("th", { scope: "row" }, limit.name),
      make("td", {}, who(limit), limit.share === "shared" ? make("div", { class: "note" }, text("shared")) : null),
      make("td", {}, text(limit.measure), make("div", { class: "note" }, of(limit))),
      make("td", { class: "number" }, amount(limit.amount, limit.measure)),
      make("td", { class: "number" }, state(limit)),
      make("td", {}, per(limit), make("div", { class: "note" }, back(limit))),
      make("td", {}, acts("limits", limit, answer.read_only, actions)),
    ])
  );

const of = (limit) => [limit.models?.join(", "), limit.source && text(limit.source)].filter(Boolean).join(" · ");

const grantTable = (answer, actions) =>
  answer.grants.length === 0
    ? null
    : [
        make("h2", {}, text("grants")),
        plain(
          text("grants"),
          ["limit", "who", "more", "until", "actions"].map((name) => column(name)),
          answer.grants.map((grant) => [
            make("th", { scope: "row" }, grant.limit),
            make("td", {}, who(grant)),
            make("td", {}, String(grant.more)),
            make("td", {}, when.format(new Date(grant.until))),
            make("td", {}, acts("limits/grants", grant, answer.read_only, actions)),
          ])
        ),
      ];

// --- the form -----------------------------------------------------------------------------------

const field = (name, value, attributes = {}) =>
  labelled(text(name), make("input", { name, value: value ?? "", "data-key": `field-${name}`, ...attributes }));

const options = (name, values, chosen, words = text) =>
  labelled(
    text(name),
    select(values.map((value) => [value, words(value)]), chosen, () => {}, { name, "data-key": `field-${name}` })
  );

const whom = (spec) => {
  const kind = spec.user === undefined ? (spec.group === undefined ? "everyone" : "group") : "user";
  return [
    options("kind", ["everyone", "group", "user"], kind),
    field("whom", spec.user ?? spec.group, { maxlength: "256", placeholder: text("whom_example") }),
  ];
};

const limitFields = (spec) => [
  field("name", spec.name, { required: true, maxlength: "100" }),
  ...whom(spec),
  options("share", ["each", "shared"], spec.share || "each"),
  options("measure", MEASURES, spec.measure || "cost"),
  field("amount", spec.amount, { required: true, placeholder: "10" }),
  field("per", spec.per || "month", { required: true, list: "pers", placeholder: "5 hours" }),
  make("datalist", { id: "pers" }, PERS.map((value) => make("option", { value }))),
  field("zone", spec.zone || zone, { required: true, maxlength: "64" }),
  field("models", spec.models?.join(", "), { placeholder: "gpt-*", maxlength: "2000" }),
  options("source", ["", "ui", "api", "background"], spec.source || "", (value) => text(value || "both")),
  field("warn_at", spec.warn_at || "80 %", { required: true, maxlength: "5" }),
  options("observe", ["false", "true"], String(spec.observe ?? false), (value) => text(`observe_${value}`)),
];

/* The last day of a grant, which ends when that does. */
const lastDay = (until) => {
  const [day, clock] = until.split("T");
  const last = new Date(`${day}T00:00:00Z`);
  if (clock.startsWith("00:00:00")) last.setUTCDate(last.getUTCDate() - 1);
  return last.toISOString().slice(0, 10);
};

const grantFields = (spec, names) => [
  options("limit", ["*", ...names], spec.limit || "*", (name) => name),
  ...whom(spec),
  field("more", spec.more, { required: true, placeholder: "50 %" }),
  field("until", spec.until && lastDay(spec.until), { required: true, type: "date" }),
];

/* What was filled in, as the API takes it; of what was there before, what the form has no field for. */
const specOf = async (form, before) => {
  const given = Object.fromEntries(new FormData(form));
  const { kind, whom: name, ...rest } = given;
  const { number, used, allowed, resets_at, user, user_name, group, everyone, models, source, ...kept } = before;
  const spec = { ...kept, ...rest };
  spec[kind] = kind === "everyone" ? true : kind === "user" ? await userId(name.trim()) : name.trim();
  if ("models" in spec) spec.models = spec.models.split(",").map((one) => one.trim()).filter(Boolean);
  if ("observe" in spec) spec.observe = spec.observe === "true";
  if (spec.amount && spec.measure !== "cost" && /^\d+$/.test(spec.amount)) spec.amount = Number(spec.amount);
  return Object.fromEntries(Object.entries(spec).filter(([, value]) => value !== "" && value?.length !== 0));
};

/* People know each other by address; limits are for ids. */
const userId = async (given) => {
  if (!given.includes("@")) return given;
  const { answer } = await get("users", { period: "all", search: given, limit: 2 });
  if (answer.data.length !== 1) throw new Failed(404, text("no_user", { name: given }));
  return answer.data[0].user_id;
};

const previewed = ({ users, refused, data }, measure) => {
  const names = data.slice(0, PREVIEWED).map((row) => `${row.user || row.user_id || text("everyone")} (${amount(row.used, measure)})`);
  const words = text("would_refuse", { n: numbers.count(refused), of: numbers.count(users) });
  return names.length ? `${words}: ${names.join(", ")}${refused > PREVIEWED ? ", …" : ""}` : words;
};

const form = (answer, actions) => {
  const { kind, spec } = draft;
  const isLimit = kind === "limits";
  const names = answer.limits.map((limit) => limit.name);
  const told = make("p", { role: "status", "data-preview": "" });
  const made = make(
    "form",
    { "aria-label": text(isLimit ? "limit" : "grant"), onsubmit: (event) => event.preventDefault() },
    make("h2", {}, text(spec.number ? "edit" : isLimit ? "new_limit" : "new_grant")),
    make("div", { class: "form" }, isLimit ? limitFields(spec) : grantFields(spec, names))
  );
  const tell = async (work) => {
    if (!made.reportValidity()) return;
    try {
      told.className = "";
      told.textContent = (await work(await specOf(made, spec))) || "";
    } catch (error) {
      told.className = "bad";
      told.textContent = error.message;
    }
  };
  const preview = (given) =>
    send("POST", "limits/preview", given).then((found) => previewed(found, given.measure));
  made.append(
    told,
    make(
      "div",
      { class: "chips" },
      isLimit ? button("preview", () => tell(preview)) : null,
      make("button", { type: "submit", class: "main", onclick: () => tell((given) => actions.save(kind, spec, given)) }, text("save")),
      button("cancel", actions.cancel)
    )
  );
  return made;
};

export const limits = (answer, _place, again) => {
  const place = make("div");
  const show = () => {
    const isFixed = answer.read_only;
    replace(
      place,
      draft ? form(answer, actions) : null,
      isFixed ? make("p", { class: "note" }, text(answer.source === "off" ? "limits_off" : "limits_in_file")) : null,
      isFixed || draft
        ? null
        : make("div", { class: "chips" }, button("new_limit", () => actions.edit("limits", {})), button("new_grant", () => actions.edit("limits/grants", {}))),
      answer.source === "off" ? null : limitTable(answer, actions),
      grantTable(answer, actions)
    );
  };
  const actions = {
    edit: (kind, spec) => {
      draft = { kind, spec };
      show();
      place.querySelector("form input, form select").focus();
    },
    cancel: () => {
      draft = null;
      show();
    },
    save: async (kind, { number }, given) => {
      await send(number ? "PUT" : "POST", number ? `${kind}/${number}` : kind, given);
      draft = null;
      again();
    },
    remove: async (kind, one) => {
      if (!window.confirm(text("sure", { name: nameOf(one) }))) return;
      await send("DELETE", `${kind}/${one.number}`);
      again();
    },
  };
  show();
  return place;
};

/* While something is filled in, nothing is drawn anew. */
export const isEditing = () => draft !== null;

export const leave = () => {
  draft = null;
};
