"""Adam and AMSGrad, exactly as torch.optim.Adam."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .base import learning_rate, non_negative, prepare_gradients, rate_array, zeros_like


class AdamState(NamedTuple):
    """State of `Adam`, in PyTorch's names; `max_exp_avg_sq` is None without amsgrad."""

    lr: jax.Array
    step: jax.Array
    exp_avg: Any
    exp_avg_sq: Any
    max_exp_avg_sq: Any


def _bias_correction(beta: float, step: jax.Array, dtype: Any) -> jax.Array:
    """Return 1 - βᵗ.

    As -expm1(t · log β) with log β taken in double precision: in float32, 1 - 0.999¹ itself is off by 1e-5, where
    PyTorch, which computes this number on the host, is exact.
    """
    if beta == 0.0:
        return jnp.ones((), dtype)
    return -jnp.expm1(step.astype(dtype) * math.log(beta))


def Adam(
    lr: float | jax.Array = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    """Adam (Kingma and Ba 2015), or AMSGrad (Reddi et al. 2018).

    With g the gradient (negated by `maximize`) plus weight_decay · p:
    m ← β₁ m + (1 - β₁) g;  v ← β₂ v + (1 - β₂) g²;
    p ← p - lr/(1 - β₁ᵗ) · m / (√(v / (1 - β₂ᵗ)) + ε), where amsgrad takes the largest v so far.

    Args:
        lr: learning rate; it is an array in the state (``state.lr``), so changing it does not compile again.
        betas: β₁ and β₂, each in [0, 1).
        eps: ε, added outside the root.
        weight_decay: coupled L2 penalty (AdamW's is decoupled).
        amsgrad: whether to use AMSGrad.
        maximize: climb instead of descend.

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: a negative number, or a beta outside [0, 1).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html
    """
    rate = learning_rate("Adam", lr)
    non_negative("Adam", "eps", eps)
    non_negative("Adam", "weight_decay", weight_decay)
    for index, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Adam: betas[{index}] must lie in [0, 1), got {beta!r}")
    beta1, beta2 = betas

    def init(params: optax.Params) -> AdamState:
        largest = zeros_like(params) if amsgrad else None
        return AdamState(rate_array(rate), jnp.zeros((), jnp.int32), zeros_like(params), zeros_like(params), largest)

    def update(updates: optax.Updates, state: Any, params: optax.Params | None = None) -> tuple[Any, AdamState]:
        grads = prepare_gradients("Adam", updates, params, weight_decay, maximize)
        step = state.step + 1
        exp_avg = jax.tree.map(lambda m, g: m + (1.0 - beta1) * (g - m), state.exp_avg, grads)
        exp_avg_sq = jax.tree.map(lambda v, g: beta2 * v + (1.0 - beta2) * g * g, state.exp_avg_sq, grads)
        largest = jax.tree.map(jnp.maximum, state.max_exp_avg_sq, exp_avg_sq) if amsgrad else None
        correction1 = _bias_correction(beta1, step, state.lr.dtype)
        root_correction2 = jnp.sqrt(_bias_correction(beta2, step, state.lr.dtype))

        def delta(m: jax.Array, v: jax.Array) -> jax.Array:
            denominator = jnp.sqrt(v) / root_correction2.astype(v.dtype) + eps
            return -(state.lr / correction1).astype(m.dtype) * (m / denominator)

        steps = jax.tree.map(delta, exp_avg, largest if amsgrad else exp_avg_sq)
        return steps, AdamState(state.lr, step, exp_avg, exp_avg_sq, largest)

    return optax.GradientTransformation(init, update)
