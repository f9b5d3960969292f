// Findings, errors first, and what the numbers depend on.
const FEW = 30;

function buildFindings() {
  if (!data.findings.length) return;
  const cards = data.findings.map((i) => findingCard(report.findings[i]));
  const list = el("div", { class: "list" }, ...cards.slice(0, FEW));
  const more = el("button", { type: "button", onclick: () => {
    list.append(...cards.slice(FEW));
    more.remove();
  } }, `Show all ${grouped(cards.length)}`);
  section("findings", `Findings`, list, cards.length > FEW ? more : "");
}

const plain = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value));

function facts(title, values, text = plain) {
  const rows = Object.entries(values);
  if (!rows.length) return null;
  return el("div", {}, el("h3", {}, title),
    el("dl", { class: "facts" }, ...rows.flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, text(value))])));
}

function buildEnvironment() {
  const parts = [
    facts("Versions and devices", report.environment), facts("Settings", report.settings),
    facts("Seconds", report.seconds, (value) => Number(num(value)).toFixed(2)),
  ].filter(Boolean);
  if (parts.length) section("environment", "Environment", el("div", { class: "columns" }, ...parts));
}
