"""Adam, AMSGrad and AdamW, exactly as torch.optim.Adam and AdamW."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .arguments import Rate, array_flags, execution_flags, learning_rate, non_negative, two_betas
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


class AdamState(NamedTuple):
    """State of `Adam` and `AdamW`, in PyTorch's names; `max_exp_avg_sq` is None without amsgrad; `momentum` is β₁."""

    lr: jax.Array
    step: jax.Array
    exp_avg: Any
    exp_avg_sq: Any
    max_exp_avg_sq: Any
    momentum: Constant | Momentum


def _adam(kind: str, options: dict[str, Any]) -> Optimizer:
    """Return Adam or AdamW, by `kind`, with PyTorch's arguments by name.

    Raises:
        ValueError: a negative number, or a beta outside [0, 1).
    """
    flags = {name: options[name] for name in ("foreach", "fused", "differentiable")}
    execution_flags(kind, **flags)
    rate = learning_rate(kind, options["lr"])
    eps = non_negative(kind, "eps", options["eps"])
    weight_decay = non_negative(kind, "weight_decay", options["weight_decay"])
    beta1, beta2 = two_betas(kind, options["betas"])
    array_flags(kind, options["lr"], options["betas"], options["foreach"], options["capturable"])
    amsgrad, maximize = options["amsgrad"], options["maximize"]
    decoupled = options.get("decoupled_weight_decay", True) and weight_decay != 0.0

    def init(params: optax.Params) -> AdamState:
        refuse_complex(kind, params)
        largest = zeros_like(params) if amsgrad else None
        return AdamState(
            rate_array(rate), first_step(), zeros_like(params), zeros_like(params), largest, Constant(beta1)
        )

    def update(updates: optax.Updates, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, AdamState]:
        if decoupled:
            needs_params(kind, params, f"weight_decay={weight_decay} ")
        grads = prepare_gradients(kind, updates, params, 0.0 if decoupled else weight_decay, maximize)
        step, beta = state.step + 1, state.momentum
        size = state.lr / bias_correction(beta, step).astype(state.lr.dtype)
        root = jnp.sqrt(bias_correction(beta2, step))

        def rule(g: jax.Array, p: Any, m: jax.Array, v: jax.Array, largest: Any) -> tuple[Any, ...]:
            m = m + as_scalar(beta.complement, g) * (g - m)
            v = beta2 * v + (1.0 - beta2) * g * g
            largest = jnp.maximum(largest, v) if amsgrad else None
            denominator = jnp.sqrt(largest if amsgrad else v) / as_scalar(root, g) + eps
            delta = -as_scalar(size, g) * (m / denominator)
            if decoupled:
                delta = delta - as_scalar(decay_rate(state.lr, weight_decay), g) * p
            return delta, m, v, largest

        moments = state.exp_avg, state.exp_avg_sq, state.max_exp_avg_sq
        steps, exp_avg, exp_avg_sq, largest = map_leaves(rule, grads, params, *moments)
        return steps, AdamState(state.lr, step, exp_avg, exp_avg_sq, largest, beta)

    return optimizer(kind, options, init, update)


def Adam(
    lr: Rate = 1e-3,
    betas: tuple[Rate, Rate] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    *,
    foreach: bool | None = None,
    maximize: bool = False,
    capturable: bool = False,
    differentiable: bool = False,
    fused: bool | None = None,
    decoupled_weight_decay: bool = False,
) -> Optimizer:
    """Adam (Kingma and Ba 2015), or AMSGrad (Reddi et al. 2018).

    With g the gradient (negated by `maximize`) plus weight_decay · p:
    m ← β₁ m + (1 - β₁) g;  v ← β₂ v + (1 - β₂) g²;
    p ← p - lr/(1 - β₁ᵗ) · m / (√(v / (1 - β₂ᵗ)) + ε), where amsgrad takes the largest v so far.

    Args:
        lr: learning rate; it is an array in the state (``state.lr``), so changing it does not compile again.
        betas: β₁ and β₂, each in [0, 1); `set_momentum` changes β₁ in the state.
        eps: ε, added outside the root.
        weight_decay: coupled L2 penalty.
        amsgrad: whether to use AMSGrad.
        foreach: accepted and ignored, as `capturable`, `differentiable` and `fused` (see `jaxport.optim.arguments`).
        maximize: climb instead of descend.
        capturable: ignored.
        differentiable: ignored.
        fused: ignored.
        decoupled_weight_decay: weight decay as in `AdamW`: p ← p - lr · weight_decay · p.

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: a negative number, or a beta outside [0, 1).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html
    """
    return _adam("Adam", dict(locals()))


def AdamW(
    lr: Rate = 1e-3,
    betas: tuple[Rate, Rate] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
    foreach: bool | None = None,
    capturable: bool = False,
    differentiable: bool = False,
    fused: bool | None = None,
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    `Adam` without its weight decay, and p ← p - lr · weight_decay · p.

    Args:
        lr: learning rate; it is an array in the state (``state.lr``), so changing it does not compile again.
        betas: β₁ and β₂, each in [0, 1); `set_momentum` changes β₁ in the state.
        eps: ε, added outside the root.
        weight_decay: decoupled weight decay.
        amsgrad: whether to use AMSGrad.
        maximize: climb instead of descend.
        foreach: accepted and ignored, as `capturable`, `differentiable` and `fused` (see `jaxport.optim.arguments`).
        capturable: ignored.
        differentiable: ignored.
        fused: ignored.

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: a negative number, or a beta outside [0, 1).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html
    """
    return _adam("AdamW", dict(locals()))
