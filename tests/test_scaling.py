"""benchmarks/scaling.py: what is measured, what is kept, and the page that is written from it. Nothing is timed."""

import importlib
import json
import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from jaxport import ports
from jaxport.bench.growth import Growth
from jaxport.errors import UsageError

ROOT = Path(__file__).parents[1]
RATES = {"float32": [1e11, 512, "jax"]}
MACHINE = {"processor": "a processor", "cores": "2", "python": "3.11", "jax": "1.2.3"}
LIMITS = {"flops": RATES, "bandwidth": [[1e11, 16384, "jax"], [2e10, 1 << 28, "torch"]], "load": 0.5}


@pytest.fixture
def scaling(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module = importlib.import_module("scaling")
    monkeypatch.setattr(module, "machine", lambda: MACHINE)
    monkeypatch.setattr(module.limits, "measure", lambda seconds: module.limits.Limits.from_json(LIMITS))
    monkeypatch.setattr(module, "load_average", lambda: 0.25)
    return module


@pytest.fixture
def no_pictures(scaling, monkeypatch):
    monkeypatch.setattr(scaling, "draw", lambda state, folder: None)


def call(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["scaling.py", *map(str, arguments)])
    return module.main()


def result(point, ms=None, reason=None):
    ms = 0.5 + 0.01 * point.n if ms is None else ms
    sides = {"jax": {"ms": [9 * ms, ms, 0.1 * ms], "variant": "scan"}}
    if not point.timed:
        sides = {}
    elif point.axis not in ("devices", "ports"):
        sides["torch"] = {"ms": [3 * ms], "variant": "eager, 1 thread"}
    kept = {"batch": point.batch or 256, "steps": 2, "examples": 2 * point.n, "cost": [1e6, 1e5]}
    return {**kept, "sides": sides, "load": 0.25, "reason": reason}


def state_of(scaling, quick=False):
    points = {point.key: result(point) for point in scaling.points(scaling.AXES, quick)}
    return {"machine": MACHINE, "quick": quick, "limits": LIMITS, "points": points}


# ----------------------------------------------------------------------------------------------------------- the points


def test_points_name_ports_and_are_few_enough_when_quick(scaling):
    full, quick = (scaling.points(scaling.AXES, quick) for quick in (False, True))
    assert len({point.key for point in full}) == len(full)
    assert len(quick) < 0.4 * len(full)
    named = {point.series for point in (*full, *quick)} - {"MLP"}
    assert named <= set(ports.names())
    assert {point.series for point in full if point.axis == "ports"} == set(ports.names())
    assert {point.series for point in full if not point.timed} == {"resnet", "unet"}
    assert scaling.points(("depth",), True) == [("depth", "MLP", 2), ("depth", "MLP", 4), ("depth", "MLP", 8)]


def test_sizes_are_what_is_trained(scaling):
    module = importlib.import_module("scaling_points")
    assert module.port_of(module.Point("batch", "titanic", 64)).batch_size == 64
    assert module.port_of(module.Point("data", "titanic", 8192)).batch_size == 8
    assert module.port_of(module.Point("devices", "mnist_cnn", 4)).batch_size == 256
    assert module.port_of(module.Point("ports", "titanic", 8)) is ports.get("titanic")
    for point in scaling.points(("data",), False):
        assert point.n % point.batch == 0  # whole batches: PyTorch is compiled for one size


def test_deep_networks_have_so_many_layers(scaling):
    module = importlib.import_module("scaling_points")
    port = module.port_of(module.Point("depth", "MLP", 4))
    net = nnx.eval_shape(lambda: port.build(0))
    shapes = [leaf.shape for leaf in jax.tree.leaves(nnx.state(net, nnx.Param)) if len(leaf.shape) == 2]
    assert sorted(shapes) == sorted([(128, 784), (128, 128), (128, 128), (10, 128)])
    assert port.name == "mnist_mlp-deep4"


# --------------------------------------------------------------------------------------------------------- what is kept


def test_points_are_kept_and_not_measured_twice(scaling, monkeypatch, tmp_path, no_pictures):
    asked = []

    def measured(chosen, rounds, compiled):
        asked.append(([point.key for point in chosen], rounds, compiled))
        yield from ((point, result(point)) for point in chosen)

    monkeypatch.setattr(scaling, "measured", measured)
    options = ("--out", tmp_path, "--quick", "--only", "depth", "--rounds", 2)
    assert call(scaling, monkeypatch, *options) == 0
    assert asked == [(["depth/MLP/2", "depth/MLP/4", "depth/MLP/8"], 2, False)]
    kept = json.loads((tmp_path / "scaling.json").read_text())
    assert kept["points"].keys() == set(asked[0][0])
    assert kept["limits"]["flops"] == RATES
    del kept["points"]["depth/MLP/8"]
    (tmp_path / "scaling.json").write_text(json.dumps(kept))
    assert call(scaling, monkeypatch, *options) == 0
    assert asked[1] == (["depth/MLP/8"], 2, False)
    assert call(scaling, monkeypatch, *options, "--again") == 0
    assert len(asked[2][0]) == 3


def test_a_series_shares_its_processes_and_so_do_the_ports(scaling, monkeypatch, tmp_path, no_pictures):
    groups = []

    def measured(chosen, rounds, compiled):
        assert (rounds, compiled) == (3, True)
        groups.append(sorted({point.axis if point.axis == "ports" else point.series for point in chosen}))
        yield from ((point, result(point)) for point in chosen)

    monkeypatch.setattr(scaling, "measured", measured)
    assert call(scaling, monkeypatch, "--out", tmp_path) == 0
    batch, devices = [["titanic"], ["mnist_mlp"], ["mnist_cnn"]], [["mnist_mlp"], ["mnist_cnn"]]
    assert groups == [*batch, ["MLP"], ["titanic"], ["mnist_mlp"], *devices, ["ports"]]
    assert (tmp_path / "scaling.md").read_text().count("\n## ") == 6


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [(KeyboardInterrupt(), 130, "is kept in scaling.json"), (UsageError("no memory"), 2, "error: no memory")],
)
def test_what_was_measured_before_an_end_is_kept(
    scaling, monkeypatch, tmp_path, capsys, no_pictures, error, status, message
):
    def measured(chosen, rounds, compiled):
        yield chosen[0], result(chosen[0])
        raise error

    monkeypatch.setattr(scaling, "measured", measured)
    assert call(scaling, monkeypatch, "--out", tmp_path, "--only", "depth") == status
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert list(json.loads((tmp_path / "scaling.json").read_text())["points"]) == ["depth/MLP/2"]


def test_a_terminated_run_ends_as_an_interrupted_one(scaling, monkeypatch, tmp_path, capsys, no_pictures):
    def measured(chosen, rounds, compiled):
        yield chosen[0], result(chosen[0])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    monkeypatch.setattr(scaling, "measured", measured)
    assert call(scaling, monkeypatch, "--out", tmp_path, "--only", "depth") == 130
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert "is kept in scaling.json" in capsys.readouterr().err


def test_another_machine_is_refused(scaling, monkeypatch, tmp_path, capsys, no_pictures):
    (tmp_path / "scaling.json").write_text(json.dumps(state_of(scaling)))
    monkeypatch.setattr(scaling, "machine", lambda: {**MACHINE, "jax": "1.2.4"})
    assert call(scaling, monkeypatch, "--out", tmp_path, "--only", "depth") == 2
    assert "measure all anew with --again" in capsys.readouterr().err
    assert call(scaling, monkeypatch, "--out", tmp_path, "--page") == 0


def test_quick_figures_do_not_mix_with_others(scaling, monkeypatch, tmp_path, capsys, no_pictures):
    (tmp_path / "scaling.json").write_text(json.dumps(state_of(scaling, quick=True)))
    assert call(scaling, monkeypatch, "--out", tmp_path, "--only", "depth") == 2
    assert "was measured with --quick; give another --out, or --again" in capsys.readouterr().err
    assert call(scaling, monkeypatch, "--out", tmp_path, "--only", "depth", "--quick") == 0
    assert call(scaling, monkeypatch, "--out", tmp_path, "--page") == 0


def test_device_counts_are_measured_together(scaling):
    wanted = scaling.points(("devices", "depth"), False)
    kept = {point.key: {} for point in wanted} | {"depth/MLP/4": {}}
    del kept["devices/mnist_cnn/8"], kept["depth/MLP/16"]
    missing = [point.key for point in scaling.missing_points(wanted, kept)]
    assert missing == [*(f"devices/mnist_cnn/{n}" for n in (1, 2, 4, 8)), "depth/MLP/16"]
    assert scaling.missing_points(wanted, {point.key: {} for point in wanted}) == []


def test_what_cannot_be_written_is_one_line(scaling, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert call(scaling, monkeypatch, "--out", tmp_path / "file", "--only", "depth") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--only", "width"), "--only has 'width'; the axes are batch, depth, data, devices, ports"),
        (("--rounds", 0), "--rounds must be at least 1, got 0"),
        (("--page",), "is not there; run without --page first"),
    ],
)
def test_wrong_options_are_one_line(scaling, monkeypatch, tmp_path, capsys, options, message):
    assert call(scaling, monkeypatch, "--out", tmp_path, *options) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


# -------------------------------------------------------------------------------------------------------- the measuring


class FakeWorker:
    """Answers as a framework's process does."""

    def __init__(self, name, loss, log):
        self.name, self.loss, self.log = name, loss, log

    def ask(self, request, timeout):
        if "round" in request:
            self.log.append(self.name)
            return {"ms": float(len(self.log)), "losses": [self.loss, 1.0]}
        facts = {"batch": 8, "steps": 1, "examples": 8, "cost": [1.0, 2.0], "variant": f"{self.name} at its best"}
        return {**facts, "loss": self.loss, "reference": {"truth": [2.0, 1.0], "eager": [2.0, 1.0 + 1e-6]}}


@pytest.mark.parametrize(("loss", "reason"), [(2.0, None), (2.001, "the losses differ")])
def test_frameworks_take_turns_and_must_compute_the_same(scaling, monkeypatch, tmp_path, loss, reason):
    monkeypatch.setattr(scaling, "PAUSE_S", 0)
    log = []
    sides = {"jax": FakeWorker("jax", loss, log), "torch": FakeWorker("torch", 2.0, log)}
    found = scaling.one_point(scaling.Point("batch", "titanic", 8), sides, str(tmp_path), 3, True)
    assert log == ["jax", "torch"] * 3
    assert found["sides"]["jax"] == {"ms": [1.0, 3.0, 5.0], "variant": "jax at its best"}
    assert found["sides"]["torch"] == {"ms": [2.0, 4.0, 6.0], "variant": "torch at its best"}
    assert (found["cost"], found["load"]) == ([1.0, 2.0], 0.25)
    assert found["reason"] is None if reason is None else reason in found["reason"]


def test_first_epochs_are_compared_where_there_are_no_steps(scaling):
    assert scaling.same_losses(None, {"loss": 0.5}, {"loss": 0.5004}) is None
    assert scaling.same_losses(None, {"loss": 0.5}, {"loss": 0.501}) == "the first epoch's losses are 0.5, 0.501"
    assert scaling.same_losses(None, {"loss": float("nan")}, {"loss": 0.5}) is not None


@pytest.fixture
def started(scaling, monkeypatch, tmp_path):
    """The processes that would be started: name → (framework, variables)."""
    names, losses = {}, {}

    @contextmanager
    def workers(wanted):
        names.update(wanted)
        yield {name: FakeWorker(name, losses.get(getattr(name, "n", None), 2.0), []) for name in wanted}, str(tmp_path)

    monkeypatch.setattr(scaling, "PAUSE_S", 0)
    monkeypatch.setattr(scaling, "workers", workers)
    return names, losses


def test_device_counts_have_processes_and_are_compared_with_one_device(scaling, started):
    names, losses = started
    losses[4] = 2.1
    chosen = scaling.points(("devices",), True)
    found = dict(scaling.measured(chosen, 2, False))
    assert [(of, extra["JAX_NUM_CPU_DEVICES"]) for of, extra in names.values()] == [("jax", n) for n in "124"]
    assert [len(found[point]["sides"]["jax"]["ms"]) for point in chosen] == [2, 2, 2]
    assert [found[point]["reason"] for point in chosen] == [None, None, "the first epoch's losses are 2.1, 2.0"]


@pytest.mark.parametrize(("axis", "frameworks"), [("depth", {"jax", "torch"}), ("ports", {"jax"})])
def test_ports_are_not_compared(scaling, started, monkeypatch, axis, frameworks):
    monkeypatch.setattr(scaling.importlib.util, "find_spec", lambda name: True)
    chosen = scaling.points((axis,), True)[:2]
    found = dict(scaling.measured(chosen, 2, False))
    assert set(started[0]) == frameworks
    assert [point.key for point in found] == [point.key for point in chosen]
    assert all(set(result["sides"]) == frameworks for result in found.values())


# ------------------------------------------------------------------------------------------------------------- the page


def test_page_has_medians_ratios_floors_and_fits(scaling):
    page = scaling.page(state_of(scaling))
    assert "a processor, 2 cores; jax 1.2.3, Python 3.11. Load average while measuring: 0.2 to 0.2." in page
    assert "| float32 product | 512 × 512 | 100 GFLOP/s | jax |" in page
    assert "| memory | 256 MiB | 20 GB/s | torch |" in page
    # Two steps of 1e6 operations at 1e11 a second: 0.02 ms. The median of the rounds is 0.5 + 0.01 · 256.
    row = "| titanic | 256 | 3.06 | 9.18 | 3.00 | 0.02 (compute) | 153 | eager, 1 thread |"
    assert row in page
    assert "| titanic | jaxport | 0.5 | 10 | 1.00 | 0 % | 50 |" in page
    assert "| titanic | best PyTorch | 1.5 | 30 | 1.00 | 0 % | 50 |" in page
    assert "| mnist_mlp | 4 | 0.54 | 0.02 (compute) | 27 |" in page  # devices: no PyTorch
    assert "| `titanic` | 8 | 1 | 0.1 | 0.02 (compute) | 0.58 | 29 |" in page
    assert "| `unet` | 16 | 1 | 0.1 | 0.02 (compute) |  |  |" in page
    titles = [line for line in page.splitlines() if line.startswith("#")]
    shown = [
        "Scaling",
        "The limits of this machine",
        "Batch size",
        "Depth",
        "Data",
        "Devices",
        "The floor of each port",
    ]
    assert [title.strip("# ") for title in titles] == shown
    assert max(map(len, (line for line in page.splitlines() if not line.startswith("|")))) <= 125


def test_a_page_says_what_pytorch_tried(scaling):
    assert "torch.compile of the fastest" in scaling.page(state_of(scaling)).replace("\n", " ")
    assert "torch.compile was not tried" in scaling.page(state_of(scaling, quick=True)).replace("\n", " ")


def test_a_busy_machine_is_told_of(scaling):
    state = state_of(scaling)
    assert "no result" not in scaling.page(state)
    state["points"]["depth/MLP/4"]["load"] = 4.5
    assert "**The machine was busy with other work" in scaling.page(state)


def test_a_refused_point_says_why_and_is_in_no_fit(scaling):
    state = state_of(scaling)
    state["points"]["batch/titanic/256"] = {
        **state["points"]["batch/titanic/256"],
        "reason": "the losses differ: 1 | 2",
    }
    state["points"]["batch/titanic/256"]["sides"]["jax"]["ms"] = [1e9]
    page = scaling.page(state)
    assert "the losses differ: 1 \\| 2 |" in page
    assert page.count("| titanic | jaxport | 0.5 | 10 | 1.00 | 0 % | 50 |") == 2  # along the batch and along the data


def test_an_axis_of_less_than_a_decade_has_labels(scaling):
    pytest.importorskip("matplotlib")
    module = importlib.import_module("scaling_pictures")
    figure = module.figure(state_of(scaling, quick=True), "devices", scaling.limits.Limits.from_json(LIMITS))
    figure.draw_without_rendering()
    for axes in figure.axes:
        low, high = axes.get_ylim()
        shown = [label for y, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True) if low <= y <= high]
        assert len([label for label in shown if label.get_text()]) >= 2


@pytest.mark.parametrize(
    ("value", "text"), [(1e-5, "1e-05"), (0.12345, "0.123"), (999.4, "999"), (1234.5, "1,234"), (4.65e6, "4,650,000")]
)
def test_numbers_have_three_digits_and_no_exponent_where_large(scaling, value, text):
    assert importlib.import_module("scaling_page").number(value) == text


@pytest.mark.parametrize(
    ("a", "b", "c", "text"),
    [(8.0, 2.0, 1.0, "4"), (0.0, 2.0, 1.0, "always"), (8.0, 0.0, 1.0, "never"), (19, 437, 0.15, "always")],
)
def test_where_the_growing_part_overtakes(a, b, c, text):
    assert importlib.import_module("scaling_page").overtakes(Growth(a, b, c, 0.0)) == text


def test_a_page_of_little_is_a_page(scaling, tmp_path):
    points = {"batch/titanic/1": result(scaling.Point("batch", "titanic", 1))}
    state = {"machine": MACHINE, "quick": False, "limits": LIMITS, "points": points}
    page = scaling.page(state)
    assert "| titanic | 1 | 0.51 |" in page
    assert "off by |" not in page
    assert "## Depth" not in page


def test_pictures_show_points_fits_and_floors(scaling, tmp_path):
    pytest.importorskip("matplotlib")
    module = importlib.import_module("scaling_pictures")
    state = state_of(scaling, quick=True)
    figure = module.figure(state, "batch", scaling.limits.Limits.from_json(LIMITS))
    above, below = figure.axes[0], figure.axes[3]
    points = [line for line in above.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(points[0].get_xdata(), [1, 64, 4096])
    np.testing.assert_allclose(points[0].get_ydata(), [0.51, 1.14, 41.46])
    np.testing.assert_allclose(points[1].get_ydata(), [1.53, 3.42, 124.38])
    floor = next(line for line in above.lines if line.get_linestyle() == "--")
    np.testing.assert_allclose(floor.get_ydata(), [0.02] * 3)
    throughput = next(line for line in below.lines if line.get_marker() == "o")
    np.testing.assert_allclose(throughput.get_ydata(), [2 * 1000 / 0.51, 128 * 1000 / 1.14, 8192 * 1000 / 41.46])
    curve = next(line for line in above.lines if len(line.get_xdata()) == 100)
    np.testing.assert_allclose(curve.get_ydata()[[0, -1]], [0.51, 41.46], rtol=1e-6)
    labels = [text.get_text() for text in above.get_legend().get_texts()]
    assert labels == ["jaxport: 0.5 + 0.01 n", "best PyTorch: 1.5 + 0.03 n", "floor of the machine"]
    state["points"] = {key: point for key, point in state["points"].items() if key.startswith("depth")}
    module.draw(state, tmp_path / "images")
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["scaling_depth.png"]


def test_the_page_is_that_of_the_stored_results(scaling):
    store = ROOT / "docs" / "scaling.json"
    if not store.exists():
        pytest.skip("docs/scaling.json is written on a quiet machine, by python benchmarks/scaling.py")
    state = json.loads(store.read_text(encoding="utf-8"))
    assert (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8") == scaling.page(state)
