"""Mistakes in recurrent layers and in attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .patching import UNCHANGED, Mistake, Patches, with_settings

Weights = list[torch.Tensor]


def _with_weights(p: Patches, kind: type, change: Callable[[Any, str, torch.Tensor, dict[str, Any]], Any]) -> None:
    """Give a recurrent layer other weights while it runs; `change` gets layer, name, weight and all weights."""

    def wrong(right: Any, module: Any, *args: Any, **named: Any) -> Any:
        all_weights = dict(zip(module._flat_weights_names, module._flat_weights, strict=True))
        changed = [change(module, name, weight, all_weights) for name, weight in all_weights.items()]
        if all(new is old for new, old in zip(changed, all_weights.values(), strict=True)):
            return UNCHANGED
        p.count()
        return with_settings(module, lambda: right(module, *args, **named), _flat_weights=changed)

    p.function(kind, "forward", wrong, pure=False)


def _swapped_gates(p: Patches) -> None:
    def change(module: Any, name: str, weight: torch.Tensor, weights: Any) -> Any:
        if "_hr_" in name:  # of a projection
            return weight
        i, f, g, o = weight.chunk(4)
        return torch.cat([i, g, f, o])

    _with_weights(p, nn.LSTM, change)


def _one_bias(p: Patches) -> None:
    def change(module: Any, name: str, weight: torch.Tensor, weights: Any) -> Any:
        return weight * 0.0 if name.startswith("bias_hh") else weight

    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        _with_weights(p, kind, change)


def _forget_bias(p: Patches) -> None:
    def change(module: Any, name: str, weight: torch.Tensor, weights: Any) -> Any:
        if not name.startswith("bias_ih"):
            return weight
        one = torch.zeros_like(weight)
        one[module.hidden_size : 2 * module.hidden_size] = 1.0
        return weight + one

    _with_weights(p, nn.LSTM, change)


def _outer_bias(p: Patches) -> None:
    def change(module: Any, name: str, weight: torch.Tensor, weights: Any) -> Any:
        n = 2 * module.hidden_size
        if name.startswith("bias_hh"):
            return torch.cat([weight[:n], weight[n:] * 0.0])
        if name.startswith("bias_ih"):
            return torch.cat([weight[:n], weight[n:] + weights[name.replace("bias_ih", "bias_hh")][n:]])
        return weight

    _with_weights(p, nn.GRU, change)


def _not_turned_back(p: Patches) -> None:
    def wrong(right: Any, module: Any, input: Any, *args: Any, **named: Any) -> Any:
        if not module.bidirectional or not isinstance(input, torch.Tensor):
            return UNCHANGED
        states, last = right(module, input, *args, **named)
        there, back = states.chunk(2, dim=-1)
        p.count()
        return torch.cat([there, back.flip(states.ndim - 2 if module.batch_first or input.ndim == 2 else 0)], -1), last

    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        p.function(kind, "forward", wrong, pure=False)


def _attention(p: Patches, packed: Any, functional: Any = None) -> None:
    """Replace attention: `packed` changes the arguments of F.multi_head_attention_forward, by name.

    `functional` is what becomes of F.scaled_dot_product_attention; inside the other one it is left as it is.
    """
    within = [False]

    def whole(
        right: Any, query: Any, key: Any, value: Any, width: int, heads: int, w: Any, b: Any, *rest: Any, **kw: Any
    ):
        changed = packed(kw, width // heads, heads, w, b)
        if changed is None:
            return UNCHANGED
        w, b, kw, within[0] = *changed, True
        try:
            return right(query, key, value, width, heads, w, b, *rest, **kw)
        finally:
            within[0] = False

    def inner(right: Any, query: Any, *args: Any, **kw: Any) -> Any:
        return UNCHANGED if within[0] else functional(right, query, *args, **kw)

    p.function(F, "multi_head_attention_forward", whole)
    if functional is not None:
        p.function(F, "scaled_dot_product_attention", inner)


def _in_projection(p: Patches, change: Any) -> None:
    """Change the rows of the packed in-projection; `change` gets (3, E, …), heads and their width."""

    def packed(kw: Any, width: int, heads: int, w: Any, b: Any) -> Any:
        if w is None:
            return None
        changed = [a if a is None else change(a.unflatten(0, (3, -1)), heads, width).flatten(0, 1) for a in (w, b)]
        return *changed, kw

    _attention(p, packed)


def _unscaled(p: Patches) -> None:
    def packed(kw: Any, width: int, heads: int, w: Any, b: Any) -> Any:
        if w is None:
            return None
        factor = torch.ones(3, 1, dtype=w.dtype)
        factor[0] = width**0.5
        rows = factor.expand(3, width * heads).reshape(-1)
        return w * rows[:, None], b if b is None else b * rows, kw

    _attention(p, packed, lambda right, q, k, v, *args, **kw: right(q, k, v, *args, **kw | {"scale": 1.0}))


def _heads_interleaved(p: Patches) -> None:
    def change(a: torch.Tensor, heads: int, width: int) -> torch.Tensor:
        return a.unflatten(1, (width, heads)).transpose(1, 2).flatten(1, 2)

    _in_projection(p, change)


def _query_key(p: Patches) -> None:
    _in_projection(p, lambda a, heads, width: a[[1, 0, 2]])


def _fills(value: Any) -> bool:
    return not isinstance(value, torch.Tensor) and value == float("-inf")


def _mask_lost(p: Patches) -> None:
    def packed(kw: Any, width: int, heads: int, w: Any, b: Any) -> Any:
        if kw.get("attn_mask") is None:
            return None
        return w, b, kw | {"attn_mask": None, "is_causal": False}

    def functional(
        right: Any, q: Any, k: Any, v: Any, mask: Any = None, p: float = 0.0, causal: bool = False, **kw: Any
    ) -> Any:
        if kw.pop("attn_mask", mask) is None and not kw.pop("is_causal", causal):
            return UNCHANGED
        return right(q, k, v, None, kw.pop("dropout_p", p), **kw)

    _attention(p, packed, functional)
    p.everywhere("masked_fill", lambda right, x, mask, value: x.clone() if _fills(value) else UNCHANGED)


def _causal(x: torch.Tensor, diagonal: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.ones(x.shape[-2], x.shape[-2], dtype=torch.bool).tril(diagonal)


def _mask_shifted(p: Patches) -> None:
    def functional(right: Any, q: Any, k: Any, v: Any, *args: Any, **kw: Any) -> Any:
        if not kw.get("is_causal") or q.shape[-2] != k.shape[-2]:
            return UNCHANGED
        rest = {name: value for name, value in kw.items() if name not in ("is_causal", "attn_mask")}
        return right(q, k, v, attn_mask=_causal(q, 1, q.dtype), **rest)

    def triangle(right: Any, input: Any, diagonal: int = 0) -> Any:
        # Only what may be a mask: all elements are alike.
        alike = input.ndim >= 2 and bool((input == input.reshape(-1)[0]).all())
        return right(input, diagonal + 1) if alike else UNCHANGED

    p.function(F, "scaled_dot_product_attention", functional)
    for name in ("tril", "triu"):
        p.everywhere(name, triangle)


def _padding_seen(p: Patches) -> None:
    def packed(kw: Any, width: int, heads: int, w: Any, b: Any) -> Any:
        return None if kw.get("key_padding_mask") is None else (w, b, kw | {"key_padding_mask": None})

    _attention(p, packed)


MISTAKES = (
    Mistake("lstm-gates-swapped", 10, "LSTM's gates are taken in the order i, g, f, o", _swapped_gates),
    Mistake("rnn-one-bias", 10, "only b_ih of a recurrent layer's two biases is used", _one_bias),
    Mistake("lstm-forget-bias", 10, "1 is added to LSTM's forget gate", _forget_bias),
    Mistake("gru-bias-outside", 11, "GRU's b_hn stands outside r · (…)", _outer_bias),
    Mistake(
        "rnn-not-turned-back", None, "the backward states of a bidirectional layer stay reversed", _not_turned_back
    ),
    Mistake("attention-unscaled", 12, "attention's scores are not divided by the root of the head's width", _unscaled),
    Mistake("attention-heads-interleaved", 12, "heads are every h-th feature", _heads_interleaved),
    Mistake("attention-query-key", 12, "query and key are swapped in the packed projection", _query_key),
    Mistake("attention-mask-lost", 12, "attention without its mask", _mask_lost),
    Mistake("attention-mask-off-by-one", 12, "the causal mask lets each position see the next", _mask_shifted),
    Mistake("attention-padding-seen", 12, "attention without key_padding_mask", _padding_seen),
)
