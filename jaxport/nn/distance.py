"""Distances and similarities of vectors: cosine_similarity, pairwise_distance, pdist and their modules."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .checks import same_dtype
from .kinks import absolute
from .loss_reduce import broadcast, floating
from .module import Module


def _reduce_powers(x: jax.Array, p: float, axis: int) -> jax.Array:
    size = jnp.abs(x)
    if p == 0:
        return (x != 0).astype(x.dtype).sum(axis, keepdims=True)
    if math.isinf(p):
        return (size.max if p > 0 else size.min)(axis, keepdims=True)
    if p == 1:
        return size.sum(axis, keepdims=True)
    if p == 2:
        return jnp.sqrt(jnp.square(x).sum(axis, keepdims=True))
    return jnp.power(jnp.power(size, p).sum(axis, keepdims=True), 1.0 / p)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def vector_norm(x: jax.Array, p: float, axis: int, share_ties: bool = True) -> jax.Array:
    """Return (Σ |x|^p)^(1/p) along `axis`, which stays with size 1; the derivative is 0 where PyTorch's is.

    Args:
        x: any shape.
        p: any real number, also 0 (how many are not 0), inf (the largest) and -inf (the smallest).
        axis: what to reduce.
        share_ties: whether entries that are equally large share the derivative of p = ±inf, or each have all of it.
    """
    return _reduce_powers(x, p, axis)


def _slope(x: jax.Array, norm: jax.Array, p: float, axis: int, share_ties: bool) -> jax.Array:
    """Return d norm / d x for p ≠ 2: sign(x)·(|x| / norm)^(p-1), and 0 where the norm or the entry is 0."""
    sign = jnp.sign(x)
    if p == 0:
        return jnp.zeros_like(x)
    if p == 1:
        return sign
    if math.isinf(p):
        largest = sign * (jnp.abs(x) == norm).astype(x.dtype)
        count = (jnp.abs(x) == norm).astype(x.dtype).sum(axis, keepdims=True)
        return largest / count if share_ties else largest
    null = jnp.broadcast_to(norm == 0, x.shape)
    size = jnp.where(null, jnp.ones_like(x), jnp.broadcast_to(norm, x.shape))
    null = null | (x == 0)
    ratio = absolute(jnp.where(null, jnp.ones_like(x), x)) / size
    return jnp.where(null, jnp.zeros_like(x), sign * jnp.power(ratio, p - 1.0))


@vector_norm.defjvp
def _vector_norm_jvp(
    p: float, axis: int, share_ties: bool, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[jax.Array, jax.Array]:
    (x,), (dx,) = primals, tangents
    norm = vector_norm(x, p, axis, share_ties)
    if p == 2:
        return norm, _safe_ratio((x * dx).sum(axis, keepdims=True), norm)
    return norm, (_slope(x, norm, p, axis, share_ties) * dx).sum(axis, keepdims=True)


def _safe_ratio(x: jax.Array, norm: jax.Array) -> jax.Array:
    """Return x / norm, and 0 where the norm is 0."""
    null = norm == 0
    return jnp.where(null, jnp.zeros_like(x), x / jnp.where(null, jnp.ones_like(norm), norm))


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _unit(x: jax.Array, axis: int, eps: float) -> jax.Array:
    """Return x / max(‖x‖, eps); the bound does not stop the norm's derivative, as in PyTorch."""
    return x / jnp.maximum(vector_norm(x, 2, axis), eps)


@_unit.defjvp
def _unit_jvp(
    axis: int, eps: float, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[jax.Array, jax.Array]:
    # Of the quotient's derivative, rather than JAX's own -x·dn / n²: where it cancels (a vector of one entry has no
    # direction to turn to) it does so exactly.
    (x,), (dx,) = primals, tangents
    norm, norm_tangent = jax.jvp(lambda v: vector_norm(v, 2, axis), (x,), (dx,))
    bounded = jnp.maximum(norm, eps)
    unit = _unit(x, axis, eps)
    return unit, dx / bounded - unit / bounded * norm_tangent


def _vectors(owner: str, x1: jax.Array, x2: jax.Array) -> list[jax.Array]:
    same_dtype(owner, x1=x1, x2=x2)
    floating(owner, x1=x1)
    return broadcast(owner, x1=x1, x2=x2)


def cosine_similarity(x1: jax.Array, x2: jax.Array, dim: int = 1, eps: float = 1e-8) -> jax.Array:
    """Cosine of the angle between vectors: Σ x1/max(‖x1‖, ε) · x2/max(‖x2‖, ε) along `dim`.

    The bound ε does not stop the gradient: it is the formula's, with max(‖x‖, ε) in place of ‖x‖.

    Args:
        x1: any shape.
        x2: broadcast with `x1`.
        dim: the axis of the vectors, after broadcasting; the result does not have it.
        eps: ε, the least norm.

    Raises:
        ValueError: the shapes do not broadcast together.
        TypeError: dtypes differ or are not floating (PyTorch promotes them).
        IndexError: no such axis.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cosine_similarity.html
    """
    x1, x2 = _vectors("cosine_similarity", x1, x2)
    ndim = max(x1.ndim, 1)
    if not -ndim <= dim < ndim:
        raise IndexError(f"cosine_similarity: dim must lie in [{-ndim}, {ndim - 1}], got {dim}")
    x1, x2 = (x.reshape(1) if x.ndim == 0 else x for x in (x1, x2))
    return (_unit(x1, dim, eps) * _unit(x2, dim, eps)).sum(dim)


def pairwise_distance(
    x1: jax.Array, x2: jax.Array, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> jax.Array:
    """Distance ‖x1 - x2 + ε‖_p between vectors in the last axis.

    Args:
        x1: (N, D) or (D,), or any shape.
        x2: broadcast with `x1`.
        p: the norm's degree, any real number: 0 counts what differs, inf and -inf are the largest and the smallest
            difference.
        eps: ε, added to every difference.
        keepdim: whether the last axis stays, with size 1.

    Raises:
        ValueError: the shapes do not broadcast together, or vectors of no entries with `p` below 0 or inf.
        TypeError: dtypes differ or are not floating (PyTorch promotes them).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pairwise_distance.html
    """
    x1, x2 = _vectors("pairwise_distance", x1, x2)
    difference = x1 - x2 + eps
    scalar = difference.ndim == 0
    if scalar:
        difference = difference.reshape(1)
    if difference.shape[-1] == 0 and (p < 0 or p == math.inf):
        raise ValueError(f"pairwise_distance: p must be finite and not negative for vectors of no entries, got {p}")
    distance = vector_norm(difference, p, difference.ndim - 1)
    return distance if keepdim and not scalar else distance[..., 0]


def pdist(input: jax.Array, p: float = 2.0) -> jax.Array:
    """Distances ‖x_i - x_j‖_p between all pairs of rows i < j, in the order (0, 1), (0, 2), …, (1, 2), ….

    The derivative is 0 between equal rows; for p = inf, each of several largest differences has all of it.

    Args:
        input: x, (N, D).
        p: the norm's degree, 0 ≤ p ≤ inf.

    Returns:
        (N·(N - 1)/2,)

    Raises:
        ValueError: not a matrix, or `p` is negative.
        TypeError: not floating.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pdist.html
    """
    if input.ndim != 2:
        raise ValueError(f"pdist: input must be (N, D), got shape {input.shape}")
    floating("pdist", input=input)
    if not p >= 0:
        raise ValueError(f"pdist: p must not be negative, got {p}")
    n, size = input.shape
    rows, columns = np.triu_indices(n, 1)
    if size == 0:
        return jnp.zeros(rows.shape, input.dtype)
    # All n² differences rather than gathered rows: XLA fuses them into the reductions, and back without a scatter.
    shape = (n, n, size)
    difference = jnp.broadcast_to(input[:, None], shape) - jnp.broadcast_to(input[None], shape)
    return vector_norm(difference, p, 2, False).reshape(n, n)[rows, columns]


class CosineSimilarity(Module):
    """Cosine of the angle between vectors along `dim`; see `cosine_similarity`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CosineSimilarity.html
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim = dim
        self.eps = eps

    def forward(self, x1: jax.Array, x2: jax.Array) -> jax.Array:
        """Return the similarity, without the axis `dim`."""
        return cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """Distance between vectors in the last axis; see `pairwise_distance`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.PairwiseDistance.html
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: jax.Array, x2: jax.Array) -> jax.Array:
        """Return the distances, without the last axis unless `keepdim`."""
        return pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
