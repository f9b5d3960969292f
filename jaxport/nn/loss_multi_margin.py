r"""Margins between classes: multi_margin_loss, multilabel_margin_loss and their modules.

Every function takes ``where``, which examples count; see the docstring of ``jaxport.nn.loss``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .checks import Reduction, index_in_range, reduction_name, same_dtype
from .loss_reduce import Loss, floating, keep, reduce_loss


def _scores(owner: str, input: jax.Array, target: jax.Array) -> jax.Array:
    """Check scores (N, C), (C,) or () and integer classes, and return the scores as (N, C)."""
    if input.ndim > 2 or (input.ndim and input.shape[-1] == 0):
        raise ValueError(f"{owner}: input must be (N, C) or (C,) with classes, got shape {input.shape}")
    floating(owner, input=input)
    if not jnp.issubdtype(target.dtype, jnp.integer):
        raise TypeError(f"{owner}: target must be integer classes, got {target.dtype}")
    return input if input.ndim == 2 else input.reshape(1, -1)


def _degree(owner: str, p: int) -> int:
    if p not in (1, 2):
        raise ValueError(f"{owner}: p must be 1 or 2, got {p!r}")
    return p


def _class_weight(owner: str, weight: jax.Array | None) -> None:
    if weight is not None and weight.ndim != 1:
        raise ValueError(f"{owner}: weight must be (C,), got shape {weight.shape}")


def multi_margin_loss(
    input: jax.Array,
    target: jax.Array,
    p: int = 1,
    margin: float = 1.0,
    weight: jax.Array | None = None,
    reduction: Reduction = "mean",
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Margin of the right class over all others: 1/C·Σ_{c ≠ y} w[y]·max(0, margin - x[y] + x[c])^p.

    Args:
        input: x, scores (N, C) or (C,).
        target: y, classes 0 … C - 1, (N,); for one example () or (1,). A class outside gives NaN under jit.
        p: 1 or 2.
        margin: by how much the right class should lead.
        weight: w, (C,); a mean still divides by N.
        reduction: 'none' (the shape of `target`), 'mean' or 'sum'.
        where: which examples count, the shape of `target`.

    Raises:
        ValueError: shapes do not fit, `p` is neither 1 nor 2, or an unknown `reduction`.
        TypeError: classes that are not integers, or dtypes differ.
        IndexError: a class outside 0 … C - 1.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.multi_margin_loss.html
    """
    owner = "multi_margin_loss"
    _degree(owner, p)
    _class_weight(owner, weight)
    scores = _scores(owner, input, target)
    examples, classes = scores.shape
    if target.ndim > 1 or target.size != examples:
        raise ValueError(f"{owner}: target must be one class for each of the {examples} examples, got {target.shape}")
    if weight is not None and weight.shape != (classes,):
        raise ValueError(f"{owner}: weight must have one entry for each of the {classes} classes, got {weight.shape}")
    same_dtype(owner, input=input, weight=weight)
    labels = keep(owner, where, target)[0]
    index_in_range(owner, "target", labels, 0, classes)
    values = _margins(_kept_rows(owner, where, target, scores), labels.reshape(-1), p, margin, weight)
    return reduce_loss(values.reshape(target.shape), reduction, where, owner)


def _kept_rows(owner: str, where: jax.Array | None, target: jax.Array, scores: jax.Array) -> jax.Array:
    return scores if where is None else keep(owner, where.reshape(target.size), scores)[0]


def _margins(scores: jax.Array, labels: jax.Array, p: int, margin: float, weight: jax.Array | None) -> jax.Array:
    classes = jnp.arange(scores.shape[1], dtype=labels.dtype)
    right = labels[:, None] == classes[None]
    nothing = jnp.zeros_like(scores)
    lead = jnp.where(right, scores, nothing).sum(1, keepdims=True)
    gap = margin - lead + scores
    # Not hinge(): PyTorch gives a gap of exactly 0 no gradient, and NaN no loss.
    gap = jnp.where((gap > 0) & ~right, gap, nothing)
    values = (gap if p == 1 else gap * gap).sum(1) / scores.shape[1]
    if weight is not None:
        values = values * jnp.where(right, weight[None], nothing).sum(1)
    return jnp.where(right.any(1), values, jnp.full_like(values, jnp.nan))


def multilabel_margin_loss(
    input: jax.Array, target: jax.Array, reduction: Reduction = "mean", *, where: jax.Array | None = None
) -> jax.Array:
    """Margin of every right class over every wrong one: 1/C·Σ_j Σ_{c not in y} max(0, 1 - x[y_j] + x[c]).

    Args:
        input: x, scores (N, C) or (C,).
        target: y, the right classes of each example and then -1; what follows the first -1 does not count. The shape
            of `input`. Classes named twice count twice. A class outside -1 … C - 1 gives NaN under jit.
        reduction: 'none' (N,), 'mean' or 'sum'.
        where: which examples count, (N,).

    Raises:
        ValueError: shapes differ, or an unknown `reduction`.
        TypeError: classes that are not integers.
        IndexError: a class outside -1 … C - 1.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.multilabel_margin_loss.html
    """
    owner = "multilabel_margin_loss"
    scores = _scores(owner, input, target)
    if target.shape != input.shape and not (input.ndim < 2 and target.ndim < 2 and target.size == input.size):
        raise ValueError(f"{owner}: target must have the shape of input, {input.shape}, got {target.shape}")
    labels = target.reshape(scores.shape)
    if where is not None:
        scores, labels = keep(owner, where.reshape(-1), scores, labels)
    index_in_range(owner, "target", labels, -1, scores.shape[1])
    values = _label_margins(scores, labels)
    return reduce_loss(values.reshape(input.shape[:-1]), reduction, where, owner)


def _label_margins(scores: jax.Array, labels: jax.Array) -> jax.Array:
    size = scores.shape[1]
    listed = jnp.cumsum((labels < 0).astype(labels.dtype), axis=1) == 0
    classes = jnp.arange(size, dtype=labels.dtype)
    # How often each class is listed, in place of gathering scores: (N, C) from (N, C, C), which XLA fuses.
    hits = (labels[:, :, None] == classes[None, None]) & listed[:, :, None]
    count = hits.astype(scores.dtype).sum(1)
    gap = 1 - scores[:, :, None] + scores[:, None, :]
    counts = (count[:, :, None] > 0) & (count[:, None, :] == 0) & (gap > 0)
    values = (count * jnp.where(counts, gap, jnp.zeros_like(gap)).sum(2)).sum(1) / size
    good = ((labels >= -1) & (labels < size)).all(1)
    return jnp.where(good, values, jnp.full_like(values, jnp.nan))


class MultiMarginLoss(Loss):
    """Margin of the right class over all others; see `multi_margin_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiMarginLoss.html
    """

    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: jax.Array | None = None, reduction: Reduction = "mean"
    ) -> None:
        self.p = _degree("MultiMarginLoss", p)
        _class_weight("MultiMarginLoss", weight)
        self.margin = margin
        self._set_weight(weight)
        self.reduction = reduction_name("MultiMarginLoss", reduction)

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of scores `input` against classes `target`."""
        return multi_margin_loss(input, target, self.p, self.margin, self._get_weight(), self.reduction, where=where)


class MultiLabelMarginLoss(Loss):
    """Margin of every right class over every wrong one; see `multilabel_margin_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiLabelMarginLoss.html
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        self.reduction = reduction_name("MultiLabelMarginLoss", reduction)

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of scores `input` against lists of classes `target`."""
        return multilabel_margin_loss(input, target, self.reduction, where=where)
