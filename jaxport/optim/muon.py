"""Muon, exactly as torch.optim.Muon."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .arguments import Rate, learning_rate, non_negative, number, pair
from .base import (
    Optimizer,
    as_scalar,
    decay_rate,
    first_step,
    map_leaves,
    needs_params,
    optimizer,
    rate_array,
    refuse_complex,
    zeros_like,
)
from .hyper import Constant, Momentum


class MuonState(NamedTuple):
    """State of `Muon`, in PyTorch's names."""

    lr: jax.Array
    step: jax.Array
    momentum_buffer: Any
    momentum: Constant | Momentum


def Muon(
    lr: Rate = 1e-3,
    weight_decay: float = 0.1,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
    eps: float = 1e-7,
    ns_steps: int = 5,
    adjust_lr_fn: str | None = None,
) -> Optimizer:
    """Muon: momentum whose direction is made orthogonal (Jordan et al. 2024), for matrices only.

    b ← b + (1 - momentum) (g - b);  u = g + momentum (b - g) with `nesterov`, else b;
    p ← p - lr · weight_decay · p - lr · s · O(u), where O is `ns_steps` Newton-Schulz steps in bfloat16, as in PyTorch,
    and s = √max(1, rows/columns), or 0.2 √max(rows, columns) with ``adjust_lr_fn="match_rms_adamw"``.

    Use another optimiser for the parameters that are not matrices: see `jaxport.optim.groups`.

    Args:
        lr: learning rate; it is an array in the state (``state.lr``), so changing it does not compile again.
        weight_decay: decoupled weight decay.
        momentum: of the buffer; `set_momentum` changes it in the state.
        nesterov: Nesterov's momentum.
        ns_coefficients: a, b, c of the polynomial a X + b (X Xᵀ) X + c (X Xᵀ)² X.
        eps: the least norm to divide by.
        ns_steps: number of Newton-Schulz steps, less than 100.
        adjust_lr_fn: None or "original", or "match_rms_adamw".

    Returns:
        An optax transformation whose updates are added to the parameters (``optax.apply_updates``).

    Raises:
        ValueError: a number out of its range, another adjust_lr_fn, or a parameter that is not a real matrix.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Muon.html
    """
    options = dict(locals())
    rate, weight_decay = learning_rate("Muon", lr), non_negative("Muon", "weight_decay", weight_decay)
    momentum, eps = non_negative("Muon", "momentum", momentum), number("Muon", "eps", eps)
    if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
        raise ValueError(f"Muon: adjust_lr_fn must be None, 'original' or 'match_rms_adamw', got {adjust_lr_fn!r}")
    if ns_steps >= 100:
        raise ValueError(f"Muon: ns_steps must be less than 100, got {ns_steps!r}")
    a, b, c = pair("Muon", "ns_coefficients", ns_coefficients, 3)

    def init(params: optax.Params) -> MuonState:
        refuse_complex("Muon", params)
        _matrices_only(params)
        return MuonState(rate_array(rate), first_step(), zeros_like(params), Constant(momentum))

    def update(updates: optax.Updates, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, MuonState]:
        needs_params("Muon", params)
        lr, beta = state.lr, state.momentum

        def rule(g: jax.Array, p: jax.Array, buffer: jax.Array) -> tuple[Any, ...]:
            buffer = buffer + as_scalar(beta.complement, g) * (g - buffer)
            direction = g + as_scalar(beta.value, g) * (buffer - g) if nesterov else buffer
            direction = orthogonalize(direction, (a, b, c), ns_steps, eps).astype(g.dtype)
            size = lr * _adjustment(p.shape, adjust_lr_fn)
            return -as_scalar(decay_rate(lr, weight_decay), g) * p - as_scalar(size, g) * direction, buffer

        steps, buffers = map_leaves(rule, updates, params, state.momentum_buffer)
        return steps, MuonState(lr, state.step + 1, buffers, beta)

    return optimizer("Muon", options, init, update)


def _matrices_only(params: optax.Params) -> None:
    """Check that every parameter has two axes.

    Raises:
        ValueError: one has not.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if leaf.ndim != 2:
            name = jax.tree_util.keystr(path)
            raise ValueError(
                f"Muon: parameters must have 2 axes, got {name or 'params'} of shape {leaf.shape}; "
                "give the others to another optimiser with jaxport.optim.groups"
            )


def _adjustment(shape: tuple[int, ...], kind: str | None) -> float:
    """Return by how much a matrix's shape changes the learning rate."""
    rows, columns = shape
    return 0.2 * math.sqrt(max(rows, columns)) if kind == "match_rms_adamw" else math.sqrt(max(1.0, rows / columns))


def _round(x: jax.Array) -> jax.Array:
    """Round to bfloat16, in float32: a cast there and back is what a compiler may leave out."""
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)


def orthogonalize(matrix: jax.Array, coefficients: tuple[float, float, float], steps: int, eps: float) -> jax.Array:
    """Return the matrix with its singular values moved towards 1, by Newton-Schulz steps in bfloat16.

    X ← a X + (b A + c A²) X with A = X Xᵀ, each operation rounded to bfloat16 as in PyTorch; the sums of the matrix
    products are float32's.
    """
    a, b, c = coefficients
    x = _round(matrix.astype(jnp.float32))
    tall = matrix.shape[0] > matrix.shape[1]
    x = x.T if tall else x
    norm = _round(jnp.sqrt(jnp.sum(x * x)))
    x = _round(x / jnp.maximum(norm, _round(jnp.asarray(eps, jnp.float32))))
    for _ in range(steps):
        gram = _round(x @ x.T)
        mixed = _round(b * gram + c * (gram @ gram))
        x = _round(a * x + mixed @ x)
    return x.T if tall else x
