"""Rprop, exactly as torch.optim.Rprop."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .arguments import Rate, execution_flags, learning_rate, number, pair
from .base import (
    Optimizer,
    first_step,
    full_like,
    map_leaves,
    optimizer,
    prepare_gradients,
    rate_array,
    refuse_complex,
    zeros_like,
)


class RpropState(NamedTuple):
    """State of `Rprop`, in PyTorch's names; `lr` is only where the step sizes started, as in PyTorch."""

    lr: jax.Array
    step: jax.Array
    prev: Any
    step_size: Any


def Rprop(
    lr: Rate = 1e-2,
    etas: tuple[float, float] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50),
    *,
    capturable: bool = False,
    foreach: bool | None = None,
    maximize: bool = False,
    differentiable: bool = False,
) -> Optimizer:
    """Resilient backpropagation (Riedmiller and Braun 1993), for gradients of the whole data set.

    With g the gradient (negated by `maximize`), h the one before and s the step size of each element:
    s ← clip(s · η₊ if g h > 0, s · η₋ if g h < 0, else s);  g ← 0 where g h < 0;  p ← p - sign(g) · s;  h ← g.

    Args:
        lr: first step size; changing it later does nothing, as in PyTorch.
        etas: η₋ in (0, 1) and η₊ > 1.
        step_sizes: least and largest step size.
        capturable: accepted and ignored, as `foreach` and `differentiable` (see `jaxport.optim.arguments`).
        foreach: ignored.
        maximize: climb instead of descend.
        differentiable: ignored.

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: a negative lr, or etas outside their ranges.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Rprop.html
    """
    options = dict(locals())
    rate = learning_rate("Rprop", lr)
    low, high = (number("Rprop", "etas", eta) for eta in pair("Rprop", "etas", etas))
    if not 0.0 < low < 1.0 < high:
        raise ValueError(f"Rprop: etas must be one number in (0, 1) and one > 1, got {etas!r}")
    smallest, largest = (number("Rprop", "step_sizes", size) for size in pair("Rprop", "step_sizes", step_sizes))
    execution_flags("Rprop", foreach, None, differentiable)

    def init(params: optax.Params) -> RpropState:
        refuse_complex("Rprop", params)
        return RpropState(rate_array(rate), first_step(), zeros_like(params), full_like(params, rate))

    def update(updates: optax.Updates, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, RpropState]:
        grads = prepare_gradients("Rprop", updates, params, 0.0, maximize)

        def rule(g: jax.Array, p: Any, prev: jax.Array, size: jax.Array) -> tuple[Any, ...]:
            turn = g * prev
            factor = jnp.where(turn > 0, high, jnp.where(turn < 0, low, 1.0)).astype(size.dtype)
            size = jnp.minimum(jnp.maximum(size * factor, smallest), largest)
            g = jnp.where(turn < 0, jnp.zeros_like(g), g)
            return -jnp.sign(g) * size, g, size

        steps, prev, size = map_leaves(rule, grads, params, state.prev, state.step_size)
        return steps, RpropState(state.lr, state.step + 1, prev, size)

    return optimizer("Rprop", options, init, update)
