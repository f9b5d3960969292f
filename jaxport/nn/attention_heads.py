"""The parts of multi_head_attention_forward: checks, projections, heads and masks."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from .linear import linear

OWNER = "multi_head_attention_forward"


def each_once(function: Callable[[jax.Array], jax.Array], *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Apply `function` to each array, and once to one given twice, so that it stays one object."""
    done = {id(array): function(array) for array in arrays}
    return tuple(done[id(array)] for array in arrays)


# ---------------------------------------------------------------------------------------------------------- checks


def refuse(name: str, wanted: object, found: object) -> ValueError:
    """Return the error that names the argument, what would be right and what was found."""
    return ValueError(f"{OWNER}: {name} must be {wanted}, got {found}")


def check_ranks(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    key_padding_mask: jax.Array | None,
    attn_mask: jax.Array | None,
) -> bool:
    """Return whether the inputs have a batch axis."""
    if query.ndim not in (2, 3):
        raise refuse("query", "(L, N, E) or, unbatched, (L, E)", query.shape)
    for name, array in (("key", key), ("value", value)):
        if array.ndim != query.ndim:
            raise refuse(name, f"of {query.ndim} axes, as query is {query.shape}", array.shape)
    if key_padding_mask is not None and key_padding_mask.ndim != query.ndim - 1:
        raise refuse("key_padding_mask", "(N, S) if batched, (S,) if not", key_padding_mask.shape)
    if attn_mask is not None and attn_mask.ndim not in (2, 3):
        raise refuse("attn_mask", "(L, S) or (N·H, L, S)", attn_mask.shape)
    return query.ndim == 3


def check_sizes(query: jax.Array, key: jax.Array, value: jax.Array, embed_dim: int, heads: int, separate: bool) -> None:
    """Refuse inputs that do not fit together, given as (length, N, size)."""
    if query.shape[-1] != embed_dim:
        raise refuse("query's last axis", f"embed_dim {embed_dim}", query.shape)
    if embed_dim % heads:
        raise refuse("embed_dim", f"a multiple of num_heads {heads}", embed_dim)
    if key.shape[1] != query.shape[1]:
        raise refuse("key's batch (axis 1)", f"that of query {query.shape}", key.shape)
    same = key.shape[:2] == value.shape[:2] if separate else key.shape == value.shape
    if not same:
        raise refuse("value", f"as long as key {key.shape}, in one batch with it", value.shape)
    if not separate and key.shape[-1] != embed_dim:
        raise refuse("key's last axis", f"embed_dim {embed_dim}", key.shape)


def check_mask_shapes(
    key_padding_mask: jax.Array | None, attn_mask: jax.Array | None, batch: int, heads: int, length: int, source: int
) -> None:
    """Refuse masks of other shapes than (N, S), and (L, S) or (N·H, L, S)."""
    if key_padding_mask is not None and key_padding_mask.shape != (batch, source):
        raise refuse("key_padding_mask", f"(N, S) = {(batch, source)}", key_padding_mask.shape)
    good = ((length, source), (batch * heads, length, source))
    if attn_mask is not None and attn_mask.shape not in good:
        raise refuse("attn_mask", f"(L, S) = {good[0]} or (N·H, L, S) = {good[1]}", attn_mask.shape)


# ----------------------------------------------------------------------------------------------------- projections


def _packed(
    query: jax.Array, key: jax.Array, value: jax.Array, weight: jax.Array | None, bias: jax.Array | None
) -> tuple[jax.Array, ...]:
    """Project with W = [W_q; W_k; W_v]; what is one input is projected by one product."""
    size = query.shape[-1]
    if weight is None or weight.shape != (3 * size, size):
        raise refuse("in_proj_weight", f"(3E, E) = {(3 * size, size)}", None if weight is None else weight.shape)
    if query is key and key is value:
        return tuple(jnp.split(linear(query, weight, bias), 3, axis=-1))
    biases = (None, None) if bias is None else (bias[:size], bias[size:])
    if key is value:
        both = linear(key, weight[size:], biases[1])
        return linear(query, weight[:size], biases[0]), *jnp.split(both, 2, axis=-1)
    return _separate(query, key, value, tuple(jnp.split(weight, 3)), bias)


def _separate(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    weights: tuple[jax.Array | None, ...],
    bias: jax.Array | None,
) -> tuple[jax.Array, ...]:
    """Project each input with its own weight (E, its size)."""
    size = query.shape[-1]
    inputs, biases = (query, key, value), (None,) * 3 if bias is None else jnp.split(bias, 3)
    projected = []
    for name, x, weight, b in zip("qkv", inputs, weights, biases, strict=True):
        if weight is None or weight.shape != (size, x.shape[-1]):
            found = None if weight is None else weight.shape
            raise refuse(f"{name}_proj_weight", (size, x.shape[-1]), found)
        projected.append(linear(x, weight, b))
    return tuple(projected)


def project(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    weights: jax.Array | tuple[jax.Array | None, ...] | None,
    bias: jax.Array | None,
) -> tuple[jax.Array, ...]:
    """Return Q, K, V, (length, N, E) each, by packed `weights` (3E, E) or three separate ones."""
    size = query.shape[-1]
    if bias is not None and bias.shape != (3 * size,):
        raise refuse("in_proj_bias", f"(3E,) = ({3 * size},)", bias.shape)
    make = _separate if isinstance(weights, tuple) else _packed
    return make(query, key, value, weights, bias)  # type: ignore[arg-type]


def append_biases(
    k: jax.Array,
    v: jax.Array,
    bias_k: jax.Array | None,
    bias_v: jax.Array | None,
    static_k: jax.Array | None,
    static_v: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Append the trained position, the same for the whole batch: (S, N, E) → (S + 1, N, E)."""
    if (bias_k is None) != (bias_v is None):
        raise refuse("bias_k and bias_v", "given together", "one of them")
    if bias_k is None or bias_v is None:
        return k, v
    if static_k is not None or static_v is not None:
        raise refuse("static_k and static_v", "None beside bias_k and bias_v", "both kinds")
    return _append(k, bias_k, "bias_k"), _append(v, bias_v, "bias_v")


def _append(projected: jax.Array, bias: jax.Array, name: str) -> jax.Array:
    _, batch, size = projected.shape
    if bias.shape not in ((size,), (1, size), (1, 1, size)):
        raise refuse(name, f"(1, 1, E) = {(1, 1, size)}", bias.shape)
    return jnp.concatenate([projected, jnp.broadcast_to(bias.reshape(1, 1, size), (1, batch, size))])


def split_heads(projected: jax.Array, heads: int) -> jax.Array:
    """Return (S, N, E) as (N, H, S, E/H)."""
    length, batch, size = projected.shape
    return projected.reshape(length, batch, heads, size // heads).transpose(1, 2, 0, 3)


def static_heads(array: jax.Array, name: str, shape: tuple[int, ...]) -> jax.Array:
    """Return given keys or values (N·H, S, E/H) as (N, H, S, E/H); `shape` is that of the ones they replace."""
    batch, heads, _, head_dim = shape
    if array.ndim != 3 or (array.shape[0], array.shape[2]) != (batch * heads, head_dim):
        raise refuse(name, f"(N·H, S, E/H) = ({batch * heads}, S, {head_dim})", array.shape)
    return array.reshape(batch, heads, *array.shape[1:])


def sum_masks(masks: list[jax.Array]) -> jax.Array | None:
    """Add the masks in the wider of their dtypes; None if there are none."""
    if not masks:
        return None
    widest = max((mask.dtype for mask in masks), key=lambda dtype: dtype.itemsize)
    first, *others = (mask.astype(widest) for mask in masks)
    shape = jnp.broadcast_shapes(first.shape, *(mask.shape for mask in others))
    return sum((jnp.broadcast_to(mask, shape) for mask in others), jnp.broadcast_to(first, shape))
