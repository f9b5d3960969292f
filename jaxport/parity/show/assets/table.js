// All tensors: searched, filtered, sorted, a page of them at a time.
const PAGE = 100;
const COLUMNS = [
  ["order", "#", "n wide"], ["verdict", "Verdict", ""], ["kind", "Kind", "wide"], ["path", "Tensor", ""], ["", "Shape", "wide shape"],
  ["float64", "float64", "n"], ["float32", "float32", "n wide"], ["ratio", "× own", "n wide"], ["local", "Layer alone", "n wide"],
  ["required", "Required", "n wide"],
];
const HINTS = {
  float64: "relative error, both in float64",
  float32: "relative error, JAX in float32 against PyTorch in float64",
  ratio: "float32 error over PyTorch's own rounding",
  local: "error of the layer alone, given PyTorch's recorded input",
  required: "smallest relative tolerance that would pass",
};
const table = {};

function headCell([key, text, name]) {
  if (!key) return el("th", { scope: "col", class: name }, text);
  const active = state.sort === key;
  const arrow = active ? (state.dir === "desc" ? " ▼" : " ▲") : "";
  const next = active ? (state.dir === "desc" ? "asc" : "desc") : name.startsWith("n") && key !== "order" ? "desc" : "asc";
  return el("th", { scope: "col", class: name, "aria-sort": active ? `${state.dir}ending` : null },
    el("button", { type: "button", "data-sort": key, title: HINTS[key], onclick: () => choose({ sort: key, dir: next }) }, text, el("i", {}, arrow)));
}

function tensorRow(t) {
  const open = state.tensor === t.number;
  const flip = () => choose({ tensor: open ? -1 : t.number });
  const name = el("button", { type: "button", class: "open", "aria-expanded": String(open), "data-tensor": t.number }, path(t.torch_path || "the model"));
  const other = t.jax_path !== t.torch_path ? path(t.jax_path || "the model", "other") : null;
  const row = el("tr", { class: `${t.ok ? "ok" : "fails"}${open ? " opened" : ""}`, "data-row": t.number },
    el("td", { class: "n wide muted" }, t.number + 1), el("td", {}, verdictTag(t.verdict, t.decides)),
    el("td", { class: "wide kinds" }, t.kind.replaceAll("_", " "), t.mode ? el("span", { class: "other" }, t.mode) : null), el("td", { class: "names" }, el("span", { class: "narrow other" }, whatText(t)), name, other, t.note ? el("span", { class: "aside", title: t.note }, t.note) : null),
    el("td", { class: "wide shape" }, shapeText(t.torch_shape)),
    el("td", { class: "n" }, size(t.float64?.max_rel ?? null)), el("td", { class: "n wide" }, size(t.float32?.max_rel ?? null)),
    el("td", { class: "n wide" }, ratioText(t.ratio)), el("td", { class: "n wide" }, size((t.local64 ?? t.local32)?.max_rel ?? null)),
    el("td", { class: "n wide" }, size(t.required)));
  row.addEventListener("click", flip);
  if (!open) return [row];
  const width = Math.max(260, Math.min(520, table.frame.clientWidth - 48));
  return [row, el("tr", { class: "detailrow" }, el("td", { colspan: COLUMNS.length }, detail(t, width)))];
}

function drawTable() {
  const focused = document.activeElement?.dataset ?? {};
  const rows = selected();
  const pages = Math.max(1, Math.ceil(rows.length / PAGE));
  state.page = Math.min(state.page, pages);
  const from = (state.page - 1) * PAGE;
  table.head.replaceChildren(...COLUMNS.map(headCell));
  table.body.replaceChildren(...rows.slice(from, from + PAGE).flatMap(tensorRow));
  table.empty.hidden = rows.length > 0;
  const shown = rows.length > PAGE ? `, ${grouped(from + 1)} to ${grouped(Math.min(from + PAGE, rows.length))} shown` : "";
  table.count.textContent = `${grouped(rows.length)} of ${grouped(report.tensors.length)} tensors${shown}`;
  table.pager.hidden = pages === 1;
  table.page.textContent = `Page ${state.page} of ${pages}`;
  table.before.disabled = state.page === 1;
  table.after.disabled = state.page === pages;
  if (table.q.value !== state.q) table.q.value = state.q;
  table.kind.value = state.kind;
  table.mode.value = state.mode;
  for (const button of document.querySelectorAll("[data-verdict]"))
    button.setAttribute("aria-pressed", String(state.verdict.includes(button.dataset.verdict)));
  table.clear.disabled = !(state.q || state.kind || state.mode || state.verdict.length);
  const again = focused.tensor ? `[data-tensor="${focused.tensor}"]` : focused.sort ? `[data-sort="${focused.sort}"]` : null;
  if (again) table.frame.querySelector(again)?.focus({ preventScroll: true });
}

function verdictButton(verdict) {
  const count = report.tensors.filter((t) => t.verdict === verdict).length;
  const flip = () => choose({ verdict: state.verdict.includes(verdict) ? state.verdict.filter((v) => v !== verdict) : [...state.verdict, verdict] });
  return el("button", { type: "button", class: `count ${verdict}`, "data-verdict": verdict, "aria-pressed": "false", onclick: flip,
    title: `Show only the tensors that are ${verdict}` },
    el("b", {}, grouped(count)), el("span", {}, el("i", { "aria-hidden": "true" }, MARKS[verdict]), ` ${verdict}`));
}

function tableKey(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !event.target.dataset.tensor) return;
  const buttons = [...table.body.querySelectorAll("[data-tensor]")];
  buttons[buttons.indexOf(event.target) + step]?.focus();
  event.preventDefault();
}

function select(key, all, values) {
  return el("select", { id: key, "aria-label": key, onchange: (event) => choose({ [key]: event.target.value }) },
    el("option", { value: "" }, all), ...values.map((value) => el("option", { value }, value.replaceAll("_", " "))));
}

function buildTable() {
  if (!report.tensors.length) return;
  byId("counts").replaceChildren(...VERDICTS.map(verdictButton));
  const kinds = [...new Set(report.tensors.map((t) => t.kind))];
  const turn = (by) => () => choose({ page: state.page + by });
  table.q = el("input", { type: "search", id: "q", placeholder: "Search a path", autocomplete: "off", spellcheck: "false",
    oninput: (event) => choose({ q: event.target.value }) });
  const modes = [...new Set(report.tensors.map((t) => t.mode).filter(Boolean))];
  table.kind = select("kind", "All kinds", kinds);
  table.mode = select("mode", "All modes", modes);
  table.mode.hidden = modes.length < 2;
  const pressed = (v) => el("button", { type: "button", class: `chip ${v}`, "data-verdict": v, "aria-pressed": "false",
    onclick: () => byId("counts").querySelector(`[data-verdict="${v}"]`).click() }, el("i", { "aria-hidden": "true" }, MARKS[v]), ` ${v}`);
  table.clear = el("button", { type: "button", onclick: () => choose({ q: "", verdict: [], kind: "", mode: "" }) }, "Clear");
  table.count = el("p", { class: "muted", role: "status" });
  table.head = el("tr", {});
  table.body = el("tbody", { onkeydown: tableKey });
  table.empty = el("p", { class: "nothing" }, "No tensor is like that.");
  table.before = el("button", { type: "button", onclick: turn(-1) }, "Previous");
  table.after = el("button", { type: "button", onclick: turn(1) }, "Next");
  table.page = el("span", {});
  table.pager = el("div", { class: "pager" }, table.before, table.page, table.after);
  table.frame = el("div", { class: "frame" }, el("table", { class: "tensors" }, el("thead", {}, table.head), table.body), table.empty);
  section("tensors", "Tensors",
    el("div", { class: "tools" }, el("div", { class: "filters" },
      el("label", { class: "hidden", for: "q" }, "Search a path"), table.q, table.kind, table.mode,
      el("div", { class: "chips", role: "group", "aria-label": "Verdict" }, ...VERDICTS.map(pressed)), table.clear), table.count),
    table.frame, table.pager);
  listeners.push(drawTable);
}
