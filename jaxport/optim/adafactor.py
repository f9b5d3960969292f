"""Adafactor, exactly as torch.optim.Adafactor."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .arguments import Rate, execution_flags, learning_rate, non_negative, number, pair
from .base import (
    Optimizer,
    as_scalar,
    decay_rate,
    first_step,
    map_leaves,
    needs_params,
    optimizer,
    prepare_gradients,
    rate_array,
    refuse_complex,
)


class AdafactorState(NamedTuple):
    """State of `Adafactor`, in PyTorch's names.

    A leaf of two or more axes has a `row_var` (last axis 1) and a `col_var` (last but one axis 1), and None as
    `variance`; any other has only a `variance`.
    """

    lr: jax.Array
    step: jax.Array
    row_var: Any
    col_var: Any
    variance: Any


def Adafactor(
    lr: Rate = 1e-2,
    beta2_decay: float = -0.8,
    eps: tuple[float | None, float] = (None, 1e-3),
    d: float = 1.0,
    weight_decay: float = 0.0,
    *,
    foreach: bool | None = None,
    maximize: bool = False,
) -> Optimizer:
    """Adafactor (Shazeer and Stern 2018) as PyTorch has it.

    With g the gradient (negated by `maximize`), w = t^beta2_decay and α = max(ε₂, RMS(p)) · min(lr, 1/√t):
    R ← R + w (mean of g² over the last axis - R);  C ← C + w (mean of g² over the last but one - C);
    V = R C / max(mean of R, ε₁), or for a vector V ← V + w (g² - V);  U = g / √max(V, ε₁²);
    p ← p - lr · weight_decay · p - α · U / max(1, RMS(U)/d).

    Args:
        lr: the largest relative step size; an array in the state (``state.lr``).
        beta2_decay: power of t, at most 0.
        eps: ε₁ (None for the dtype's machine epsilon) and ε₂.
        d: clipping threshold, at least 1.
        weight_decay: decoupled weight decay.
        foreach: accepted and ignored (see `jaxport.optim.arguments`).
        maximize: climb instead of descend.

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: a number out of its range, or complex parameters.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adafactor.html
    """
    options = dict(locals())
    rate = learning_rate("Adafactor", lr)
    if not number("Adafactor", "beta2_decay", beta2_decay) <= 0.0:
        raise ValueError(f"Adafactor: beta2_decay must be <= 0, got {beta2_decay!r}")
    eps1, eps2 = pair("Adafactor", "eps", eps)
    eps1 = None if eps1 is None else non_negative("Adafactor", "eps[0]", eps1)
    eps2 = non_negative("Adafactor", "eps[1]", eps2)
    if not number("Adafactor", "d", d) >= 1.0:
        raise ValueError(f"Adafactor: d must be >= 1, got {d!r}")
    weight_decay = non_negative("Adafactor", "weight_decay", weight_decay)
    execution_flags("Adafactor", foreach)

    def init(params: optax.Params) -> AdafactorState:
        refuse_complex("Adafactor", params)
        row = jax.tree.map(lambda p: jnp.zeros_like(p[..., :1]) if p.ndim > 1 else None, params)
        col = jax.tree.map(lambda p: jnp.zeros_like(p[..., :1, :]) if p.ndim > 1 else None, params)
        variance = jax.tree.map(lambda p: None if p.ndim > 1 else jnp.zeros_like(p), params)
        return AdafactorState(rate_array(rate), first_step(), row, col, variance)

    def update(updates: optax.Updates, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, AdafactorState]:
        needs_params("Adafactor", params)
        grads = prepare_gradients("Adafactor", updates, params, 0.0, maximize)
        step, lr = state.step + 1, state.lr
        time = step.astype(jnp.result_type(float))
        weight, relative = time**beta2_decay, jnp.minimum(lr, (1.0 / jnp.sqrt(time)).astype(lr.dtype))
        epsilon = {p.dtype: float(jnp.finfo(p.dtype).eps) for p in jax.tree.leaves(params)}

        def rule(g: jax.Array, p: jax.Array, row: Any, col: Any, variance: Any) -> tuple[Any, ...]:
            least = epsilon.get(p.dtype, float(jnp.finfo(jnp.bfloat16).eps)) if eps1 is None else eps1
            step_size = jnp.maximum(eps2, _rms(p)) * as_scalar(relative, g)
            if g.ndim > 1:
                row = _toward(row, jnp.mean(g * g, axis=-1, keepdims=True), weight)
                col = _toward(col, jnp.mean(g * g, axis=-2, keepdims=True), weight)
                estimate = row * col / jnp.maximum(jnp.mean(row, axis=-2, keepdims=True), least)
            else:
                estimate = variance = _toward(variance, g * g, weight)
            direction = jax.lax.rsqrt(jnp.maximum(estimate, least * least)) * g
            delta = -step_size / jnp.maximum(1.0, _rms(direction) / d) * direction
            if weight_decay != 0.0:
                delta = delta - as_scalar(decay_rate(lr, weight_decay), g) * p
            return delta, row, col, variance

        steps, row, col, variance = map_leaves(rule, grads, params, state.row_var, state.col_var, state.variance)
        return steps, AdafactorState(lr, step, row, col, variance)

    return optimizer("Adafactor", options, init, update)


def _rms(x: jax.Array) -> jax.Array:
    """Return the root mean square of all elements."""
    return jnp.sqrt(jnp.mean(x * x))


def _toward(average: jax.Array, value: jax.Array, weight: jax.Array) -> jax.Array:
    """Return average + weight · (value - average)."""
    return average + as_scalar(weight, average) * (value - average)
