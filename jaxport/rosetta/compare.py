"""Comparing two plain values: structure, shape, dtype, then every element."""

from __future__ import annotations

from typing import Any

import numpy as np

from .plain import Leaf, pairs

NARROWED = {("int64", "int32"), ("float64", "float32"), ("complex128", "complex64")}
"""How dtypes differ without x64; with it they are the same."""


def compare(torch: Any, jax: Any, dtypes: str, rtol: float, values: bool = True) -> list[str]:
    """Return what differs between PyTorch's value and JAX's.

    Args:
        torch: PyTorch's plain value.
        jax: JAX's.
        dtypes: how dtypes differ, as "int64 → int32, Python bool → bool"; "" for not at all. All of it must be seen.
        rtol: the largest difference of floats, over the largest magnitude; of anything else none is allowed.
        values: whether more than shapes and dtypes are compared.
    """
    found: list[str] = []
    seen: set[str] = set()
    for path, first, second in pairs(torch, jax):
        if not isinstance(first, Leaf) or not isinstance(second, Leaf):
            found.append(f"value{path}: built otherwise: {first!r} and {second!r}")
            continue
        if first.dtype != second.dtype:
            seen.add(f"{first.dtype} → {second.dtype}")
        found += [f"value{path}: {text}" for text in _differences(first.value, second.value, rtol, values)]
    declared = set(filter(None, dtypes.split(", ")))
    if seen != declared:
        found.append(f"dtypes: {sorted(seen)}, declared {sorted(declared)}")
    return found


def with_x64(dtypes: str) -> str:
    """Return what is left of the dtypes' differences with x64."""
    return ", ".join(one for one in dtypes.split(", ") if one and tuple(one.split(" → ")) not in NARROWED)


def _differences(first: Any, second: Any, rtol: float, values: bool) -> list[str]:
    if isinstance(first, str) or first is None or isinstance(second, str) or second is None:
        same = type(first) is type(second) and first == second
        return [] if same else [f"{first!r} and {second!r}"]
    one, two = np.asarray(first), np.asarray(second)
    if one.shape != two.shape:
        return [f"shapes {one.shape} and {two.shape}"]
    if not values or one.size == 0:
        return []
    if not (np.issubdtype(one.dtype, np.inexact) and np.issubdtype(two.dtype, np.inexact)):
        return [] if np.array_equal(one, two) else [f"{one.tolist()} and {two.tolist()}"]
    return _floats(one, two, rtol)


def _floats(one: np.ndarray, two: np.ndarray, rtol: float) -> list[str]:
    finite = np.isfinite(one)
    if not np.array_equal(one[~finite], two[~finite], equal_nan=True) or not np.isfinite(two[finite]).all():
        return [f"not finite in other places: {one.tolist()} and {two.tolist()}"]
    if not finite.any():
        return []
    wide = np.complex128 if np.iscomplexobj(one) else np.float64
    first, second = one[finite].astype(wide), two[finite].astype(wide)
    error, scale = np.abs(first - second).max(), np.abs(first).max()
    return [] if error <= rtol * scale else [f"{one.tolist()} and {two.tolist()}: off by {error:.1e}"]
