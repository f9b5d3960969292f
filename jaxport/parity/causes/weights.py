"""Weights that are not the same on both sides: initialised, not carried over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxport.parity.layer import Layer

from .case import Case, Hit
from .fit import error, scale, wide


def weight_hits(case: Case) -> list[Hit]:
    """Return that JAX's weights of the layer are other numbers, not PyTorch's in another layout."""
    if case.kind not in ("output", "parameter") or case.step:
        return []
    ours = case.ours_arrays or torch_layout(case.jax)
    theirs = {name: case.arrays[name] for name in ("weight", "bias") if name in case.arrays}
    if case.kind == "parameter":
        name = case.name.rsplit(".", 1)[-1]
        ours, theirs = {name: case.ours}, {name: case.theirs}
    apart = [name for name, array in theirs.items() if name in ours and _other(ours[name], array)]
    if not apart:
        return []
    texts = [_describe(name, ours[name], wide(theirs[name])) for name in apart]
    fix = "carry the weights over before comparing (`weights='torch'`); for equal distributions use `jaxport.nn.init`"
    return [Hit("cause/initialisation", "the weights are other numbers: " + "; ".join(texts), fix, 0.0, 0)]


def _other(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Return whether the numbers are others, in whatever order, and unrelated: equal signs would be a factor."""
    a, b = np.sort(wide(ours).ravel()), np.sort(wide(theirs).ravel())
    if a.shape != b.shape or error(a, b) <= 1e-3:
        return False
    if not a.any() or not b.any():
        return True
    if ours.shape != theirs.shape:
        return True
    related = np.corrcoef(wide(ours).ravel(), wide(theirs).ravel())[0, 1] if a.size > 1 else 0.0
    return not abs(related) > 0.9


def _describe(name: str, ours: np.ndarray, theirs: np.ndarray) -> str:
    if not wide(ours).any():
        return f"{name} is 0 in JAX, uniform within {scale(theirs):.3g} in PyTorch"
    words = f"{name} has deviation {wide(ours).std():.3g} in JAX, {theirs.std():.3g} in PyTorch"
    if theirs.ndim > 1 and scale(theirs) <= (bound := theirs[0].size ** -0.5) < scale(ours):
        words += f" (within 1/sqrt(fan_in) = {bound:.3g}, which JAX's exceed)"
    return words


def torch_layout(layer: Layer | None) -> Mapping[str, np.ndarray]:
    """Return weight and bias of a plain linear, convolution or embedding layer in PyTorch's layout, where they are."""
    if layer is None:
        return {}
    read = ((name, _array(value)) for name, value in layer.arrays.items())
    arrays = {name: array for name, array in read if array is not None}
    found = {name: array for name, array in arrays.items() if name in ("weight", "bias")}
    kernel = arrays.get("kernel")
    if kernel is not None and layer.name in ("Linear", "Dense", "Conv"):
        found["weight"] = np.moveaxis(kernel, (-1, -2), (0, 1))
    if "embedding" in arrays:
        found["weight"] = arrays["embedding"]
    return found


def _array(value: Any) -> np.ndarray | None:
    value = getattr(value, "value", value) if not hasattr(value, "dtype") else value
    try:
        return np.asarray(value)
    except (TypeError, ValueError):
        return None
