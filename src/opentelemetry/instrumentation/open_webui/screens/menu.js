/* The link to the usage page, in Open WebUI's user menu, above its settings.
 *
 * Part of opentelemetry-instrumentation-open-webui; docs/usage.md tells what it leads to. The row of
 * the settings is found by its gear. Where the menu is not as we know it, nothing happens. */
(() => {
  "use strict";

  const GEAR = '[role="menu"] path[d^="M10.343 3.94"]';
  const CHART = "M3 3v18h18M8 17v-5m5 5V8m5 9v-7";
  const MARK = "usageLedger";
  // The menu is drawn some moments after what opens it.
  const MOMENTS = [0, 60, 250];

  const TEXTS = {
    en: "Usage", cs: "Využití", da: "Forbrug", de: "Nutzung", es: "Uso", fr: "Utilisation",
    it: "Utilizzo", ja: "利用状況", ko: "사용량", nl: "Gebruik", pl: "Użycie", pt: "Uso",
    ru: "Использование", sv: "Förbrukning", tr: "Kullanım", uk: "Використання", zh: "用量",
    "zh-tw": "用量",
  };

  const text = () => {
    const language = (document.documentElement.lang || "en").toLowerCase();
    return TEXTS[language] || TEXTS[language.split("-")[0]] || TEXTS.en;
  };

  /* The same row with another icon and text; it is a link, whatever that of the settings is. */
  const rowLike = (settings) => {
    const link = document.createElement("a");
    link.className = settings.className;
    link.setAttribute("role", "menuitem");
    link.setAttribute("draggable", "false");
    // Open WebUI's own router does not know the page.
    link.setAttribute("data-sveltekit-reload", "");
    link.href = "/usage";
    link.dataset[MARK] = "page";
    link.append(...[...settings.cloneNode(true).children]);
    const [first, ...rest] = link.querySelectorAll("path");
    first.setAttribute("d", CHART);
    rest.forEach((path) => path.remove());
    link.lastElementChild.textContent = text();
    return link;
  };

  const place = () => {
    for (const gear of document.querySelectorAll(GEAR)) {
      const row = gear.closest('[role="menuitem"], button, a');
      if (!row || row.childElementCount < 2) continue;
      if (row.previousElementSibling?.dataset[MARK] !== "page") row.before(rowLike(row));
    }
  };

  const attempt = () => {
    try {
      place();
    } catch (error) {
      console.debug("usage ledger:", error);
    }
  };

  const isWriting = (target) =>
    target?.isContentEditable || ["INPUT", "TEXTAREA"].includes(target?.tagName);

  for (const kind of ["click", "pointerup", "keyup"]) {
    document.addEventListener(
      kind,
      (event) => {
        if (kind === "keyup" && isWriting(event.target)) return;
        MOMENTS.forEach((moment) => setTimeout(attempt, moment));
      },
      true
    );
  }
})();
