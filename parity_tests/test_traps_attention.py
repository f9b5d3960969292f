"""Trap 12: every convention of PyTorch's attention, planted as the mistake it invites, must be reported."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from cases import Case, case_findings
from test_nn_attention import MHA_NAMED, dead_rows, sdpa

from jaxport.nn import attention, attention_heads, attention_module, attention_multihead
from jaxport.nn import functional as F

Wrong = Callable[..., Any]


def other_order(right: Wrong) -> Wrong:
    """Read the packed weight as key, query, value."""

    def project(query: Any, key: Any, value: Any, weights: Any, bias: Any) -> Any:
        swap = lambda x: jnp.concatenate([jnp.split(x, 3)[i] for i in (1, 0, 2)])  # noqa: E731
        return right(query, key, value, swap(weights), swap(bias))

    return project


def interleaved_heads(right: Wrong) -> Wrong:
    """Cut the features into heads the other way round: E/H × H."""

    def split_heads(projected: jax.Array, heads: int) -> jax.Array:
        length, batch, size = projected.shape
        return projected.reshape(length, batch, size // heads, heads).transpose(1, 3, 0, 2)

    return split_heads


def inverted(right: Wrong) -> Wrong:
    """Read a boolean mask of MultiheadAttention as scaled_dot_product_attention does: True takes part."""
    return lambda mask, dtype: right(~mask if mask.dtype == jnp.bool_ else mask, dtype)


def with_changed(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Wrong], Wrong]:
    """Change keyword arguments on their way."""
    return lambda right: lambda *args, **kwargs: right(*args, **change(kwargs))


def summed_weights(right: Wrong) -> Wrong:
    def forward(*args: Any, **kwargs: Any) -> Any:
        output, weights = right(*args, **kwargs)
        return output, weights * 3.0

    return forward


def weights_before_dropout(right: Wrong) -> Wrong:
    """Return the weights as they were before dropout."""

    def attend(q: Any, k: Any, v: Any, mask: Any, p: float, key: Any) -> Any:
        output, _ = right(q, k, v, mask, p, key)
        return output, right(q, k, v, mask, 0.0, None)[1]

    return attend


def scaled_by_embedding(right: Wrong) -> Wrong:
    """Scale by 1/√E in place of 1/√(E/H)."""
    return lambda q, k, scale: right(q, k, scale / 3.0**0.5)


def no_transpose(right: Wrong) -> Wrong:
    return lambda function, *arrays: arrays


def batch_last(right: Wrong) -> Wrong:
    """Order a mask of N·H axes heads first."""

    def mask(padding: Any, attn: Any, *rest: Any) -> Any:
        heads = rest[-1]
        turned = attn.reshape(-1, heads, *attn.shape[1:]).swapaxes(0, 1).reshape(attn.shape)
        return right(padding, turned, *rest)

    return mask


def lower_right(length: int, source: int) -> jax.Array:
    return jnp.arange(source)[None, :] <= jnp.arange(length)[:, None] + source - length


CAUSAL = sdpa("causal", (2, 3, 4), (2, 5, 4), (2, 5, 4), is_causal=True)
MASKED = sdpa("masked", (2, 3, 4), (2, 5, 4), (2, 5, 4), (3, 5))
GROUPED = sdpa("grouped", (2, 6, 5, 4), (2, 2, 7, 4), (2, 2, 7, 4), enable_gqa=True)


def tiled(right: Wrong) -> Wrong:
    return lambda x, times, axis: jnp.concatenate([x] * times, axis=axis)


def nan_rows(scores: jax.Array) -> jax.Array:
    return jax.nn.softmax(scores, axis=-1)


# (name of the trap, where, function, mistake, case)
TRAPS: list[tuple[str, Any, str, Callable[[Wrong], Wrong], Case]] = [
    ("packed as k, q, v", attention_heads, "_packed", other_order, MHA_NAMED["packed"]),
    ("heads interleaved", attention_heads, "split_heads", interleaved_heads, MHA_NAMED["packed-memory"]),
    ("batch_first ignored", attention_module, "each_once", no_transpose, MHA_NAMED["batch-first"]),
    ("key_padding_mask inverted", attention_multihead, "additive_mask", inverted, MHA_NAMED["padding"]),
    ("key_padding_mask inverted, no weights", attention_multihead, "additive_mask", inverted, MHA_NAMED["no-weights"]),
    ("attn_mask inverted", attention_multihead, "additive_mask", inverted, MHA_NAMED["mask"]),
    ("N·H masks heads first", attention_multihead, "_mask", batch_last, MHA_NAMED["mask-of-each-head"]),
    (
        "weights summed over heads",
        attention_module,
        "multi_head_attention_forward",
        summed_weights,
        MHA_NAMED["weights-averaged"],
    ),
    (
        "weights always averaged",
        attention_module,
        "multi_head_attention_forward",
        with_changed(lambda options: options | {"average_attn_weights": True}),
        MHA_NAMED["weights-of-heads"],
    ),
    (
        "weights before dropout",
        attention_multihead,
        "_attend_with_weights",
        weights_before_dropout,
        MHA_NAMED["dropped-weights"],
    ),
    ("scale of the whole embedding", attention_multihead, "attention_scores", scaled_by_embedding, MHA_NAMED["packed"]),
    ("sdpa mask inverted", attention, "additive_mask", inverted, MASKED),
    ("causal aligned lower right", attention, "_causal", lambda right: lower_right, CAUSAL),
    ("grouped heads tiled", jnp, "repeat", tiled, GROUPED),
    ("masked rows are NaN", attention, "safe_softmax", lambda right: nan_rows, dead_rows("bool")),
]


@pytest.mark.parametrize(
    ("where", "name", "mistake", "case"), [t[1:] for t in TRAPS], ids=[f"trap 12: {t[0]}" for t in TRAPS]
)
def test_a_planted_mistake_is_found(monkeypatch, where, name, mistake, case):
    assert case_findings(case, "float64") == []
    monkeypatch.setattr(where, name, mistake(getattr(where, name)))
    assert case_findings(case, "float64")


def test_the_functions_that_the_traps_change_are_the_exported_ones():
    assert F.scaled_dot_product_attention is attention.scaled_dot_product_attention
    assert F.multi_head_attention_forward is attention_multihead.multi_head_attention_forward
