"""float64_attention: jax.nn.dot_product_attention computes its softmax in float32, whatever it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

try:
    from jax._src.nn import functions
except ImportError:  # another version of JAX, which keeps it elsewhere
    functions: Any = None


@contextmanager
def float64_attention() -> Iterator[None]:
    """Let `jax.nn.dot_product_attention`, and so `flax.nnx.MultiHeadAttention`, compute float64 inputs in float64.

    JAX casts the scores to float32 for the softmax: a float64 run would be right to 1e-7 only, and no float64 check
    could tell a mistake from rounding. Other dtypes are computed as they are without. It replaces a function of JAX's
    own; in a version without that function nothing is replaced, and such attention agrees to 1e-7 at best.
    """
    original = getattr(functions, "_dot_product_attention_core", None)
    if original is None:
        yield
        return

    def core(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        run = _in_float64 if query.dtype == jnp.float64 else original
        return run(query, key, value, *args, **kwargs)

    functions._dot_product_attention_core = core
    try:
        yield
    finally:
        functions._dot_product_attention_core = original


@cache
def in_float64(attend: Callable[..., Any]) -> Callable[..., Any]:
    """Return an attention function that is run under `float64_attention`."""

    def run(*args: Any, **kwargs: Any) -> Any:
        with float64_attention():
            return attend(*args, **kwargs)

    return run


def _in_float64(
    query: Any, key: Any, value: Any, bias: Any, mask: Any, is_causal: bool, scale: Any, q_seqlen: Any, kv_seqlen: Any,
    local_window_size: Any, return_residual: bool,
) -> Any:  # fmt: skip
    """As JAX's own, softmax(query · key · scale + bias) · value with its masks, without the cast."""
    scores = jnp.einsum("BTNH,BSNH->BNTS", query, key) * jnp.asarray(scale, query.dtype)
    scores = scores if bias is None else (scores + bias).astype(scores.dtype)
    scores = functions._apply_masks(scores, mask, is_causal, q_seqlen, kv_seqlen, local_window_size)
    encoded = jnp.einsum("BNTS,BSNH->BTNH", jax.nn.softmax(scores, axis=-1), value)
    if q_seqlen is not None:
        encoded *= functions._get_padding_mask_encoded(encoded.shape[1], q_seqlen).astype(encoded.dtype)
    if return_residual:
        residual = jax.nn.logsumexp(scores, axis=-1).transpose(0, 2, 1)
        return encoded, jax.lax.stop_gradient(residual)
    return encoded
