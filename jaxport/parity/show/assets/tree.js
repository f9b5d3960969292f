// The model: PyTorch's modules in the order of their definition, those that agree closed.
const tree = { open: new Set(), focus: 0, body: null };
const SMALL_TREE = 40;

function openWhatDiffers() {
  tree.open = new Set([0]);
  let lines = 1 + data.nodes[0].children.length;
  data.nodes.forEach((node, i) => {
    if (node.ok || !node.children.length || i === 0 || lines > 2 * SMALL_TREE || !tree.open.has(node.parent)) return;
    tree.open.add(i);
    lines += node.children.length;
  });
}

const openAll = () => {
  tree.open = new Set(data.nodes.keys());
};

function visibleNodes() {
  const rows = [];
  const walk = (i) => {
    rows.push(i);
    if (tree.open.has(i)) data.nodes[i].children.forEach(walk);
  };
  if (data.nodes.length) walk(0);
  return rows;
}

function treeRow(i, listed) {
  const node = data.nodes[i];
  const t = node.shown >= 0 ? report.tensors[node.shown] : null;
  const open = tree.open.has(i);
  const children = node.children.length;
  const name = node.path ? node.path.split(".").at(-1) : "model";
  const twist = el("span", { class: "twist", "aria-hidden": "true" }, children ? (open ? "▾" : "▸") : "");
  const label = el("td", { class: "name" }, twist, el("span", { class: "node" }, name));
  label.style.setProperty("--depth", node.depth);
  if (children && !open) label.append(el("span", { class: "muted" }, ` ${grouped(children)} inside`));
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
  tree.body.replaceChildren(...visibleNodes().map(treeRow));
  if (focus) tree.body.querySelector(`[data-node="${tree.focus}"]`)?.focus();
}

function toggle(i) {
  tree.open.has(i) ? tree.open.delete(i) : tree.open.add(i);
  tree.focus = i;
  drawTree(true);
}

function showTensors(i) {
  tree.focus = i;
  choose({ q: data.nodes[i].path, verdict: [], kind: "", tensor: -1 });
  byId("tensors").scrollIntoView();
}

function treeKey(event) {
  const row = event.target.closest("[data-node]");
  if (!row) return;
  const i = Number(row.dataset.node);
  const node = data.nodes[i];
  const rows = visibleNodes();
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
  data.nodes.length <= SMALL_TREE ? openAll() : openWhatDiffers();
  const button = (text, action) => el("button", { type: "button", onclick: () => (action(), drawTree()) }, text);
  const head = el("tr", {},
    el("th", { scope: "col" }, "Layer"), el("th", { scope: "col", class: "wide" }, "Class"),
    el("th", { scope: "col", class: "wide" }, "In JAX"), el("th", { scope: "col", class: "barcell" }, errorAxis()),
    el("th", { scope: "col", class: "n" }, "float64"),
    el("th", { scope: "col", class: "n wide", title: "float32 error over PyTorch's own rounding" }, "× own"),
    el("th", { scope: "col" }, "Verdict"));
  tree.body = el("tbody", { onkeydown: treeKey });
  section("layers", "Layers",
    el("div", { class: "tools" }, errorLegend(), el("div", { class: "buttons" },
      button("Open all", openAll), button("What differs", openWhatDiffers), button("Close", () => (tree.open = new Set())))),
    el("div", { class: "frame" }, el("table", { class: "tree", role: "treegrid", "aria-label": "Modules of the PyTorch model" },
      el("thead", {}, head), tree.body)));
  drawTree();
}
