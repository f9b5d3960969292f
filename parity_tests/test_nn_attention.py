"""Attention and transformers against PyTorch: outputs, weights, gradients of inputs, masks and parameters."""

from typing import Any

import numpy as np
import pytest
from attention_cases import drawn, library, lift, module_case
from cases import Arrays, Case, all_pairs, assert_same, label, table
from test_nn_layers import twin

# ------------------------------------------------------------------------------------ scaled_dot_product_attention


def sdpa(id: str, q: Any, k: Any, v: Any, mask: Any = None, kind: str = "bool", **options: Any) -> Case:
    """Draw query, key, value and a mask of this shape; a boolean one shows the first key to all."""

    def draw(rng: np.random.Generator) -> Arrays:
        arrays = [0.3 + rng.standard_normal(shape) for shape in (q, k, v)]
        if mask is not None:
            arrays.append(~drawn("hide", mask, rng) if kind == "bool" else rng.standard_normal(mask))
        return tuple(arrays)

    return twin(id, "scaled_dot_product_attention", draw, **options)


SDPA_OPTIONS = {
    "lead": [(), (2,), (2, 3)],
    "mask": [None, "bool", "float"],
    "mask_rank": [1, 2, 3],
    "is_causal": [False, True],
    "scale": [None, 0.0, -0.7],
    "sizes": [(3, 5), (5, 3), (1, 4), (4, 1)],
}


def _sdpa_valid(row: dict[str, Any]) -> bool:
    return not (row["is_causal"] and row["mask"]) and row["mask_rank"] <= len(row["lead"]) + 2


def _sdpa_row(row: dict[str, Any]) -> Case:
    length, source = row["sizes"]
    lead = row["lead"]
    shape = None if row["mask"] is None else (*lead, length, source)[-row["mask_rank"] :]
    q, k, v = (*lead, length, 4), (*lead, source, 4), (*lead, source, 3)
    return sdpa(label(row), q, k, v, shape, row["mask"], is_causal=row["is_causal"], scale=row["scale"])


def dead_rows(kind: str) -> Case:
    """Hide every key from one query: PyTorch gives zeros and no gradient."""

    def draw(rng: np.random.Generator) -> Arrays:
        show = np.ones((3, 5), bool)
        show[1] = False
        mask = show if kind == "bool" else np.where(show, 0.0, -np.inf)
        return *(0.3 + rng.standard_normal(shape) for shape in ((2, 3, 4), (2, 5, 4), (2, 5, 4))), mask

    return twin(f"dead-row-{kind}", "scaled_dot_product_attention", draw, differentiable=3)


SDPA = [_sdpa_row(row) for row in all_pairs(SDPA_OPTIONS, _sdpa_valid)]
SDPA += [
    sdpa("broadcast-batch", (3, 5, 4), (2, 3, 7, 4), (2, 1, 7, 6)),
    sdpa("broadcast-mask", (2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4), (2, 1, 1, 7)),
    sdpa("grouped-heads", (2, 6, 5, 4), (2, 2, 7, 4), (2, 2, 7, 4), (5, 7), "float", enable_gqa=True),
    sdpa("grouped-heads-unlike", (6, 5, 4), (2, 7, 4), (3, 7, 4), enable_gqa=True),
    sdpa("long", (2, 31, 8), (2, 67, 8), (2, 67, 8), is_causal=True),
    sdpa("no-keys", (2, 3, 4), (2, 0, 4), (2, 0, 4)),
    sdpa("no-queries", (2, 0, 4), (2, 3, 4), (2, 3, 4)),
    dead_rows("bool"),
    dead_rows("float"),
]


@pytest.mark.parametrize("dtype", ["float64"])
@table(SDPA)
def test_scaled_dot_product_attention(case, dtype):
    assert_same(case, dtype)


@table(SDPA[::5])
def test_scaled_dot_product_attention_in_float32(case):
    assert_same(case, "float32")


# ---------------------------------------------------------------------------------------------- MultiheadAttention

MHA_OPTIONS: dict[str, list[Any]] = {
    "inputs": ["self", "memory", "three", "kdim"],
    "bias": [True, False],
    "add_bias_kv": [False, True],
    "add_zero_attn": [False, True],
    "batch_first": [False, True],
    "batched": [True, False],
    "weights": ["none", "average", "heads"],
    "attn_mask": [None, "bool2", "float2", "bool3", "float3", "hint"],
    "padding": [None, "bool", "float"],
    "dropout": [0.0, 0.4],
}
LENGTH, SOURCE, BATCH, HEADS, SIZE = 3, 5, 2, 3, 6


def mha_forward(row: dict[str, Any]) -> Any:
    def forward(module: Any, arrays: dict[str, Any]) -> Any:
        query = arrays["query"]
        key = arrays.get("key", query)
        value = arrays.get("value", key)
        mask = arrays.get("mask", arrays.get("hide_mask"))
        return module(
            query,
            key,
            value,
            arrays.get("padding", arrays.get("hide_padding")),
            row["weights"] != "none",
            mask,
            row["weights"] == "average",
            is_causal=row["attn_mask"] == "hint",
        )

    return forward


def mha_case(row: dict[str, Any], id: str | None = None) -> Case:
    """Draw what a row of the grid asks for."""
    source = LENGTH if row["inputs"] == "self" else SOURCE
    kdim, vdim = (4, 7) if row["inputs"] == "kdim" else (SIZE, SIZE)

    def sequence(length: int, size: int) -> tuple[int, ...]:
        if not row["batched"]:
            return length, size
        return (BATCH, length, size) if row["batch_first"] else (length, BATCH, size)

    shapes = {"query": sequence(LENGTH, SIZE)}
    if row["inputs"] != "self":
        shapes["key"] = sequence(source, kdim)
    if row["inputs"] in ("three", "kdim"):
        shapes["value"] = sequence(source, vdim)
    batch = BATCH if row["batched"] else 1
    mask = row["attn_mask"]
    if mask is not None:
        lead = (batch * HEADS,) if mask.endswith("3") else ()
        shapes["mask" if mask.startswith("float") else "hide_mask"] = (*lead, LENGTH, source)
    if row["padding"] is not None:
        lead = (batch,) if row["batched"] else ()
        shapes["hide_padding" if row["padding"] == "bool" else "padding"] = (*lead, source)
    options = {name: row[name] for name in ("bias", "add_bias_kv", "add_zero_attn", "batch_first", "dropout")}
    sizes = {"kdim": kdim, "vdim": vdim} if row["inputs"] == "kdim" else {}
    return module_case(
        id or label(row),
        lambda nn, **rngs: nn.MultiheadAttention(SIZE, HEADS, **options, **sizes, **rngs),
        mha_forward(row),
        shapes,
    )


PLAIN = {
    "inputs": "three",
    "bias": True,
    "add_bias_kv": False,
    "add_zero_attn": False,
    "batch_first": False,
    "batched": True,
    "weights": "average",
    "attn_mask": None,
    "padding": None,
    "dropout": 0.0,
}
MHA = [mha_case(row) for row in all_pairs(MHA_OPTIONS, lambda row: True)]
MHA_NAMED = {
    name: mha_case(PLAIN | changes, name)
    for name, changes in {
        "packed": {},
        "packed-self": {"inputs": "self"},
        "packed-memory": {"inputs": "memory"},
        "batch-first": {"inputs": "self", "batch_first": True, "weights": "none"},
        "padding": {"padding": "bool"},
        "mask": {"attn_mask": "bool2"},
        "mask-of-each-head": {"attn_mask": "bool3"},
        "weights-of-heads": {"weights": "heads"},
        "weights-averaged": {"weights": "average"},
        "no-weights": {"weights": "none", "padding": "bool"},
        "dropped-weights": {"dropout": 0.5},
        "kdim": {"inputs": "kdim"},
    }.items()
}


@table(MHA)
def test_multihead_attention(case):
    assert_same(case, "float64")


@table([MHA_NAMED["packed"], MHA_NAMED["no-weights"], MHA_NAMED["kdim"]])
def test_multihead_attention_in_float32(case):
    assert_same(case, "float32")


def static_case(need_weights: bool) -> Case:
    """Pass keys and values that are projected already; the others' gradients are zero."""

    def draw(rng: np.random.Generator) -> Arrays:
        shapes = [(3, 2, 6), (5, 2, 6), (18, 6), (18,), (6, 6), (6,), (6, 5, 2), (6, 5, 2)]
        return tuple(0.3 + rng.standard_normal(shape) for shape in shapes)

    def call(functions: Any) -> Any:
        def run(q: Any, k: Any, w: Any, b: Any, out: Any, out_bias: Any, static_k: Any, static_v: Any) -> Any:
            fixed = (6, 3, w, b, None, None, True, 0.0, out, out_bias)
            options = {"need_weights": need_weights, "static_k": static_k, "static_v": static_v}
            outputs = functions.multi_head_attention_forward(q, k, k, *fixed, **options)
            # 0 · Σ k: PyTorch's autograd wants every leaf used.
            return outputs[0] + 0.0 * k.sum(), *outputs[1 : 1 + need_weights]

        return run

    import torch

    from jaxport.nn import functional

    return Case(f"static-weights={need_weights}", call(functional), call(torch.nn.functional), draw)


@table([static_case(True), static_case(False)])
def test_multi_head_attention_forward_with_static_keys(case):
    assert_same(case, "float64")


# ---------------------------------------------------------------------------------------------------- transformers

SIZES = {"d_model": 6, "nhead": 3, "dim_feedforward": 5}
LAYER_OPTIONS: dict[str, list[Any]] = {
    "kind": ["EncoderLayer", "DecoderLayer", "Encoder", "Decoder"],
    "activation": ["relu", "gelu", "function", "module"],
    "norm_first": [False, True],
    "bias": [True, False],
    "batch_first": [False, True],
    "batched": [True, False],
    "dropout": [0.0, 0.3],
    "mask": [None, "causal", "float", "heads"],
    "padding": [False, True],
    "memory": [None, "mask", "padding", "both"],
}


def activation_of(nn: Any, name: str) -> Any:
    return {"function": nn.functional.gelu, "module": nn.ReLU()}.get(name, name)


def layer_forward(row: dict[str, Any], decoder: bool, stack: bool) -> Any:
    prefix = "tgt" if decoder else "" if stack else "src"

    def forward(module: Any, arrays: dict[str, Any]) -> Any:
        x = arrays["x"]
        options: dict[str, Any] = {}
        name = f"{prefix}_mask" if prefix else "mask"
        if row["mask"] == "causal":
            length = x.shape[1 if row["batch_first"] and x.ndim == 3 else 0]
            owner = type(module).__module__.startswith("torch")
            options[name] = causal(length, owner, x.dtype)
            options["tgt_is_causal" if decoder else "is_causal"] = True
        elif row["mask"] is not None:
            options[name] = arrays.get("mask", arrays.get("hide_mask"))
        if row["padding"]:
            options["tgt_key_padding_mask" if decoder else "src_key_padding_mask"] = arrays["hide_padding"]
        if not decoder:
            return module(x, **options)
        for name in ("memory_mask", "memory_key_padding_mask"):
            if f"hide_{name}" in arrays:
                options[name] = arrays[f"hide_{name}"]
        return module(x, arrays["memory"], **options)

    return forward


def causal(length: int, torch_side: bool, dtype: Any) -> Any:
    if torch_side:
        import torch

        return torch.nn.Transformer.generate_square_subsequent_mask(length, dtype=dtype)
    from jaxport import nn

    return nn.Transformer.generate_square_subsequent_mask(length, dtype)


def layer_case(row: dict[str, Any], id: str | None = None) -> Case:
    decoder, stack = row["kind"].startswith("Decoder"), not row["kind"].endswith("Layer")
    length, source, batch = 4, 5, 2

    def sequence(length: int) -> tuple[int, ...]:
        if not row["batched"]:
            return length, 6
        return (batch, length, 6) if row["batch_first"] else (length, batch, 6)

    def padding(length: int) -> tuple[int, ...]:
        return (batch, length) if row["batched"] else (length,)

    shapes = {"x": sequence(length)}
    if row["mask"] == "float":
        shapes["mask"] = (length, length)
    if row["mask"] == "heads":
        shapes["hide_mask"] = ((batch if row["batched"] else 1) * 3, length, length)
    if row["padding"]:
        shapes["hide_padding"] = padding(length)
    if decoder:
        shapes["memory"] = sequence(source)
        if row["memory"] in ("mask", "both"):
            shapes["hide_memory_mask"] = (length, source)
        if row["memory"] in ("padding", "both"):
            shapes["hide_memory_key_padding_mask"] = padding(source)
    names = ("norm_first", "bias", "batch_first", "dropout")

    def make(nn: Any, **rngs: Any) -> Any:
        options = {name: row[name] for name in names}
        kind = f"Transformer{'Decoder' if decoder else 'Encoder'}"
        layer = getattr(nn, f"{kind}Layer")(**SIZES, **options, activation=activation_of(nn, row["activation"]), **rngs)
        return getattr(nn, kind)(layer, 2, nn.LayerNorm(6)) if stack else layer

    return module_case(id or label(row), make, layer_forward(row, decoder, stack), shapes)


LAYERS = [
    layer_case(row)
    for row in all_pairs(LAYER_OPTIONS, lambda row: row["memory"] is None or row["kind"].startswith("Decoder"))
]


@table(LAYERS)
def test_transformer_layers(case):
    assert_same(case, "float64")


@table([LAYERS[0], next(case for case in LAYERS if "kind=Decoder-" in case.id)])
def test_transformer_layers_in_float32(case):
    assert_same(case, "float32")


def transformer_case(batch_first: bool, norm_first: bool, dropout: float) -> Case:
    def make(nn: Any, **rngs: Any) -> Any:
        options = {"norm_first": norm_first, "batch_first": batch_first, "dropout": dropout}
        return nn.Transformer(6, 3, 1, 2, 5, **options, layer_norm_eps=1e-3, **rngs)

    def forward(module: Any, arrays: dict[str, Any]) -> Any:
        masks = {name.removeprefix("hide_"): array for name, array in arrays.items() if name.startswith("hide")}
        masks["src_mask"] = lift(masks["src_mask"], arrays["src"])
        return module(arrays["src"], arrays["tgt"], **masks)

    shapes = {"src": (2, 5, 6) if batch_first else (5, 2, 6), "tgt": (2, 4, 6) if batch_first else (4, 2, 6)}
    shapes |= {"hide_src_mask": (5, 5), "hide_tgt_mask": (4, 4), "hide_memory_mask": (4, 5)}
    padding = {"src": (2, 5), "tgt": (2, 4), "memory": (2, 5)}
    shapes |= {f"hide_{name}_key_padding_mask": shape for name, shape in padding.items()}
    id = f"transformer-{batch_first=}-{norm_first=}-{dropout=}"
    return module_case(id, make, forward, shapes)


@table([transformer_case(False, False, 0.0), transformer_case(True, True, 0.2)])
def test_transformer(case):
    assert_same(case, "float64")


def language_model_case() -> Case:
    """One step of a small causal language model: embed, attend to the past, predict the next token."""
    vocabulary = 7

    def make(nn: Any, **rngs: Any) -> Any:
        layer = nn.TransformerEncoderLayer(6, 2, 8, 0.1, "gelu", batch_first=True, norm_first=True, **rngs)
        options = {} if rngs else {"enable_nested_tensor": False}
        return nn.Sequential(nn.TransformerEncoder(layer, 2, **options), nn.Linear(6, vocabulary, **rngs))

    def forward(module: Any, arrays: dict[str, Any]) -> Any:
        tokens = arrays["table"][arrays["hide_tokens"]] + arrays["places"][None]
        length = tokens.shape[1]
        mask = causal(length, type(module).__module__.startswith("torch"), tokens.dtype)
        logits = module[1](module[0](tokens, mask, is_causal=True))
        return library(module).cross_entropy(logits.reshape(-1, vocabulary), arrays["hide_next"].reshape(-1))

    shapes = {"table": (vocabulary, 6), "places": (5, 6), "hide_tokens": (3, 5), "hide_next": (3, 5)}
    case = module_case("language-model", make, forward, shapes)
    return case


def test_a_step_of_a_causal_language_model(monkeypatch):
    def tokens(rng: np.random.Generator, shape: tuple[int, ...], rate: float = 0.4) -> np.ndarray:
        return rng.integers(0, 7, shape)

    monkeypatch.setattr("attention_cases.hidden", tokens)
    for dtype in ("float64", "float32"):
        assert_same(language_model_case(), dtype)
