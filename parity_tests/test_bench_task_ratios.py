"""The benchmark's whole epochs, inference and half precision beside PyTorch: both agree, what differs is refused."""

import dataclasses
import sys

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from jaxport import bench, ports
from jaxport.bench import runner
from jaxport.bench.epoch_jax import JaxEpoch
from jaxport.bench.epoch_torch import TorchEpoch
from jaxport.bench.infer_jax import JaxInfer
from jaxport.bench.inputs import Inputs, make_inputs
from jaxport.bench.jax_side import JaxSide
from jaxport.bench.recipe import recipe_of
from jaxport.bench.torch_model import Variant
from jaxport.bench.torch_reference import reference_values
from jaxport.bench.torch_search import TorchBest, make_side

SIDES = {"step": JaxSide, "epoch": JaxEpoch, "infer-1": JaxInfer, "infer-256": JaxInfer}
PAIRS = [
    ("linreg_matrix", "epoch", "float32"),
    ("titanic", "infer-256", "bfloat16"),
    ("titanic", "epoch", "bfloat16"),
    ("digits", "epoch", "float32"),
    ("digits", "infer-1", "float32"),
    ("titanic", "step", "bfloat16"),
]
VARIANTS = {
    "step": [Variant(1, "fused")],
    "epoch": [Variant(1, "plain", loader=True), Variant(2, "foreach", channels_last=True, prepared=True)],
    "infer-1": [Variant(2, "", channels_last=True)],
    "infer-256": [Variant(1, "")],
}


@pytest.fixture(scope="module")
def cases():
    """Inputs, PyTorch's values and JAX's side of each pair, made once."""
    made: dict = {}

    def get(name: str, task: str, dtype: str):
        if (name, task, dtype) not in made:
            port = ports.get(name)
            inputs = make_inputs(port, 2, task=task, dtype=dtype)
            made[name, task, dtype] = port, inputs, reference_values(recipe_of(port), inputs), SIDES[task](port, inputs)
        return made[name, task, dtype]

    return get


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_both_compute_the_same(pair, cases):
    port, inputs, reference, side = cases(*pair)
    first = side.one_pass()[1]
    np.testing.assert_equal(side.one_pass()[1], first)  # every pass begins again
    assert bench.disagreement(first, reference) is None
    for variant in VARIANTS[pair[1]]:
        other = make_side(recipe_of(port), inputs, variant)
        assert bench.disagreement(other.one_pass()[1], reference) is None


def weights_off(inputs: Inputs) -> Inputs:
    return dataclasses.replace(inputs, weights={key: value * 2 for key, value in inputs.weights.items()})


def examples_off(inputs: Inputs) -> Inputs:
    return dataclasses.replace(inputs, x=inputs.x + inputs.x.dtype.type(1))


def targets_off(inputs: Inputs) -> Inputs:
    return dataclasses.replace(inputs, y=np.roll(inputs.y, 1, inputs.y.ndim - 2 if inputs.y.ndim > 2 else 0))


def order_off(inputs: Inputs) -> Inputs:
    return dataclasses.replace(inputs, order=np.roll(inputs.order, inputs.batch // 2, axis=1))


SPOILS = [
    ("titanic", "infer-256", "bfloat16", weights_off),
    ("digits", "infer-1", "float32", examples_off),
    ("titanic", "step", "bfloat16", weights_off),
    ("titanic", "epoch", "bfloat16", weights_off),
    ("digits", "epoch", "float32", examples_off),
    ("digits", "epoch", "float32", targets_off),
    ("digits", "epoch", "float32", order_off),
]


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: "-".join([*spoil[:3], spoil[3].__name__]))
def test_other_inputs_are_refused(spoil, cases):
    """PyTorch stands for any framework here: nothing has to be compiled again."""
    name, task, dtype, change = spoil
    port, inputs, reference, _ = cases(name, task, dtype)
    variant = Variant(1, "" if task.startswith("infer") else "plain")
    values = make_side(recipe_of(port), change(inputs), variant).one_pass()[1]
    assert "differ" in (bench.disagreement(values, reference) or "")


def test_an_epoch_with_dropout_or_without_its_short_batch_is_refused(cases, monkeypatch):
    port, inputs, reference, _ = cases("digits", "epoch", "float32")
    side = TorchEpoch(port, inputs, Variant(1))
    monkeypatch.setattr(torch.nn.modules.dropout, "_DropoutNd", type(None))  # finds none to switch off
    assert "differ" in (bench.disagreement(side.values(), reference) or "")
    monkeypatch.undo()
    shorter = dataclasses.replace(inputs, order=np.stack([rows[rows < 64] for rows in inputs.order]))
    assert "differ" in (bench.disagreement(TorchEpoch(port, shorter, Variant(1)).values(), reference) or "")


@pytest.mark.parametrize("spoil", [weights_off, examples_off])
def test_a_wrong_epoch_of_jax_is_refused(spoil, cases):
    port, inputs, reference, _ = cases("linreg_matrix", "epoch", "float32")
    values = JaxEpoch(port, spoil(inputs)).values()
    assert "differ" in (bench.disagreement(values, reference) or "")


def test_a_loader_of_many_examples_gets_fewer_epochs_and_the_time_of_all(cases, monkeypatch):
    port, inputs, reference, _ = cases("linreg_matrix", "epoch", "float32")
    monkeypatch.setattr("jaxport.bench.epoch_torch.LOADED", 3 * len(inputs.x))
    inputs = dataclasses.replace(inputs, steps=12)
    sides = [TorchEpoch(port, inputs, Variant(1, loader=loader)) for loader in (True, False)]
    assert [side.timed for side in sides] == [3, 12]
    taken = []
    for side in sides:
        monkeypatch.setattr(side, "train", lambda x, y, epochs, *rest: taken.append(epochs) or (0.5, [1.0]))
        monkeypatch.setattr(side, "losses", [1.0])
    assert [side.one_pass()[0] for side in sides] == [2.0, 0.5]
    assert taken == [3, 12]
    found = TorchBest("torch-dataloader", recipe_of(port), inputs, reference)
    assert found.facts()["variant"].endswith("; 3 of 12 epochs timed")
    assert bench.disagreement(found.one_pass()[1], reference) is None


# ----------------------------------------------------------------------------------------------- through the processes

SABOTAGE = """
import sys
from jaxport.bench import infer_jax, worker

load = infer_jax.load_state_dict
infer_jax.load_state_dict = lambda module, weights: load(module, {{k: v * {factor} for k, v in weights.items()}})
worker.main(sys.argv[1:])
"""


@pytest.mark.parametrize(("factor", "agrees"), [(1.0, True), (1.001, False)])
def test_inference_through_the_processes(factor, agrees, monkeypatch):
    monkeypatch.setattr(runner, "ROUND_S", 0.0)
    real, code = runner.worker_command, SABOTAGE.format(factor=factor)
    monkeypatch.setattr(
        runner, "worker_command",
        lambda role, *rest: [sys.executable, "-c", code, role, *rest] if role == "jax" else real(role, *rest),
    )  # fmt: skip
    frameworks = ["jax", "torch", "torch-dataloader"]
    ours, eager, loader = bench.run(["titanic"], frameworks, tasks=["infer-256"], steps=3, rounds=1)
    assert (ours.ratio_to_best_torch is not None) == agrees
    assert agrees or "the outputs differ" in ours.reason
    assert eager.ratio_to_best_torch == 1.0
    assert (eager.task, eager.batch, eager.variant.startswith("eager")) == ("infer-256", 256, True)
    assert ours.examples_per_s == pytest.approx(256_000 / ours.ms_per_step)
    assert (loader.ms_per_step, loader.reason) == (None, "a DataLoader is part of whole epochs alone")


def test_an_epoch_through_the_processes(monkeypatch):
    monkeypatch.setattr(runner, "ROUND_S", 0.0)
    ours, eager = bench.run(["linreg_matrix"], ["torch-dataloader", "torch"], tasks=["epoch"], steps=2, rounds=1)
    assert max(ours.ratio_to_best_torch, eager.ratio_to_best_torch) == 1.0
    for row in (ours, eager):
        assert row.first_epoch_s > 0
        assert row.second_start_s > row.first_epoch_s
        assert row.peak_memory_mb > 50
        assert "choice" not in dataclasses.asdict(row)
