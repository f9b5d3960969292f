"""Vectors of unit length and of one hot element: normalize, one_hot."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from .activation_rule import floating, with_tangent
from .axes import axis
from .checks import index_dtype, index_in_range, is_concrete


def _norm_value(x: jax.Array, p: float, axes: tuple[int, ...]) -> jax.Array:
    if p == 0:
        return jnp.sum((x != 0).astype(x.dtype), axis=axes, keepdims=True)
    size = jnp.abs(x)
    if math.isinf(p):
        return (jnp.max if p > 0 else jnp.min)(size, axis=axes, keepdims=True)
    if p == 1:
        return jnp.sum(size, axis=axes, keepdims=True)
    if p == 2:
        return jnp.sqrt(jnp.sum(x * x, axis=axes, keepdims=True))
    return jnp.sum(size**p, axis=axes, keepdims=True) ** (1.0 / p)


def _norm_slope(x: jax.Array, norm: jax.Array, p: float, axes: tuple[int, ...]) -> jax.Array:
    """Return the derivative for every element: PyTorch's, which is 0 at 0."""
    if p == 0:
        return jnp.zeros_like(x)
    if p == 1:
        return jnp.sign(x)
    if math.isinf(p):
        most = (jnp.abs(x) == norm).astype(x.dtype)
        return jnp.sign(x) * most / jnp.sum(most, axis=axes, keepdims=True)
    # |x|^(p-1) / ‖x‖^(p-1) as one power, which neither overflows nor rounds where one element is all there is.
    size, length = jnp.where(x == 0, 1.0, jnp.abs(x)), jnp.where(norm == 0, 1.0, norm)
    ratio = size / length if p == 2 else (size / length) ** (p - 1.0)
    return jnp.where((x == 0) | (norm == 0), 0.0, jnp.sign(x) * ratio)


def p_norm(input: jax.Array, p: float, axes: tuple[int, ...]) -> jax.Array:
    """Return (Σ |x|^p)^(1/p) along `axes`, which stay with size 1; p may be 0, negative or infinite, as in PyTorch.

    The gradient is PyTorch's at its kinks too: 0 at 0, and shared by equal elements for an infinite p.
    """

    def tangent(x: jax.Array, dx: jax.Array) -> jax.Array:
        slope = _norm_slope(x, _norm_value(x, p, axes), p, axes)
        return jnp.sum(slope * dx, axis=axes, keepdims=True)

    return with_tangent(lambda x: _norm_value(x, p, axes), tangent)(input)


@floating
def normalize(input: jax.Array, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12) -> jax.Array:
    """Return x / max(‖x‖_p, eps), the norm taken along `dim`; a zero vector stays zero, with gradient 1 / eps.

    Raises:
        IndexError: there is no such axis.

    Differs from PyTorch: no `out`; JAX arrays are immutable.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.normalize.html
    """
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    axes = tuple(axis("normalize", "dim", d, input.ndim) for d in dims)
    if input.ndim == 0:
        return normalize(input[None], p, 0, eps)[0]
    norm = p_norm(input, p, axes)
    return input / jnp.broadcast_to(jnp.where(norm < eps, eps, norm), input.shape)


def one_hot(tensor: jax.Array, num_classes: int = -1) -> jax.Array:
    """Return integers that are 1 at the class and 0 elsewhere, along a new last axis.

    Args:
        tensor: classes, integers of any shape.
        num_classes: size of the new axis; -1 takes the largest class plus one, which needs concrete values.

    Raises:
        TypeError: `tensor` is not of integers.
        IndexError: a class outside [0, num_classes); where the values are traced, its row is all zeros.
        ValueError: `num_classes` is neither -1 nor positive, or cannot be found from an empty or traced `tensor`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.one_hot.html
    """
    if not jnp.issubdtype(tensor.dtype, jnp.integer):
        raise TypeError(f"one_hot: tensor must be of integers, got {tensor.dtype}")
    if num_classes == -1:
        if not is_concrete(tensor) or tensor.size == 0:
            raise ValueError("one_hot: num_classes must be given where tensor is traced or empty, got -1")
        # In NumPy: inside jit, an operation on a known array is traced.
        num_classes = max(int(np.asarray(tensor).max()) + 1, 1)
    if num_classes <= 0:
        raise ValueError(f"one_hot: num_classes must be positive or -1, got {num_classes}")
    index_in_range("one_hot", "tensor", tensor, 0, num_classes)
    return jax.nn.one_hot(tensor, num_classes, dtype=index_dtype())
