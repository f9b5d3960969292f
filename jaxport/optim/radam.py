"""RAdam, exactly as torch.optim.RAdam."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .arguments import Rate, execution_flags, learning_rate, non_negative, two_betas
from .base import (
    Optimizer,
    as_scalar,
    bias_correction,
    decay_rate,
    first_step,
    map_leaves,
    needs_params,
    optimizer,
    prepare_gradients,
    rate_array,
    refuse_complex,
    zeros_like,
)
from .hyper import Constant, Momentum


class RAdamState(NamedTuple):
    """State of `RAdam`, in PyTorch's names; `momentum` is β₁."""

    lr: jax.Array
    step: jax.Array
    exp_avg: Any
    exp_avg_sq: Any
    momentum: Constant | Momentum


def RAdam(
    lr: Rate = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    *,
    foreach: bool | None = None,
    maximize: bool = False,
    capturable: bool = False,
    differentiable: bool = False,
) -> Optimizer:
    """Rectified Adam (Liu et al. 2020).

    With g the gradient (negated by `maximize`) plus weight_decay · p:
    m ← β₁ m + (1 - β₁) g;  v ← β₂ v + (1 - β₂) g²;  ρ∞ = 2/(1 - β₂) - 1;  ρₜ = ρ∞ - 2 t β₂ᵗ/(1 - β₂ᵗ);
    p ← p - lr · m/(1 - β₁ᵗ) · r, where r = 1 while ρₜ ≤ 5, and then
    r = √((ρₜ - 4)(ρₜ - 2) ρ∞ / ((ρ∞ - 4)(ρ∞ - 2) ρₜ)) · √(1 - β₂ᵗ) / (√v + ε).

    Args:
        lr: learning rate; it is an array in the state (``state.lr``), so changing it does not compile again.
        betas: β₁ and β₂, each in [0, 1); `set_momentum` changes β₁ in the state.
        eps: ε, added to √v before the bias correction.
        weight_decay: L2 penalty.
        decoupled_weight_decay: p ← p - lr · weight_decay · p instead of a term of the gradient.
        foreach: accepted and ignored, as `capturable` and `differentiable` (see `jaxport.optim.arguments`).
        maximize: climb instead of descend.
        capturable: ignored.
        differentiable: ignored.

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: a negative number, or a beta outside [0, 1).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.RAdam.html
    """
    options = dict(locals())
    rate, eps = learning_rate("RAdam", lr), non_negative("RAdam", "eps", eps)
    weight_decay = non_negative("RAdam", "weight_decay", weight_decay)
    beta1, beta2 = two_betas("RAdam", betas)
    execution_flags("RAdam", foreach, None, differentiable)
    decoupled = decoupled_weight_decay and weight_decay != 0.0

    def init(params: optax.Params) -> RAdamState:
        refuse_complex("RAdam", params)
        return RAdamState(rate_array(rate), first_step(), zeros_like(params), zeros_like(params), Constant(beta1))

    def update(updates: optax.Updates, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, RAdamState]:
        if decoupled:
            needs_params("RAdam", params, f"weight_decay={weight_decay} ")
        grads = prepare_gradients("RAdam", updates, params, 0.0 if decoupled else weight_decay, maximize)
        step, beta, lr = state.step + 1, state.momentum, state.lr
        correction1, (rectified, factor) = bias_correction(beta, step), _rectification(beta2, step)

        def rule(g: jax.Array, p: Any, m: jax.Array, v: jax.Array) -> tuple[Any, ...]:
            m = m + as_scalar(beta.complement, g) * (g - m)
            v = beta2 * v + (1.0 - beta2) * g * g
            adaptive = jnp.where(rectified, as_scalar(factor, g) / (jnp.sqrt(v) + eps), 1.0)
            delta = -(m / as_scalar(correction1, g)) * as_scalar(lr, g) * adaptive
            if decoupled:
                delta = delta - as_scalar(decay_rate(lr, weight_decay), g) * p
            return delta, m, v

        steps, exp_avg, exp_avg_sq = map_leaves(rule, grads, params, state.exp_avg, state.exp_avg_sq)
        return steps, RAdamState(lr, step, exp_avg, exp_avg_sq, beta)

    return optimizer("RAdam", options, init, update)


def _rectification(beta2: float, step: jax.Array) -> tuple[Any, jax.Array]:
    """Return whether ρₜ > 5, and √(1 - β₂ᵗ) times the variance rectification."""
    correction = bias_correction(beta2, step)
    longest = 2.0 / (1.0 - beta2) - 1.0
    if longest <= 5.0:  # and ρₜ is less still
        return jnp.zeros((), bool), correction
    rho = _length(beta2, longest, step)
    rectified = rho > 5.0
    rho = jnp.where(rectified, rho, 6.0)
    scale = longest / ((longest - 4.0) * (longest - 2.0))
    return rectified, jnp.sqrt(correction) * jnp.sqrt((rho - 4.0) * (rho - 2.0) * scale / rho)


def _length(beta2: float, longest: float, step: jax.Array) -> jax.Array:
    """Return ρₜ = ρ∞ - 2 t β₂ᵗ/(1 - β₂ᵗ).

    It is a difference of two numbers near 2000 that is 1 to 6 in the first steps. float64 has digits enough; float32
    has not: with a = -log β₂ and x = a t it is 2/a · (1 - x/(eˣ - 1)) + (ρ∞ - 2/a), whose last term is small and
    taken in double precision, and whose first is a series for small x.
    """
    rate = -math.log(beta2)
    time = step.astype(jnp.result_type(float))
    if time.dtype == jnp.float64:
        power = jnp.exp(-rate * time)
        return longest - 2.0 * time * power / (1.0 - power)
    x = rate * time
    square = jnp.minimum(x, 1.0) ** 2
    series = 1.0 / 12.0 - square * (1.0 / 720.0 - square * (1.0 / 30240.0 - square / 1209600.0))
    far = jnp.maximum(x, 1.0)
    part = jnp.where(x < 1.0, x / 2.0 - square * series, 1.0 - far / jnp.expm1(far))
    return 2.0 / rate * part + (longest - 2.0 / rate)
