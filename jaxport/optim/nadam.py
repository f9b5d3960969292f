"""NAdam, exactly as torch.optim.NAdam."""

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


class NAdamState(NamedTuple):
    """State of `NAdam`, in PyTorch's names; `momentum` is β₁.

    `mu_product` is float32 whatever the parameters are, as in PyTorch with its default dtype. It is computed in the
    dtype that it has: ``state._replace(mu_product=state.mu_product.astype(float))`` is PyTorch's under
    ``torch.set_default_dtype(torch.float64)``.
    """

    lr: jax.Array
    step: jax.Array
    mu_product: jax.Array
    exp_avg: Any
    exp_avg_sq: Any
    momentum: Constant | Momentum


def NAdam(
    lr: Rate = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 4e-3,
    decoupled_weight_decay: bool = False,
    *,
    foreach: bool | None = None,
    maximize: bool = False,
    capturable: bool = False,
    differentiable: bool = False,
) -> Optimizer:
    """NAdam, Adam with Nesterov's momentum (Dozat 2016).

    With g the gradient (negated by `maximize`) plus weight_decay · p, and μₜ = β₁ (1 - ½ · 0.96^(t · momentum_decay)):
    m ← β₁ m + (1 - β₁) g;  v ← β₂ v + (1 - β₂) g²;  Π ← Π μₜ;
    p ← p - lr · ((1 - μₜ) / (1 - Π) · g + μₜ₊₁ / (1 - Π μₜ₊₁) · m) / (√(v / (1 - β₂ᵗ)) + ε).

    Args:
        lr: learning rate; it is an array in the state (``state.lr``), so changing it does not compile again.
        betas: β₁ and β₂, each in [0, 1); `set_momentum` changes β₁ in the state.
        eps: ε, added outside the root.
        weight_decay: L2 penalty.
        momentum_decay: of the schedule μₜ.
        decoupled_weight_decay: p ← p - lr · weight_decay · p instead of a term of the gradient.
        foreach: accepted and ignored, as `capturable` and `differentiable` (see `jaxport.optim.arguments`).
        maximize: climb instead of descend.
        capturable: ignored.
        differentiable: ignored.

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: a negative number, or a beta outside [0, 1).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.NAdam.html
    """
    options = dict(locals())
    rate, eps = learning_rate("NAdam", lr), non_negative("NAdam", "eps", eps)
    weight_decay = non_negative("NAdam", "weight_decay", weight_decay)
    momentum_decay = non_negative("NAdam", "momentum_decay", momentum_decay)
    beta1, beta2 = two_betas("NAdam", betas)
    execution_flags("NAdam", foreach, None, differentiable)
    decoupled = decoupled_weight_decay and weight_decay != 0.0

    def init(params: optax.Params) -> NAdamState:
        refuse_complex("NAdam", params)
        moments = zeros_like(params), zeros_like(params)
        return NAdamState(rate_array(rate), first_step(), jnp.ones((), jnp.float32), *moments, Constant(beta1))

    def update(updates: optax.Updates, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, NAdamState]:
        if decoupled:
            needs_params("NAdam", params, f"weight_decay={weight_decay} ")
        grads = prepare_gradients("NAdam", updates, params, 0.0 if decoupled else weight_decay, maximize)
        step, beta, lr = state.step + 1, state.momentum, state.lr
        mu, mu_next = (_momentum_at(beta, time, momentum_decay) for time in (step, step + 1))
        product = state.mu_product * mu.astype(state.mu_product.dtype)
        seen = product.astype(mu.dtype)
        of_gradient = lr * ((1.0 - mu) / (1.0 - seen)).astype(lr.dtype)
        of_average = lr * (mu_next / (1.0 - seen * mu_next)).astype(lr.dtype)
        correction = bias_correction(beta2, step)

        def rule(g: jax.Array, p: Any, m: jax.Array, v: jax.Array) -> tuple[Any, ...]:
            m = m + as_scalar(beta.complement, g) * (g - m)
            v = beta2 * v + (1.0 - beta2) * g * g
            denominator = jnp.sqrt(v / as_scalar(correction, g)) + eps
            delta = -as_scalar(of_gradient, g) * (g / denominator) - as_scalar(of_average, g) * (m / denominator)
            if decoupled:
                delta = delta - as_scalar(decay_rate(lr, weight_decay), g) * p
            return delta, m, v

        steps, exp_avg, exp_avg_sq = map_leaves(rule, grads, params, state.exp_avg, state.exp_avg_sq)
        return steps, NAdamState(lr, step, product, exp_avg, exp_avg_sq, beta)

    return optimizer("NAdam", options, init, update)


def _momentum_at(beta: Constant | Momentum, step: jax.Array, decay: float) -> jax.Array:
    """Return μₜ = β₁ (1 - ½ · 0.96^(t · decay))."""
    return beta.value * (1.0 - 0.5 * jnp.exp(step.astype(jnp.result_type(float)) * (decay * math.log(0.96))))
