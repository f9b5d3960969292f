"""What the activations share: derivatives stated by hand, half precision computed in single."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

import jax
import jax.numpy as jnp

Options = ParamSpec("Options")
Elementwise = Callable[[jax.Array], jax.Array]


def with_tangent(value: Elementwise, tangent: Callable[[jax.Array, jax.Array], jax.Array]) -> Elementwise:
    """Return `value` with the derivative `tangent` (x, dx) → dy, linear in dx, in place of the one JAX would derive.

    Stated where the derived one overflows, loses digits or takes another side of a kink than PyTorch's.
    """
    function = jax.custom_jvp(value)
    function.defjvp(lambda primals, tangents: (function(*primals), tangent(*primals, *tangents)))
    return function


def floating(
    function: Callable[Concatenate[jax.Array, Options], jax.Array],
) -> Callable[Concatenate[jax.Array, Options], jax.Array]:
    """Let `function` compute float16 and bfloat16 in float32 and round once, as PyTorch does, and refuse integers."""

    @wraps(function)
    def rounded_once(input: jax.Array, *args: Options.args, **kwargs: Options.kwargs) -> jax.Array:
        if not jnp.issubdtype(input.dtype, jnp.floating):
            raise TypeError(f"{function.__name__}: input must be floating, got {input.dtype}; cast it with .astype")
        if input.dtype in (jnp.float16, jnp.bfloat16):
            return function(input.astype(jnp.float32), *args, **kwargs).astype(input.dtype)
        return function(input, *args, **kwargs)

    return rounded_once


def promoting(
    function: Callable[Concatenate[jax.Array, Options], jax.Array],
) -> Callable[Concatenate[jax.Array, Options], jax.Array]:
    """Do what `floating` does and compute integers in float32, as PyTorch does in the functions that take them."""
    inner = floating(function)

    @wraps(function)
    def promoted(input: jax.Array, *args: Options.args, **kwargs: Options.kwargs) -> jax.Array:
        exact = not jnp.issubdtype(input.dtype, jnp.inexact)  # integers and booleans
        return inner(input.astype(jnp.float32) if exact else input, *args, **kwargs)

    return promoted
