"""Keras 3 on JAX in the benchmark: it computes what PyTorch computes, and gets no ratio where it does not."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import jax

from jaxport import bench, ports
from jaxport.bench import keras_models, keras_side
from jaxport.bench.inputs import Inputs, make_inputs
from jaxport.bench.recipe import recipe_of
from jaxport.bench.rows import Reference
from jaxport.bench.torch_reference import reference_values
from jaxport.errors import JaxportError

if importlib.util.find_spec("keras") is None:
    pytest.skip("Keras is not installed", allow_module_level=True)


@pytest.fixture(autouse=True, scope="module")
def as_it_was() -> Any:
    """Leave JAX's and Keras's settings as they were."""
    before = jax.config.jax_default_matmul_precision
    yield
    jax.config.update("jax_default_matmul_precision", before)
    keras_side.import_keras().mixed_precision.set_dtype_policy("float32")


@pytest.fixture(autouse=True)
def lenient_jax(strict_jax: None) -> Any:
    """Allow Keras the promotion and the broadcasting that it is written with."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def inputs_of(name: str, task: str, dtype: str = "float32", steps: int = 3) -> tuple[Inputs, Reference]:
    inputs = make_inputs(ports.get(name), steps, 0, task, dtype)
    return inputs, reference_values(recipe_of(ports.get(name)), inputs)


def judged(name: str, inputs: Inputs, reference: Reference) -> str | None:
    side = keras_side.KerasSide(ports.get(name), inputs)
    _, values = side.one_pass()
    return bench.disagreement(values, reference)


# Adam with cross-entropy, convolutions and replayed dropout; Adam with BCE; SGD. (On words drawn at random, imdb's
# Adagrad explodes in the first step, in PyTorch too, so that the gate refuses to judge it.)
TRAINED = ("digits", "titanic", "linreg_plane", "mnist_logistic")


@pytest.mark.parametrize("name", TRAINED)
def test_steps_are_pytorchs(name):
    assert judged(name, *inputs_of(name, "step")) is None


@pytest.mark.parametrize("name", keras_models.STACKS)
def test_every_model_predicts_what_pytorchs_does(name):
    assert judged(name, *inputs_of(name, "infer-1")) is None


def test_whole_epochs_are_pytorchs_and_the_row_is_told_of():
    inputs, reference = inputs_of("mnist_mlp", "epoch", steps=2)
    assert inputs.x.dtype == np.uint8  # Keras's own layer makes numbers of them
    side = keras_side.KerasSide(ports.get("mnist_mlp"), inputs)
    facts = side.facts()
    assert facts["variant"] in ("fit", "fit, 64 steps in an execution")
    assert facts["first_epoch_s"] > facts["compile_s"] > 0
    assert set(facts["versions"]) == {"keras", "jax"}
    seconds, losses = side.one_pass()
    assert seconds > 0
    assert bench.disagreement(losses, reference) is None
    side.first_step()


def test_bfloat16_is_judged_by_pytorchs_bfloat16():
    inputs, reference = inputs_of("titanic", "step", "bfloat16")
    side = keras_side.KerasSide(ports.get("titanic"), inputs)
    half = side.one_pass()[1]
    assert bench.disagreement(half, reference) is None
    assert {str(variable.dtype) for variable in side.model.trainable_variables} == {"float32"}
    whole = keras_side.KerasSide(ports.get("titanic"), replace(inputs, dtype="float32")).one_pass()[1]
    assert half != whole


def test_every_pass_begins_again():
    side = keras_side.KerasSide(ports.get("titanic"), make_inputs(ports.get("titanic"), 3))
    first, second = side.one_pass()[1], side.one_pass()[1]
    assert first == second
    assert len(set(first)) == 3


# ---------------------------------------------------------------------------------------------- what must be refused


def weights_off(inputs: Inputs) -> Inputs:
    return replace(inputs, weights={key: value * 1.001 for key, value in inputs.weights.items()})


def masks_off(inputs: Inputs) -> Inputs:
    return replace(inputs, masks={key: np.roll(mask, 1, 2) for key, mask in inputs.masks.items()})


@pytest.mark.parametrize("spoil", [weights_off, masks_off])
def test_other_inputs_are_refused(spoil):
    inputs, reference = inputs_of("digits", "step")
    assert "the losses differ" in (judged("digits", spoil(inputs), reference) or "")


OPTIMIZERS = {
    "Keras's own bias correction": lambda keras, lr: keras.optimizers.Adam(lr, epsilon=1e-8),
    "another optimiser": lambda keras, lr: keras.optimizers.SGD(lr),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_another_optimiser_is_refused(name, monkeypatch):
    monkeypatch.setitem(keras_models.OPTIMIZERS, "Adam", OPTIMIZERS[name])
    assert "the losses differ" in (judged("titanic", *inputs_of("titanic", "step")) or "")


def test_a_model_that_is_not_there_is_a_reason():
    with pytest.raises(JaxportError, match="the model is not written in Keras here"):
        keras_side.KerasSide(ports.get("unet"), None)  # type: ignore[arg-type]


def test_through_the_processes(monkeypatch):
    from jaxport.bench import runner

    monkeypatch.setattr(runner, "ROUND_S", 0.0)
    _, row = bench.run(["linreg_plane"], ["torch", "keras"], steps=4, rounds=1)
    assert row.reason is None
    assert row.ratio_to_best_torch > 0
    assert row.device.startswith(("cpu, ", jax.devices()[0].device_kind))
