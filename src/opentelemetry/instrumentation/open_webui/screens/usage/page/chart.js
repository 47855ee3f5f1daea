/* Bars over time. The same numbers are in a table below, for who cannot see or point. */

import { draw, make } from "./dom.js";
import * as numbers from "./numbers.js";

const HEIGHT = 100;
const GAP = 0.15;

/* Bars as high as `value` says; a bar links to where `href` says. */
export const chart = (parts, every, value, shown, href) => {
  const most = Math.max(...parts.map(value), 0);
  const bar = (part, place) => {
    const height = most > 0 ? (value(part) / most) * HEIGHT : 0;
    const width = 1 - 2 * GAP;
    return draw(
      "a",
      { href: href(part), "data-inside": true, tabindex: "-1" },
      draw("title", {}, `${numbers.begin(part.begin, every)}: ${shown(part)}`),
      draw("rect", { class: "whole", x: place, y: 0, width: 1, height: HEIGHT }),
      draw("rect", { x: place + GAP, y: HEIGHT - height, width, height })
    );
  };
  const box = `0 0 ${Math.max(parts.length, 1)} ${HEIGHT}`;
  return make(
    "div",
    { "aria-hidden": "true" },
    make("div", { class: "axis" }, most > 0 ? shown(parts.find((part) => value(part) === most)) : ""),
    draw("svg", { class: "chart", viewBox: box, preserveAspectRatio: "none" }, parts.map(bar)),
    make("div", { class: "axis" }, ends(parts, every))
  );
};

const ends = (parts, every) =>
  [...new Set([parts[0], parts[Math.floor(parts.length / 2)], parts.at(-1)])]
    .filter(Boolean)
    .map((part) => make("span", {}, numbers.begin(part.begin, every)));
