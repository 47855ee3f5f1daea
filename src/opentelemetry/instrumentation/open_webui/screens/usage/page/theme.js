/* Open WebUI's theme, as it keeps it; before anything is drawn. */
(() => {
  "use strict";

  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  const settle = () => {
    const theme = localStorage.theme || "system";
    const system = dark.matches ? "dark" : "light";
    const chosen = theme === "system" ? system : theme;
    const classes = { "oled-dark": ["dark", "oled"], light: ["light"], her: ["her"] };
    document.documentElement.classList.remove("dark", "light", "oled", "her");
    document.documentElement.classList.add(...(classes[chosen] || ["dark"]));
  };

  settle();
  dark.addEventListener("change", settle);
  window.addEventListener("storage", settle);
})();
