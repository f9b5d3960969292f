r"""Losses of triplets: triplet_margin_loss, triplet_margin_with_distance_loss and their modules.

Every function takes ``where``, which examples count; see the docstring of ``jaxport.nn.loss``.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from .checks import Reduction, reduction_name, same_dtype
from .distance import PairwiseDistance, pairwise_distance
from .kinks import hinge
from .loss_reduce import Loss, broadcast, floating, keep, reduce_loss, same_ndim

Distance = Callable[[jax.Array, jax.Array], jax.Array]


def _positive_margin(owner: str, margin: float) -> float:
    if margin <= 0:
        raise ValueError(f"{owner}: margin must be greater than 0, got {margin!r}")
    return margin


def _triplet(
    owner: str, distance: Distance, margin: float, swap: bool, reduction: Reduction, where: jax.Array | None
) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    _positive_margin(owner, margin)
    reduction_name(owner, reduction)

    def loss(anchor: jax.Array, positive: jax.Array, negative: jax.Array) -> jax.Array:
        same_ndim(owner, anchor=anchor, positive=positive, negative=negative)
        same_dtype(owner, anchor=anchor, positive=positive, negative=negative)
        if where is not None:
            arrays = broadcast(owner, anchor=anchor, positive=positive, negative=negative)
            anchor, positive, negative = keep(owner, where, *arrays)
        near, far = distance(anchor, positive), distance(anchor, negative)
        if swap:
            # Where both are equal, each has half of the gradient, in PyTorch as here.
            far = jnp.minimum(*broadcast(owner, far=far, swapped=distance(positive, negative)))
        near, far = broadcast(owner, near=near, far=far)
        return reduce_loss(hinge(margin + near - far), reduction, where, owner)

    return loss


def triplet_margin_loss(
    anchor: jax.Array,
    positive: jax.Array,
    negative: jax.Array,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: Reduction = "mean",
    *,
    where: jax.Array | None = None,
) -> jax.Array:
    """Loss of triplets: max(0, margin + d(a, p) - d(a, n)), with d(x, y) = ‖x - y + ε‖_p.

    Args:
        anchor: a, (N, D) or (D,).
        positive: p, what should be near a; broadcast, with as many axes.
        negative: n, what should be far from a; broadcast, with as many axes.
        margin: above 0, by how much n should be farther away.
        p: the norm's degree.
        eps: ε, added to every difference.
        swap: whether d(p, n) takes the place of d(a, n) where it is smaller.
        reduction: 'none' (N,), 'mean' or 'sum'.
        where: which examples count, (N,).

    Raises:
        ValueError: shapes do not fit, `margin` is not above 0, or an unknown `reduction`.
        TypeError: dtypes differ or are not floating.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.triplet_margin_loss.html
    """
    floating("triplet_margin_loss", anchor=anchor)

    def distance(x: jax.Array, y: jax.Array) -> jax.Array:
        return pairwise_distance(x, y, p, eps)

    loss = _triplet("triplet_margin_loss", distance, margin, swap, reduction, where)
    return loss(anchor, positive, negative)


def triplet_margin_with_distance_loss(
    anchor: jax.Array,
    positive: jax.Array,
    negative: jax.Array,
    *,
    distance_function: Distance | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: Reduction = "mean",
    where: jax.Array | None = None,
) -> jax.Array:
    """Loss of triplets with any distance: max(0, margin + d(a, p) - d(a, n)).

    Args:
        anchor: a, (N, …).
        positive: p, what should be near a; as many axes.
        negative: n, what should be far from a; as many axes.
        distance_function: d, of two arrays; `pairwise_distance` if None.
        margin: above 0, by how much n should be farther away.
        swap: whether d(p, n) takes the place of d(a, n) where it is smaller.
        reduction: 'none' (what d returns), 'mean' or 'sum'.
        where: which examples count, (N,).

    Raises:
        ValueError: shapes do not fit, `margin` is not above 0, or an unknown `reduction`.
        TypeError: dtypes differ.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.triplet_margin_with_distance_loss.html
    """
    distance = pairwise_distance if distance_function is None else distance_function
    loss = _triplet("triplet_margin_with_distance_loss", distance, margin, swap, reduction, where)
    return loss(anchor, positive, negative)


class TripletMarginLoss(Loss):
    """Loss of triplets; see `triplet_margin_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.TripletMarginLoss.html
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        self.margin = _positive_margin("TripletMarginLoss", margin)
        self.p = p
        self.eps = eps
        self.swap = swap
        self.reduction = reduction_name("TripletMarginLoss", reduction)

    def forward(
        self, anchor: jax.Array, positive: jax.Array, negative: jax.Array, *, where: jax.Array | None = None
    ) -> jax.Array:
        """Return the loss of `anchor` near `positive` and far from `negative`."""
        options = self.margin, self.p, self.eps, self.swap, self.reduction
        return triplet_margin_loss(anchor, positive, negative, *options, where=where)


class TripletMarginWithDistanceLoss(Loss):
    """Loss of triplets with any distance; see `triplet_margin_with_distance_loss`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.TripletMarginWithDistanceLoss.html
    """

    def __init__(
        self,
        *,
        distance_function: Distance | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.margin = _positive_margin("TripletMarginWithDistanceLoss", margin)
        self.swap = swap
        self.reduction = reduction_name("TripletMarginWithDistanceLoss", reduction)

    def forward(
        self, anchor: jax.Array, positive: jax.Array, negative: jax.Array, *, where: jax.Array | None = None
    ) -> jax.Array:
        """Return the loss of `anchor` near `positive` and far from `negative`."""
        return triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
            where=where,
        )
