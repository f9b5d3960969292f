// A tensor's errors on one logarithmic line, from 1e-17 to 10: a bar for float64, a diamond for float32, a line for
// PyTorch's own float32 rounding.
const LOW = -17;
const HIGH = 1;

function position(value) {
  if (Number.isNaN(value) || value === Infinity) return 100;
  if (!(value > 0)) return 0;
  return Math.min(100, Math.max(0, ((Math.log10(value) - LOW) / (HIGH - LOW)) * 100));
}

function at(name, value) {
  const node = el("i", { class: name });
  node.style.setProperty("--at", `${position(value)}%`);
  return node;
}

function errorBar(t, verdict) {
  if (!t || (!t.float64 && !t.float32)) return el("div", { class: "errorbar empty" });
  const wide = t.float64?.max_rel ?? null;
  const narrow = t.float32?.max_rel ?? null;
  const text = `float64 ${size(wide)}, float32 ${size(narrow)}, PyTorch's own rounding ${size(t.floorRel)}`;
  return el(
    "div",
    { class: `errorbar ${verdict ?? t.verdict}`, role: "img", "aria-label": text, title: text },
    wide === null ? null : at("fill", wide),
    t.floorRel ? at("floor", t.floorRel) : null,
    narrow === null || narrow === 0 ? null : at("dot", narrow),
  );
}

function errorAxis() {
  const ticks = [-16, -12, -8, -4, 0].map((power) => {
    const tick = el("span", {}, power === 0 ? "1" : `1e${power}`);
    tick.style.setProperty("--at", `${position(10 ** power)}%`);
    return tick;
  });
  return el("div", { class: "axis", "aria-hidden": "true" }, ...ticks);
}

const errorLegend = () =>
  el(
    "p",
    { class: "legend" },
    el("span", {}, el("i", { class: "key fill" }), "float64 error, relative"),
    el("span", {}, el("i", { class: "key dot" }), "float32 error"),
    el("span", {}, el("i", { class: "key floor" }), "PyTorch's own float32 rounding"),
    el("span", {}, el("i", { class: "key limit" }), "1e-10, the limit in float64"),
  );
