// One tensor in full: shapes, every error with its worst element, and error against magnitude.
function errorsTable(t) {
  const rows = [
    ["float64", t.float64], ["float64, layer alone", t.local64], ["float32", t.float32], ["float32, layer alone", t.local32],
  ].filter(([, e]) => e);
  if (!rows.length) return el("p", { class: "muted" }, "Values were not compared.");
  const head = ["", "relative", "absolute", "worst at", "PyTorch", "JAX"];
  const body = rows.map(([name, e]) =>
    el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "n" }, size(e.max_rel, 2)),
      el("td", { class: "n" }, size(e.max_abs, 2)), el("td", { class: "n" }, `[${e.index.join(", ")}]`),
      el("td", { class: "n" }, exact(e.theirs)), el("td", { class: "n" }, exact(e.ours))));
  return el("div", { class: "scroll" }, el("table", { class: "errors" },
    el("thead", {}, el("tr", {}, ...head.map((text, i) => el("th", { scope: "col", class: i ? "n" : "" }, text)))), el("tbody", {}, ...body)));
}

function factList(t) {
  const axes = t.axes.length ? `, axes ${shapeText(t.axes)} of PyTorch's` : "";
  const rows = [
    ["PyTorch", path(t.torch_path || "the model"), `${shapeText(t.torch_shape)} ${t.torch_dtype}`],
    ["JAX", path(t.jax_path || "the model"), `${shapeText(t.jax_shape)} ${t.jax_dtype}${axes}`],
  ];
  const facts = el("dl", { class: "sides" }, ...rows.flatMap(([name, where, what]) =>
    [el("dt", {}, name), el("dd", {}, where, el("span", { class: "shape" }, what))]));
  const more = [];
  if (t.floor !== null) more.push(["PyTorch's own float32 rounding", size(t.floor, 2)]);
  if (t.limit !== null) more.push(["float32 may be off by", size(t.limit, 2)]);
  if (t.ratio !== null) more.push(["float32 error, times own rounding", ratioText(t.ratio)]);
  if (t.required > 0) more.push(["passes at a relative tolerance of", size(t.required, 2)]);
  const list = el("dl", { class: "measures" }, ...more.flatMap(([name, what]) => [el("dt", {}, name), el("dd", { class: "n" }, what)]));
  return [facts, errorsTable(t), list];
}

function findingCard(finding) {
  const mark = el("span", { class: `level ${finding.level}` }, `${LEVEL_MARKS[finding.level] ?? "●"} ${finding.level}`);
  const where = finding.jax_path || finding.torch_path ? both(finding.jax_path, finding.torch_path) : null;
  const trap = finding.trap === null ? null : el("span", { class: "trap" }, `trap ${finding.trap}`);
  return el("article", { class: `finding ${finding.level}` },
    el("p", { class: "rule" }, mark, el("code", {}, finding.rule), trap),
    where ? el("p", { class: "where" }, where) : null,
    el("p", {}, finding.message),
    finding.fix ? el("p", { class: "fix" }, el("span", {}, "Fix"), el("code", {}, finding.fix)) : null);
}

function detail(t, width) {
  const where = data.where[t.number];
  return el("div", { class: "detail" },
    el("div", {}, where ? el("p", { class: "says" }, where) : null, ...factList(t), t.note ? el("p", { class: "note" }, t.note) : null),
    el("div", {}, scatter(t, width)));
}

function buildFirst() {
  if (data.first < 0 && data.parting) section("first", "First to part", el("p", { class: "says" }, data.parting));
  if (data.first < 0) return;
  const t = report.tensors[data.first];
  const module = data.nodes.find((node) => node.path === t.torch_path);
  const causes = data.causes.map((i) => findingCard(report.findings[i]));
  section("first", "First divergence",
    el("p", { class: "what" }, verdictTag(t.verdict), ` ${t.kind.replaceAll("_", " ")} of `, both(t.jax_path, t.torch_path),
      el("span", { class: "muted" }, module?.kind ? ` ${module.kind.split(".").at(-1)}` : "", t.mode ? ` (${t.mode})` : "")),
    data.where[data.first] ? el("p", { class: "says" }, data.where[data.first]) : "",
    el("div", { class: "split" },
      el("div", {}, ...factList(t), t.note ? el("p", { class: "note" }, t.note) : null),
      causes.length ? el("div", { class: "causes" }, el("h3", {}, "Likely causes"), ...causes) : el("div", {}, scatter(t, 460))));
}
