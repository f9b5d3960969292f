r"""Logistic losses: binary_cross_entropy_with_logits, soft_margin_loss, multilabel_soft_margin_loss, their modules.

Every function takes ``where``, which examples count; see the docstring of ``jaxport.nn.loss``.
"""

from __future__ import annotations

from typing import Any

import jax

from .checks import Reduction, reduction_name, same_dtype
from .loss_reduce import (
    Loss,
    as_buffer,
    broadcast,
    floating,
    floating_target,
    keep,
    matching_pair,
    reduce_loss,
    value_of,
    weight_like,
)


@jax.custom_jvp
def _log_sigmoid(x: jax.Array) -> jax.Array:
    return jax.nn.log_sigmoid(x)


@_log_sigmoid.defjvp
def _log_sigmoid_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
    # JAX's own derivative, exp(-x - log(1 + exp(-x))), loses a digit in float32 where x is far from 0.
    (x,), (dx,) = primals, tangents
    return _log_sigmoid(x), jax.nn.sigmoid(-x) * dx


def binary_cross_entropy_with_logits(
    input: jax.Array,
    target: jax.Array,
    weight: jax.Array | None = None,
    reduction: Reduction = "mean",
    pos_weight: jax.Array | None = None,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Binary cross-entropy of σ(x) without overflow: -w·(q·y·log σ(x) + (1 - y)·log σ(-x)).

    Args:
        input: x, logits, any shape.
        target: y in [0, 1], the same shape.
        weight: w, broadcast to `input`; a mean still divides by the number of elements.
        reduction: 'none', 'mean' or 'sum'.
        pos_weight: q, the weight of positive examples, broadcast to `input` (commonly one for each class).
        where: which examples count.

    Raises:
        ValueError: shapes do not fit, or an unknown `reduction`.
        TypeError: dtypes differ or are not floating.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy_with_logits.html
    """
    owner = "binary_cross_entropy_with_logits"
    input, target = matching_pair(owner, input, target, where)
    same_dtype(owner, input=input, weight=weight, pos_weight=pos_weight)
    weight = weight_like(owner, "weight", weight, input.shape)
    pos_weight = weight_like(owner, "pos_weight", pos_weight, input.shape)
    # -q·y·log σ(x) - (1 - y)·log σ(-x), with log σ(-x) = log σ(x) - x.
    factor = 1 if pos_weight is None else (pos_weight - 1) * target + 1
    values = (1 - target) * input - factor * _log_sigmoid(input)
    return reduce_loss(values if weight is None else values * weight, reduction, where, owner)


def soft_margin_loss(
    input: jax.Array, target: jax.Array, reduction: Reduction = "mean", *, where: jax.Array | None = None
) -> jax.Array:
    """Logistic loss of classes ±1: log(1 + exp(-y·x)).

    Args:
        input: x, any shape.
        target: y, 1 or -1, the same shape; integers are taken as they are.
        reduction: 'none', 'mean' or 'sum'.
        where: which examples count.

    Raises:
        ValueError: shapes differ, or an unknown `reduction`.
        TypeError: dtypes differ.

    Differs from PyTorch: where exp(-y·x) overflows (-y·x > 88 in float32, 709 in float64) the loss is -y·x and its
    gradient -y; PyTorch's are inf and NaN. A target of another shape is an error (there it is broadcast).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.soft_margin_loss.html
    """
    target = floating_target("soft_margin_loss", input, target)
    input, target = matching_pair("soft_margin_loss", input, target, where)
    return reduce_loss(-_log_sigmoid(target * input), reduction, where, "soft_margin_loss")


def multilabel_soft_margin_loss(
    input: jax.Array,
    target: jax.Array,
    weight: jax.Array | None = None,
    reduction: Reduction = "mean",
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Binary cross-entropy of σ(x), averaged over classes: -1/C·Σ_c w·(y·log σ(x) + (1 - y)·log σ(-x)).

    Args:
        input: x, logits (N, C) or (C,), also with more axes in front.
        target: y, 0 or 1, broadcast with `input`; integers are taken as they are.
        weight: w, (C,) or the shape of `input`; the mean over classes still divides by C.
        reduction: 'none' (N,), 'mean' or 'sum' over the examples.
        where: which examples count, (N,).

    Raises:
        ValueError: shapes do not fit, or an unknown `reduction`.
        TypeError: dtypes differ.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.multilabel_soft_margin_loss.html
    """
    owner = "multilabel_soft_margin_loss"
    if input.ndim == 0:
        raise ValueError(f"{owner}: input must have an axis of classes, got a scalar")
    target = floating_target(owner, input, target)
    floating(owner, input=input)
    same_dtype(owner, input=input, weight=weight)
    input, target = keep(owner, where, *broadcast(owner, input=input, target=target))
    weight = weight_like(owner, "weight", weight, input.shape)
    log_likelihood = target * _log_sigmoid(input) + (1 - target) * _log_sigmoid(-input)
    values = -log_likelihood if weight is None else -log_likelihood * weight
    return reduce_loss(values.sum(-1) / input.shape[-1], reduction, where, owner)


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of logits; see `binary_cross_entropy_with_logits`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html
    """

    def __init__(
        self, weight: jax.Array | None = None, reduction: Reduction = "mean", pos_weight: jax.Array | None = None
    ) -> None:
        self._set_weight(weight)
        self.pos_weight = as_buffer(pos_weight)
        self.reduction = reduction_name("BCEWithLogitsLoss", reduction)

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of logits `input` against `target`."""
        weights = self._get_weight(), value_of(self.pos_weight)
        return binary_cross_entropy_with_logits(input, target, weights[0], self.reduction, weights[1], where=where)


class SoftMarginLoss(Loss):
    """Logistic loss of classes ±1; see `soft_margin_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.SoftMarginLoss.html
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        self.reduction = reduction_name("SoftMarginLoss", reduction)

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of `input` against `target`."""
        return soft_margin_loss(input, target, self.reduction, where=where)


class MultiLabelSoftMarginLoss(Loss):
    """Binary cross-entropy of logits, averaged over classes; see `multilabel_soft_margin_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiLabelSoftMarginLoss.html
    """

    def __init__(self, weight: jax.Array | None = None, reduction: Reduction = "mean") -> None:
        self._set_weight(weight)
        self.reduction = reduction_name("MultiLabelSoftMarginLoss", reduction)

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of logits `input` against labels `target`."""
        return multilabel_soft_margin_loss(input, target, self._get_weight(), self.reduction, where=where)
