"use strict";
// Elements, numbers and tables. Text of the run only ever becomes text nodes and attributes, never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}
const html = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const data = JSON.parse(document.getElementById("data").textContent);
const page = document.getElementById("page");

const known = (value) => value !== null && value !== undefined;

/** Three digits, as a power of ten where the zeros would be in the way; a dash for what is not known. */
function number(value) {
  if (!known(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
    const [digits, exponent] = value.toExponential(1).split("e");
    return `${minus(digits.replace(".0", ""))}×10${superscript(Number(exponent))}`;
  }
  if (size >= 1000) return minus(Math.round(value).toLocaleString("en").replaceAll(",", "\u202f"));
  return minus(String(Number(value.toPrecision(3))));
}
const minus = (text) => text.replace("-", "−");
const SUPERSCRIPTS = { "-": "⁻", ...Array.from("⁰¹²³⁴⁵⁶⁷⁸⁹") };
const superscript = (value) => String(value).replace(/[-\d]/g, (digit) => SUPERSCRIPTS[digit]);
const fixed = (value, decimals) => (known(value) ? minus(value.toFixed(decimals)) : "–");
const seconds = (value) => (known(value) ? `${fixed(value, 2)} s` : "–");
const unit = (text) => text.replace("^2", "²");
const withUnit = (value, text) => (known(value) && text ? `${number(value)} ${unit(text)}` : number(value));
const percent = (value) => (known(value) ? `${fixed(100 * value, 1)} %` : "–");
const count = (value, word) => `${value} ${word}${value === 1 ? "" : "s"}`;
const takenOver = (facts) => (known(facts.taken_over_s) ? html("span", { class: "dim" }, " taken over") : "");
const outcome = (name) => html("span", { class: `outcome ${name}` }, name);

/** A table in a box that scrolls; columns are {title, number, sort}, rows are lists of cells. */
function table(label, columns, rows, tall) {
  const head = columns.map((column) =>
    html(
      "th",
      { scope: "col", class: column.number && "number" },
      column.sort ? html("button", { type: "button", onclick: column.sort }, column.title) : column.title,
    ),
  );
  const body = html(
    "tbody",
    {},
    rows.map((cells) => tableRow(columns, cells)),
  );
  const box = html(
    "div",
    { class: tall ? "scroll tall" : "scroll", tabindex: 0, role: "region", "aria-label": label },
    html("table", {}, html("thead", {}, html("tr", {}, head)), body),
  );
  return { box, body, head };
}
const tableRow = (columns, cells) =>
  html(
    "tr",
    {},
    cells.map((cell, at) =>
      html("td", { class: (columns[at].number && "number") || (columns[at].text && "text") }, cell),
    ),
  );

const section = (title, ...children) => html("section", {}, html("h2", {}, title), ...children);
const note = (text) => html("p", { class: "note" }, text);
const fact = (name, value) => html("span", {}, html("span", { class: "dim" }, `${name} `), html("b", {}, value));

function folded(title, pairs) {
  const columns = [{ title: "name" }, { title: "value", text: true }];
  const rows = pairs.map(([name, value]) => [name, html("code", {}, value)]);
  return html("details", {}, html("summary", {}, `${title} (${pairs.length})`), table(title, columns, rows).box);
}

const bad = (value) => (value ? html("span", { class: "warn" }, String(value)) : String(value));

/** The audit of topics: what was expected, what came, and what is missing. */
function audit(topics, perRun) {
  const columns = [
    { title: "topic" },
    { title: "messages", number: true },
    { title: "expected [Hz]", number: true },
    { title: perRun ? "episodes with gaps" : "measured [Hz]", number: true },
    { title: "longest interval [s]", number: true },
    { title: "gaps", number: true },
    { title: "missing", number: true },
    { title: "same stamp", number: true },
    { title: "backward", number: true },
  ];
  return table(
    "audit of topics",
    columns,
    topics.map((topic) => [
      topic.name,
      number(topic.count),
      number(topic.expected),
      perRun ? bad(topic.episodes) : number(topic.rate),
      number(topic.longest),
      bad(topic.gaps),
      bad(topic.missing),
      String(topic.duplicates),
      String(topic.backward),
    ]),
  ).box;
}
