/* What is asked of the server: with the token that Open WebUI keeps, else with its cookie. */

const API = "api/v1/usage/";
const TRIED = "usageSignInTried";
const PATIENCE = 10_000;

export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

export class Failed extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const headers = () => {
  const token = localStorage.getItem("token");
  return token ? { Authorization: `Bearer ${token}` } : {};
};

/* Who has tried a moment ago would go back and forth for ever. */
const signIn = () => {
  const tried = Number(sessionStorage.getItem(TRIED) || 0);
  if (Date.now() - tried < PATIENCE) return;
  sessionStorage.setItem(TRIED, String(Date.now()));
  const here = location.pathname + location.search;
  location.replace(`auth?redirect=${encodeURIComponent(here)}`);
};

const told = async (answer) => {
  try {
    const { detail } = await answer.json();
    return typeof detail === "string" ? detail : JSON.stringify(detail);
  } catch {
    return `${answer.status}`;
  }
};

const asked = async (address, options = {}) => {
  const answer = await fetch(address, {
    credentials: "same-origin",
    ...options,
    headers: { ...headers(), ...options.headers },
  });
  if (answer.status === 401) signIn();
  if (!answer.ok) throw new Failed(answer.status, await told(answer));
  return answer;
};

/* Limits have time zones of their own. */
const addressOf = (path, given) => {
  const query = new URLSearchParams();
  const all = path.endsWith("limits") ? given : { zone, ...given };
  for (const [name, value] of Object.entries(all)) {
    if (value !== "" && value !== null && value !== undefined) query.set(name, value);
  }
  return `${API}${path}?${query}`;
};

/* Return an answer, and its text, which is the same where nothing has changed. */
export const get = async (path, given, signal) => {
  const text = await (await asked(addressOf(path, given), { signal })).text();
  return { text, answer: JSON.parse(text) };
};

export const send = async (method, path, body) => {
  const answer = await asked(API + path, {
    method,
    body: body === undefined ? undefined : JSON.stringify(body),
    headers: { "Content-Type": "application/json" },
  });
  return answer.status === 204 ? null : answer.json();
};

const next = (answer) => /<([^>]+)>;\s*rel="next"/.exec(answer.headers.get("link") || "")?.[1];

/* All pages of an answer as one CSV; its first line comes once. */
const csv = async (path, given) => {
  let parts = "";
  for (let address = addressOf(path, { ...given, format: "csv" }); address; ) {
    const answer = await asked(address);
    const text = await answer.text();
    parts += parts ? text.slice(text.indexOf("\n") + 1) : text;
    address = next(answer);
  }
  return parts;
};

export const download = async (path, given, name) => {
  const parts = await csv(path, given);
  // Spreadsheets take it for UTF-8 by the mark alone.
  const file = URL.createObjectURL(new Blob(["\ufeff", parts], { type: "text/csv" }));
  const link = document.createElement("a");
  link.href = file;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(file), 60_000);
};
