// Axes, lines and points in SVG, drawn to the width that there is.
const PAD = { left: 54, right: 14, top: 12, bottom: 34 };

const powers = (low, high, most = 8) => {
  const step = Math.max(1, Math.ceil((high - low) / most));
  return Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, i) => low + i * step);
};

function niceTicks(low, high, most = 6) {
  const raw = (high - low) / most || 1;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = unit * [1, 2, 5, 10].find((m) => m * unit >= raw);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

/** A drawing with axes: x and y are {low, high, ticks, text, label}; returns it with functions from values to places. */
function frame(width, height, x, y, label) {
  const place = (axis, from, to) => (v) => from + ((v - axis.low) / (axis.high - axis.low || 1)) * (to - from);
  const px = place(x, PAD.left, width - PAD.right);
  const py = place(y, height - PAD.bottom, PAD.top);
  const grid = y.ticks.map((v) => svg("line", { class: "grid", x1: PAD.left, x2: width - PAD.right, y1: py(v), y2: py(v) }));
  const left = y.ticks.map((v) => svg("text", { class: "tick", x: PAD.left - 8, y: py(v) + 4, "text-anchor": "end" }, y.text(v)));
  const below = x.ticks.map((v) => svg("text", { class: "tick", x: px(v), y: height - PAD.bottom + 16, "text-anchor": "middle" }, x.text(v)));
  const title = svg("text", { class: "tick", x: width - PAD.right, y: height - 4, "text-anchor": "end" }, x.label);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, ...grid, ...left, ...below, title);
  return { root, px, py, width, height };
}

function line(points, px, py, name) {
  const d = points.map(([x, y], i) => `${i ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join("");
  return svg("path", { class: `line ${name}`, d });
}

const powerText = (v) => (v === 0 ? "1" : `1e${v}`);

/** Error against magnitude of a tensor's elements, with what one rounding of float32 and float64 would be. */
function scatter(t, width) {
  const finite = t.magnitudes.map(([a, b]) => [num(a), num(b)]).filter(([a]) => Number.isFinite(a));
  if (!finite.length) return el("p", { class: "muted" }, "No picture of error against magnitude was recorded.");
  const errors = finite.map(([, b]) => b).filter(Number.isFinite);
  const [left, right] = [Math.floor(Math.min(...finite.map(([a]) => a))), Math.ceil(Math.max(...finite.map(([a]) => a)) + 0.01)];
  const low = Math.floor(Math.min(-17, ...errors));
  const high = Math.ceil(Math.max(left + 1, ...errors) + 0.01);
  const x = { low: left, high: right, ticks: powers(left, right, 6), text: powerText, label: "magnitude of the element" };
  const y = { low, high, ticks: powers(low, high, 7), text: powerText };
  const { root, px, py, height } = frame(width, 240, x, y, "Error against magnitude of the elements");
  for (const [name, eps] of [["float32", -7.22], ["float64", -15.95]]) {
    const clip = (v) => Math.min(high, Math.max(low, v));
    root.append(line([[left, clip(left + eps)], [right, clip(right + eps)]], px, py, "guide"));
    const end = clip(right + eps);
    if (end > low && end < high)
      root.append(svg("text", { class: "tick", x: width - PAD.right - 2, y: py(end) - 6, "text-anchor": "end" }, `one rounding of ${name}`));
  }
  for (const [a, b] of finite) {
    const zero = b === -Infinity;
    const cy = zero ? height - PAD.bottom - 4 : Number.isFinite(b) ? py(b) : PAD.top;
    root.append(svg("circle", { class: `point ${zero ? "zero" : t.verdict}`, cx: px(a), cy, r: 3.5 }));
  }
  return el("figure", {}, root, el("figcaption", {}, "Largest error among elements of a magnitude; rings at the bottom are exact."));
}
