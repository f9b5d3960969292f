// Training in lockstep: both losses, and how the relative error of each kind of tensor grows.
const KINDS = ["loss", "gradient", "parameter", "optimizer", "buffer"];
const training = { mode: "" };

const log = (value) => (value > 0 ? Math.max(-18, Math.log10(value)) : -18);

function series(mode) {
  const rows = report.steps.filter((s) => s.mode === mode);
  const kinds = [...KINDS, ...new Set(rows.map((s) => s.kind).filter((k) => !KINDS.includes(k)))];
  return kinds.map((kind) => ({ kind, steps: rows.filter((s) => s.kind === kind) })).filter((s) => s.steps.length);
}

/** A chart with a line that follows the pointer, or the arrow keys, and tells the values at a step. */
function followed(drawing, steps, tell) {
  const out = el("p", { class: "readout muted", role: "status" }, "Point at a step, or use the arrow keys.");
  const cursor = svg("line", { class: "cursor", y1: PAD.top, y2: drawing.height - PAD.bottom, x1: -9, x2: -9 });
  drawing.root.append(cursor);
  drawing.root.setAttribute("tabindex", "0");
  let now = -1;
  const show = (i) => {
    now = Math.min(steps.length - 1, Math.max(0, i));
    const x = drawing.px(steps[now]);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    out.replaceChildren(...tell(steps[now]));
  };
  drawing.root.addEventListener("pointermove", (event) => {
    const box = drawing.root.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * drawing.width;
    show(steps.reduce((best, s, i) => (Math.abs(drawing.px(s) - x) < Math.abs(drawing.px(steps[best]) - x) ? i : best), 0));
  });
  drawing.root.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    show(now < 0 ? 0 : now + by);
  });
  return el("div", {}, drawing.root, out);
}

const stepAxis = (steps) => {
  const [low, high] = [Math.min(...steps), Math.max(...steps)];
  const ticks = niceTicks(low, high, 6).filter(Number.isInteger);
  return { low: low === high ? low - 1 : low, high: low === high ? high + 1 : high, ticks, text: String, label: "step" };
};

const sample = (name) => svg("svg", { width: 26, height: 8, "aria-hidden": "true" }, svg("path", { class: `line ${name}`, d: "M0 4L26 4" }));

function lossChart(mode, width) {
  const rows = report.steps.filter((s) => s.mode === mode && s.kind === "loss" && Number.isFinite(s.torch_loss));
  if (!rows.length) return null;
  const values = rows.flatMap((s) => [s.torch_loss, s.jax_loss]).filter(Number.isFinite);
  const room = (Math.max(...values) - Math.min(...values)) * 0.06 || Math.abs(values[0]) * 0.1 || 1;
  const [low, high] = [Math.min(...values) - room, Math.max(...values) + room];
  const ticks = niceTicks(low, high, 5);
  const y = { low, high, ticks, text: (v) => String(Number(v.toPrecision(4))) };
  const drawing = frame(width, 260, stepAxis(rows.map((s) => s.number)), y, "Loss of both models by step");
  const points = (key) => rows.filter((s) => Number.isFinite(s[key])).map((s) => [s.number, s[key]]);
  drawing.root.append(line(points("torch_loss"), drawing.px, drawing.py, "torch"), line(points("jax_loss"), drawing.px, drawing.py, "jax"));
  const tell = (step) => {
    const s = rows.find((row) => row.number === step);
    return [`Step ${step}: PyTorch ${exact(s.torch_loss)}, JAX ${exact(s.jax_loss)}, apart by ${size(s.max_rel)} of its size`];
  };
  return el("figure", {}, el("h3", {}, "Loss"),
    el("p", { class: "legend" }, el("span", {}, sample("torch"), "PyTorch"), el("span", {}, sample("jax"), "JAX")),
    followed(drawing, rows.map((s) => s.number), tell));
}

function growthChart(mode, width) {
  const all = series(mode);
  const logs = all.flatMap((s) => s.steps.flatMap((row) => [row.max_rel, row.limit])).map(log).filter(Number.isFinite);
  const [low, high] = [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs) + 0.01)];
  const steps = [...new Set(all.flatMap((s) => s.steps.map((row) => row.number)))].sort((a, b) => a - b);
  const y = { low, high, ticks: powers(low, high, 7), text: powerText };
  const drawing = frame(width, 260, stepAxis(steps), y, "Relative error of each kind of tensor by step, logarithmic");
  for (const { kind, steps: rows } of all) {
    const seen = rows.filter((row) => Number.isFinite(row.max_rel));
    drawing.root.append(line(rows.map((row) => [row.number, log(row.limit)]), drawing.px, drawing.py, `limit ${kind}`));
    drawing.root.append(line(seen.map((row) => [row.number, log(row.max_rel)]), drawing.px, drawing.py, kind));
    const parts = rows.find((row) => !(row.max_rel <= row.limit));
    if (parts) {
      const at = Number.isFinite(parts.max_rel) ? drawing.py(log(parts.max_rel)) : PAD.top;
      drawing.root.append(svg("text", { class: "parts", x: drawing.px(parts.number), y: at + 5, "text-anchor": "middle" }, "✕"));
    }
  }
  const tell = (step) => [`Step ${step}: `, ...all.flatMap(({ kind, steps: rows }) => {
    const row = rows.find((r) => r.number === step);
    return row ? [el("span", { class: row.max_rel <= row.limit ? "" : "bad" }, `${kind} ${size(row.max_rel)}  `)] : [];
  })];
  return el("figure", {}, el("h3", {}, "Relative error"),
    el("p", { class: "legend" }, ...all.map(({ kind }) => el("span", {}, sample(kind), kind)),
      el("span", {}, sample("limit"), "what it may be"), el("span", {}, el("b", { class: "bad" }, "✕"), " parts")),
    followed(drawing, steps, tell));
}

function drawTraining() {
  const host = byId("curves");
  const wide = host.clientWidth > 820;
  const width = Math.max(260, Math.floor(wide ? host.clientWidth / 2 - 18 : host.clientWidth - 4));
  host.replaceChildren(...[lossChart(training.mode, width), growthChart(training.mode, width)].filter(Boolean));
  for (const button of byId("training").querySelectorAll("[data-mode]"))
    button.setAttribute("aria-pressed", String(button.dataset.mode === training.mode));
}

function buildTraining() {
  if (!report.steps.length) return;
  for (const step of report.steps) for (const key of ["max_rel", "limit", "jax_loss", "torch_loss"]) step[key] = num(step[key]);
  const modes = [...new Set(report.steps.map((s) => s.mode))];
  training.mode = modes.find((mode) => report.steps.some((s) => s.mode === mode && !(s.max_rel <= s.limit))) ?? modes[0];
  const choice = modes.map((mode) => el("button", { type: "button", "data-mode": mode, onclick: () => {
    training.mode = mode;
    drawTraining();
  } }, data.modes[mode] ?? mode));
  section("training", "Training", el("div", { class: "says" }, ...data.training.map((text) => el("p", {}, text))),
    modes.length > 1 ? el("div", { class: "buttons" }, ...choice) : null ?? "", el("div", { id: "curves", class: "curves" }));
  drawTraining();
  let timer = 0;
  window.addEventListener("resize", () => {
    clearTimeout(timer);
    timer = setTimeout(drawTraining, 120);
  });
}
