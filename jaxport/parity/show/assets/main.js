// Puts the page together. Sections are reached by scrolling, so that the address keeps the view.
const SECTIONS = { first: "First divergence", layers: "Layers", training: "Training", findings: "Findings", tensors: "Tensors", environment: "Environment" };

function buildNavigation() {
  const go = (id) => (event) => {
    event.preventDefault();
    byId(id).scrollIntoView();
  };
  const there = Object.entries(SECTIONS).filter(([id]) => !byId(id).hidden);
  byId("nav").replaceChildren(...there.map(([id, text]) => el("a", { href: `#${id}`, onclick: go(id) }, text)));
}

function drawTheme() {
  const dark = state.theme ? state.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  state.theme ? (document.documentElement.dataset.theme = state.theme) : delete document.documentElement.dataset.theme;
  byId("theme").textContent = dark ? "Light" : "Dark";
  byId("theme").onclick = () => choose({ theme: dark ? "light" : "dark" });
}

readAddress();
listeners.push(drawTheme);
buildFirst();
buildTree();
buildTraining();
buildFindings();
buildTable();
buildEnvironment();
buildNavigation();
for (const listener of listeners) listener();
window.addEventListener("hashchange", () => {
  if (location.hash.length > 1 && !location.hash.includes("=")) return;
  readAddress();
  for (const listener of listeners) listener();
});
document.documentElement.dataset.ready = "yes";
