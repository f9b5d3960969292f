"""What the settings of two whole models say: modes, dropout, precision, initial values, orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import jax
import numpy as np

from jaxport.parity.layer import Layer, Layers, Pair
from jaxport.parity.result import Finding

from . import settings as read
from .layers import found


def whole_findings(ours: Layers, theirs: Layers, pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Yield what concerns the models as wholes."""
    yield from _dropout(ours, theirs)
    yield from _modes(ours)
    yield from _precision()
    yield from _x64(theirs)
    yield from _biases_before_norms(theirs)
    yield from _flatten(ours, theirs)
    yield from _initial(ours, theirs, pairs)


def _rates(layers: Layers, names: tuple[str, ...]) -> list[tuple[float, Layer]]:
    rates = []
    for layer in layers.values():
        value = read.get(layer, *(names if "Dropout" in layer.name else ("dropout_rate", "dropout")))
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0.0:
            rates.append((float(value), layer))
    return rates


def _dropout(ours: Layers, theirs: Layers) -> Iterator[Finding]:
    mine, other = _rates(ours, ("rate", "p")), _rates(theirs, ("p",))
    known = any(layer.kind != "array" and not layer.kind.endswith(".Module") for layer in ours.values())
    values = [sorted(rate for rate, _ in rates) for rates in (mine, other)]
    # A pure function shows no layers: that it has no dropout layer says nothing.
    if known and (mine or _has_layers(ours)) and values[0] != values[1]:
        kept = [1.0 - rate for rate in values[1]]
        hint = " (JAX's look like probabilities of keeping)" if mine and np.allclose(sorted(kept), values[0]) else ""
        yield found("lint/dropout", f"dropout rates are {values[0]} in JAX{hint}, {values[1]} in PyTorch")


def _has_layers(layers: Layers) -> bool:
    return any("Dropout" in layer.name for layer in layers.values())


def _modes(ours: Layers) -> Iterator[Finding]:
    modes: dict[bool, list[Layer]] = {}
    for layer in ours.values():
        value = read.get(layer, "use_running_average", "deterministic", "inference")
        if isinstance(value, bool):
            modes.setdefault(value, []).append(layer)
    if len(modes) == 2:
        few = min(modes.values(), key=len)
        where = ", ".join(layer.path for layer in few[:5])
        mode = "evaluation" if few is modes[True] else "training"
        text = f"JAX's layers are in different modes: {where} in {mode} mode, others not"
        yield found("lint/train-mode", text, few[0], fix="call `model.eval()` or `model.train()` on the whole model")


def _precision() -> Iterator[Finding]:
    told: Any = getattr(jax.config, "jax_default_matmul_precision", None)
    if told is None and jax.default_backend() != "cpu":
        text = f"jax_default_matmul_precision is not set: on {jax.default_backend()} float32 products are rounded"
        yield found("lint/precision", text)
    elif told is not None and told not in ("highest", "float32", "default", "F32_F32_F32"):
        yield found("lint/precision", f"jax_default_matmul_precision is {told!r}: products are rounded to it")


def _x64(theirs: Layers) -> Iterator[Finding]:
    wide = [layer for layer in theirs.values() if any(_dtype(a) == "float64" for a in layer.arrays.values())]
    if wide and not getattr(jax.config, "jax_enable_x64", False):
        text = "PyTorch's weights are float64, and x64 is off in JAX: it computes in float32"
        fix = 'jax.config.update("jax_enable_x64", True)'
        yield found("lint/x64", text, None, wide[0], fix, "info")


def _dtype(array: Any) -> str:
    return str(array.dtype).removeprefix("torch.")


def _biases_before_norms(theirs: Layers) -> Iterator[Finding]:
    """Yield biases that the BatchNorm behind them takes out again."""
    leaves = [layer for layer in theirs.values() if not layer.children]
    for first, second in pairwise(leaves):
        beside = first.path.rpartition(".")[0] == second.path.rpartition(".")[0]
        feeds = first.name.startswith(("Conv", "Linear")) and second.name.startswith("BatchNorm")
        if beside and feeds and first.settings.get("bias"):
            text = f"the bias of {first.path} stands in front of {second.path}: its gradient is zero but for rounding"
            yield found("lint/bias-before-norm", text, None, first, level="info")


def _flatten(ours: Layers, theirs: Layers) -> Iterator[Finding]:
    last = [layer for layer in ours.values() if layer.kind.startswith("flax.") and layer.name.startswith("Conv")]
    flat = [layer for layer in theirs.values() if layer.name == "Flatten"]
    if last and flat:
        text = "PyTorch flattens (channels, height, width); JAX's convolutions have their channels last"
        yield found("lint/flatten-order", text, last[-1], flat[0], level="info")


def _initial(ours: Layers, theirs: Layers, pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Yield once that JAX's biases are all 0 and PyTorch's are not: as initialised, not carried over."""
    zero = []
    for pair in pairs:
        mine, other = ours[pair.jax_path].arrays.get("bias"), theirs[pair.torch_path].arrays.get("bias")
        if mine is None or other is None or not theirs[pair.torch_path].name.startswith(("Linear", "Conv")):
            continue
        if not np.asarray(mine).any() and bool((other != 0).any()):
            zero.append(pair)
    if zero:
        text = f"{len(zero)} biases are 0 in JAX and not in PyTorch (such as {zero[0].torch_path}.bias): initial values"
        yield found("lint/initialisation", text, ours[zero[0].jax_path], theirs[zero[0].torch_path], level="info")
