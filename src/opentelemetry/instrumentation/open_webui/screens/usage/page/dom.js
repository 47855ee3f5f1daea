/* Elements. Whatever anybody wrote becomes text, never markup. */

const SVG = "http://www.w3.org/2000/svg";

const filled = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined));
  return element;
};

export const make = (tag, attributes = {}, ...children) =>
  filled(document.createElement(tag), attributes, children);

export const draw = (tag, attributes = {}, ...children) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

let labels = 0;

/* A control with its label. */
export const labelled = (text, control) => {
  control.id ||= `control-${(labels += 1)}`;
  return make("div", {}, make("label", { for: control.id }, text), control);
};

/* A choice of some; `options` are pairs of value and text. */
export const select = (options, chosen, onchange, attributes = {}) => {
  const made = make(
    "select",
    { ...attributes, onchange: () => onchange(made.value) },
    options.map(([value, text]) => make("option", { value, selected: value === chosen }, text))
  );
  return made;
};

/* The same, all to be seen at once. */
export const choice = (name, legend, options, chosen, onchange) =>
  make(
    "fieldset",
    {},
    make("legend", {}, legend),
    make(
      "div",
      { class: "switch" },
      options.map(([value, text]) =>
        make(
          "label",
          {},
          make("input", {
            type: "radio",
            name,
            value,
            checked: value === chosen,
            "data-key": `${name}-${value}`,
            onchange: () => onchange(value),
          }),
          text
        )
      )
    )
  );

/* Put something in the place of what is there; who was on something with a key stays on it. */
export const replace = (place, ...children) => {
  const key = place.contains(document.activeElement) && document.activeElement.dataset.key;
  const open = new Set([...place.querySelectorAll("details[open]")].map((one) => one.dataset.key));
  place.replaceChildren(...children.flat(3).filter((child) => child));
  for (const one of place.querySelectorAll("details")) one.open = open.has(one.dataset.key);
  if (key) place.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
};
