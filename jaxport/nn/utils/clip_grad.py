"""Gradient clipping by norm and by value, on trees of gradients.

In PyTorch these functions change ``.grad`` in place; here they return the new gradients.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.experimental import checkify
from jax.typing import ArrayLike


def _vector_norm(x: jax.Array, order: float) -> jax.Array:
    """Return (Σ|x|^order)^(1/order), or its limit: the largest (inf) or smallest (-inf) magnitude, the count (0)."""
    size = jnp.abs(x)
    if size.dtype.itemsize < 4:  # summed in float32, as PyTorch does
        return _vector_norm(x.astype(jnp.float32), order).astype(size.dtype)
    if order == 2.0:
        return jnp.sqrt(jnp.sum(jnp.square(size)))
    if order == float("inf"):
        return jnp.max(size, initial=0.0)
    if order == float("-inf"):
        return jnp.min(size, initial=jnp.inf)
    if order == 0.0:
        return jnp.sum(x != 0, dtype=size.dtype)
    return jnp.sum(size) if order == 1.0 else jnp.sum(size**order) ** (1.0 / order)


def _leaves(tree: Any) -> list[jax.Array]:
    return [jnp.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def get_total_norm(tensors: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False) -> jax.Array:
    """Return the norm of a tree of arrays as if it were one vector: the norm of the arrays' norms.

    Args:
        tensors: any pytree of arrays.
        norm_type: p of the norm (Σ|x|ᵖ)^(1/p); also ``float("inf")`` for the largest magnitude. With 0 each array's
            norm is the number of its entries that are not zero, and the total is the number of arrays that have any.
        error_if_nonfinite: whether NaN or an infinity is an error.

    Returns:
        A scalar; 0 for a tree without arrays.

    Raises:
        RuntimeError: the norm is not finite and `error_if_nonfinite`. Compiled code cannot raise: there the check needs
            ``jax.experimental.checkify.checkify`` around the function, and JAX says so if it is missing.

    Differs from PyTorch: no `foreach`; the compiler fuses.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.get_total_norm.html
    """
    leaves, order = _leaves(tensors), float(norm_type)
    if not leaves:
        return jnp.zeros(())
    norms = [_vector_norm(leaf, order) for leaf in leaves]
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(*norms)  # of bfloat16 and float32, say, float32
    total = _vector_norm(jnp.stack([norm.astype(dtype) for norm in norms]), order)
    if error_if_nonfinite:
        _require_finite(total, order)
    return total


def _require_finite(total: jax.Array, order: float) -> None:
    message = (
        f"the total norm of order {order} of the gradients is not finite, so they cannot be clipped; to scale them by "
        "it nevertheless, set error_if_nonfinite=False"
    )
    if isinstance(total, Tracer):
        checkify.check(jnp.isfinite(total), message)
    elif not jnp.isfinite(total):
        raise RuntimeError(message)


def clip_grads_with_norm_(grads: Any, max_norm: float, total_norm: ArrayLike) -> Any:
    """Return the gradients scaled to `max_norm`, given their norm: g · min(max_norm / (total_norm + 1e-6), 1).

    Args:
        grads: any pytree of arrays.
        max_norm: largest norm.
        total_norm: theirs, from `get_total_norm`.

    Returns:
        A tree of the same structure, shapes and dtypes.

    Differs from PyTorch: takes gradients, not parameters that hold them, and returns them; no `foreach`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grads_with_norm_.html
    """
    coefficient = jnp.minimum(float(max_norm) / (jnp.asarray(total_norm) + 1e-6), 1.0)
    return jax.tree.map(lambda g: g * coefficient.astype(g.dtype), grads)


def clip_grad_norm_(
    grads: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> tuple[Any, jax.Array]:
    """Return the gradients scaled so that their norm is at most `max_norm`, and the norm that they had.

    g · min(max_norm / (‖g‖ + 1e-6), 1), with one norm over all arrays.

    Args:
        grads: any pytree of arrays.
        max_norm: largest norm.
        norm_type: p of the norm, as in `get_total_norm`.
        error_if_nonfinite: whether a norm that is NaN or infinite is an error, as in `get_total_norm`.

    Returns:
        The new gradients, in the same structure, shapes and dtypes, and the total norm before clipping.

    Raises:
        RuntimeError: the norm is not finite and `error_if_nonfinite`.

    Differs from PyTorch: takes gradients, not parameters that hold them, and returns them; no `foreach`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html
    """
    total = get_total_norm(grads, norm_type, error_if_nonfinite)
    return clip_grads_with_norm_(grads, max_norm, total), total


def clip_grad_value_(grads: Any, clip_value: float) -> Any:
    """Return the gradients with every entry clipped to [-clip_value, clip_value].

    Args:
        grads: any pytree of arrays.
        clip_value: largest magnitude.

    Returns:
        A tree of the same structure, shapes and dtypes; NaN stays NaN.

    Differs from PyTorch: takes gradients, not parameters that hold them, and returns them; no `foreach`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_value_.html
    """
    bound = float(clip_value)
    return jax.tree.map(lambda g: jnp.minimum(jnp.maximum(g, -bound), bound), grads)
