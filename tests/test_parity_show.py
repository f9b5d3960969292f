"""A report in the terminal, as sentences, and as the text of a page; what the page does is in another file."""

import html as html_module
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import parity_reports
import pytest
from rich.console import Console

from jaxport.errors import UsageError
from jaxport.parity.result import Error, Finding, Module, Report, Step, Verdict
from jaxport.parity.show import html, tree, words, write_html
from jaxport.parity.show.nodes import nodes, worst_first

NAMES = ("passing", "planted", "training", "hostile", "everything")


def shown(report: Report, width: int = 80, full: bool = False, color: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=color, color_system="standard" if color else None)
    console.print(tree(report, full=full))
    return file.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_the_terminal_says_the_verdict_first_within_80_columns_and_without_colour(name: str) -> None:
    report = getattr(parity_reports, name)()
    text = shown(report)
    assert text.startswith("● SAME" if report.ok else "✕ DIFFERENT")
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "\x1b[" in shown(report, color=True)


def test_the_terminal_says_where_the_models_part() -> None:
    text = shown(parity_reports.planted(), width=160)
    top = text[: text.index("Layers ─")]
    for part in (
        "output of features.conv2 ↔ conv2 (torch.nn.Conv2d)  ✕ different",
        "features.conv2  (4, 16, 7, 6) float32",
        "conv2  (4, 7, 6, 16) float32, axes (0, 2, 3, 1) of PyTorch's",
        "[2, 8, 3, 3]: PyTorch 1.25, JAX 1.35075, apart by 1.0e-01",
        "float64 4.0e-02 accumulated, 3.1e-02 local; float32 4.0e-02 (5.3e+05 × PyTorch's own rounding)",
        "this layer alone is off by 3.1e-02: the error arises here",
        "would pass at a relative 4.0e-02",
        "cause/padding (trap 8)",
        "fix: nnx.Conv(8, 16, (3, 3), strides=2, padding=1, rngs=rngs)",
    ):
        assert part in top, part
    assert "lint/eps" not in top  # another layer's


def test_the_terminal_lists_gradients_worst_first_and_counts_the_rest() -> None:
    text = shown(parity_reports.planted())
    part = text[text.index("Gradients") : text.index("Other tensors")]
    assert re.findall(r"parameter (\S+)", part) == ["head.fc2.weight", "head.fc1.weight", "features.conv2.weight"]
    assert "1 tensor agrees, worst 1.0e-10" in part
    assert "buffer features.norm1.running_var" in text
    assert "4 tensors agree, worst 3.0e-14" in shown(parity_reports.passing())


def test_small_trees_are_whole_and_large_ones_folded() -> None:
    assert shown(parity_reports.passing()).count("BatchNorm2d") == 2
    text = shown(parity_reports.large())
    assert len(text.splitlines()) < 110
    assert re.search(r"999 layers agree: blocks.0 … blocks.332 +\S+ +\S+ +◐ rounding", text)
    assert "layers more that do not agree" in text
    full = shown(parity_reports.large(120), full=True)
    assert "layers agree:" not in full
    assert full.count("MultiheadAttention") == 21  # twenty blocks, and the first divergence
    assert full.index("lint/eps") < full.index("Environment")


def test_a_folded_run_shows_its_worst() -> None:
    report = parity_reports.large(600)
    rows = [replace(t, verdict=Verdict.ROUNDING) if t.torch_path == "blocks.3.mlp" else t for t in report.tensors]
    assert "◐ rounding" in next(
        line for line in shown(replace(report, tensors=tuple(rows))).splitlines() if "layers agree:" in line
    )


def test_names_cannot_write_markup_or_control_the_terminal() -> None:
    evil = replace(parity_reports.hostile(), title="a\x1b[31mred\x07 [bold]b[/bold]\x9b31m")
    text = shown(evil, color=True)
    assert "[bold]b[/bold]" in text
    assert "\x1b[31mred" not in text
    assert "\x07" not in text
    assert "\x9b" not in text
    assert "[/red]<i>fix</i>" in text


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (parity_reports.passing(), "15 tensors compared, all agree"),
        (parity_reports.training(parts_at=99), "15 tensors and 20 training steps compared, all agree"),
        (Report("x"), "nothing was compared"),
        (parity_reports.planted(), "11 of 15 tensors do not agree; 1 finding is an error"),
        (parity_reports.training(), "training parts at step 7"),
        (Report("x", findings=(Finding("a", "error", "b"),)), "nothing was compared"),
    ],
)
def test_the_headline_says_why(report: Report, said: str) -> None:
    assert words.headline(report) == said


def test_where_an_error_arises() -> None:
    row = parity_reports.planted().tensors[3]
    ok = parity_reports.error(1e-16)
    assert "arises here" in words.where_it_arises(row)
    assert "comes from further up" in words.where_it_arises(replace(row, local64=ok))
    assert "was not run alone" in words.where_it_arises(replace(row, local64=None))
    assert "not compared" in words.where_it_arises(replace(row, float64=None, float32=None, local64=None))
    narrow = replace(row, float64=None, local64=None, local32=parity_reports.error(2e-2))
    assert "arises here" in words.where_it_arises(narrow)
    assert "comes from further up" in words.where_it_arises(replace(narrow, local32=parity_reports.error(1e-7)))
    assert "arises here" in words.where_it_arises(replace(row, local64=Error(math.nan, math.nan)))
    assert "between the layers" in words.where_it_arises(replace(row, kind="input"))
    assert words.where_it_arises(replace(row, kind="gradient")) == ""


def test_likely_causes_are_those_of_the_layer_causes_before_hints() -> None:
    report = parity_reports.planted()
    first = report.first_divergence
    assert first is not None
    far = Finding("cause/elsewhere", "error", "x", "fc2", "head.fc2")
    guard = Finding("guard/zero-bias", "error", "x", "conv2", "features.conv2")
    found = words.causes(report.with_findings([far, guard]), first)
    assert [finding.rule for finding in found] == ["cause/padding", "lint/padding"]
    other = replace(report, findings=(report.findings[1], far, guard))
    assert [finding.rule for finding in words.causes(other, first)] == ["lint/padding"]


def test_numbers_have_one_width_and_odd_ones_a_name() -> None:
    assert [words.number(x) for x in (1.0, 3.14e-17, 0.0, None, math.nan, math.inf)] == [
        "1.0e+00",
        "3.1e-17",
        "0",
        "–",
        "NaN",
        "∞",
    ]
    row = parity_reports.passing().tensors[0]
    assert words.ratio(replace(row, floor=0.0)) == math.inf
    assert words.ratio(replace(row, floor=None)) is None
    assert words.ratio(replace(row, floor=0.0, float32=Error(0.0, 0.0))) == 0.0


def test_the_step_that_parts_is_the_first_and_the_furthest_of_it() -> None:
    def step(number: int, kind: str, size: float, mode: str = "free") -> Step:
        return Step(number, mode, kind, size, kind, 1e-8)

    steps = [step(3, "buffer", 1.0), step(2, "gradient", 1e-7), step(2, "parameter", 1e-6), step(1, "loss", 1e-9)]
    found = words.first_parting(steps)
    assert found is not None
    assert found.kind == "parameter"
    found = words.first_parting([*steps, step(2, "optimizer", math.nan)])
    assert found is not None
    assert found.kind == "optimizer"
    assert words.first_parting(steps, "resync") is None


def test_training_is_summed_up_for_each_mode() -> None:
    free, again = words.training_lines(parity_reports.training())
    assert free.startswith("free-running: 20 steps, loss 2.102 → 0.3005 (JAX 0.3005); the first to part is optimizer ")
    assert free.endswith("at step 7: 1.6e-06, allowed 1.0e-08")
    assert again.startswith("resynchronised before every step: 20 steps")
    assert "none parts" in again
    assert "first to part is optimizer" in shown(parity_reports.training(), width=200)


def test_the_tree_has_every_tensor_once_at_its_module() -> None:
    report = parity_reports.planted()
    found = nodes(report)
    assert sorted(i for node in found for i in node.own) == list(range(len(report.tensors)))
    assert sorted(found[0].below) == list(range(len(report.tensors)))
    norm = next(node for node in found if node.module.torch_path == "features.norm1")
    assert [report.tensors[i].torch_path for i in norm.own] == ["features.norm1", "features.norm1.running_var"]
    assert norm.verdict is Verdict.SUSPICIOUS
    assert report.tensors[norm.shown].kind == "buffer"  # it fails; the output does not
    assert not found[0].ok


def test_the_tree_keeps_what_is_below_a_module_together() -> None:
    listed = [Module(path, "K") for path in ("b", "a", "b.x", "a.y.z", "c#1")]
    rows = [parity_reports.tensor("output", path, path, (2,), 1e-16) for path in ("b.x#1", "a.y.z[0]", "c#1", "lost")]
    found = nodes(Report("t", tuple(rows), modules=tuple(listed)))
    assert [node.module.torch_path for node in found] == ["", "b", "b.x", "a", "a.y.z", "c#1"]
    assert [node.name for node in found] == ["model", "b", "x", "a", "y.z", "c#1"]
    assert [node.own for node in found] == [[3], [], [0], [], [1], [2]]
    assert [node.depth for node in found] == [0, 1, 2, 1, 2, 1]


def test_gradients_place_a_difference_only_if_nothing_else_does() -> None:
    out, gradient = parity_reports.tensor, replace(parity_reports.tensor("gradient", "a.w", "a.w", (2,), 1.0))
    good, bad = out("output", "a", "a", (2,), 1e-16), out("output", "b", "b", (2,), 1.0)
    modules = (Module("a", "K"), Module("b", "K"))
    assert [node.ok for node in nodes(Report("t", (good, bad, gradient), modules=modules))] == [False, True, False]
    assert [node.ok for node in nodes(Report("t", (good, gradient), modules=modules))] == [False, False, True]


def test_what_agrees_beside_a_true_zero_is_not_called_far() -> None:
    zero = replace(parity_reports.tensor("gradient", "a", "a", (2,), 2.0, verdict=Verdict.ROUNDING), required=0.0)
    small = parity_reports.tensor("gradient", "b", "b", (2,), 1e-13)
    assert [t.torch_path for t in worst_first([zero, small])] == ["b", "a"]
    assert "2 tensors agree, worst 1.0e-13" in shown(Report("t", (zero, small)))


def test_what_does_not_count_does_not_colour_the_tree() -> None:
    row = replace(parity_reports.tensor("output", "a", "a", (2,), 1.0), decides=False)
    assert [node.ok for node in nodes(Report("t", (row,), modules=(Module("a", "K"),)))] == [True, True]


def test_worst_first_puts_nan_before_everything() -> None:
    bad, good = (parity_reports.tensor("gradient", str(s), "", (2,), s) for s in (1e-3, 1e-16))
    nan = replace(bad, float64=Error(math.nan, math.nan), torch_path="nan")
    aside = replace(bad, decides=False, torch_path="aside")
    assert [t.torch_path for t in worst_first([good, aside, bad, nan])] == ["nan", "0.001", "aside", "1e-16"]


def payload(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.mark.parametrize("name", NAMES)
def test_the_page_holds_the_report_and_asks_nobody(name: str) -> None:
    report = getattr(parity_reports, name)()
    page = html(report)
    data = payload(page)
    whole = json.loads(report.to_json())
    assert data["report"]["findings"] == whole["findings"]
    assert [t["verdict"] for t in data["report"]["tensors"]] == [t["verdict"] for t in whole["tensors"]]
    assert "http" not in page.replace("http-equiv", "")
    assert "default-src 'none'" in page
    for word in (
        "@import",
        "url(",
        "<link",
        " src=",
        "fetch(",
        "XMLHttpRequest",
        "innerHTML",
        "document.write",
        "eval(",
    ):
        assert word not in page.replace(page[page.index('id="data"') : page.index("</script>")], ""), word


def test_nothing_of_a_report_is_markup_in_the_page() -> None:
    page = html(parity_reports.hostile())
    assert page.count("<script") == 2
    assert page.count("</script") == 2
    assert "<!--" not in page
    assert "<img" not in page
    assert "\u2028" not in page[page.index('id="data"') :]
    title = re.search("<h1>(.*?)</h1>", page, re.DOTALL)
    assert title is not None
    assert html_module.unescape(title[1]) == parity_reports.hostile().title


def test_a_title_that_looks_like_a_placeholder_stays_text() -> None:
    page = html(replace(parity_reports.passing(), title="{{data}} {{none}}"))
    assert "<h1>{{data}} {{none}}</h1>" in page


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.html"
    assert write_html(parity_reports.passing(), target) == target
    before = target.read_bytes()
    assert before.startswith(b"<!DOCTYPE html>")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match=r"path: .*report.html cannot be written: No space left"):
        write_html(parity_reports.planted(), target)
    assert target.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_page_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"path: .* cannot be written"):
        write_html(parity_reports.passing(), tmp_path / "none" / "report.html")


def test_showing_loads_no_framework() -> None:
    """A report can be read and shown where neither PyTorch nor JAX is installed."""
    import subprocess
    import sys

    code = (
        "import sys, jaxport.parity.show as show; from jaxport.parity.result import Report; show.html(Report('x')); "
        "print([name for name in ('torch', 'jax', 'flax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
