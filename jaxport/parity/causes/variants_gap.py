"""What ports do otherwise where no weights are: activations, flattening, resizing; and what a gap may be."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np

from .case import Case
from .fit import wide
from .run import Runner, Variant

ACTIVATIONS = (
    "ReLU", "ReLU6", "GELU", "SiLU", "Mish", "ELU", "SELU", "CELU", "LeakyReLU", "Softplus", "Softsign", "Sigmoid",
    "LogSigmoid", "Hardsigmoid", "Hardswish", "Hardtanh", "Tanh", "Identity",
)  # fmt: skip
_RESIZING = ("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d")
NAMES = (*ACTIVATIONS, "Flatten", *_RESIZING)


def variants(layer: Runner, case: Case) -> list[Variant]:
    """Return what may stand in the layer's place."""
    name = type(layer.module).__name__
    if name == "Flatten":
        return _flatten(layer)
    return _resize(layer) if name in _RESIZING else _activation(layer)


def _activation(layer: Runner) -> list[Variant]:
    from torch import nn

    found = []
    name = type(layer.module).__name__
    if name == "GELU":
        ours = "none" if layer.module.approximate == "tanh" else "tanh"
        words = ("erf", "the tanh approximation") if ours == "none" else ("the tanh approximation", "erf")
        fix = f"jax.nn.gelu(x, approximate={ours != 'tanh'})"
        text = f"JAX's GELU takes {words[0]}, PyTorch's {words[1]}"
        found.append(Variant("cause/gelu-tanh", text, layer.changed(approximate=ours), fix))
        found.append(Variant("cause/gelu-tanh", "JAX's GELU is x·σ(1.702 x)", _quick_gelu))
    if name == "LeakyReLU":
        for slope in (0.01, 0.1, 0.2, 0.3):
            text = f"JAX's negative slope is {slope}, PyTorch's {layer.module.negative_slope}"
            found.append(Variant("cause/activation", text, layer.changed(negative_slope=slope)))
    for other in ACTIVATIONS:
        if other != name:
            text = f"JAX has {other}, PyTorch {name}"
            found.append(Variant("cause/activation", text, Runner(getattr(nn, other)().double())))
    return found


def _quick_gelu(x: np.ndarray) -> np.ndarray:
    return wide(x) / (1.0 + np.exp(-1.702 * wide(x)))


def _flatten(layer: Runner) -> list[Variant]:
    start = layer.module.start_dim

    def reordered(order: tuple[int, ...]) -> Callable[..., np.ndarray]:
        return lambda x: layer(np.transpose(x, (*range(start), *(start + i for i in order))))

    found = []
    for count in (2, 3, 4):
        names = {2: "CL", 3: "CHW", 4: "CDHW"}[count]
        for order in list(permutations(range(count)))[1:]:
            ours = "·".join(names[i] for i in order)
            text = f"JAX flattens N, {ours}; PyTorch N, {'·'.join(names)}"
            found.append(Variant("cause/flatten-order", text, reordered(order)))
    return found


def _resize(layer: Runner) -> list[Variant]:
    module = layer.module
    mode = str(module.mode)  # those of Upsampling…2d are set by their class
    method = {"nearest": "nearest", "nearest-exact": "nearest", "bicubic": "cubic"}.get(mode, "linear")
    rules = {"nearest": "cause/nearest", "cubic": "cause/bicubic", "linear": "cause/antialias"}
    found = []
    if module.align_corners:
        text = "JAX samples between pixel centres, PyTorch aligns the corners"
        found.append(Variant("cause/align-corners", text, _jax_resize(layer, method, False)))
        found.append(Variant("cause/align-corners", f"{text}; JAX antialiases", _jax_resize(layer, method, True)))
        return found
    for antialias in (False, True):
        words = {
            "cause/nearest": "JAX takes the pixel whose centre is nearest (PyTorch's 'nearest-exact'), PyTorch floor",
            "cause/bicubic": "JAX's bicubic kernel has a = −0.5, PyTorch's a = −0.75",
            "cause/antialias": "JAX antialiases when it shrinks, PyTorch does not",
        }
        text = words[rules[method]]
        found.append(Variant(rules[method], text, _jax_resize(layer, method, antialias)))
    if method != "nearest":
        aligned = layer.changed(align_corners=True)
        found.append(Variant("cause/align-corners", "JAX aligns the corners, PyTorch does not", aligned))
    else:
        other = "nearest" if mode == "nearest-exact" else "nearest-exact"
        found.append(
            Variant("cause/nearest", f"JAX has PyTorch's '{other}', PyTorch '{mode}'", layer.changed(mode=other))
        )
    return found


def _jax_resize(layer: Runner, method: str, antialias: bool) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray) -> np.ndarray:
        import jax

        shape = layer(x).shape
        with jax.enable_x64(True):
            return np.asarray(jax.image.resize(wide(x), shape, method, antialias=antialias))

    return run
