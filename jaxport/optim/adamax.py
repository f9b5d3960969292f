"""Adamax, exactly as torch.optim.Adamax."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .arguments import Rate, execution_flags, learning_rate, non_negative, two_betas
from .base import (
    Optimizer,
    as_scalar,
    bias_correction,
    first_step,
    map_leaves,
    optimizer,
    prepare_gradients,
    rate_array,
    refuse_complex,
    zeros_like,
)
from .hyper import Constant, Momentum


class AdamaxState(NamedTuple):
    """State of `Adamax`, in PyTorch's names; `momentum` is β₁."""

    lr: jax.Array
    step: jax.Array
    exp_avg: Any
    exp_inf: Any
    momentum: Constant | Momentum


def Adamax(
    lr: Rate = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    foreach: bool | None = None,
    *,
    maximize: bool = False,
    differentiable: bool = False,
    capturable: bool = False,
) -> Optimizer:
    """Adamax, Adam with the infinity norm (Kingma and Ba 2015).

    With g the gradient (negated by `maximize`) plus weight_decay · p:
    m ← β₁ m + (1 - β₁) g;  u ← max(β₂ u, |g| + ε);  p ← p - lr/(1 - β₁ᵗ) · m / u.

    Args:
        lr: learning rate; it is an array in the state (``state.lr``), so changing it does not compile again.
        betas: β₁ and β₂, each in [0, 1); `set_momentum` changes β₁ in the state.
        eps: ε, inside the maximum.
        weight_decay: coupled L2 penalty.
        foreach: accepted and ignored, as `differentiable` and `capturable` (see `jaxport.optim.arguments`).
        maximize: climb instead of descend.
        differentiable: ignored.
        capturable: ignored.

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: a negative number, or a beta outside [0, 1).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adamax.html
    """
    options = dict(locals())
    rate, eps = learning_rate("Adamax", lr), non_negative("Adamax", "eps", eps)
    weight_decay = non_negative("Adamax", "weight_decay", weight_decay)
    beta1, beta2 = two_betas("Adamax", betas)
    execution_flags("Adamax", foreach, None, differentiable)

    def init(params: optax.Params) -> AdamaxState:
        refuse_complex("Adamax", params)
        return AdamaxState(rate_array(rate), first_step(), zeros_like(params), zeros_like(params), Constant(beta1))

    def update(updates: optax.Updates, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, AdamaxState]:
        grads = prepare_gradients("Adamax", updates, params, weight_decay, maximize)
        step, beta = state.step + 1, state.momentum
        size = state.lr / bias_correction(beta, step).astype(state.lr.dtype)

        def rule(g: jax.Array, p: Any, m: jax.Array, u: jax.Array) -> tuple[Any, ...]:
            m = m + as_scalar(beta.complement, g) * (g - m)
            u = jnp.maximum(beta2 * u, jnp.abs(g) + eps)
            return -as_scalar(size, g) * (m / u), m, u

        steps, exp_avg, exp_inf = map_leaves(rule, grads, params, state.exp_avg, state.exp_inf)
        return steps, AdamaxState(state.lr, step, exp_avg, exp_inf, beta)

    return optimizer("Adamax", options, init, update)
