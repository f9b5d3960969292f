"""The benchmark without PyTorch: the gate, the ratios, the workers' protocol, the tables. Nothing depends on timing."""

import dataclasses
import importlib.util
import json
import math
import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from jaxport import bench, ports
from jaxport.bench import floor, recipe, runner, store
from jaxport.bench.inputs import dropout_calls, load_inputs, make_inputs, save_inputs
from jaxport.bench.limits import Limits, Rate
from jaxport.bench.process import Worker
from jaxport.errors import JaxportError, UsageError

TRUTH = [2.0, 1.0, 0.5]
REFERENCE = bench.Reference(truth=TRUTH, eager=[2.0, 1.0 + 1e-6, 0.5])

# Losses, and what the gate says of them (None: they are PyTorch's). Allowed: 4 · 1e-6 + 1e-7 · 2.
GATE = {
    "the truth": (TRUTH, None),
    "PyTorch's own": (REFERENCE.eager, None),
    "just inside": ([2.0, 1.0, 0.5 + 4.1e-6], None),
    "just outside": ([2.0, 1.0, 0.5 - 4.3e-6], r"differ: 0\.4999957 and PyTorch's 0\.5 at step 3"),
    "half a loss": ([1.0, 0.5, 0.25], "differ: 1 and PyTorch's 2 at step 1"),
    "a NaN": ([2.0, math.nan, 0.5], "not finite: nan and PyTorch's 1.000001 at step 2"),
    "one missing": ([2.0, 1.0], "2 losses came back"),
}


@pytest.mark.parametrize("name", GATE)
def test_gate(name):
    losses, expected = GATE[name]
    found = bench.disagreement(losses, REFERENCE)
    assert found is None if expected is None else re.search(expected, found or "") is not None


def test_gate_refuses_chaos():
    chaotic = bench.Reference([1.0, 1.0], [1.0, 1.01])
    assert "too chaotic" in (bench.disagreement([1.0, 1.0], chaotic) or "")


# PyTorch's rounding in five steps, and how many of them are judged: what comes before chaos, from three steps on.
BEGINNINGS = {
    "all": ([0.0, 1e-7, 1e-6, 1e-6, 9e-6], 5),
    "before the growth": ([0.0, 1e-7, 1e-6, 1.1e-5, 0.5], 3),
    "early growth": ([0.0, 1e-7, 1e-4, 9e-4, 0.5], 4),
    "no three steps": ([0.0, 1e-7, 2e-3, 0.0, 0.0], 0),
    "a NaN later on": ([0.0, 0.0, 0.0, math.nan, 0.0], 3),
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_the_beginning_is_judged_that_rounding_leaves(name):
    rounding, count = BEGINNINGS[name]
    truth = np.array([1.0, 0.5, 0.9, 0.1, 0.1])
    reference = bench.Reference(truth, truth + rounding)
    (row, *_) = bench.judge("covid19", 5, 38, [measured("jax", 1.0, losses=truth), measured("torch", 2.0)], reference)
    assert row.judged == bench.judged(reference) == count
    assert bench.judged(dataclasses.replace(reference, task="epoch")) == (5 if name == "all" else 0)


def test_what_chaos_follows_is_judged_as_strictly_as_before():
    truth = np.array([1.0, 0.5, 0.9, 0.1, 0.1])
    reference = bench.Reference(truth, truth + BEGINNINGS["before the growth"][0])
    assert bench.disagreement(truth + np.array([0.0, 0.0, 4e-6, 0.3, -0.3]), reference) is None
    for wrong, what in (([0.0, 0.0, 4.3e-6, 0.0, 0.0], "differ: 0.9"), ([0.0, 0.0, 0.0, 0.0, math.nan], "not finite")):
        assert what in (bench.disagreement(truth + np.array(wrong), reference) or "")


def test_how_many_steps_were_judged_is_shown_where_these_are_not_all():
    few, whole = (bench.judge("digits", n, 32, [measured("torch", 1.0)], REFERENCE) for n in (30, 3))
    assert "; judged by the first 3 of 30 steps |" in bench.to_markdown(few)
    assert "judged" not in bench.to_markdown(whole)


def test_a_rate_that_leaves_nothing_to_compare_is_another_one():
    port = ports.get("imdb")
    assert recipe.benched(port).optimizer.keywords == port.optimizer.keywords | {"lr": 2e-4}
    assert recipe.benched(ports.get("digits")) is ports.get("digits")
    assert recipe.deviation("imdb") == "learning rate 0.0002, not the recipe's"
    assert recipe.deviation("digits") is None


def measured(framework: str, *ms: float, losses=TRUTH, error: str | None = None) -> bench.Measurement:
    return bench.Measurement(framework, ms, [losses] * len(ms), {"compile_s": 0.5, "device": "cpu, 2 threads"}, error)


def test_as_many_steps_are_judged_as_pytorchs_own_variants_agree_on():
    truth = np.array([1.0, 0.5, 0.9, 0.1, 0.1])
    reference = bench.Reference(truth, truth + 1e-7)
    chaos, wrong = truth + np.array([0.0, 0.0, 0.0, 1e-3, 0.0]), truth + np.array([0.0, 1e-3, 0.0, 0.0, 0.0])

    def judged(**losses: np.ndarray) -> tuple[int, set[str]]:
        rows = bench.judge("digits", 5, 32, [measured(f, 1.0, losses=v) for f, v in losses.items()], reference)
        return rows[0].judged, {row.framework for row in rows if row.reason is not None}

    assert judged(jax=truth, torch=truth, **{"torch-channels-last": chaos}) == (3, set())
    assert judged(jax=wrong, torch=truth, **{"torch-channels-last": chaos}) == (3, {"jax"})
    # What differs from the first steps on is no rounding, and a compiled PyTorch or JAX is no measure of it.
    assert judged(jax=truth, torch=wrong, **{"torch-compile": truth}) == (5, {"torch"})
    assert judged(jax=truth, torch=truth, **{"torch-compile": chaos}) == (5, {"torch-compile"})
    assert judged(jax=chaos, torch=truth) == (5, {"jax"})


def test_ratio_is_to_the_best_torch_by_medians():
    measurements = [measured("jax", 9.0, 2.0, 1.0), measured("torch", 8.0, 6.0, 7.0), measured("torch-compile", 4.0)]
    rows = bench.judge("digits", 3, 32, measurements, REFERENCE)
    assert [row.ms_per_step for row in rows] == [2.0, 7.0, 4.0]
    assert [row.ratio_to_best_torch for row in rows] == [2.0, 4.0 / 7.0, 1.0]
    assert [row.min_ms for row in rows] == [1.0, 6.0, 4.0]
    assert [row.rounds for row in rows] == [3, 3, 1]
    assert all(row.reason is None and row.compile_s == 0.5 for row in rows)


def test_refused_rows_have_no_ratio_and_are_not_the_best():
    wrong = [2.0, 1.0, 0.6]
    measurements = [
        measured("jax", 2.0, losses=wrong),
        measured("torch", 6.0),
        measured("torch-compile", 1.0, losses=wrong),
    ]
    jax, torch, compiled = bench.judge("digits", 3, 32, measurements, REFERENCE)
    assert (jax.ratio_to_best_torch, torch.ratio_to_best_torch, compiled.ratio_to_best_torch) == (None, 1.0, None)
    assert "0.6 and PyTorch's 0.5" in jax.reason
    assert jax.ms_per_step == 2.0


def test_one_wrong_round_is_enough_to_refuse():
    twice = bench.Measurement("jax", [1.0, 1.0], [TRUTH, [2.0, 1.0, 0.6]])
    row, _ = bench.judge("digits", 3, 32, [twice, measured("torch", 1.0)], REFERENCE)
    assert row.ratio_to_best_torch is None
    assert row.reason.startswith("in 1 of 2 rounds the losses differ")


@pytest.mark.parametrize(
    ("others", "reference"),
    [((), None), ((measured("torch", error="it died"),), REFERENCE)],
    ids=["none asked for", "none survived"],
)
def test_no_torch_no_ratio(others, reference):
    row, *_ = bench.judge("digits", 3, 32, [measured("jax", 1.0), *others], reference)
    assert row.ratio_to_best_torch is None
    assert row.reason == "no PyTorch side to compare with"


def rows() -> list[bench.Row]:
    failed = measured("torch-channels-last", error="no [bold]|convolution")
    return bench.judge("digits", 3, 32, [measured("jax", 0.5), measured("torch", 1.0), failed], REFERENCE)


def test_markdown():
    lines = bench.to_markdown(rows()).splitlines()
    assert lines[1] == "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"
    assert lines[2] == "| digits | jax | 0.5 | 2.00 | 64k | 0.50 | 32 | cpu, 2 threads |"
    assert lines[4].startswith("| digits | torch-channels-last | – | – | – | 0.50 | 32 | cpu, 2 threads; ")
    assert lines[4].endswith("; no [bold]\\|convolution |")


def test_table_shows_every_row_and_takes_no_markup_from_them():
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        console.print(bench.table(rows()))
    text = console.export_text()
    assert all(word in text for word in ("jax", "torch-channels-last", "no [bold]|convolution", "2.00"))


def test_rows_are_json():
    assert json.loads(json.dumps([dataclasses.asdict(row) for row in rows()]))[0]["ratio_to_best_torch"] == 2.0


# ------------------------------------------------------------------------------------------------------------ inputs


# Drawing the weights of resnet and unet compiles for most of a minute.
@pytest.mark.parametrize("name", [name for name in ports.names() if name not in ("resnet", "unet")])
def test_inputs_come_back_as_they_were(name, tmp_path):
    inputs = make_inputs(ports.get(name), 3)
    save_inputs(inputs, tmp_path)
    again = load_inputs(tmp_path)
    np.testing.assert_equal(dataclasses.asdict(again), dataclasses.asdict(inputs))
    assert list(again.masks) == list(inputs.masks)
    port = ports.get(name)
    assert inputs.x.dtype == port.input_dtype
    assert inputs.x.shape[2:] == port.input_shape
    assert port.batch_size in (None, inputs.x.shape[1])
    assert inputs.y.shape[:2] == inputs.x.shape[:2]


def test_masks_have_the_shape_that_the_layer_draws():
    inputs = make_inputs(ports.get("digits"), 4)
    assert {path: mask.shape for path, mask in inputs.masks.items()} == {"dropout": (4, 32, 64, 1, 1)}
    assert 0.85 < inputs.masks["dropout"].mean() < 0.95
    assert dropout_calls(ports.get("titanic").build(), inputs.x[0, :, 0, 0, :15]) == []


# --------------------------------------------------------------------------------------------------------------- run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ["digit"]}, "did you mean 'digits'"),
        ({"frameworks": ["jax", "caffe"]}, r"'caffe'; those that exist are jax, torch, torch-channels-last"),
        ({"frameworks": []}, "nothing; those that exist"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
    ],
)
def test_usage_errors(arguments, message):
    with pytest.raises(UsageError, match=message):
        bench.run(**{"names": ["digits"], "frameworks": ["jax"], **arguments})


def test_torch_missing_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(JaxportError, match=r"PyTorch is not installed: pip install 'jaxport\[bench\]'"):
        bench.run(["digits"])


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Rounds of one pass, and temporary files where a test can look for them."""
    monkeypatch.setattr(runner, "ROUND_S", 0.0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_jax_alone(quick):
    told = []
    (row,) = bench.run(["linreg_matrix"], ["jax"], steps=5, rounds=2, on_progress=told.append)
    assert (row.port, row.framework, row.steps, row.batch, row.rounds) == ("linreg_matrix", "jax", 5, 5, 2)
    assert row.ms_per_step > 0
    assert row.ratio_to_best_torch is None
    assert row.reason == "no PyTorch side to compare with"
    assert row.variant == "scan over the steps"
    assert [progress.done for progress in told] == list(range(told[0].total))
    assert list(quick.iterdir()) == []


def test_a_step_has_its_floor_beside_it(quick):
    limits = Limits({"float32": Rate(1e9, 1, "jax")}, (Rate(1e9, 1, "jax"),))
    (row,) = bench.run(["linreg_matrix"], ["jax"], steps=5, rounds=1, limits=limits)
    assert row.floor_ms == floor.floor_ms("linreg_matrix", 5, limits).ms > 0
    assert row.times_floor == row.ms_per_step / row.floor_ms


def test_the_compiler_is_told_what_the_eager_searches_found():
    def searched(framework: str, ms: float, **margins: float) -> runner._Contestant:
        hint = {"variant": [framework], "ms": ms, "margins": margins}
        return runner._Contestant(framework, None, [], [], {"hint": hint})

    jax, eager = runner._Contestant("jax", None, [], [], {}), searched("torch", 3.0, threads=1.5)
    failed = runner._Contestant("torch-channels-last", None, [], [], {}, "no convolution")
    assert runner._hint([jax]) is None
    assert runner._hint([jax, eager, failed]) == {"variant": ["torch"], "ms": 3.0, "margins": {"threads": 1.5}}
    other = searched("torch-channels-last", 2.0, threads=1.1)
    best = {"variant": ["torch-channels-last"], "ms": 2.0, "margins": {"threads": 1.1, "channels_last": 1.5}}
    assert runner._hint([jax, eager, other, searched("torch-compile", 0.1)]) == best


def test_a_dead_worker_gives_a_row_with_the_reason(quick, monkeypatch):
    real = runner.worker_command
    dead = [sys.executable, "-c", "import sys; sys.stdin.readline(); sys.exit('out of memory')"]
    monkeypatch.setattr(runner, "worker_command", lambda role, *rest: dead if role == "jax" else real(role, *rest))
    (row,) = bench.run(["linreg_matrix"], ["jax"], steps=5, rounds=2)
    assert (row.ms_per_step, row.ratio_to_best_torch, row.rounds) == (None, None, 0)
    assert row.reason == "the process ended with code 1: out of memory"


def test_an_interrupt_leaves_neither_files_nor_processes(quick, monkeypatch):
    def interrupt(progress: bench.Progress) -> None:
        if "round 1" in progress.text:
            raise KeyboardInterrupt

    started = []
    monkeypatch.setattr(runner, "Worker", lambda *args: started.append(Worker(*args)) or started[-1])
    with pytest.raises(KeyboardInterrupt):
        bench.run(["linreg_matrix"], ["jax"], steps=5, rounds=2, on_progress=interrupt)
    assert [worker._process.poll() is not None for worker in started] == [True, True]
    assert list(quick.iterdir()) == []


# ------------------------------------------------------------------------------------------------------- benchmarks/


def test_the_table_is_put_between_the_markers():
    spec = importlib.util.spec_from_file_location("run", Path(__file__).parents[1] / "benchmarks" / "run.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = f"before\n{script.BEGIN}\nold\n{script.END}\nafter\n"
    new = script.section(store.begin("python benchmarks/run.py", {}).with_rows(rows()))
    assert script.replace_section(text, new, Path("README.md")) == text.replace("old\n", new)
    assert "`python benchmarks/run.py` on " in new
    with pytest.raises(UsageError, match=r"README\.md must have"):
        script.replace_section(f"{script.END} {script.BEGIN}", new, Path("README.md"))
