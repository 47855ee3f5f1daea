/* The links to the usage page: in Open WebUI's user menu, above its settings, and in a chat, behind
 * the sentence that a limit refuses with.
 *
 * Part of opentelemetry-instrumentation-open-webui; docs/usage.md tells what they lead to. The row
 * of the settings is found by its gear, an error of a chat by its icon. Where the page is not as we
 * know it, nothing happens. */
(() => {
  "use strict";

  // In 0.8, what holds the menu's rows is not called one.
  const GEAR = ':is([role="menu"], [slot="content"]) path[d^="M10.343 3.94"]';
  const ERROR = '#response-content-container svg:has(path[d^="m11.25 11.25.041-.02"])';
  // What limits/words.py ends its sentences with.
  const REFUSAL = /\bback at \d\d:\d\d\b.*\([^()]+\)\.$/;
  const CHART = "M3 3v18h18M8 17v-5m5 5V8m5 9v-7";
  const MARK = "usageLedger";
  // The menu is drawn some moments after what opens it.
  const MOMENTS = [0, 60, 250];
  // An answer that is coming in changes the page all the time.
  const PAUSE = 300;

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

  const linked = (classes) => {
    const link = document.createElement("a");
    link.className = classes;
    link.href = "/usage";
    link.dataset[MARK] = "page";
    // Open WebUI's own router does not know the page.
    link.dataset.sveltekitReload = "";
    return link;
  };

  /* The same row with another icon and text; it is a link, whatever that of the settings is. */
  const rowLike = (settings) => {
    const link = linked(settings.className);
    link.setAttribute("role", "menuitem");
    link.setAttribute("draggable", "false");
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

  const placeInChat = () => {
    for (const icon of document.querySelectorAll(ERROR)) {
      // Before 0.10, the icon has an element of its own.
      const said = icon.nextElementSibling || icon.parentElement.nextElementSibling;
      if (!said || !REFUSAL.test(said.textContent.trim())) continue;
      const link = linked("underline");
      link.textContent = text();
      said.append(" ", link);
    }
  };

  const attempt = (work) => {
    try {
      work();
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
        MOMENTS.forEach((moment) => setTimeout(() => attempt(place), moment));
      },
      true
    );
  }

  let isWaiting = false;
  new MutationObserver(() => {
    if (isWaiting) return;
    isWaiting = true;
    setTimeout(() => {
      isWaiting = false;
      attempt(placeInChat);
    }, PAUSE);
  }).observe(document, { childList: true, subtree: true });
})();
