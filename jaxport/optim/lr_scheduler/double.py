"""Double precision inside compiled code, also where JAX holds 32 bits: PyTorch computes learning rates on the host.

A number of a state is kept as two arrays of the precision in force: the value, and what the value cuts off. A step adds
them in float64, computes there what PyTorch computes, and splits the result again. With x64 the second is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike, DTypeLike


class Double(NamedTuple):
    """A float64 number in two arrays of one dtype: the number rounded to it, and the rest."""

    value: jax.Array
    rest: jax.Array


def _is_double(leaf: Any) -> bool:
    return isinstance(leaf, Double)


def as_double(number: ArrayLike) -> jax.Array:
    """Return `number` in float64; call it inside `in_double`."""
    return jnp.asarray(number).astype(jnp.float64)


def _join(leaf: Any) -> Any:
    return as_double(leaf.value) + as_double(leaf.rest) if _is_double(leaf) else leaf


def split(number: jax.Array, dtype: DTypeLike) -> Double:
    """Return a float64 array as a `Double` of `dtype`."""
    value = number.astype(dtype)
    # Rounded explicitly: XLA may drop a conversion to float32 and back, and the rest would be zero.
    kind = jnp.finfo(dtype)
    rounded = number if kind.bits == 64 else lax.reduce_precision(number, kind.nexp, kind.nmant)
    rest = jnp.where(jnp.isfinite(rounded), number - rounded, jnp.zeros_like(number))
    return Double(value, rest.astype(dtype))


def in_double(function: Callable[..., Any], *args: Any) -> Any:
    """Call ``function(*args)`` with every `Double` as one float64 array, and split every float64 of its result."""
    dtype = jnp.result_type(float)
    with jax.enable_x64(True):
        result = function(*jax.tree.map(_join, args, is_leaf=_is_double))
        return jax.tree.map(lambda leaf: split(leaf, dtype) if leaf.dtype == jnp.float64 else leaf, result)


def divide(numerator: ArrayLike, denominator: float | jax.Array) -> jax.Array:
    """Return the correctly rounded quotient, which XLA replaces by a product if the denominator is a constant.

    One rounding more makes 147 / 49 less than 3, which a floor turns into 2, and in the recursive cosine it grows to
    2e-13.
    """
    return as_double(numerator) / lax.optimization_barrier(as_double(denominator))
