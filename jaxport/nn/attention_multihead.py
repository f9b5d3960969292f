"""multi_head_attention_forward: projections, heads and masks around scaled dot-product attention."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from . import attention_heads as parts
from .attention import (
    additive_mask,
    attention_scores,
    attention_softmax,
    check_mask,
    scaled_dot_product_attention,
    weighted_values,
)
from .attention_heads import OWNER, refuse
from .checks import same_dtype
from .dropout import dropout
from .linear import linear


def _attend_with_weights(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None, dropout_p: float, dropout_key: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Return the attention and its weights, NaN for a query whose keys are all masked, as PyTorch's are."""
    scores = attention_scores(q, k, 1.0 / math.sqrt(q.shape[-1]))
    if mask is not None:
        if mask.dtype != q.dtype:
            raise TypeError(f"{OWNER}: a floating mask must have query's dtype {q.dtype}, got {mask.dtype}")
        if mask.shape[-1] != k.shape[-2]:
            raise refuse("the masks", f"as long as the keys, {k.shape[-2]}", mask.shape[-1])
        scores = scores + jnp.broadcast_to(mask.astype(scores.dtype), scores.shape)
    weights = attention_softmax(scores).astype(q.dtype)
    flat = weights.reshape(-1, *weights.shape[2:])  # PyTorch's axes here, so that its masks can be replayed
    weights = dropout(flat, dropout_p, key=dropout_key).reshape(weights.shape)
    return weighted_values(weights, v), weights


def _mask(
    key_padding_mask: jax.Array | None,
    attn_mask: jax.Array | None,
    is_causal: bool,
    causal: bool,
    query: jax.Array,
    source: int,
    heads: int,
) -> jax.Array | None:
    """Return what is added to the scores, (1 or N, 1 or H, 1 or L, S), or None; `causal` leaves `attn_mask` out."""
    check_mask(OWNER, "key_padding_mask", key_padding_mask)
    check_mask(OWNER, "attn_mask", attn_mask)
    if is_causal and attn_mask is None:
        raise refuse("attn_mask", "given where is_causal is True", None)
    attn_mask = None if causal else attn_mask
    length, batch, _ = query.shape
    parts.check_mask_shapes(key_padding_mask, attn_mask, batch, heads, length, source)
    masks = []
    if attn_mask is not None:
        lead = (1, 1) if attn_mask.ndim == 2 else (batch, heads)
        masks.append(attn_mask.reshape(*lead, length, source))
    if key_padding_mask is not None:
        masks.append(key_padding_mask[:, None, None, :])
    return parts.sum_masks([additive_mask(mask, query.dtype) for mask in masks])


def multi_head_attention_forward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: jax.Array | None,
    in_proj_bias: jax.Array | None,
    bias_k: jax.Array | None,
    bias_v: jax.Array | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: jax.Array,
    out_proj_bias: jax.Array | None,
    training: bool = True,
    key_padding_mask: jax.Array | None = None,
    need_weights: bool = True,
    attn_mask: jax.Array | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: jax.Array | None = None,
    k_proj_weight: jax.Array | None = None,
    v_proj_weight: jax.Array | None = None,
    static_k: jax.Array | None = None,
    static_v: jax.Array | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    *,
    dropout_key: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array | None]:
    """Project query, key and value, attend in each head, and project the heads' outputs together.

    headᵢ = softmax(Qᵢ Kᵢᵀ / √(E/H) + masks) Vᵢ with [Q, K, V] = x Wᵀ + b cut into H heads; output = heads W_oᵀ + b_o.

    Axes: L queries, S keys, N batch, E = `embed_dim_to_check` features, H = `num_heads`.

    Args:
        query: (L, N, E), or (L, E) unbatched.
        key: (S, N, E), or with separate weights (S, N, E_k); (S, E) unbatched.
        value: like key, E_v for E_k.
        embed_dim_to_check: E, a multiple of `num_heads`.
        num_heads: H.
        in_proj_weight: W_q, W_k and W_v stacked, (3E, E); with separate weights `q_proj_weight` (E, E),
            `k_proj_weight` (E, E_k) and `v_proj_weight` (E, E_v) are read instead.
        in_proj_bias: their biases stacked, (3E,).
        bias_k: with `bias_v`, a trained key and value appended to the sequence, (1, 1, E).
        bias_v: see `bias_k`.
        add_zero_attn: whether a key and value of zeros is appended.
        dropout_p: probability of an attention weight to be zeroed while training.
        out_proj_weight: W_o, (E, E).
        out_proj_bias: b_o, (E,).
        training: whether dropout applies.
        key_padding_mask: (N, S), or (S,) unbatched. Boolean: True is ignored. Floating: added to the scores.
        need_weights: whether the attention weights are returned.
        attn_mask: (L, S) or (N·H, L, S). Boolean: True is NOT allowed to attend (the opposite of
            scaled_dot_product_attention's). Floating: added to the scores.
        use_separate_proj_weight: see `in_proj_weight`.
        static_k: (N·H, S, E/H) in place of the projected keys.
        static_v: (N·H, S, E/H) in place of the projected values.
        average_attn_weights: whether the weights are averaged over heads.
        is_causal: a hint that `attn_mask`, which must be given, is causal. Without `key_padding_mask` and
            `need_weights` the causal mask is used in its place; otherwise `attn_mask` itself.
        dropout_key: JAX PRNG key of the dropped weights; needed while training with `dropout_p` > 0. A replayed mask
            has shape (N·H, L, S) with `need_weights` and (N, H, L, S) without, appended keys included.

    Returns:
        The output (L, N, E), and the weights after dropout, (N, L, S) averaged or (N, H, L, S), or None; without N if
        unbatched. A query whose keys are all masked by -inf gives NaN with `need_weights` and zeros (before the output
        projection) without, as in PyTorch.

    Raises:
        TypeError: dtypes differ, or a mask is neither boolean nor floating.
        ValueError: shapes do not fit; a weight is missing; `is_causal` without `attn_mask`; `bias_k` without `bias_v`
            or beside static keys; no key while training with dropout.

    Source: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/nn/functional.py
    """
    batched = parts.check_ranks(query, key, value, key_padding_mask, attn_mask)
    if not batched:
        query, key, value = parts.each_once(lambda x: x[:, None], query, key, value)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
    parts.check_sizes(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    biases = {"in_proj_bias": in_proj_bias, "bias_k": bias_k, "bias_v": bias_v}
    same_dtype(OWNER, query=query, key=key, value=value, static_k=static_k, static_v=static_v, **biases)
    # The hint stands in for the mask only where no other mask and no weights are wanted.
    causal = is_causal and key_padding_mask is None and not need_weights
    mask = _mask(key_padding_mask, attn_mask, is_causal, causal, query, key.shape[0], num_heads)
    weights = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else in_proj_weight
    q, k, v = parts.project(query, key, value, weights, in_proj_bias)
    k, v = parts.append_biases(k, v, bias_k, bias_v, static_k, static_v)
    q, k, v = (parts.split_heads(x, num_heads) for x in (q, k, v))
    k = k if static_k is None else parts.static_heads(static_k, "static_k", k.shape)
    v = v if static_v is None else parts.static_heads(static_v, "static_v", v.shape)
    if add_zero_attn:
        k, v = (jnp.pad(x, ((0, 0), (0, 0), (0, 1), (0, 0))) for x in (k, v))
    if mask is not None:
        # Appended keys are visible to all.
        mask = jnp.pad(mask, ((0, 0),) * 3 + ((0, (bias_k is not None) + add_zero_attn),))
    p = dropout_p if training else 0.0
    if need_weights:
        attended, attention = _attend_with_weights(q, k, v, mask, p, dropout_key)
    else:
        attended = scaled_dot_product_attention(q, k, v, mask, p, causal, dropout_key=dropout_key)
        attention = None
    joined = attended.transpose(2, 0, 1, 3).reshape(query.shape)
    output = linear(joined, out_proj_weight, out_proj_bias)
    if attention is not None and average_attn_weights:
        attention = attention.mean(axis=1)
    if batched:
        return output, attention
    return output[:, 0], None if attention is None else attention[0]
