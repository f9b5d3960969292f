"""Adagrad, exactly as torch.optim.Adagrad."""

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
    full_like,
    map_leaves,
    optimizer,
    prepare_gradients,
    rate_array,
    refuse_complex,
)


class AdagradState(NamedTuple):
    """State of `Adagrad`, in PyTorch's names."""

    lr: jax.Array
    step: jax.Array
    sum: Any


def Adagrad(
    lr: Rate = 1e-2,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = 0.0,
    eps: float = 1e-10,
    foreach: bool | None = None,
    *,
    maximize: bool = False,
    differentiable: bool = False,
    fused: bool | None = None,
) -> Optimizer:
    """Adagrad (Duchi et al. 2011).

    With g the gradient (negated by `maximize`) plus weight_decay · p:
    s ← s + g²;  p ← p - lr/(1 + (t - 1) · lr_decay) · g / (√s + ε).

    Args:
        lr: learning rate; it is an array in the state (``state.lr``), so changing it does not compile again.
        lr_decay: of the learning rate with the steps taken.
        weight_decay: coupled L2 penalty.
        initial_accumulator_value: s before the first step.
        eps: ε, added outside the root (optax's is inside).
        foreach: accepted and ignored, as `differentiable` and `fused` (see `jaxport.optim.arguments`).
        maximize: climb instead of descend.
        differentiable: ignored.
        fused: ignored.

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: a negative number.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adagrad.html
    """
    options = dict(locals())
    rate, eps = learning_rate("Adagrad", lr), non_negative("Adagrad", "eps", eps)
    lr_decay = non_negative("Adagrad", "lr_decay", lr_decay)
    weight_decay = non_negative("Adagrad", "weight_decay", weight_decay)
    start = non_negative("Adagrad", "initial_accumulator_value", initial_accumulator_value)
    execution_flags("Adagrad", foreach, fused, differentiable)

    def init(params: optax.Params) -> AdagradState:
        refuse_complex("Adagrad", params)
        return AdagradState(rate_array(rate), first_step(), full_like(params, start))

    def update(updates: optax.Updates, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, AdagradState]:
        grads = prepare_gradients("Adagrad", updates, params, weight_decay, maximize)
        size = state.lr / (1.0 + state.step.astype(state.lr.dtype) * lr_decay)

        def rule(g: jax.Array, p: Any, total: jax.Array) -> tuple[Any, ...]:
            total = total + g * g
            return -as_scalar(size, g) * (g / (jnp.sqrt(total) + eps)), total

        steps, total = map_leaves(rule, grads, params, state.sum)
        return steps, AdagradState(state.lr, state.step + 1, total)

    return optimizer("Adagrad", options, init, update)
