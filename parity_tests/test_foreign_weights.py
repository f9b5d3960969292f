"""Weights of single layers, from PyTorch to plain Flax and Equinox and back: bits, outputs and gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from foreign_weight_cases import CASES, QUICK, Case, draw, random_torch

from jaxport.parity import tolerances
from jaxport.parity.align import align
from jaxport.parity.describe_jax import describe_jax
from jaxport.parity.describe_torch import describe_torch
from jaxport.parity.layer import Layers
from jaxport.parity.weights import Plan, cast, fill, leaves, plan, probe


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    """Compute in float64; foreign layers promote dtypes and ranks of their own accord."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def described(case: Case, model: Any) -> Layers:
    x = jnp.asarray(draw(case))
    return describe_jax(model, [jnp.moveaxis(x, 1, -1) if case.run.__name__ == "last" else x])


def close(ours: Any, theirs: np.ndarray) -> None:
    scale = np.abs(theirs).max()
    assert np.shape(ours) == theirs.shape
    assert np.abs(np.asarray(ours) - theirs).max() <= tolerances.SAME_SUMS_RTOL * scale


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_weights_outputs_and_gradients(case: Case) -> None:
    module, model = random_torch(case.torch()), cast(case.jax(), jnp.float64)
    ours, theirs = described(case, model), describe_torch(module)
    made = plan(ours, theirs, align(ours, theirs))
    assert not [finding for finding in made.findings if finding.level != "info"]
    state = {key: value.numpy() for key, value in module.state_dict().items()}
    arrays = made.to_jax(state)
    assert arrays.keys() == leaves(model).keys()
    filled = fill(model, arrays)
    _both_ways(made, state, arrays, case.sums)
    _same_results(case, made, filled, module, draw(case))
    assert probe(described(case, filled)[""], theirs[""]) is None


def _both_ways(made: Plan, state: dict[str, np.ndarray], arrays: dict[str, np.ndarray], sums: bool) -> None:
    back = made.to_torch(arrays)
    again = made.to_jax(back)
    assert all((again[key] == value).all() for key, value in arrays.items())
    assert set(state) - set(back) <= {key for key in state if key.endswith("num_batches_tracked")}
    assert all(value.shape == state[key].shape for key, value in back.items())
    if not sums:
        assert all((value == state[key]).all() for key, value in back.items())


def _same_results(case: Case, made: Plan, model: Any, module: torch.nn.Module, x: np.ndarray) -> None:
    theirs = case.run_torch(module, torch.from_numpy(x))
    run = lambda arrays: case.run(fill(model, arrays), jnp.asarray(x))  # noqa: E731
    if not case.gradient:
        close(jax.jit(run, compiler_options=QUICK)(leaves(model)), theirs.detach().numpy())
        return
    cotangent = np.random.default_rng(2).standard_normal(tuple(theirs.shape))

    def loss(arrays: dict[str, Any]) -> tuple[Any, Any]:
        output = run(arrays)
        return (output * cotangent).sum(), output

    gradients, output = jax.jit(jax.grad(loss, has_aux=True), compiler_options=QUICK)(leaves(model))
    close(output, theirs.detach().numpy())
    (theirs * torch.from_numpy(cotangent)).sum().backward()
    moved = made.gradients_to_torch(gradients)
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        close(moved[name], parameter.grad.numpy())
