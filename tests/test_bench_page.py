"""A result shown: the table on wide and narrow terminals, Markdown, docs/benchmarks.md and the picture."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import bench_rows
import pytest
from rich.console import Console

from jaxport import bench, cli
from jaxport.bench import page, picture, report, store
from jaxport.errors import UsageError

LONG = bench_rows.LONG


def printed(rows, width: int) -> str:
    console = Console(width=width, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(bench.table(rows))
    return console.export_text()


def everything() -> list[bench.Row]:
    return [
        row for task in bench.TASKS for dtype in bench.DTYPES for row in bench_rows.rows(task=task, dtype=dtype, **LONG)
    ]


def test_a_narrow_table_is_whole_at_100_columns():
    text = printed(everything(), 100)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert "…" not in text
    heads = [line.strip() for line in lines]
    assert heads.count("digits infer-256 bfloat16") == heads.count("titanic epoch") == 1
    (ours,) = {tuple(line.split()) for line in lines if line.startswith(" jax ") and "0.50" in line.split()[2]}
    assert ours == ("jax", "4", "0.50", "39.4k", "0.50", "1.25", "2.50", "512")
    assert "keras · resnet step" in text  # notes: why there is no ratio
    assert "torch · titanic step, titanic step bfloat16" in text


def test_a_wide_table_has_everything_in_it():
    text = printed(everything(), 230)
    assert all(word in text for word in ("second start s", "eager, plain optimiser; cpu, 2 threads", "39.4k"))
    assert "× torch:" not in text


def test_columns_without_values_are_not_there():
    plain, whole = bench.to_markdown(bench_rows.rows()), bench.to_markdown(everything())
    assert plain.splitlines()[0] == "| port | framework | ms per step | × best PyTorch | compile s | batch | how |"
    assert whole.splitlines()[0] == (
        "| port | task | dtype | framework | ms | × best PyTorch | examples/s | compile s | first epoch s "
        "| second start s | peak MB | batch | how |"
    )
    assert whole.splitlines()[2] == (
        "| digits | step | float32 | jax | 4 | 0.50 | 39.4k | 0.50 | 1.25 | 2.50 | 512 | 32 "
        "| step by step; cpu, 2 threads |"
    )
    assert "torch.compile, fused \\| optimiser" in plain
    half = bench.to_markdown(bench_rows.rows(dtype="bfloat16"))
    assert half.startswith("| port | dtype | framework | ms per step |")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0"), (12.34, "12.3"), (999.4, "999"), (999.6, "1k"), (39_412.0, "39.4k"), (2.5e6, "2.5M")],
)
def test_thousands(value, text):
    assert report.thousands(value) == text


# --------------------------------------------------------------------------------------------------------------- page


def sections(text: str) -> dict[str, str]:
    parts = text.split("\n## ")
    return {part.partition("\n")[0]: part for part in parts[1:]}


def test_the_page_has_losses_apart_from_wins_largest_first():
    worse = [bench_rows.row("imdb", "jax", 9.0, 0.25), bench_rows.row("imdb", "torch", 2.25, 1.0)]
    even = [bench_rows.row("unet", "jax", 5.0, 1.0), bench_rows.row("unet", "torch", 5.0, 1.0)]
    result = bench_rows.result(*bench_rows.rows(), *worse, *even)
    text = page.page(result, "images/benchmarks.png", "python benchmarks/run.py --page r.json")
    found = sections(text)
    losses = [line for line in found["Losses"].splitlines() if line.startswith("| ")][2:]
    wins = [line for line in found["Wins"].splitlines() if line.startswith("| ")][2:]
    assert losses == [
        "| imdb | step | float32 | 9 | 2.25 | torch | 4.00 × slower |",
        "| digits | step | float32 | 4 | 2 | torch-compile: torch.compile, fused \\| optimiser | 2.00 × slower |",
    ]
    assert [line.split(" | ")[0] for line in wins] == ["| unet", "| titanic"]
    assert "16.00 × faster" in wins[1]
    assert "Of 4 comparisons, jaxport is ahead in 2 and behind in 2; 1 more have no ratio" in text
    assert "![" in text.partition("## ")[0]


def test_the_page_says_where_when_how_and_what_was_refused():
    text = page.page(bench_rows.result(), None, "python benchmarks/run.py --page r.json")
    found = sections(text)
    assert bench_rows.MACHINE.text() in found["Machine"]
    assert "2026-01-02T03:04:05+00:00. python 3.11.7, jax 0.10.2, torch 2.13.0." in found["Machine"]
    assert "- jax: the losses differ: 2.1 and PyTorch's 2 at step 1 (resnet step float32)" in found["Without a ratio"]
    assert "- keras: the model is not written in Keras here (resnet step float32)" in found["Without a ratio"]
    assert "| digits | step | float32 | 4 | 8 | 2.00 |" in found["Beside Keras 3 on JAX"]
    assert found["Training step, float32"].count("\n| ") == 2 + 9
    assert "    jaxport bench\n    python benchmarks/run.py --page r.json" in found["How to repeat it"]
    assert "![" not in text
    assert "other work" not in found["Machine"]
    machine = replace(bench_rows.MACHINE, load=1.5)
    busy = sections(page.page(bench_rows.result(machine=machine), None, ""))
    assert "**The machine had other work to do" in busy["Machine"]


def test_the_page_has_floors_and_says_how_much_was_judged():
    ours = bench_rows.row("digits", "jax", 1.0, 2.0, floor_ms=0.25, times_floor=4.0, judged=12)
    torch = bench_rows.row("digits", "torch", 2.0, 1.0, judged=12)
    text = page.page(bench_rows.result(ours, torch, limits=bench_rows.LIMITS.to_json()), None, "")
    found = sections(text)
    assert "limits: 200 GFLOP/s in float32; memory 60 GB/s in caches, 20 GB/s beyond." in found["Machine"]
    assert "| 2.00 × faster; judged by the first 12 of 30 steps |" in found["Wins"]
    head, _, first, second = (line for line in found["Training step, float32"].splitlines() if line.startswith("|"))
    assert "| × best PyTorch | floor, ms | × floor |" in head
    assert "| 2.00 | 0.25 | 4 |" in first
    assert "| 1.00 | – | – |" in second
    assert "Measured limits" not in page.page(bench_rows.result(), None, "")


def test_each_task_and_precision_has_a_table():
    found = sections(page.page(bench_rows.result(*everything()), None, "again"))
    for task in ("Training step", "Whole epoch", "Inference, one example", "Inference, 256 examples"):
        for dtype in bench.DTYPES:
            assert found[f"{task}, {dtype}"].count("\n| ") == 2 + 9


def test_a_refused_side_is_no_loss_and_no_win():
    refused = bench_rows.row("digits", "jax", 1.0, reason="the losses differ")
    found = sections(page.page(bench_rows.result(refused, bench_rows.row("digits", "torch", 2.0, 1.0)), None, ""))
    assert "None in this run." in found["Losses"]
    assert "None in this run." in found["Wins"]
    faster = bench_rows.row("digits", "torch-compile", 0.1, reason="the losses differ")
    both = [bench_rows.row("digits", "jax", 1.0, 2.0), bench_rows.row("digits", "torch", 2.0, 1.0), faster]
    assert page.pairs(both) == [page.Pair(both[0], both[1])]


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("bench_run", Path(__file__).parents[1] / "benchmarks" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_and_the_short_table_are_written_from_a_kept_result(script, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    kept = tmp_path / "r.json"
    store.write(bench_rows.result(*everything()), kept)
    script.main(["--page", str(kept), "--to", str(tmp_path / "docs.md")])
    assert (tmp_path / "docs.md").read_text().startswith("# Benchmarks\n")
    assert "(images/docs.png)" in (tmp_path / "docs.md").read_text()
    assert (tmp_path / "images" / "docs.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "README.md").write_text(f"a\n{script.BEGIN}\nold\n{script.END}\nz\n")
    script.main(["digits", "--from", str(kept), "--write", str(tmp_path / "README.md")])
    text = (tmp_path / "README.md").read_text()
    assert text.count("\n| digits |") == 4
    assert "titanic" not in text
    assert "examples/s" not in text  # of the long table alone
    with pytest.raises(UsageError, match="has no unet"):
        script.main(["unet", "--from", str(kept)])


# ------------------------------------------------------------------------------------------------------------ picture


@pytest.fixture
def drawn():
    pytest.importorskip("matplotlib")
    return picture.draw


def marks(axes) -> dict[tuple[float, float], str]:
    """Return the colour of each round mark by its place."""
    return {
        (line.get_xdata()[0], line.get_ydata()[0]): line.get_color() for line in axes.lines if line.get_marker() == "o"
    }


def test_losses_are_marked_as_wins_are_and_stand_above(drawn):
    (axes,) = drawn(bench_rows.rows()).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["digits", "titanic", "resnet"]
    assert marks(axes) == {(0.5, 0): picture.LOSS, (16.0, 1): picture.WIN}
    assert [text.get_text() for text in axes.texts] == ["0.5", "16", "no ratio"]
    assert axes.get_title() == "training step\n1 ahead, 1 behind"
    assert axes.get_xscale() == "log"
    low, high = axes.get_xlim()
    assert low < 0.25
    assert high > 16
    ratios = sorted(line.get_xdata()[0] for line in axes.lines if line.get_marker() == "|")
    assert ratios == [0.8, 1.0, 1.0, 1.0]


def test_a_panel_for_each_task_and_precision(drawn):
    figure = drawn(everything())
    titles = [axes.get_title().splitlines()[:2] for axes in figure.axes]
    assert titles[0] == ["training step", "float32"]
    assert titles[7] == ["inference, batch 256", "bfloat16"]
    assert len(titles) == 8


def test_nothing_to_draw_is_said(drawn):
    with pytest.raises(UsageError, match="no row has a ratio"):
        drawn([replace(row, ratio_to_best_torch=None) for row in bench_rows.rows()])


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'jaxport\[viz\]'"):
        picture.check("r.png")


def test_the_command_line_draws_a_kept_result(drawn, tmp_path, capsys):
    store.write(bench_rows.result(), tmp_path / "r.json")
    arguments = ["bench", "--from", str(tmp_path / "r.json"), "--markdown", "--picture", str(tmp_path / "p.png")]
    assert cli.main(arguments) == 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    captured = capsys.readouterr()
    assert captured.out == bench.to_markdown(bench_rows.rows())
    assert captured.err == ""
