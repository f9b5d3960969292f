"""SGD with momentum, dampening and Nesterov's variant, exactly as torch.optim.SGD."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .arguments import Rate, execution_flags, learning_rate, non_negative, number
from .base import (
    Optimizer,
    as_scalar,
    first_step,
    map_leaves,
    optimizer,
    prepare_gradients,
    rate_array,
    refuse_complex,
    zeros_like,
)
from .hyper import Constant, Momentum


class SGDState(NamedTuple):
    """State of `SGD`; without momentum there are neither buffers nor a momentum."""

    lr: jax.Array
    step: jax.Array
    momentum_buffer: Any
    momentum: Constant | Momentum | None = None


def SGD(
    lr: Rate = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    *,
    maximize: bool = False,
    foreach: bool | None = None,
    differentiable: bool = False,
    fused: bool | None = None,
) -> Optimizer:
    """Stochastic gradient descent.

    With g the gradient (negated by `maximize`) plus weight_decay · p:
    b ← g at the first step, then momentum · b + (1 - dampening) · g;
    p ← p - lr · b, or p - lr · (g + momentum · b) with `nesterov`.

    Args:
        lr: learning rate; it is an array in the state (``state.lr``), so changing it does not compile again.
        momentum: 0 for none; `set_momentum` changes it in the state.
        dampening: of the momentum.
        weight_decay: coupled L2 penalty.
        nesterov: Nesterov's momentum; needs momentum > 0 and dampening 0.
        maximize: climb instead of descend.
        foreach: accepted and ignored, as `differentiable` and `fused` (see `jaxport.optim.arguments`).
        differentiable: ignored.
        fused: ignored.

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: a negative number, or `nesterov` without momentum or with dampening.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html
    """
    options = dict(locals())
    rate = learning_rate("SGD", lr)
    momentum, dampening = non_negative("SGD", "momentum", momentum), number("SGD", "dampening", dampening)
    weight_decay = non_negative("SGD", "weight_decay", weight_decay)
    if nesterov and (momentum <= 0 or dampening != 0):
        raise ValueError(
            f"SGD: nesterov needs momentum > 0 and dampening 0, got momentum={momentum}, dampening={dampening}"
        )
    execution_flags("SGD", foreach, fused, differentiable)

    def init(params: optax.Params) -> SGDState:
        refuse_complex("SGD", params)
        buffers = zeros_like(params) if momentum else None
        return SGDState(rate_array(rate), first_step(), buffers, Constant(momentum) if momentum else None)

    def update(updates: optax.Updates, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, SGDState]:
        grads = prepare_gradients("SGD", updates, params, weight_decay, maximize)
        first = state.step == 0

        def rule(g: jax.Array, p: Any, buffer: Any) -> tuple[Any, ...]:
            rate = as_scalar(state.lr, g)
            if state.momentum is None:
                return -rate * g, None
            beta = as_scalar(state.momentum.value, g)
            buffer = jnp.where(first, g, beta * buffer + (1.0 - dampening) * g)
            return -rate * (g + beta * buffer if nesterov else buffer), buffer

        steps, buffers = map_leaves(rule, grads, params, state.momentum_buffer)
        return steps, SGDState(state.lr, state.step + 1, buffers, state.momentum)

    return optimizer("SGD", options, init, update)
