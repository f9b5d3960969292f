"""Adadelta, exactly as torch.optim.Adadelta."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .arguments import Rate, execution_flags, inside, learning_rate, non_negative
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


class AdadeltaState(NamedTuple):
    """State of `Adadelta`, in PyTorch's names."""

    lr: jax.Array
    step: jax.Array
    square_avg: Any
    acc_delta: Any


def Adadelta(
    lr: Rate = 1.0,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    foreach: bool | None = None,
    *,
    capturable: bool = False,
    maximize: bool = False,
    differentiable: bool = False,
) -> Optimizer:
    """Adadelta (Zeiler 2012).

    With g the gradient (negated by `maximize`) plus weight_decay · p:
    v ← ρ v + (1 - ρ) g²;  Δ = √(u + ε) / √(v + ε) · g;  u ← ρ u + (1 - ρ) Δ²;  p ← p - lr · Δ.

    Args:
        lr: learning rate; it is an array in the state (``state.lr``), so changing it does not compile again.
        rho: ρ, in [0, 1].
        eps: ε, inside both roots.
        weight_decay: coupled L2 penalty.
        foreach: accepted and ignored, as `capturable` and `differentiable` (see `jaxport.optim.arguments`).
        capturable: ignored.
        maximize: climb instead of descend.
        differentiable: ignored.

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: a negative number, or rho outside [0, 1].

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adadelta.html
    """
    options = dict(locals())
    rate, eps = learning_rate("Adadelta", lr), non_negative("Adadelta", "eps", eps)
    rho = inside("Adadelta", "rho", rho, 0.0, 1.0, closed=True)
    weight_decay = non_negative("Adadelta", "weight_decay", weight_decay)
    execution_flags("Adadelta", foreach, None, differentiable)

    def init(params: optax.Params) -> AdadeltaState:
        refuse_complex("Adadelta", params)
        return AdadeltaState(rate_array(rate), first_step(), zeros_like(params), zeros_like(params))

    def update(updates: optax.Updates, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, AdadeltaState]:
        grads = prepare_gradients("Adadelta", updates, params, weight_decay, maximize)

        def rule(g: jax.Array, p: Any, square: jax.Array, moved: jax.Array) -> tuple[Any, ...]:
            square = rho * square + (1.0 - rho) * g * g
            delta = jnp.sqrt(moved + eps) / jnp.sqrt(square + eps) * g
            return -as_scalar(state.lr, g) * delta, square, rho * moved + (1.0 - rho) * delta * delta

        steps, square, moved = map_leaves(rule, grads, params, state.square_avg, state.acc_delta)
        return steps, AdadeltaState(state.lr, state.step + 1, square, moved)

    return optimizer("Adadelta", options, init, update)
