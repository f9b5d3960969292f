"""Scaled dot-product attention, and the masks that attention takes."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from .checks import probability, same_dtype
from .dropout import dropout
from .precision import product_precision


@jax.custom_jvp
def attention_softmax(scores: jax.Array) -> jax.Array:
    """Return the softmax along the last axis, differentiated as PyTorch does: y · (g − Σ y g).

    JAX's own derivative gives y g − y Σ y g, which loses the digits of gradients that nearly cancel.
    """
    return jax.nn.softmax(scores, axis=-1)


@attention_softmax.defjvp
def _softmax_tangent(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    y = attention_softmax(*primals)
    part = y * tangents[0]
    # This order, since its transpose is y · (g − Σ y g).
    return y, part - y * jnp.sum(part, axis=-1, keepdims=True)


@jax.custom_jvp
def safe_softmax(scores: jax.Array) -> jax.Array:
    """Return `attention_softmax`, but zeros (gradient zero) where a whole row is -inf, as PyTorch does."""
    dead = jnp.all(jnp.isneginf(scores), axis=-1, keepdims=True)
    weights = attention_softmax(scores)
    return jnp.where(jnp.broadcast_to(dead, scores.shape), jnp.zeros_like(weights), weights)


@safe_softmax.defjvp
def _safe_softmax_tangent(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    y = safe_softmax(*primals)
    part = y * tangents[0]
    return y, part - y * jnp.sum(part, axis=-1, keepdims=True)


def attention_scores(query: jax.Array, key: jax.Array, scale: float) -> jax.Array:
    """Return Q Kᵀ · scale, (*, L, S); those of bfloat16 and float16 in float32, as PyTorch keeps them."""
    wide = query.dtype if query.dtype.itemsize > 2 else jnp.float32
    transposed = jnp.swapaxes(key, -1, -2)
    return jnp.matmul(query, transposed, precision=product_precision(), preferred_element_type=wide) * scale


def weighted_values(weights: jax.Array, value: jax.Array) -> jax.Array:
    """Return weights · V, (*, L, F), in the dtype of `value`."""
    return jnp.matmul(weights.astype(value.dtype), value, precision=product_precision())


def check_mask(owner: str, name: str, mask: jax.Array | None) -> None:
    """Refuse a mask that is neither boolean nor floating.

    Raises:
        TypeError: it is neither.
    """
    if mask is not None and mask.dtype != jnp.bool_ and not jnp.issubdtype(mask.dtype, jnp.floating):
        raise TypeError(f"{owner}: {name} must be boolean or floating, got {mask.dtype}")


def additive_mask(masked: jax.Array, dtype: DTypeLike) -> jax.Array:
    """Return -inf where `masked` is True and 0 elsewhere, to be added to scores; a floating mask as it is."""
    return jnp.where(masked, -jnp.inf, 0.0).astype(dtype) if masked.dtype == jnp.bool_ else masked


def _check(query: jax.Array, key: jax.Array, value: jax.Array, enable_gqa: bool) -> None:
    owner = "scaled_dot_product_attention"
    same_dtype(owner, query=query, key=key, value=value)
    shapes = f"query {query.shape}, key {key.shape}, value {value.shape}"
    if not jnp.issubdtype(query.dtype, jnp.floating):
        raise TypeError(f"{owner}: query, key and value must be floating, got {query.dtype}")
    if min(query.ndim, key.ndim, value.ndim) < (3 if enable_gqa else 2):
        least = "(*, H, L, E)" if enable_gqa else "(*, L, E)"
        raise ValueError(f"{owner}: query, key and value must be {least} or larger, got {shapes}")
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(f"{owner}: query and key must have one size E of their last axis, got {shapes}")
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(f"{owner}: key and value must have one length S, got {shapes}")
    if enable_gqa and any(n == 0 or query.shape[-3] % n for n in (key.shape[-3], value.shape[-3])):
        raise ValueError(f"{owner}: query's heads (axis -3) must be a multiple of key's and value's, got {shapes}")


def _batch_shape(*arrays: jax.Array) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(array.shape[:-2] for array in arrays))
    except ValueError:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(
            f"scaled_dot_product_attention: the leading axes of query, key and value must broadcast, got {shapes}"
        ) from None


def _score_mask(mask: jax.Array, shape: tuple[int, ...], query: jax.Array, dtype: DTypeLike) -> jax.Array:
    """Return the mask as something to add to scores of `shape`; here a boolean True takes part."""
    owner = "scaled_dot_product_attention"
    if mask.dtype not in (jnp.bool_, jnp.float32, query.dtype):
        raise TypeError(f"{owner}: attn_mask must be boolean, float32 or query's {query.dtype}, got {mask.dtype}")
    if len(mask.shape) > len(shape) or any(
        n not in (1, m) for n, m in zip(mask.shape[::-1], shape[::-1], strict=False)
    ):
        raise ValueError(f"{owner}: attn_mask must broadcast to the scores' shape {shape}, got {mask.shape}")
    added = additive_mask(~mask, dtype) if mask.dtype == jnp.bool_ else mask.astype(dtype)
    return jnp.broadcast_to(added, shape)


def _causal(length: int, source: int) -> jax.Array:
    """Return the mask (L, S) in which position i sees positions 0 … i, whatever S is: aligned at the upper left."""
    return jnp.arange(source)[None, :] <= jnp.arange(length)[:, None]


def scaled_dot_product_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    attn_mask: jax.Array | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    dropout_key: jax.Array | None = None,
) -> jax.Array:
    """Attend: dropout(softmax(Q Kᵀ · scale + mask)) V.

    Axes: L queries, S keys, E features of query and key, F features of value, H heads.

    Args:
        query: Q, (*, L, E).
        key: K, (*, S, E).
        value: V, (*, S, F).
        attn_mask: broadcasts to the scores (*, L, S). Boolean: True takes part (the opposite of MultiheadAttention's
            masks). Floating: added to the scores.
        dropout_p: probability of a weight to be zeroed; applies always, there is no training flag.
        is_causal: query i sees keys 0 … i only, whatever S is; not together with `attn_mask`.
        scale: None means 1/√E.
        enable_gqa: key and value have fewer heads (axis -3) than query, each serving a group of consecutive ones.
        dropout_key: JAX PRNG key of the dropped weights (`key` is taken by PyTorch's argument); needed if
            `dropout_p` > 0. A replayed mask has the scores' shape.

    Returns:
        (*, L, F). A query all of whose keys are masked by -inf gets zeros, and no gradient.

    Raises:
        TypeError: the dtypes differ or are not floating, or the mask's is none of boolean, float32 and query's.
        ValueError: the shapes do not fit, both `attn_mask` and `is_causal` are given, `dropout_p` is outside [0, 1],
            or there is no key.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html
    """
    _check(query, key, value, enable_gqa)
    if is_causal and attn_mask is not None:
        raise ValueError("scaled_dot_product_attention: attn_mask must be None where is_causal is True")
    if enable_gqa:
        key, value = (jnp.repeat(x, query.shape[-3] // x.shape[-3], axis=-3) for x in (key, value))
    _batch_shape(query, key, value)
    scores = attention_scores(query, key, 1.0 / math.sqrt(max(query.shape[-1], 1)) if scale is None else scale)
    if is_causal:
        attn_mask = _causal(*scores.shape[-2:])
    if attn_mask is not None:
        scores = scores + _score_mask(attn_mask, scores.shape, query, scores.dtype)
    p = probability("scaled_dot_product_attention", "dropout_p", dropout_p)
    weights = dropout(safe_softmax(scores), p, key=dropout_key)
    return weighted_values(weights, value)
