r"""Losses of a difference: l1_loss, smooth_l1_loss, huber_loss and their modules (mse_loss is in loss.py).

Every function takes ``where``, which examples count; see the docstring of ``jaxport.nn.loss``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from .checks import Reduction, reduction_name, same_shape
from .kinks import absolute
from .loss_reduce import Loss, elementwise_weight, matching_pair, reduce_loss


def l1_loss(
    input: jax.Array,
    target: jax.Array,
    reduction: Reduction = "mean",
    weight: jax.Array | None = None,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Absolute error |x - y|, with derivative 0 where they are equal.

    Args:
        input: x, any shape.
        target: y, the same shape.
        reduction: 'none', 'mean' or 'sum'.
        weight: multiplies each error; a mean then divides by its sum. The shape of `input`.
        where: which examples count.

    Raises:
        ValueError: shapes differ, or an unknown `reduction`.
        TypeError: dtypes differ or are not floating.

    Differs from PyTorch: a target of another shape is an error (there it is broadcast, with a warning).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.l1_loss.html
    """
    input, target = matching_pair("l1_loss", input, target, where)
    values = absolute(input - target)
    if weight is None:
        return reduce_loss(values, reduction, where, "l1_loss")
    weight = elementwise_weight("l1_loss", input, weight, where)
    return reduce_loss(values * weight, reduction, where, "l1_loss", weight)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _huber(difference: jax.Array, delta: float) -> jax.Array:
    distance = jnp.abs(difference)
    near = jnp.minimum(distance, delta)
    return near * (distance - 0.5 * near)


@_huber.defjvp
def _huber_jvp(delta: float, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
    # Not the derivative of the formula, which is 0 · inf at infinity.
    return _huber(primals[0], delta), jnp.clip(primals[0], -delta, delta) * tangents[0]


def smooth_l1_loss(
    input: jax.Array,
    target: jax.Array,
    reduction: Reduction = "mean",
    beta: float = 1.0,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Squared error near zero, absolute error beyond; it is huber_loss / β.

    With d = |x - y|: ½·d²/β where d < β, else d - ½·β.

    Args:
        input: x, any shape.
        target: y, the same shape.
        reduction: 'none', 'mean' or 'sum'.
        beta: β ≥ 0, where the one goes over into the other; 0 is `l1_loss`.
        where: which examples count.

    Raises:
        ValueError: shapes differ, `beta` is negative, or an unknown `reduction`.
        TypeError: dtypes differ or are not floating.

    Differs from PyTorch: a target of another shape is an error (there it is broadcast, with a warning).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.smooth_l1_loss.html
    """
    _check_beta("smooth_l1_loss", beta)
    if beta == 0:
        same_shape("smooth_l1_loss", input, target)
        return l1_loss(input, target, reduction, where=where)
    input, target = matching_pair("smooth_l1_loss", input, target, where)
    return reduce_loss(_huber(input - target, beta) / beta, reduction, where, "smooth_l1_loss")


def huber_loss(
    input: jax.Array,
    target: jax.Array,
    reduction: Reduction = "mean",
    delta: float = 1.0,
    weight: jax.Array | None = None,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Squared error near zero, absolute error beyond.

    With d = |x - y|: ½·d² where d ≤ δ, else δ·(d - ½·δ).

    Args:
        input: x, any shape.
        target: y, the same shape.
        reduction: 'none', 'mean' or 'sum'.
        delta: δ > 0, where the one goes over into the other.
        weight: multiplies each error; a mean still divides by the number of elements. The shape of `input`.
        where: which examples count.

    Raises:
        ValueError: shapes differ, `delta` is not positive, or an unknown `reduction`.
        TypeError: dtypes differ or are not floating.

    Differs from PyTorch: a target of another shape is an error (there it is broadcast, with a warning).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.huber_loss.html
    """
    _check_delta("huber_loss", delta)
    input, target = matching_pair("huber_loss", input, target, where)
    values = _huber(input - target, delta)
    if weight is not None:
        values = values * elementwise_weight("huber_loss", input, weight, where)
    return reduce_loss(values, reduction, where, "huber_loss")


def _check_beta(owner: str, beta: float) -> float:
    if not beta >= 0:
        raise ValueError(f"{owner}: beta must not be negative, got {beta!r}")
    return beta


def _check_delta(owner: str, delta: float) -> float:
    if not isinstance(delta, (int, float)):
        raise TypeError(f"{owner}: delta must be a float or int, got {type(delta).__name__}")
    if not delta > 0:
        raise ValueError(f"{owner}: delta must be positive, got {delta!r}")
    return delta


class L1Loss(Loss):
    """Absolute error, its mean or its sum; see `l1_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.L1Loss.html
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        self.reduction = reduction_name("L1Loss", reduction)

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of `input` against `target`."""
        return l1_loss(input, target, self.reduction, where=where)


class SmoothL1Loss(Loss):
    """Squared error below `beta`, absolute error beyond; see `smooth_l1_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.SmoothL1Loss.html
    """

    def __init__(self, reduction: Reduction = "mean", beta: float = 1.0) -> None:
        self.reduction = reduction_name("SmoothL1Loss", reduction)
        self.beta = _check_beta("SmoothL1Loss", beta)

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of `input` against `target`."""
        return smooth_l1_loss(input, target, self.reduction, self.beta, where=where)


class HuberLoss(Loss):
    """Squared error up to `delta`, absolute error beyond; see `huber_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.HuberLoss.html
    """

    def __init__(self, reduction: Reduction = "mean", delta: float = 1.0) -> None:
        self.reduction = reduction_name("HuberLoss", reduction)
        self.delta = _check_delta("HuberLoss", delta)

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of `input` against `target`."""
        return huber_loss(input, target, self.reduction, self.delta, where=where)
