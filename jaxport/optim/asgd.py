"""Averaged SGD, exactly as torch.optim.ASGD."""

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
    needs_params,
    optimizer,
    prepare_gradients,
    rate_array,
    refuse_complex,
    zeros_like,
)


class ASGDState(NamedTuple):
    """State of `ASGD`, in PyTorch's names; `ax` holds the averaged parameters.

    `eta` and `mu` are float32 whatever the parameters are, as in PyTorch with its default dtype. They are computed with
    in the dtype that they have: as float64 they are PyTorch's under ``torch.set_default_dtype(torch.float64)``.
    """

    lr: jax.Array
    step: jax.Array
    eta: jax.Array
    mu: jax.Array
    ax: Any


def ASGD(
    lr: Rate = 1e-2,
    lambd: float = 1e-4,
    alpha: float = 0.75,
    t0: float = 1e6,
    weight_decay: float = 0.0,
    foreach: bool | None = None,
    maximize: bool = False,
    differentiable: bool = False,
    capturable: bool = False,
) -> Optimizer:
    """Averaged stochastic gradient descent (Polyak and Juditsky 1992).

    With g the gradient (negated by `maximize`) plus weight_decay · p; η starts as lr, μ as 1:
    p ← (1 - λ η) p - η g;  ax ← ax + μ (p - ax);  η ← lr / (1 + λ lr t)^α;  μ ← 1 / max(1, t - t₀).

    Args:
        lr: learning rate; it is an array in the state (``state.lr``), so changing it does not compile again.
        lambd: λ, the decay term.
        alpha: α, the power of η.
        t0: t₀, the step at which averaging starts.
        weight_decay: coupled L2 penalty.
        foreach: accepted and ignored, as `differentiable` and `capturable` (see `jaxport.optim.arguments`).
        maximize: climb instead of descend.
        differentiable: ignored.
        capturable: ignored.

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: a negative lr or weight_decay.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.ASGD.html
    """
    options = dict(locals())
    rate, weight_decay = learning_rate("ASGD", lr), non_negative("ASGD", "weight_decay", weight_decay)
    lambd, alpha, t0 = (number("ASGD", *item) for item in (("lambd", lambd), ("alpha", alpha), ("t0", t0)))
    execution_flags("ASGD", foreach, None, differentiable)

    def init(params: optax.Params) -> ASGDState:
        refuse_complex("ASGD", params)
        start = rate_array(rate)
        return ASGDState(
            start, first_step(), start.astype(jnp.float32, copy=True), jnp.ones((), jnp.float32), zeros_like(params)
        )

    def update(updates: optax.Updates, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, ASGDState]:
        needs_params("ASGD", params)
        grads = prepare_gradients("ASGD", updates, params, weight_decay, maximize)
        eta, mu = (scalar.astype(jnp.result_type(float)) for scalar in (state.eta, state.mu))

        def rule(g: jax.Array, p: jax.Array, ax: jax.Array) -> tuple[Any, ...]:
            delta = -as_scalar(lambd * eta, g) * p - as_scalar(eta, g) * g
            new = p + delta
            return delta, jnp.where(mu == 1.0, new, ax + as_scalar(mu, g) * (new - ax))

        steps, ax = map_leaves(rule, grads, params, state.ax)
        step = state.step + 1
        time, lr = step.astype(eta.dtype), state.lr
        eta = lr / ((1.0 + lambd * lr * time.astype(lr.dtype)) ** alpha)
        mu = 1.0 / jnp.maximum(1.0, time - t0)
        return steps, ASGDState(lr, step, eta.astype(state.eta.dtype), mu.astype(state.mu.dtype), ax)

    return optimizer("ASGD", options, init, update)
