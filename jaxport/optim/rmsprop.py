"""RMSprop, exactly as torch.optim.RMSprop."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .arguments import Rate, execution_flags, learning_rate, non_negative
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


class RMSpropState(NamedTuple):
    """State of `RMSprop`, in PyTorch's names; what an option does not use is None."""

    lr: jax.Array
    step: jax.Array
    square_avg: Any
    momentum_buffer: Any
    grad_avg: Any
    momentum: Constant | Momentum | None = None


def RMSprop(
    lr: Rate = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    capturable: bool = False,
    foreach: bool | None = None,
    maximize: bool = False,
    differentiable: bool = False,
) -> Optimizer:
    """RMSprop (Hinton 2012; Graves 2013 where centered).

    With g the gradient (negated by `maximize`) plus weight_decay · p:
    v ← α v + (1 - α) g²;  a ← α a + (1 - α) g;  d = g / (√v + ε), or g / (√(v - a²) + ε) where `centered`;
    p ← p - lr · d, or b ← momentum · b + d and p ← p - lr · b.

    Args:
        lr: learning rate; it is an array in the state (``state.lr``), so changing it does not compile again.
        alpha: α.
        eps: ε, added outside the root.
        weight_decay: coupled L2 penalty.
        momentum: 0 for none; `set_momentum` changes it in the state.
        centered: divide by the standard deviation of the gradient.
        capturable: accepted and ignored, as `foreach` and `differentiable` (see `jaxport.optim.arguments`).
        foreach: ignored.
        maximize: climb instead of descend.
        differentiable: ignored.

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: a negative number.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html
    """
    options = dict(locals())
    rate, eps = learning_rate("RMSprop", lr), non_negative("RMSprop", "eps", eps)
    momentum, alpha = non_negative("RMSprop", "momentum", momentum), non_negative("RMSprop", "alpha", alpha)
    weight_decay = non_negative("RMSprop", "weight_decay", weight_decay)
    execution_flags("RMSprop", foreach, None, differentiable)

    def init(params: optax.Params) -> RMSpropState:
        refuse_complex("RMSprop", params)
        buffers, averages = (zeros_like(params) if used else None for used in (momentum, centered))
        beta = Constant(momentum) if momentum else None
        return RMSpropState(rate_array(rate), first_step(), zeros_like(params), buffers, averages, beta)

    def update(updates: optax.Updates, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, RMSpropState]:
        grads = prepare_gradients("RMSprop", updates, params, weight_decay, maximize)

        def rule(g: jax.Array, p: Any, square: jax.Array, buffer: Any, average: Any) -> tuple[Any, ...]:
            rate = as_scalar(state.lr, g)
            variance = square = alpha * square + (1.0 - alpha) * g * g
            if centered:
                average = average + (1.0 - alpha) * (g - average)
                variance = square - average * average
            direction = g / (jnp.sqrt(variance) + eps)
            if state.momentum is not None:
                direction = buffer = as_scalar(state.momentum.value, g) * buffer + direction
            return -rate * direction, square, buffer, average

        trees = state.square_avg, state.momentum_buffer, state.grad_avg
        steps, square, buffers, averages = map_leaves(rule, grads, params, *trees)
        return steps, RMSpropState(state.lr, state.step + 1, square, buffers, averages, state.momentum)

    return optimizer("RMSprop", options, init, update)
