"""Gradient accumulation: one step of an optimiser from the gradients of several batches."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from .base import zeros_like


class AccumulateState(NamedTuple):
    """State of `accumulate`: the optimiser's, the sum so far, and how many batches are in it."""

    optimizer: Any
    grads: Any
    batches: jax.Array


def accumulate(
    optimizer: optax.GradientTransformation, steps: int, reduction: Literal["mean", "sum"] = "mean"
) -> optax.GradientTransformationExtraArgs:
    """Take one step of `optimizer` for every `steps` calls, from the mean or the sum of their gradients.

    g ← Σᵢ gᵢ / steps: PyTorch's ``(loss / steps).backward()`` for each batch and ``optimizer.step()`` and
    ``optimizer.zero_grad()`` after the last. In between, the updates are zero and the optimiser's state stays.

    Args:
        optimizer: any optax transformation.
        steps: batches for one step.
        reduction: "mean", or "sum" for PyTorch's loop without the division.

    Returns:
        A transformation that runs inside ``jax.jit`` and ``lax.scan``.

    Raises:
        ValueError: `steps` is not a positive integer, or another `reduction`.

    Source: https://docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-accumulation
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"accumulate: steps must be an integer >= 1, got {steps!r}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"accumulate: reduction must be 'mean' or 'sum', got {reduction!r}")
    inner, share = optax.with_extra_args_support(optimizer), steps if reduction == "mean" else 1

    def init(params: optax.Params) -> AccumulateState:
        return AccumulateState(inner.init(params), zeros_like(params), jnp.zeros((), jnp.int32))

    def update(
        updates: optax.Updates, state: Any, params: optax.Params | None = None, **extra: Any
    ) -> tuple[Any, AccumulateState]:
        grads = jax.tree.map(lambda total, g: total + g / share, state.grads, updates)

        def take() -> tuple[Any, AccumulateState]:
            steps_taken, new = inner.update(grads, state.optimizer, params, **extra)
            return steps_taken, AccumulateState(new, zeros_like(grads), jnp.zeros((), jnp.int32))

        def wait() -> tuple[Any, AccumulateState]:
            return zeros_like(grads), AccumulateState(state.optimizer, grads, state.batches + 1)

        return lax.cond(state.batches + 1 == steps, take, wait)

    return optax.GradientTransformationExtraArgs(init, update)
