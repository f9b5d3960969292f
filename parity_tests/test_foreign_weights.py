"""Weights of single layers, from PyTorch to plain Flax and Equinox and back: bits, outputs and gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from foreign_weight_cases import CASES, Case, draw, random_torch

from jaxport.parity import tolerances
from jaxport.parity.align import align
from jaxport.parity.describe_jax import describe_jax
from jaxport.parity.describe_torch import describe_torch
from jaxport.parity.foreign import Linen
from jaxport.parity.weights import Plan, cast, fill, leaves, plan


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    """Compute in float64; foreign layers promote dtypes and ranks of their own accord."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def plan_of(case: Case, model: Any, module: torch.nn.Module) -> Plan:
    inputs = [jnp.moveaxis(jnp.asarray(draw(case)), 1, -1) if case.run.__name__ == "last" else jnp.asarray(draw(case))]
    ours = describe_jax(model, inputs if isinstance(model, Linen) else None)
    theirs = describe_torch(module)
    return plan(ours, theirs, align(ours, theirs))


def close(ours: Any, theirs: np.ndarray) -> None:
    scale = np.abs(theirs).max()
    assert np.shape(ours) == theirs.shape
    assert np.abs(np.asarray(ours) - theirs).max() <= tolerances.SAME_SUMS_RTOL * scale


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_weights_outputs_and_gradients(case: Case) -> None:
    module, model = random_torch(case.torch()), cast(case.jax(), jnp.float64)
    made = plan_of(case, model, module)
    assert not [finding for finding in made.findings if finding.level != "info"]
    state = {key: value.numpy() for key, value in module.state_dict().items()}
    arrays = made.to_jax(state)
    assert arrays.keys() == leaves(model).keys()
    filled = fill(model, arrays)
    _both_ways(made, state, arrays, case.sums)
    x = draw(case)
    _same_results(case, made, filled, module, x)


def _both_ways(made: Plan, state: dict[str, np.ndarray], arrays: dict[str, np.ndarray], sums: bool) -> None:
    back = made.to_torch(arrays)
    again = made.to_jax(back)
    assert all((again[key] == value).all() for key, value in arrays.items())
    assert set(state) - set(back) <= {key for key in state if key.endswith("num_batches_tracked")}
    assert all(value.shape == state[key].shape for key, value in back.items())
    if not sums:
        assert all((value == state[key]).all() for key, value in back.items())


def _same_results(case: Case, made: Plan, model: Any, module: torch.nn.Module, x: np.ndarray) -> None:
    tensor = torch.from_numpy(x)
    theirs = case.run_torch(module, tensor)
    cotangent = np.random.default_rng(2).standard_normal(tuple(theirs.shape))

    def loss(arrays: dict[str, Any]) -> tuple[Any, Any]:
        output = case.run(fill(model, arrays), jnp.asarray(x))
        return (output * cotangent).sum(), output

    ours = jax.jit(jax.grad(loss, has_aux=True))(leaves(model))
    close(ours[1], theirs.detach().numpy())
    (theirs * torch.from_numpy(cotangent)).sum().backward()
    gradients = made.gradients_to_torch(ours[0])
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        close(gradients[name], parameter.grad.numpy())
