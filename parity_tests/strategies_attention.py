"""Random cases of attention and transformers, all valid for PyTorch: options and shapes drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from attention_cases import drawn, module_case
from cases import Arrays, Case, label
from hypothesis import strategies as st
from test_nn_attention import MHA_OPTIONS, layer_case, mha_case
from test_nn_layers import twin

flag = st.booleans()
length = st.integers(1, 6)


@st.composite
def sdpa(draw: Any) -> Case:
    """Draw lengths, leading axes (of which some broadcast), grouped heads, and masks that broadcast."""
    grouped = draw(flag)
    lead = draw(st.lists(st.integers(1, 3), min_size=int(grouped), max_size=3).map(tuple))
    keys, values = (tuple(draw(st.sampled_from((1, n))) for n in lead) for _ in "kv")
    heads = draw(st.integers(1, 3))
    queries = (*lead[:-1], lead[-1] * heads) if grouped else lead
    keys, values = (((*shape[:-1], lead[-1]) if grouped else shape) for shape in (keys, values))
    targets, sources, size, width = draw(length), draw(length), draw(length), draw(length)
    kind = draw(st.sampled_from((None, "bool", "float", "causal")))
    scores = (*queries, targets, sources)
    # PyTorch's fused kernel needs two axes; what is added to every key alike would have gradient 0.
    cut = draw(st.integers(0, len(scores) - 2))
    mask = (*(draw(st.sampled_from((1, n))) for n in scores[cut:-1]), sources)
    scale = draw(st.sampled_from((None, 0.3, -1.5)))

    def arrays(rng: np.random.Generator) -> Arrays:
        shapes = ((*queries, targets, size), (*keys, sources, size), (*values, sources, width))
        found = [0.3 + rng.standard_normal(shape) for shape in shapes]
        if kind == "bool":
            found.append(~drawn("hide", mask, rng))
        elif kind == "float":
            found.append(rng.standard_normal(mask))
        return tuple(found)

    options = {"is_causal": kind == "causal", "scale": scale, "enable_gqa": grouped}
    sizes = {"q": queries, "k": keys, "v": values, "L": targets, "S": sources, "E": size, "F": width}
    id = f"sdpa-{label(sizes | options | {'kind': kind, 'mask': mask})}"
    return twin(id, "scaled_dot_product_attention", arrays, **options)


def _row(draw: Any, options: dict[str, list[Any]]) -> dict[str, Any]:
    return {name: draw(st.sampled_from(values)) for name, values in options.items()}


@st.composite
def multihead(draw: Any) -> Case:
    """Draw any combination of the grid's options."""
    row = _row(draw, MHA_OPTIONS)
    return mha_case(row, f"mha-{label(row)}")


LAYER = {
    "activation": ["relu", "gelu", "function", "module"],
    "norm_first": [False, True],
    "bias": [True, False],
    "batch_first": [False, True],
    "batched": [True, False],
    "dropout": [0.0, 0.3],
    "mask": [None, "causal", "float", "heads"],
    "padding": [False, True],
}


def layers(kind: str) -> Callable[[], st.SearchStrategy[Case]]:
    """Return what draws cases of one of the four kinds of layers."""

    @st.composite
    def strategy(draw: Any) -> Case:
        row = {"kind": kind} | _row(draw, LAYER)
        row["memory"] = draw(st.sampled_from((None, "mask", "padding", "both"))) if kind[0] == "D" else None
        return layer_case(row, f"layer-{label(row)}")

    return strategy


@st.composite
def transformer(draw: Any) -> Case:
    """Draw sizes, options and which masks are given."""
    heads, each = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    size, batch = heads * each, draw(st.integers(1, 3))
    lengths = {"src": draw(length), "tgt": draw(length)}
    options = {name: draw(flag) for name in ("batch_first", "norm_first", "bias")}
    options |= {"dropout": draw(st.sampled_from((0.0, 0.3))), "activation": draw(st.sampled_from(("relu", "gelu")))}
    batched = draw(flag)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, n in lengths.items():
        batches = (batch, n, size) if options["batch_first"] else (n, batch, size)
        shapes[name] = batches if batched else (n, size)
    for name in ("src", "tgt", "memory"):
        queries, keys = lengths["src" if name == "src" else "tgt"], lengths["tgt" if name == "tgt" else "src"]
        if draw(flag):
            shapes[f"hide_{name}_mask"] = (queries, keys)
        if draw(flag):
            shapes[f"hide_{name}_key_padding_mask"] = (batch, keys) if batched else (keys,)

    def forward(module: Any, arrays: dict[str, Any]) -> Any:
        masks = {name.removeprefix("hide_"): array for name, array in arrays.items() if name.startswith("hide")}
        return module(arrays["src"], arrays["tgt"], **masks)

    id = f"transformer-{label(options | shapes | {'heads': heads})}"
    return module_case(id, lambda nn, **rngs: nn.Transformer(size, heads, 1, 1, 5, **options, **rngs), forward, shapes)


STRATEGIES: dict[str, Callable[[], st.SearchStrategy[Case]]] = {
    "scaled_dot_product_attention": sdpa,
    "MultiheadAttention": multihead,
    "TransformerEncoderLayer": layers("EncoderLayer"),
    "TransformerDecoderLayer": layers("DecoderLayer"),
    "TransformerEncoder": layers("Encoder"),
    "TransformerDecoder": layers("Decoder"),
    "Transformer": transformer,
}
