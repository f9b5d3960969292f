// What the reader chose, in the address behind "#", so that a view can be linked to and survives a reload.
const state = { q: "", verdict: [], kind: "", mode: "", sort: "order", dir: "asc", page: 1, tensor: -1, theme: "" };
const listeners = [];

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const known = new Set(report.tensors.map((t) => t.kind));
  state.q = given.get("q") ?? "";
  state.verdict = (given.get("verdict") ?? "").split(",").filter((v) => VERDICTS.includes(v));
  state.kind = known.has(given.get("kind")) ? given.get("kind") : "";
  state.mode = ["eval", "train"].includes(given.get("mode")) ? given.get("mode") : "";
  state.sort = given.get("sort") in COLUMN_KEYS ? given.get("sort") : "order";
  state.dir = given.get("dir") === "desc" ? "desc" : "asc";
  state.page = Math.max(1, Number.parseInt(given.get("page"), 10) || 1);
  const tensor = Number.parseInt(given.get("tensor"), 10);
  state.tensor = tensor >= 0 && tensor < report.tensors.length ? tensor : -1;
  state.theme = ["light", "dark"].includes(given.get("theme")) ? given.get("theme") : "";
}

function writeAddress() {
  const chosen = new URLSearchParams();
  if (state.q) chosen.set("q", state.q);
  if (state.verdict.length) chosen.set("verdict", state.verdict.join(","));
  if (state.kind) chosen.set("kind", state.kind);
  if (state.mode) chosen.set("mode", state.mode);
  if (state.sort !== "order") chosen.set("sort", state.sort);
  if (state.dir === "desc") chosen.set("dir", "desc");
  if (state.page > 1) chosen.set("page", state.page);
  if (state.tensor >= 0) chosen.set("tensor", state.tensor);
  if (state.theme) chosen.set("theme", state.theme);
  history.replaceState(null, "", `#${chosen.toString().replaceAll("%2C", ",")}`);
}

/** Change the view; what is shown follows. A change of the filter goes back to the first page. */
function choose(change) {
  if (["q", "verdict", "kind", "mode", "sort", "dir"].some((key) => key in change)) change = { page: 1, ...change };
  Object.assign(state, change);
  writeAddress();
  for (const listener of listeners) listener();
}

// What the table can be sorted by: the number, NaN counting as the worst.
const worst = (value) => (value === null || value === undefined ? -1 : Number.isNaN(value) ? Infinity : value);
const COLUMN_KEYS = {
  order: (t) => t.number,
  verdict: (t) => VERDICTS.indexOf(t.verdict),
  kind: (t) => t.kind,
  path: (t) => t.torch_path,
  float64: (t) => worst(t.float64?.max_rel),
  float32: (t) => worst(t.float32?.max_rel),
  ratio: (t) => worst(t.ratio),
  local: (t) => worst((t.local64 ?? t.local32)?.max_rel),
  required: (t) => worst(t.required),
};

function selected() {
  const q = state.q.trim().toLowerCase();
  const rows = report.tensors.filter(
    (t) =>
      (!q || t.search.includes(q)) &&
      (!state.verdict.length || state.verdict.includes(t.verdict)) &&
      (!state.kind || t.kind === state.kind) &&
      (!state.mode || t.mode === state.mode),
  );
  const key = COLUMN_KEYS[state.sort];
  const sign = state.dir === "desc" ? -1 : 1;
  return rows.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    return (x < y ? -sign : x > y ? sign : 0) || a.number - b.number;
  });
}
