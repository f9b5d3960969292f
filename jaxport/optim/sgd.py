"""SGD with momentum, dampening and Nesterov's variant, exactly as torch.optim.SGD."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .base import learning_rate, non_negative, prepare_gradients, rate_array, zeros_like


class SGDState(NamedTuple):
    """State of `SGD`: learning rate, number of steps taken, momentum buffers (None without momentum)."""

    lr: jax.Array
    step: jax.Array
    momentum_buffer: Any


def SGD(
    lr: float | jax.Array = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Stochastic gradient descent.

    With g the gradient (negated by `maximize`) plus weight_decay · p:
    b ← g at the first step, then momentum · b + (1 - dampening) · g;
    p ← p - lr · b, or p - lr · (g + momentum · b) with `nesterov`.

    Args:
        lr: learning rate; it is an array in the state (``state.lr``), so changing it does not compile again.
        momentum: 0 for none.
        dampening: of the momentum.
        weight_decay: coupled L2 penalty.
        nesterov: Nesterov's momentum; needs momentum > 0 and dampening 0.
        maximize: climb instead of descend.

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: a negative number, or `nesterov` without momentum or with dampening.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html
    """
    rate = learning_rate("SGD", lr)
    non_negative("SGD", "momentum", momentum)
    non_negative("SGD", "weight_decay", weight_decay)
    if nesterov and (momentum <= 0 or dampening != 0):
        raise ValueError(
            f"SGD: nesterov needs momentum > 0 and dampening 0, got momentum={momentum}, dampening={dampening}"
        )

    def init(params: optax.Params) -> SGDState:
        buffers = zeros_like(params) if momentum else None
        return SGDState(rate_array(rate), jnp.zeros((), jnp.int32), buffers)

    def update(updates: optax.Updates, state: Any, params: optax.Params | None = None) -> tuple[Any, SGDState]:
        grads = prepare_gradients("SGD", updates, params, weight_decay, maximize)
        buffers = state.momentum_buffer
        direction = grads
        if momentum:
            first = state.step == 0
            buffers = jax.tree.map(
                lambda b, g: jnp.where(first, g, momentum * b + (1.0 - dampening) * g), buffers, grads
            )
            direction = jax.tree.map(lambda g, b: g + momentum * b, grads, buffers) if nesterov else buffers
        steps = jax.tree.map(lambda d: -state.lr.astype(d.dtype) * d, direction)
        return steps, SGDState(state.lr, state.step + 1, buffers)

    return optax.GradientTransformation(init, update)
