// DOM helpers. Memory contents are inserted as text, never as markup.
// Not here: the sections' contents, the API client (api.js).

/** Create an element. `attributes`: names to values (false and null: omitted); `on`: event names to listeners. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, String(value));
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

let made = 0;

/** An id that no other element has. */
export const newId = (name) => `${name}-${++made}`;

/** Text with every invisible or direction-changing character written out, such as <U+202E>. */
export function revealed(text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}\p{Zs}]/gu, (c) =>
    " \n\t".includes(c) ? c : `<U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`);
}

export const button = (text, act, attributes = {}) =>
  make("button", { type: "button", on: { click: act }, ...attributes }, text);

/** A field with its label. */
export function labelled(text, field) {
  field.id = field.id || newId("field");
  return make("div", { class: "field" }, make("label", { for: field.id }, text), field);
}

export function select(options, chosen) {
  return make("select", {}, options.map(([value, text]) =>
    make("option", { value, selected: value === chosen }, text)));
}

export const note = (text) => make("p", { class: "note" }, text);

const SIGNS = {
  pending: "…", learned: "✓", published: "✓", done: "✓", running: "▶", queued: "…", refused: "✕", dead: "✕",
  failed: "!", quarantined: "!", rejected: "✕", skipped: "–", superseded: "↺", "answers now": "●",
};

/** A status badge: word and symbol, so that colour is never the only cue. */
export function badge(word) {
  return make("span", { class: `badge ${word.replaceAll(" ", "-")}` },
    make("span", { "aria-hidden": "true" }, `${SIGNS[word] ?? "•"} `), word);
}

/** A table that becomes a list of cards on a narrow screen; a cell is text or an element, "–" if empty. */
export function table(caption, headings, rows) {
  const head = make("tr", { role: "row" }, headings.map((h) => make("th", { scope: "col", role: "columnheader" }, h)));
  const body = rows.map((row) => make("tr", { role: "row" }, row.map((cell, n) =>
    make("td", { role: "cell", class: cell === "–" ? "nothing" : null, "data-label": headings[n] || null }, cell))));
  return make("table", { role: "table", class: "cards" },
    make("caption", {}, caption),
    make("thead", { role: "rowgroup" }, head), make("tbody", { role: "rowgroup" }, body));
}

/** A horizontally scrolling region, also by keyboard. */
export const wide = (label, content) =>
  make("div", { class: "wide", role: "region", tabindex: "0", "aria-label": label }, content);

export const section = (title, ...children) => {
  const id = newId("section");
  return make("section", { "aria-labelledby": id }, make("h2", { id }, title), ...children);
};

// -- charts -------------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = new Set(["svg", "g", "rect", "text", "title", "line", "polyline", "circle"]);
const TRAITS = new Set(["viewBox", "width", "height", "role", "aria-label", "x", "y", "x1", "y1", "x2", "y2", "rx",
  "cx", "cy", "r", "points", "class", "fill-opacity"]);

/** The server's SVG text as an element, copied with allowed shapes and attributes only; null if it is no SVG. */
export function picture(text) {
  const root = new DOMParser().parseFromString(text, "application/xml").documentElement;
  return root.nodeName === "svg" ? copied(root) : null;
}

function copied(shape) {
  const copy = document.createElementNS(SVG, shape.nodeName);
  for (const { name, value } of shape.attributes) {
    if (TRAITS.has(name)) copy.setAttribute(name, value);
  }
  for (const child of shape.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) copy.append(child.textContent);
    else if (child.nodeType === Node.ELEMENT_NODE && SHAPES.has(child.nodeName)) copy.append(copied(child));
  }
  return copy;
}

// -- number and date formats --------------------------------------------------------------------------

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const when = (seconds) => {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? "–" : moment.format(date);
};

/** A <time> element. */
export const time = (seconds) => {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? "–" : make("time", { datetime: date.toISOString() }, when(seconds));
};

export const count = (n, one, many = `${one}s`) => `${n.toLocaleString()} ${n === 1 ? one : many}`;

export function size(bytes) {
  const steps = [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]];
  const [unit, step] = steps.find(([, least]) => bytes >= least) ?? ["bytes", 1];
  return `${(bytes / step).toLocaleString(undefined, { maximumFractionDigits: step === 1 ? 0 : 1 })} ${unit}`;
}

export const share = (value) => (value === null || value === undefined ? "–" : `${Math.round(100 * value)} %`);

export const signed = (value) =>
  value === null || value === undefined ? "–" : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(3);

export const tail = (id) => (id && id.length > 12 ? `…${id.slice(-10)}` : id ?? "–");
