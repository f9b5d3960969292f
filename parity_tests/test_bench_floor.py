"""Floors and scaling beside PyTorch: its own count of operations, and that both sides of a point train the same."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from jaxport import ports, reference
from jaxport.bench import limits_work, torch_search
from jaxport.bench.floor import step_cost
from jaxport.bench.rows import Reference, disagreement

BATCH = 4
# Operations that are no product: optimiser, activations, losses, masks; for each parameter and each example at most.
OTHERS = 40


@pytest.mark.parametrize("name", ["lenet", "fashion_mnist", "imdb", "mnist_mlp", "lenet32", "three_clusters"])
def test_counts_are_pytorchs_products_and_little_more(name):
    port = ports.get(name)
    part = port.synthetic(BATCH, 0).train
    x = torch.from_numpy(np.array(port.prepare(part.x)))
    x = x if x.is_floating_point() else x.long()
    y = torch.from_numpy(np.array(part.y))
    y = y if y.is_floating_point() else y.long()
    model = reference.build(name)
    loss = getattr(torch.nn, port.loss.func.__name__)(*port.loss.args, **port.loss.keywords)
    with FlopCounterMode(display=False) as counter:
        loss(model(x), y).backward()
    products, counted = counter.get_total_flops(), step_cost(port, BATCH).flops
    assert products <= counted < 1.02 * products + OTHERS * port.parameters


def test_counts_leave_out_what_pytorch_multiplies_by_padding():
    port = ports.get("mnist_convnet")
    x, y = torch.zeros(BATCH, *port.input_shape), torch.zeros(BATCH, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        torch.nn.CrossEntropyLoss()(reference.build(port.name)(x), y).backward()
    assert 0.9 < step_cost(port, BATCH).flops / counter.get_total_flops() < 1.0


def test_counts_leave_out_what_a_global_maximum_and_pooling_do_not_see():
    """The second convolution: 8 × 8 of 9 × 9 outputs are pooled, and one position of each feature has a gradient."""
    window = 5 * 5 * 32 * 64
    products = 2 * 26 * 26 * 9 * 32 + (8 * 8 + 1 + 1) * window + 3 * (64 * 32 + 32 * 10)
    port = ports.get("mnist_cnn")
    assert 2 * products <= step_cost(port, BATCH).flops / BATCH < 1.02 * 2 * products + OTHERS * port.parameters / BATCH


def test_torchs_work_can_be_repeated():
    threads = torch.get_num_threads()
    side = limits_work.TorchWork()
    for run in (side.matmul(8, "bfloat16"), side.triad(64)):
        run(3)
    torch.set_num_threads(threads)


@pytest.fixture
def sides(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    monkeypatch.setattr(torch_search, "_TRIAL_S", 0.001, raising=False)
    monkeypatch.setattr(torch_search, "_TRIALS", 1, raising=False)
    monkeypatch.setattr("jaxport.bench.cores.available_cores", lambda: 1)  # two threads wait long on a busy machine
    monkeypatch.setattr(torch_search, "available_cores", lambda: 1, raising=False)
    threads = torch.get_num_threads()
    yield importlib.import_module("scaling_sides")
    torch.set_num_threads(threads)


def test_both_sides_of_a_depth_take_the_same_steps(sides, monkeypatch, tmp_path):
    point = sides.Point("depth", "MLP", 3)
    monkeypatch.setitem(importlib.import_module("scaling_points").STEPS, "MLP", (4, 256))
    ours, theirs = sides.JaxSteps(), sides.TorchSteps()
    facts, other = ours.prepare(point, str(tmp_path)), theirs.prepare(point, str(tmp_path))
    assert (facts["batch"], facts["steps"], facts["examples"]) == (64, 1, 64)
    truth = Reference(**other["reference"])
    assert truth.truth[0] > truth.truth[-1] > 0
    for side in (ours, theirs):
        answer = side.round(0.0)
        assert answer["ms"] > 0
        assert disagreement(answer["losses"], truth) is None
    assert other["variant"].startswith("eager")


def test_both_sides_of_an_epoch_see_the_same_examples(sides, tmp_path):
    point = sides.Point("data", "titanic", 128)
    ours, theirs = sides.JaxEpochs(), sides.TorchEpochs()
    facts, other = ours.prepare(point, str(tmp_path)), theirs.prepare(point, str(tmp_path))
    assert (facts["batch"], facts["steps"], facts["examples"]) == (8, 16, 128)
    assert facts["loss"] == pytest.approx(other["loss"], rel=1e-5)
    assert ours.round(0.0)["ms"] > 0
    assert theirs.round(0.0)["ms"] > 0


def test_what_is_fastest_is_looked_for_once_in_a_series(sides, monkeypatch, tmp_path):
    epochs, tried = importlib.import_module("scaling_epochs").TorchEpochs, []

    def timed(side, *variant):
        tried.append(variant)
        side._choose(*variant)
        return 1.0 if variant[1] == {"foreach": True} else 2.0

    monkeypatch.setattr(epochs, "found", {})
    monkeypatch.setattr(epochs, "_time", timed)
    sides.JaxEpochs().prepare(sides.Point("data", "titanic", 64), str(tmp_path))
    for n in (64, 128):
        side = epochs()
        facts = side.prepare(sides.Point("data", "titanic", n), str(tmp_path))
        assert facts["variant"] == "eager, foreach optimiser, 1 thread"
        assert side.chosen == (1, {"foreach": True}, False)
    assert [next(iter(kind), "") for _, kind, _ in tried] == ["", "foreach", "fused", "foreach", "foreach"]
