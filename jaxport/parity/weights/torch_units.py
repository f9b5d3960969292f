"""The units of a PyTorch model."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jaxport.parity.layer import Layer, Layers

from .library import library_name
from .unit import Slot, TorchUnit

_FAMILIES = {
    "Linear": "linear",
    "NonDynamicallyQuantizableLinear": "linear",
    "Bilinear": "bilinear",
    **{f"Conv{n}d": f"conv{n}" for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": f"convtranspose{n}" for n in (1, 2, 3)},
    **{f"BatchNorm{n}d": "batchnorm" for n in (1, 2, 3)},
    "SyncBatchNorm": "batchnorm",
    **{f"InstanceNorm{n}d": "instancenorm" for n in (1, 2, 3)},
    "LayerNorm": "layernorm",
    "RMSNorm": "rmsnorm",
    "GroupNorm": "groupnorm",
    "Embedding": "embedding",
    "EmbeddingBag": "embedding",
    "PReLU": "prelu",
    "LSTM": "lstm",
    "LSTMCell": "lstm",
    "GRU": "gru",
    "GRUCell": "gru",
    "RNN": "rnn",
    "RNNCell": "rnn",
    "MultiheadAttention": "attention",
}


def torch_family(layer: Layer) -> str | None:
    """Return the family of a layer of `torch.nn` or `jaxport.nn`, or of a class made from one; None for others."""
    name = library_name(layer, ("torch.nn", "jaxport.nn"))
    return None if name is None else _FAMILIES.get(name[1])


def torch_units(layers: Layers) -> list[TorchUnit]:
    """Return the units of a model, in the order in which they were defined."""
    consumed = {layer.path + ".out_proj" for layer in layers.values() if torch_family(layer) == "attention"}
    return [unit for layer in layers.values() if layer.path not in consumed for unit in layer_units(layer, layers)]


def layer_units(layer: Layer, layers: Layers) -> Iterator[TorchUnit]:
    """Yield the units of one layer: one, but for a recurrent layer of several or a user's class."""
    family = torch_family(layer)
    if not layer.arrays:
        return
    if family is None:
        yield from array_units(layer)
    elif family == "attention":
        yield _attention(layer, layers)
    elif family in ("lstm", "gru", "rnn"):
        yield from _recurrent(layer, family)
    else:
        slots = {name: Slot(layer.key(name), tuple(value.shape)) for name, value in layer.arrays.items()}
        parts = tuple(array_units(layer)) if family not in ("linear", "bilinear") and "conv" not in family else ()
        yield TorchUnit(layer.path, family, slots, layer.path, parts=parts)


def array_units(layer: Layer) -> Iterator[TorchUnit]:
    """Yield each array of a layer as a unit of its own."""
    for name, value in layer.arrays.items():
        slot = Slot(layer.key(name), tuple(value.shape))
        yield TorchUnit(layer.key(name), "array", {"weight": slot}, layer.path, whole=False)


def _recurrent(layer: Layer, family: str) -> Iterator[TorchUnit]:
    suffixes = dict.fromkeys(re.sub(r"^(weight|bias)_(ih|hh|hr)", "", name) for name in layer.arrays)
    for suffix in suffixes:
        slots = {
            name.removesuffix(suffix) if suffix else name: Slot(layer.key(name), tuple(value.shape))
            for name, value in layer.arrays.items()
            if re.sub(r"^(weight|bias)_(ih|hh|hr)", "", name) == suffix
        }
        slots = _gru_biases(slots) if family == "gru" and "bias_hh" in slots else slots
        whole = len(suffixes) == 1
        path = layer.path if whole else f"{layer.path}.{suffix.strip('_')}"
        yield TorchUnit(path, family, slots, layer.path, whole, reverse=suffix.endswith("_reverse"))


def _gru_biases(slots: dict[str, Slot]) -> dict[str, Slot]:
    """Return b_hh as two: that of r and z can be added to b_ih, that of n, inside r·(…), cannot."""
    whole = slots.pop("bias_hh")
    rows = whole.shape[0]
    own = rows // 3 * 2
    slots["bias_hh[rz]"] = Slot(whole.key, (own,), (0, own, rows))
    slots["bias_hh[n]"] = Slot(whole.key, (rows - own,), (own, rows, rows))
    return slots


def _attention(layer: Layer, layers: Layers) -> TorchUnit:
    """Return attention as one unit: query, key, value and out, each with weight and bias; others by their own names."""
    slots: dict[str, Slot] = {}
    for name, value in layer.arrays.items():
        key, shape = layer.key(name), tuple(value.shape)
        if name in ("in_proj_weight", "in_proj_bias"):
            rows = shape[0] // 3
            for index, part in enumerate(("query", "key", "value")):
                bounds = (rows * index, rows * (index + 1), shape[0])
                slots[f"{part}.{name.removeprefix('in_proj_')}"] = Slot(key, (rows, *shape[1:]), bounds)
        elif name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
            part = {"q": "query", "k": "key", "v": "value"}[name[0]]
            slots[f"{part}.weight"] = Slot(key, shape)
        else:
            slots[name] = Slot(key, shape)
    out = layers.get(f"{layer.path}.out_proj" if layer.path else "out_proj")
    if out is not None:
        slots |= {f"out.{name}": Slot(out.key(name), tuple(value.shape)) for name, value in out.arrays.items()}
    return TorchUnit(
        layer.path, "attention", slots, layer.path, parts=_attention_parts(layer, slots),
        heads=int(layer.settings.get("num_heads", 0)),
    )  # fmt: skip


def _attention_parts(layer: Layer, slots: dict[str, Slot]) -> tuple[TorchUnit, ...]:
    parts: list[TorchUnit] = []
    for part in ("query", "key", "value", "out"):
        held = {name.split(".")[1]: slot for name, slot in slots.items() if name.startswith(part + ".")}
        path = f"{layer.path}.{part}" if layer.path else part
        parts.append(TorchUnit(path, "linear", held, layer.path, whole=False))
    others = {layer.key(name): slot for name, slot in slots.items() if "." not in name}
    return *parts, *(TorchUnit(key, "array", {"weight": slot}, layer.path, False) for key, slot in others.items())
