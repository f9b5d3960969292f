// The data, and the few helpers that build elements from it. Text only ever enters the page as text nodes.
const data = JSON.parse(document.getElementById("data").textContent);
const report = data.report;
const VERDICTS = ["different", "suspicious", "rounding", "equal"];
const MARKS = { different: "✕", suspicious: "▲", rounding: "◐", equal: "●" };
const LEVEL_MARKS = { error: "✕", warning: "▲", info: "●" };
const SVG = document.getElementById("svg").namespaceURI;

const byId = (id) => document.getElementById(id);

/** A number of the JSON form, in which NaN and infinities are strings. */
function num(value) {
  if (typeof value !== "string") return value;
  return { nan: NaN, inf: Infinity, "-inf": -Infinity }[value] ?? NaN;
}

/** The text of a size, always of the same width: 3.1e-02. */
function size(value, digits = 1) {
  if (value === null || value === undefined) return "–";
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "-∞";
  if (value === 0) return "0";
  return value.toExponential(digits).replace(/e([+-])(\d)$/, "e$10$2");
}

function ratioText(value) {
  if (value === null || !Number.isFinite(value)) return size(value);
  return value < 1e4 ? value.toFixed(2).replace(/\B(?=(\d{3})+\.)/, ",") : size(value);
}

/** The text of a value, to nine digits: enough to tell two float32 apart. */
function exact(value) {
  return Number.isFinite(value) ? String(Number(value.toPrecision(9))) : size(value);
}

const whatText = (t) => t.kind.replaceAll("_", " ") + (t.mode ? `, ${t.mode}` : "");
const shapeText = (shape) => (shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`);
const grouped = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, ",");

function fill(node, props, children) {
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

const el = (tag, props = {}, ...children) => fill(document.createElement(tag), props, children);
const svg = (tag, props = {}, ...children) => fill(document.createElementNS(SVG, tag), props, children);

function verdictTag(verdict, decides = true) {
  if (!verdict) return el("span", { class: "tag none" }, "– not compared");
  const aside = decides ? "" : " (aside)";
  return el("span", { class: `tag ${verdict}` }, el("i", { "aria-hidden": "true" }, MARKS[verdict]), ` ${verdict}${aside}`);
}

function section(id, title, ...children) {
  const host = byId(id);
  host.hidden = false;
  host.replaceChildren(el("h2", { id: `${id}-title` }, title), ...children);
  return host;
}

/** Names may break after dots and underscores, where a long path has to. */
function path(text, name = "path") {
  const parts = text.split(/(?<=[._/])/).flatMap((part) => [part, el("wbr")]);
  return el("span", { class: name }, ...parts.slice(0, -1));
}

const both = (jax, torch) => {
  if (!jax && !torch) return "the model";
  if (!jax || !torch || jax === torch) return path(torch || jax);
  return el("span", {}, path(torch), el("span", { class: "to", title: "stands for" }, " ↔ "), path(jax));
};

// Errors as numbers; sizes relative to the tensor's largest magnitude, its own rounding too.
for (const [i, t] of report.tensors.entries()) {
  for (const name of ["float64", "float32", "local64", "local32"])
    if (t[name]) for (const key of ["max_abs", "max_rel", "ours", "theirs"]) t[name][key] = num(t[name][key]);
  for (const key of ["floor", "limit", "required"]) t[key] = num(t[key]);
  const known = [t.float32, t.float64].find((e) => e && e.max_rel > 0 && Number.isFinite(e.max_rel) && e.max_abs > 0);
  t.floorRel = known && t.floor !== null ? t.floor / (known.max_abs / known.max_rel) : null;
  const text = data.ratios[i];
  t.ratio = text === "–" ? null : text === "∞" ? Infinity : text === "NaN" ? NaN : Number(text);
  t.number = i;
  t.search = `${t.torch_path} ${t.jax_path}`.toLowerCase();
  t.ok = t.verdict === "equal" || t.verdict === "rounding" || !t.decides;
}
