/* Bars over time. The same numbers are in a table below, for who cannot see or point. */

import { draw, make } from "./dom.js";
import * as numbers from "./numbers.js";

const HEIGHT = 100;
const GAP = 0.15;

/* Bars as high as `value` says, made of layers if there are any; a bar links to where `href` says. */
export const chart = (parts, every, value, shown, href, layers) => {
  const most = Math.max(...parts.map(value), 0);
  const heightOf = (amount) => (most > 0 ? (amount / most) * HEIGHT : 0);
  const rect = (place, from, height, name) =>
    draw("rect", { class: name, x: place + GAP, y: HEIGHT - from - height, width: 1 - 2 * GAP, height });
  const stack = (part, place) => {
    let from = 0;
    return layers.map((layer, number) => {
      const height = heightOf(layer.value(part));
      from += height;
      return rect(place, from - height, height, `layer-${number}`);
    });
  };
  const told = (part) =>
    layers
      .filter((layer) => layer.value(part) > 0)
      .map((layer) => `${layer.name}: ${layer.format(layer.value(part))}`);
  const bar = (part, place) =>
    draw(
      "a",
      { href: href(part), "data-inside": true, tabindex: "-1" },
      draw("title", {}, [`${numbers.begin(part.begin, every)}: ${shown(part)}`, ...told(part)].join("\n")),
      draw("rect", { class: "whole", x: place, y: 0, width: 1, height: HEIGHT }),
      layers.length ? stack(part, place) : rect(place, 0, heightOf(value(part)), null)
    );
  const box = `0 0 ${Math.max(parts.length, 1)} ${HEIGHT}`;
  return make(
    "div",
    { "aria-hidden": "true" },
    make("div", { class: "axis" }, most > 0 ? shown(parts.find((part) => value(part) === most)) : ""),
    draw("svg", { class: "chart", viewBox: box, preserveAspectRatio: "none" }, parts.map(bar)),
    make("div", { class: "axis" }, ends(parts, every))
  );
};

/* Which layer is which. */
export const legend = (layers) =>
  layers.length === 0
    ? null
    : make(
        "ul",
        { class: "legend" },
        layers.map(({ name, href }, number) =>
          make(
            "li",
            {},
            make("span", { class: `swatch layer-${number}` }),
            href ? make("a", { href, "data-inside": true }, name) : name
          )
        )
      );

const ends = (parts, every) =>
  [...new Set([parts[0], parts[Math.floor(parts.length / 2)], parts.at(-1)])]
    .filter(Boolean)
    .map((part) => make("span", {}, numbers.begin(part.begin, every)));
