"""The page of a report in headless Chromium: what it draws, and that it does what its controls say."""

from collections.abc import Iterator
from pathlib import Path

import browser
import parity_reports
import pytest

from jaxport.parity.show import write_html

PROGRAM = browser.find()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed: apt-get install chromium")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    for name in ("passing", "planted", "training", "hostile", "everything", "large"):
        write_html(getattr(parity_reports, name)(), folder / f"{name}.html")
    return folder


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    assert PROGRAM is not None
    found = browser.Browser(PROGRAM, tmp_path_factory.mktemp("profile"))
    found.resize(1400, 1000)
    yield found
    found.close()


def texts(window: browser.Browser, selector: str) -> list[str]:
    return window.run(f"[...document.querySelectorAll({selector!r})].map((node) => node.textContent)")


def rows(window: browser.Browser) -> list[int]:
    return window.run("[...document.querySelectorAll('[data-row]')].map((row) => Number(row.dataset.row))")


@pytest.mark.parametrize("name", ["passing", "planted", "training", "hostile", "everything", "large"])
def test_a_page_opens_from_a_file_without_complaint_or_request(window: browser.Browser, pages: Path, name: str) -> None:
    file = pages / f"{name}.html"
    window.open(file)
    assert window.complaints == []
    assert window.requests == [file.as_uri()]
    assert window.run("window.pwned") is None
    assert window.run("document.querySelectorAll('script').length") == 2
    for width in (1400, 420):
        window.resize(width, 1000)
        assert window.run("document.documentElement.scrollWidth") <= width
    window.resize(1400, 1000)


def test_tables_fit_narrow_windows(window: browser.Browser, pages: Path) -> None:
    window.resize(420, 1000)
    window.open(pages / "planted.html")
    for table in (".tree", ".tensors"):
        assert window.run(f"document.querySelector('{table}').offsetWidth") <= 420
    window.resize(1400, 1000)


def test_names_stand_there_as_they_are(window: browser.Browser, pages: Path) -> None:
    window.open(pages / "hostile.html")
    row = parity_reports.hostile().tensors[0]
    assert texts(window, "[data-tensor]") == [row.torch_path]
    assert texts(window, "#findings code")[1] == "[/red]<i>fix</i>"
    assert window.run("document.querySelectorAll('main img, main b:not(.bad, .count b), main i > i').length") == 0


def test_the_first_divergence_is_on_top_with_its_causes(window: browser.Browser, pages: Path) -> None:
    window.open(pages / "planted.html")
    top = window.run("document.getElementById('first').innerText")
    for part in (
        "features.conv2 ↔ conv2",
        "the error arises here",
        "(4, 7, 6, 16)",
        "[2, 8, 3, 3]",
        "1.35075",
        "trap 8",
    ):
        assert part in top, part
    assert texts(window, "#first .rule code") == ["cause/padding", "lint/padding"]
    assert texts(window, ".verdict .word") == ["✕ Different"]
    window.open(pages / "passing.html")
    assert window.run("document.getElementById('first').hidden")
    assert texts(window, ".verdict .word") == ["● Same"]


def test_the_tree_opens_and_closes_with_keys(window: browser.Browser, pages: Path) -> None:
    window.open(pages / "planted.html")
    report = parity_reports.planted()
    names = "[...document.querySelectorAll('[data-node]')].map((row) => row.dataset.path)"
    assert window.run(names) == [module.torch_path for module in report.modules]
    window.run("document.querySelector('[data-node]').focus()")
    window.press("ArrowDown", "ArrowLeft")
    assert window.run("document.activeElement.dataset.path") == "features"
    assert window.run("document.activeElement.getAttribute('aria-expanded')") == "false"
    assert "features.conv2" not in window.run(names)
    window.press("ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowDown")
    assert window.run("document.activeElement.dataset.path") == "features.conv2"
    window.press("Enter")
    assert window.run("location.hash") == "#q=features.conv2"
    assert texts(window, "[data-tensor]") == ["features.conv2", "features.conv2.weight"]


def test_a_large_tree_folds_what_agrees(window: browser.Browser, pages: Path) -> None:
    window.open(pages / "large.html")
    assert texts(window, ".run button") == ["333 that agree: blocks.0 … blocks.332"]
    assert window.run("!!document.querySelector('[data-path=\"blocks.333.attn\"]')")
    before = window.run("document.querySelectorAll('[data-node]').length")
    window.run("document.querySelector('.run button').click()")
    assert window.run("document.querySelectorAll('[data-node]').length") == before + 333


def test_bars_are_as_long_as_the_errors(window: browser.Browser, pages: Path) -> None:
    window.open(pages / "planted.html")
    width = "getComputedStyle(document.querySelector('[data-path=\"{}\"] .fill')).getPropertyValue('--at')"
    small, large = (float(window.run(width.format(p))[:-1]) for p in ("features.conv1", "features.conv2"))
    assert small == pytest.approx(100 / 18, abs=0.1)  # 1e-16 on a line from 1e-17 to 1e1
    assert large == pytest.approx(100 * (17 - 1.394) / 18, abs=0.1)
    label = window.run("document.querySelector('[data-path=\"features.conv2\"] .errorbar').getAttribute('aria-label')")
    assert label == "float64 4.0e-02, float32 4.0e-02, PyTorch's own rounding 7.6e-08"


VIEWS = (
    ("q=conv", lambda t: "conv" in t.torch_path or "conv" in t.jax_path),
    ("q=kernel", lambda t: "kernel" in t.jax_path),
    ("q=CONV2&kind=gradient", lambda t: "conv2" in t.torch_path and t.kind == "gradient"),
    ("verdict=different", lambda t: t.verdict == "different"),
    ("verdict=suspicious,equal", lambda t: t.verdict in ("suspicious", "equal")),
    ("q=conv&verdict=different", lambda t: "conv" in t.torch_path and t.verdict == "different"),
    ("mode=train", lambda t: t.mode == "train"),
    ("q=nothing%20of%20that", lambda t: False),
    ("kind=nonsense&verdict=nonsense", lambda t: True),
)


@pytest.mark.parametrize(("view", "kept"), VIEWS, ids=[view for view, _ in VIEWS])
def test_the_address_filters(window: browser.Browser, pages: Path, view: str, kept) -> None:
    window.open(pages / "planted.html", view)
    wanted = [i for i, t in enumerate(parity_reports.planted().tensors) if kept(t)]
    assert rows(window) == wanted
    assert texts(window, "#tensors [role=status]") == [f"{len(wanted)} of 15 tensors"]
    assert window.run("document.querySelector('.nothing').hidden") is bool(wanted)


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("float64", lambda t: t.float64.max_rel),
        ("ratio", lambda t: t.float32.max_abs / t.floor),
        ("required", lambda t: t.required),
        ("path", lambda t: t.torch_path),
    ],
)
def test_columns_sort(window: browser.Browser, pages: Path, sort: str, key) -> None:
    tensors = parity_reports.planted().tensors
    window.open(pages / "planted.html", f"sort={sort}&dir=desc")
    found = [key(tensors[i]) for i in rows(window)]
    assert found == sorted(found, reverse=True)
    window.run(f"document.querySelector('[data-sort={sort}]').click()")
    found = [key(tensors[i]) for i in rows(window)]
    assert found == sorted(found)
    assert window.run(f"document.querySelector('[data-sort={sort}]').closest('th').ariaSort") == "ascending"


def test_nan_sorts_as_the_worst(window: browser.Browser, pages: Path) -> None:
    window.open(pages / "everything.html", "sort=float64&dir=desc")
    assert rows(window)[0] == len(parity_reports.everything().tensors) - 2


def test_typing_searches_and_the_address_follows(window: browser.Browser, pages: Path) -> None:
    window.open(pages / "planted.html")
    window.run("document.getElementById('q').focus()")
    window.press(*"fc2")
    assert texts(window, "[data-tensor]") == ["head.fc2", "head.fc2.weight"]
    assert window.run("location.hash") == "#q=fc2"
    window.run("document.querySelector('#counts [data-verdict=different]').click()")
    window.run("document.querySelector('.chips [data-verdict=equal]').click()")
    assert window.run("location.hash") == "#q=fc2&verdict=different,equal"
    pressed = "[...document.querySelectorAll('.chips [aria-pressed=true]')].map((chip) => chip.dataset.verdict)"
    assert window.run(pressed) == ["different", "equal"]
    window.run("document.querySelector('.filters > button').click()")
    assert len(rows(window)) == 15
    assert window.run("document.getElementById('q').value") == ""


def test_a_tensor_opens_with_keys_and_shows_error_against_magnitude(window: browser.Browser, pages: Path) -> None:
    window.open(pages / "planted.html")
    window.run("document.querySelector('[data-tensor=\"0\"]').focus()")
    window.press("ArrowDown", "ArrowDown", "ArrowDown", "Enter")
    assert window.run("location.hash") == "#tensor=3"
    assert window.run("document.activeElement.dataset.tensor") == "3"
    assert window.run("document.querySelectorAll('.detailrow circle').length") == 25
    assert window.run("document.querySelectorAll('.detailrow circle.zero').length") == 1
    places = "[...document.querySelectorAll('.detailrow circle:not(.zero)')].map((c) => Number(c.getAttribute('cx')))"
    found = window.run(places)
    assert found == sorted(found)
    window.press("Enter")
    assert window.run("document.querySelector('.detailrow')") is None


def test_large_reports_come_in_pages(window: browser.Browser, pages: Path) -> None:
    window.open(pages / "large.html", "page=2")
    assert rows(window) == list(range(100, 200))
    assert texts(window, "#tensors [role=status]") == ["3,000 of 3,000 tensors, 101 to 200 shown"]
    window.run("document.querySelector('.pager button:last-child').click()")
    assert rows(window)[0] == 200
    window.run("document.getElementById('q').focus()")
    window.press(*"blocks.333")
    assert texts(window, "[data-tensor]")[0] == "blocks.333.attn"
    assert len(rows(window)) == 6
    window.run("document.querySelector('.filters > button').click()")
    window.run("document.querySelector('.pager button:last-child').click()")
    window.run("document.querySelector('#counts [data-verdict=equal]').click()")
    assert texts(window, ".pager span") == ["Page 1 of 16"]  # a filter goes back to the first
    window.open(pages / "large.html", "page=999")
    assert rows(window) == list(range(2900, 3000))


def test_training_draws_both_losses_and_marks_what_parts(window: browser.Browser, pages: Path) -> None:
    window.open(pages / "training.html")
    points = "document.querySelector('#curves svg[tabindex] .line.{}:not(.limit)').getAttribute('d').split('L').length"
    assert [window.run(points.format(name)) for name in ("torch", "jax", "optimizer")] == [20, 20, 20]
    assert texts(window, "#curves .parts") == ["✕"]
    window.run("document.querySelectorAll('#curves figure svg[tabindex]')[1].focus()")
    window.press("ArrowRight", "ArrowRight")
    assert "Step 2: loss" in texts(window, "#curves .readout")[1]
    window.run("document.querySelector('[data-mode=resync]').click()")
    assert texts(window, "#curves .parts") == []
    assert texts(window, "#first .says") == [
        "Free-running, optimizer (head.fc2.weight.optimizer) at step 7: 1.6e-06, allowed 1.0e-08."
    ]


def test_the_scheme_follows_the_system_and_the_button(window: browser.Browser, pages: Path) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    window.open(pages / "passing.html")
    light = window.run(paper)
    window.resize(1400, 1000, dark=True)
    dark = window.run(paper)
    assert light != dark
    window.open(pages / "passing.html", "theme=light")
    assert window.run(paper) == light
    window.run("document.getElementById('theme').click()")
    assert window.run(paper) == dark
    assert window.run("location.hash") == "#theme=dark"
    window.resize(1400, 1000)


def test_text_can_be_read_in_both_schemes(window: browser.Browser, pages: Path) -> None:
    """Every colour that text is written in has a contrast of 4.5 to 1 with the paper that it stands on."""
    script = """
    (() => {
      const probe = document.body.appendChild(document.createElement("i"));
      const light = (name) => {
        probe.style.color = `var(--${name})`;
        const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).map(Number);
        const linear = parts.map((v) => (v <= 10.31 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
      };
      const found = {};
      for (const ink of ["ink", "muted", "equal", "rounding", "suspicious", "different", "link"])
        for (const paper of ["paper", "card", "soft"]) {
          const [a, b] = [light(ink), light(paper)].sort((x, y) => x - y);
          found[`${ink} on ${paper}`] = (b + 0.05) / (a + 0.05);
        }
      return found;
    })()
    """
    for theme in ("light", "dark"):
        window.open(pages / "planted.html", f"theme={theme}")
        low = {name: round(value, 2) for name, value in window.run(script).items() if value < 4.5}
        assert not low, theme
