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
    """Let `function` compute float16 and bfloat16 in float32 and round once, as PyTorch does; integers become float."""

    @wraps(function)
    def rounded_once(input: jax.Array, *args: Options.args, **kwargs: Options.kwargs) -> jax.Array:
        if not jnp.issubdtype(input.dtype, jnp.inexact):
            return function(input.astype(jnp.float32), *args, **kwargs)
        if input.dtype in (jnp.float16, jnp.bfloat16):
            return function(input.astype(jnp.float32), *args, **kwargs).astype(input.dtype)
        return function(input, *args, **kwargs)

    return rounded_once
