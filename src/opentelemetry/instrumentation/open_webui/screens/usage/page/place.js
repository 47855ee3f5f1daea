/* What the page shows, as it stands in its address: so a number can be linked to its calls. */

const VIEW = "view";
const DEFAULTS = { view: "mine", period: "30d", source: "both" };
/* What stays when another view is chosen. */
const KEPT = ["period", "from", "to", "source", "user_id", "group", "model", "provider"];

export const here = () => ({ ...DEFAULTS, ...Object.fromEntries(new URLSearchParams(location.search)) });

export const addressOf = (place) => {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(place)) {
    if (value && value !== DEFAULTS[name]) query.set(name, value);
  }
  const text = query.toString();
  return text ? `usage?${text}` : "usage";
};

/* Return the address of a view of the same calls, or of others. */
export const linkTo = (view, changes = {}) => {
  const now = here();
  const kept = Object.fromEntries(KEPT.map((name) => [name, now[name]]));
  return addressOf({ ...kept, ...changes, [VIEW]: view });
};

let moved = () => {};

export const onMove = (work) => {
  moved = work;
  window.addEventListener("popstate", work);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-inside]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    history.pushState(null, "", link.getAttribute("href"));
    moved(true);
  });
};

/* Change some of what is shown; whatever page of it was shown, begin with the first. */
export const change = (changes) => {
  const { before, offset, ...now } = here();
  history.pushState(null, "", addressOf({ ...now, ...changes }));
  moved(false);
};

/* The parameters that the API takes of it. */
export const asked = (place, ...names) => {
  const days = place.from || place.to ? ["from", "to"] : ["period"];
  const wanted = [...days, "source", "model", "provider", ...names];
  return Object.fromEntries(wanted.map((name) => [name, place[name]]));
};
