// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Making and changing elements. Text goes in as text only: names come from the cluster and are never read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** Sets an attribute when it differs; null and false take it away. */
export function set(element, name, value) {
  const wanted = value === null || value === undefined || value === false ? null : String(value);
  if (element.getAttribute(name) === wanted) return;
  if (wanted === null) element.removeAttribute(name);
  else element.setAttribute(name, wanted);
}

/** Sets the text when it differs. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) set(element, name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** An HTML element with attributes and children (elements or text). */
export function html(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** A symbol of the page's <defs> as a picture of its own. */
export function picture(symbol, width, height, name) {
  return svg("svg", { class: symbol, width, height, viewBox: `0 0 10 ${symbol === "cross" ? 10 : 12}`, "aria-hidden": "true" },
    svg("use", { href: `#${name ?? symbol}` }));
}
