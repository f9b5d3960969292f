r"""Losses with a margin: margin_ranking, hinge_embedding, cosine_embedding and their modules.

Every function takes ``where``, which examples count; see the docstring of ``jaxport.nn.loss``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from .checks import Reduction, reduction_name, same_dtype, same_shape
from .kinks import hinge
from .loss_reduce import Loss, broadcast, floating, floating_target, keep, reduce_loss, same_ndim


def margin_ranking_loss(
    input1: jax.Array,
    input2: jax.Array,
    target: jax.Array,
    margin: float = 0.0,
    reduction: Reduction = "mean",
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Loss of a ranking: max(0, margin - y·(x1 - x2)).

    Args:
        input1: x1, any shape.
        input2: x2, broadcast with `input1`; the same number of axes.
        target: y, 1 where x1 should be larger, -1 where x2 should; broadcast, the same number of axes. Integers are
            taken as they are.
        margin: by how much the one should be larger.
        reduction: 'none', 'mean' or 'sum'.
        where: which examples count.

    Raises:
        ValueError: shapes do not fit, or an unknown `reduction`.
        TypeError: dtypes differ.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.margin_ranking_loss.html
    """
    owner = "margin_ranking_loss"
    same_ndim(owner, input1=input1, input2=input2, target=target)
    target = floating_target(owner, input1, target)
    same_dtype(owner, input1=input1, input2=input2)
    floating(owner, input1=input1)
    arrays = broadcast(owner, input1=input1, input2=input2, target=target)
    input1, input2, target = keep(owner, where, *arrays)
    return reduce_loss(hinge(margin - target * (input1 - input2)), reduction, where, owner)


def hinge_embedding_loss(
    input: jax.Array,
    target: jax.Array,
    margin: float = 1.0,
    reduction: Reduction = "mean",
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Loss of distances x of pairs: x where they belong together (y = 1), max(0, margin - x) where not (y = -1).

    Args:
        input: x, any shape.
        target: y, 1 or -1, the same shape; of any dtype. Any other number takes the sum of both, as in PyTorch.
        margin: how far apart what does not belong together should be.
        reduction: 'none', 'mean' or 'sum'.
        where: which examples count.

    Raises:
        ValueError: shapes differ, or an unknown `reduction`.
        TypeError: `input` is not floating.

    Differs from PyTorch: a target of another shape is an error (there it is broadcast).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hinge_embedding_loss.html
    """
    owner = "hinge_embedding_loss"
    same_shape(owner, input, target)
    floating(owner, input=input)
    input, target = keep(owner, where, input, target)
    nothing = jnp.zeros_like(input)
    values = jnp.where(target != 1, hinge(margin - input), nothing) + jnp.where(target != -1, input, nothing)
    return reduce_loss(values, reduction, where, owner)


# Added to both squared norms; PyTorch's constant is a float32, also for float64 arrays.
_COSINE_EPSILON = float(np.float32(1e-12))


def cosine_embedding_loss(
    input1: jax.Array,
    input2: jax.Array,
    target: jax.Array,
    margin: float = 0.0,
    reduction: Reduction = "mean",
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Loss of the cosine between vectors: 1 - cos where they belong together (y = 1), max(0, cos - margin) where not.

    cos = x1·x2 / √((‖x1‖² + ε)·(‖x2‖² + ε)) with ε = 1e-12.

    Args:
        input1: x1, (N, D) or (D,).
        input2: x2, broadcast with `input1`; the same number of axes.
        target: y, 1 or -1 (any other number: no loss), (N,) or (), of any dtype.
        margin: between -1 and 1, how similar what does not belong together may be.
        reduction: 'none', 'mean' or 'sum'.
        where: which examples count, (N,).

    Raises:
        ValueError: shapes do not fit, or an unknown `reduction`.
        TypeError: dtypes of the inputs differ or are not floating.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cosine_embedding_loss.html
    """
    owner = "cosine_embedding_loss"
    if target.ndim > 1 or not input1.ndim == input2.ndim == target.ndim + 1:
        raise ValueError(
            f"{owner}: inputs and target must be (N, D) and (N,), or (D,) and (), got input1 {input1.shape}, input2 "
            f"{input2.shape}, target {target.shape}"
        )
    same_dtype(owner, input1=input1, input2=input2)
    floating(owner, input1=input1)
    input1, input2, labels = broadcast(owner, input1=input1, input2=input2, target=target[..., None])
    input1, input2, labels = keep(owner, where, input1, input2, labels)
    squares = (jnp.square(x).sum(-1) + _COSINE_EPSILON for x in (input1, input2))
    cosine = (input1 * input2).sum(-1) / jnp.sqrt(next(squares) * next(squares))
    return reduce_loss(_cosine_hinge(cosine, labels[..., 0], margin), reduction, where, owner)


def _cosine_hinge(cosine: jax.Array, target: jax.Array, margin: float) -> jax.Array:
    nothing = jnp.zeros_like(cosine)
    return jnp.where(target == 1, 1 - cosine, jnp.where(target == -1, hinge(cosine - margin), nothing))


class MarginRankingLoss(Loss):
    """Loss of a ranking; see `margin_ranking_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MarginRankingLoss.html
    """

    def __init__(self, margin: float = 0.0, reduction: Reduction = "mean") -> None:
        self.margin = margin
        self.reduction = reduction_name("MarginRankingLoss", reduction)

    def forward(
        self, input1: jax.Array, input2: jax.Array, target: jax.Array, *, where: jax.Array | None = None
    ) -> jax.Array:
        """Return the loss of `input1` over `input2` (target 1) or under it (target -1)."""
        return margin_ranking_loss(input1, input2, target, self.margin, self.reduction, where=where)


class HingeEmbeddingLoss(Loss):
    """Loss of distances of pairs; see `hinge_embedding_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.HingeEmbeddingLoss.html
    """

    def __init__(self, margin: float = 1.0, reduction: Reduction = "mean") -> None:
        self.margin = margin
        self.reduction = reduction_name("HingeEmbeddingLoss", reduction)

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of distances `input` against `target`."""
        return hinge_embedding_loss(input, target, self.margin, self.reduction, where=where)


class CosineEmbeddingLoss(Loss):
    """Loss of the cosine between vectors; see `cosine_embedding_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CosineEmbeddingLoss.html
    """

    def __init__(self, margin: float = 0.0, reduction: Reduction = "mean") -> None:
        self.margin = margin
        self.reduction = reduction_name("CosineEmbeddingLoss", reduction)

    def forward(
        self, input1: jax.Array, input2: jax.Array, target: jax.Array, *, where: jax.Array | None = None
    ) -> jax.Array:
        """Return the loss of pairs of vectors against `target`."""
        return cosine_embedding_loss(input1, input2, target, self.margin, self.reduction, where=where)
