"""The rules of single layers: how a layer's arrays are laid out in JAX's libraries against PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

from jaxport.parity.layer import Layer

from .library import library_name
from .unit import JaxUnit, Move, Rule, Shape


def shape_of(layer: Layer, name: str) -> Shape:
    """Return the shape of one of the layer's arrays."""
    return tuple(layer.arrays[name].shape)


def moves(layer: Layer, name: str, torch_name: str, shape: Shape, to_jax: Any, to_torch: Any, text: str) -> Rule:
    """Return the rule of one array for one."""
    there: Move = lambda arrays: (to_jax(arrays[0]),)  # noqa: E731
    back: Move = lambda arrays: (to_torch(arrays[0]),)  # noqa: E731
    return Rule((layer.key(name),), (torch_name,), (shape,), there, back, text)


def same(layer: Layer, name: str, torch_name: str) -> Rule:
    """Return the rule of an array that is alike on both sides."""
    return moves(layer, name, torch_name, shape_of(layer, name), _as_it_is, _as_it_is, "as it is")


def _as_it_is(array: np.ndarray) -> np.ndarray:
    return array


def permuted(layer: Layer, name: str, torch_name: str, order: tuple[int, ...], flip: bool = False) -> Rule:
    """Return the rule of an array with other axes: PyTorch's is ``array.transpose(order)``, turned round if `flip`.

    Turned round are the spatial axes, which are all but PyTorch's first two.
    """
    shape = tuple(shape_of(layer, name)[axis] for axis in order)
    spatial = tuple(range(2, len(order))) if flip else ()
    inverse = tuple(int(axis) for axis in np.argsort(order))
    text = f"axes {order}" + (", spatial axes turned round" if flip else "")
    return moves(
        layer, name, torch_name, shape,
        lambda array: np.flip(array, spatial).transpose(inverse),
        lambda array: np.flip(array.transpose(order), spatial),
        text,
    )  # fmt: skip


def merged(layer: Layer, name: str, torch_name: str, outputs: int) -> Rule:
    """Return the rule of a kernel with several axes in and out: (in…, out…) for PyTorch's (out, in).

    Args:
        layer: the layer.
        name: its kernel, or its bias if all axes are outputs.
        torch_name: its name in PyTorch.
        outputs: how many of its last axes are outputs.
    """
    shape = shape_of(layer, name)
    into, out = shape[: len(shape) - outputs], shape[len(shape) - outputs :]
    if not into:
        return moves(
            layer, name, torch_name, (prod(out),), lambda a: a.reshape(out), lambda a: a.reshape(-1),
            f"as it is, in axes {out}",
        )  # fmt: skip
    return moves(
        layer, name, torch_name, (prod(out), prod(into)),
        lambda array: array.T.reshape(shape), lambda array: array.reshape(prod(into), prod(out)).T,
        "transposed" if len(shape) == 2 else f"transposed, in axes {into} and {out}",
    )  # fmt: skip


def _bias(layer: Layer) -> Iterator[Rule]:
    if "bias" in layer.arrays:
        yield same(layer, "bias", "bias")


def linear(layer: Layer) -> tuple[Rule, ...]:
    """flax Linear, Dense: kernel (in, out)."""
    return (permuted(layer, "kernel", "weight", (1, 0)), *_bias(layer))


def linear_general(layer: Layer) -> tuple[Rule, ...] | None:
    """flax LinearGeneral, DenseGeneral: kernel (in…, out…), bias (out…)."""
    features = layer.settings.get("out_features", layer.settings.get("features"))
    outputs = len(features) if isinstance(features, tuple | list) else 1
    if layer.settings.get("batch_axis") or layer.settings.get("batch_dims"):
        return None
    rules = [merged(layer, "kernel", "weight", outputs)]
    if "bias" in layer.arrays:
        rules.append(merged(layer, "bias", "bias", outputs))
    return tuple(rules)


def conv(layer: Layer) -> tuple[Rule, ...]:
    """flax Conv: kernel (spatial…, in/groups, out) for (out, in/groups, spatial…)."""
    n = len(shape_of(layer, "kernel")) - 2
    return (permuted(layer, "kernel", "weight", (n + 1, n, *range(n))), *_bias(layer))


def conv_transpose(layer: Layer) -> tuple[Rule, ...]:
    """flax ConvTranspose, for PyTorch's (in, out, spatial…).

    With transpose_kernel the kernel is (spatial…, out, in) and jax.lax turns it round, as PyTorch's gradient of a
    convolution does. Without, it is (spatial…, in, out) and is not turned round.
    """
    n = len(shape_of(layer, "kernel")) - 2
    transposed = bool(layer.settings.get("transpose_kernel"))
    order = (n + 1, n, *range(n)) if transposed else (n, n + 1, *range(n))
    return (permuted(layer, "kernel", "weight", order, flip=not transposed), *_bias(layer))


def norm(layer: Layer) -> tuple[Rule, ...]:
    """flax and Equinox normalisation: scale, bias, mean and var."""
    names = {"scale": "weight", "weight": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    return tuple(same(layer, name, names[name]) for name in layer.arrays if name in names)


def embedding(layer: Layer) -> tuple[Rule, ...]:
    """flax Embed: embedding (num, features)."""
    return (same(layer, "embedding" if "embedding" in layer.arrays else "weight", "weight"),)


def prelu(layer: Layer) -> tuple[Rule, ...]:
    """PReLU: negative_slope, () or (channels,), for PyTorch's (1,) or (channels,)."""
    shape = shape_of(layer, "negative_slope")
    if shape == ():
        return (
            moves(
                layer, "negative_slope", "weight", (1,), lambda a: a.reshape(()), lambda a: a.reshape(1), "one number"
            ),
        )
    return (same(layer, "negative_slope", "weight"),)


def torch_layout(layer: Layer) -> tuple[Rule, ...]:
    """A layer of jaxport.nn, or of Equinox where it is like PyTorch's: names and layouts are PyTorch's own."""
    return tuple(same(layer, name, name) for name in layer.arrays)


def equinox_conv(layer: Layer) -> tuple[Rule, ...]:
    """Equinox Conv: weight as PyTorch's, bias (out, 1…)."""
    return (same(layer, "weight", "weight"), *_equinox_bias(layer))


def _equinox_bias(layer: Layer) -> Iterator[Rule]:
    if "bias" in layer.arrays:
        shape = shape_of(layer, "bias")
        text = f"as it is, in axes {shape}"
        yield moves(layer, "bias", "bias", shape[:1], lambda a: a.reshape(shape), lambda a: a.reshape(shape[0]), text)


def equinox_conv_transpose(layer: Layer) -> tuple[Rule, ...]:
    """Equinox ConvTranspose: weight (out, in/groups, spatial…), turned round, for (in, out/groups, spatial…)."""
    out, into, *spatial = shape_of(layer, "weight")
    groups = int(layer.settings.get("groups", 1))
    axes = tuple(range(2, 2 + len(spatial)))

    def swap(array: np.ndarray, first: int) -> np.ndarray:
        grouped = array.reshape(groups, first // groups, *array.shape[1:]).swapaxes(1, 2)
        return np.flip(grouped.reshape(-1, first // groups, *spatial), axes)

    rule = moves(
        layer, "weight", "weight", (into * groups, out // groups, *spatial),
        lambda array: swap(array, into * groups), lambda array: swap(array, out),
        "in and out channels exchanged, spatial axes turned round",
    )  # fmt: skip
    return (rule, *_equinox_bias(layer))


def einsum(layer: Layer) -> tuple[Rule, ...] | None:
    """flax Einsum, if it is a linear layer: kernel axes that are summed over are inputs, the others outputs."""
    text = layer.settings.get("einsum_str")
    if not isinstance(text, str) or "->" not in text:
        return None
    operands, result = text.replace(" ", "").split("->")
    letters = operands.split(",")[1]
    into = [axis for axis, letter in enumerate(letters) if letter not in result]
    out = [axis for axis, letter in enumerate(letters) if letter in result]
    shape = shape_of(layer, "kernel")
    if "." in letters or not into or any(letters[axis] in operands.split(",")[0] for axis in out):
        return None
    order = (*out, *into)
    sizes, inverse = tuple(shape[axis] for axis in order), tuple(int(axis) for axis in np.argsort(order))
    rows = prod(shape[axis] for axis in out)
    rule = moves(
        layer, "kernel", "weight", (rows, prod(shape[axis] for axis in into)),
        lambda array: array.reshape(sizes).transpose(inverse), lambda array: array.transpose(order).reshape(rows, -1),
        f"axes {order}, merged to rows and columns",
    )  # fmt: skip
    return (
        rule,
        *(merged(layer, name, name, len(shape_of(layer, name))) for name in ("bias",) if name in layer.arrays),
    )


Maker = Callable[[Layer], "tuple[Rule, ...] | None"]


def _dimensions(layer: Layer) -> int:
    return len(shape_of(layer, "kernel" if "kernel" in layer.arrays else "weight")) - 2


FLAX: dict[str, tuple[str, Maker]] = {
    "Linear": ("linear", linear),
    "LoRALinear": ("linear", linear),
    "Dense": ("linear", linear),
    "DenseParams": ("linear", linear),
    "LinearGeneral": ("linear", linear_general),
    "DenseGeneral": ("linear", linear_general),
    "Einsum": ("linear", einsum),
    "Conv": ("conv", conv),
    "ConvTranspose": ("convtranspose", conv_transpose),
    "BatchNorm": ("batchnorm", norm),
    "LayerNorm": ("layernorm", norm),
    "RMSNorm": ("rmsnorm", norm),
    "GroupNorm": ("groupnorm", norm),
    "InstanceNorm": ("instancenorm", norm),
    "Embed": ("embedding", embedding),
    "PReLU": ("prelu", prelu),
}
"""Layers of flax.nnx and flax.linen: family, and what makes the rules."""

EQUINOX: dict[str, tuple[str, Maker]] = {
    "Linear": ("linear", torch_layout),
    **dict.fromkeys(("Conv", "Conv1d", "Conv2d", "Conv3d"), ("conv", equinox_conv)),
    **dict.fromkeys(
        ("ConvTranspose", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"),
        ("convtranspose", equinox_conv_transpose),
    ),
    "BatchNorm": ("batchnorm", norm),
    "LayerNorm": ("layernorm", norm),
    "RMSNorm": ("rmsnorm", norm),
    "GroupNorm": ("groupnorm", norm),
    "Embedding": ("embedding", embedding),
    "PReLU": ("prelu", prelu),
}
"""Layers of equinox.nn."""


def layer_unit(layer: Layer) -> JaxUnit | None:
    """Return a layer of Flax or Equinox, or of a class made from one, as a unit; None if it is none of those."""
    found = library_name(layer, ("flax.nnx", "flax.linen", "equinox.nn"))
    if not layer.arrays or found is None:
        return None
    family, make = (EQUINOX if found[0] == "equinox.nn" else FLAX).get(found[1], ("", None))
    rules = None if make is None else make(layer)
    if rules is None:
        return None
    family += str(_dimensions(layer)) if family.startswith("conv") else ""
    problems = ()
    if found == ("equinox.nn", "BatchNorm"):
        problems = ("running statistics, which Equinox keeps in a State beside the model",)
    parts = () if family == "linear" or "conv" in family or problems else tuple(array_units(layer))
    return JaxUnit(layer.path, family, rules, layer.path, parts=parts, problems=problems)


def single_units(layer: Layer) -> Iterator[JaxUnit]:
    """Yield the unit of a layer, and each array that it does not cover as one of its own."""
    unit = layer_unit(layer)
    covered = () if unit is None else unit.keys
    if unit is not None:
        yield unit
    yield from (part for part in array_units(layer) if part.path not in covered)


def array_units(layer: Layer) -> Iterator[JaxUnit]:
    """Yield each array of a layer as a unit of its own."""
    for name in layer.arrays:
        yield JaxUnit(layer.key(name), "array", (same(layer, name, "weight"),), layer.path, whole=False)


PLAIN = {"kernel": "weight", "w": "weight", "weights": "weight", "scale": "weight", "embedding": "weight", "b": "bias"}
"""Usual names of arrays in JAX, and PyTorch's."""


def plain_unit(layer: Layer) -> JaxUnit:
    """Return a user's own layer as one unit: layouts as they are, usual names as PyTorch's."""
    rules = tuple(same(layer, name, PLAIN.get(name, name)) for name in layer.arrays)
    return JaxUnit(layer.path, "user", rules, layer.path)
