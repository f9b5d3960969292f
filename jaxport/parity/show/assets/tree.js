// The model: PyTorch's modules in the order of their definition, those that agree closed.
const tree = { open: new Set(), unfolded: new Set(), fold: true, focus: 0, body: null };
const SMALL_TREE = 40;
const RUN = 5; // so many modules next to each other that agree become one line

/** Open the modules that fail, the way to the first divergence always; runs of those that agree become a line. */
function openWhatDiffers() {
  tree.open = new Set([0]);
  tree.unfolded = new Set();
  tree.fold = true;
  for (let i = firstNode(); i > 0; i = data.nodes[i].parent) tree.open.add(i);
  let lines = data.nodes[0].children.filter((i) => !data.nodes[i].ok).length;
  data.nodes.forEach((node, i) => {
    if (node.ok || !node.children.length || i === 0 || lines > 2 * SMALL_TREE || !tree.open.has(node.parent)) return;
    tree.open.add(i);
    lines += node.children.length;
  });
}

const openAll = () => {
  tree.open = new Set(data.nodes.keys());
  tree.fold = false;
};

const closeAll = () => {
  tree.open = new Set();
};

/** The module in which the models part, or its nearest ancestor; -1 for none. */
function firstNode() {
  if (data.first < 0) return -1;
  const place = report.tensors[data.first].torch_path;
  return data.nodes.findLastIndex((node) => node.path === place || place.startsWith(`${node.path}.`));
}

/** The lines to draw: positions of modules, and lists of positions that are one line. */
function visibleLines() {
  const lines = [];
  const walk = (i) => {
    lines.push(i);
    if (!tree.open.has(i)) return;
    let run = [];
    const close = () => {
      if (tree.fold && run.length >= RUN && !tree.unfolded.has(run[0])) lines.push(run);
      else run.forEach(walk);
      run = [];
    };
    for (const child of data.nodes[i].children) {
      if (data.nodes[child].ok) run.push(child);
      else {
        close();
        walk(child);
      }
    }
    close();
  };
  walk(0);
  return lines;
}

function runRow(run) {
  const [from, to] = [data.nodes[run[0]], data.nodes[run.at(-1)]];
  const open = () => {
    tree.unfolded.add(run[0]);
    tree.focus = run[0];
    drawTree(true);
  };
  const label = el("td", { class: "name muted", colspan: 99 }, el("span", { class: "twist", "aria-hidden": "true" }, "▸"),
    el("button", { type: "button", class: "open", onclick: open }, `${grouped(run.length)} that agree: `, el("span", { class: "node" }, `${from.name} … ${to.name}`)));
  label.style.setProperty("--depth", from.depth);
  return el("tr", { class: "run", onclick: open }, label);
}

function treeRow(i, listed) {
  const node = data.nodes[i];
  const t = node.shown >= 0 ? report.tensors[node.shown] : null;
  const open = tree.open.has(i);
  const children = node.children.length;
  const twist = el("span", { class: "twist", "aria-hidden": "true" }, children ? (open ? "▾" : "▸") : "");
  const label = el("td", { class: "name" }, twist, el("span", { class: "node" }, node.name));
  label.style.setProperty("--depth", node.depth);
  if (children && !open) label.append(el("span", { class: "muted inside" }, `${grouped(children)} inside`));
  const kind = el("td", { class: "muted kind wide", title: node.kind }, node.kind.split(".").at(-1));
  const pair = node.jax === null ? "–" : node.jax || "model";
  const row = el(
    "tr",
    {
      role: "row", "data-node": i, "data-path": node.path, "aria-level": node.depth + 1,
      "aria-expanded": children ? String(open) : null, tabindex: tree.focus === i ? 0 : -1,
      class: node.ok ? "ok" : "fails", "aria-rowindex": listed + 2,
    },
    label, kind,
    el("td", { class: "muted pair wide", title: node.jaxKind }, pair),
    el("td", { class: "barcell" }, errorBar(t, node.verdict)),
    el("td", { class: "n" }, size(t?.float64?.max_rel ?? null)),
    el("td", { class: "n wide" }, ratioText(t?.ratio ?? null)),
    el("td", {}, verdictTag(node.verdict)),
  );
  twist.addEventListener("click", (event) => {
    event.stopPropagation();
    toggle(i);
  });
  row.addEventListener("click", () => (children ? toggle(i) : showTensors(i)));
  return row;
}

function drawTree(focus = false) {
  const rows = visibleLines();
  tree.body.replaceChildren(...rows.map((row, listed) => (Array.isArray(row) ? runRow(row) : treeRow(row, listed))));
  tree.frame.classList.toggle("tall", rows.length > SMALL_TREE);
  if (focus) tree.body.querySelector(`[data-node="${tree.focus}"]`)?.focus();
}

function toggle(i) {
  tree.open.has(i) ? tree.open.delete(i) : tree.open.add(i);
  tree.focus = i;
  drawTree(true);
}

function showTensors(i) {
  tree.focus = i;
  choose({ q: data.nodes[i].path, verdict: [], kind: "", mode: "", tensor: -1 });
  byId("tensors").scrollIntoView();
}

function treeKey(event) {
  const row = event.target.closest("[data-node]");
  if (!row) return;
  const i = Number(row.dataset.node);
  const node = data.nodes[i];
  const rows = visibleLines().filter((row) => !Array.isArray(row));
  const moves = { ArrowDown: rows[rows.indexOf(i) + 1], ArrowUp: rows[rows.indexOf(i) - 1], Home: 0, End: rows.at(-1) };
  if (event.key in moves) tree.focus = moves[event.key] ?? i;
  else if (event.key === "ArrowRight" && node.children.length) tree.open.has(i) ? (tree.focus = node.children[0]) : tree.open.add(i);
  else if (event.key === "ArrowLeft") tree.open.has(i) && node.children.length ? tree.open.delete(i) : (tree.focus = Math.max(0, node.parent));
  else if (event.key === " " && node.children.length) return event.preventDefault(), toggle(i);
  else if (event.key === "Enter") return event.preventDefault(), showTensors(i);
  else return;
  event.preventDefault();
  drawTree(true);
}

function buildTree() {
  if (!data.nodes.some((node) => node.count)) return;
  openWhatDiffers();
  if (data.nodes.length <= SMALL_TREE) openAll();
  const button = (text, action) => el("button", { type: "button", onclick: () => (action(), drawTree()) }, text);
  const head = el("tr", {},
    el("th", { scope: "col" }, "Layer"), el("th", { scope: "col", class: "wide" }, "Class"),
    el("th", { scope: "col", class: "wide" }, "In JAX"), el("th", { scope: "col", class: "barcell" }, errorAxis()),
    el("th", { scope: "col", class: "n" }, "float64"),
    el("th", { scope: "col", class: "n wide", title: "float32 error over PyTorch's own rounding" }, "× own"),
    el("th", { scope: "col" }, "Verdict"));
  tree.body = el("tbody", { onkeydown: treeKey });
  tree.frame = el("div", { class: "frame" },
    el("table", { class: "tree", role: "treegrid", "aria-label": "Modules of the PyTorch model" }, el("thead", {}, head), tree.body));
  section("layers", "Layers",
    el("div", { class: "tools" }, errorLegend(), el("div", { class: "buttons" },
      button("Open all", openAll), button("What differs", openWhatDiffers), button("Close", closeAll))),
    tree.frame);
  drawTree();
  // A tree that scrolls is opened where it matters.
  const first = tree.body.querySelector(`[data-node="${firstNode()}"]`);
  if (first && tree.frame.classList.contains("tall")) tree.frame.scrollTop = first.offsetTop - tree.frame.clientHeight / 3;
}
