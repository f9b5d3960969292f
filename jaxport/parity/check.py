"""Check: one comparison with its limit, and the three rules that decide it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from . import tolerances


@dataclass(frozen=True)
class Check:
    """The result of one comparison.

    Attributes:
        port: which port.
        check: what was compared, such as "train/grad/conv1.weight".
        dtype: "float64", "float32" or "exact".
        max_abs: largest difference of two elements (infinite if shapes, dtypes or NaNs differ).
        max_rel: `max_abs` over the largest magnitude of the reference.
        limit: what `max_abs` may be in float32, what `max_rel` may be in float64, 0 where bits must agree.
        ok: whether it holds.
        note: why not, or what is noteworthy.
    """

    port: str
    check: str
    dtype: str
    max_abs: float
    max_rel: float
    limit: float
    ok: bool
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)


def _structure(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Say how shape, dtype or finiteness differ, before any values are looked at."""
    if ours.shape != theirs.shape:
        return f"shape {ours.shape}, PyTorch has {theirs.shape}"
    if ours.dtype != theirs.dtype:
        return f"dtype {ours.dtype}, PyTorch has {theirs.dtype}"
    bad = ~np.isfinite(ours.astype(np.float64)) | ~np.isfinite(theirs.astype(np.float64))
    return f"{int(bad.sum())} elements are NaN or infinite" if bad.any() else ""


def _difference(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Return (largest difference, largest magnitude of the reference)."""
    if ours.size == 0:
        return 0.0, 0.0
    wide = theirs.astype(np.float64)
    return float(np.abs(ours.astype(np.float64) - wide).max()), float(np.abs(wide).max())


def _relative(max_abs: float, scale: float) -> float:
    if scale > 0.0:
        return max_abs / scale
    return 0.0 if max_abs == 0.0 else float("inf")


def _broken(port: str, check: str, dtype: str, limit: float, note: str) -> Check:
    return Check(port, check, dtype, float("inf"), float("inf"), limit, False, note)


def compare64(
    port: str, check: str, ours: np.ndarray, theirs: np.ndarray, rtol: float = tolerances.FLOAT64_RTOL
) -> Check:
    """Rule 1: in float64 the largest difference is at most `rtol` of the tensor's largest magnitude."""
    if note := _structure(ours, theirs):
        return _broken(port, check, "float64", rtol, note)
    max_abs, scale = _difference(ours, theirs)
    relative = _relative(max_abs, scale)
    return Check(port, check, "float64", max_abs, relative, rtol, relative <= rtol)


def compare32(port: str, check: str, ours: np.ndarray, theirs: Sequence[np.ndarray], truth: np.ndarray) -> Check:
    """Rule 2: in float32 the distance to the float64 truth is at most 4 times PyTorch's own, plus one rounding.

    `theirs` are PyTorch's float32 results, the first of the very same inputs, the others of inputs that differ in the
    last bit: its own distance is the largest of these draws.
    """
    if note := _structure(ours, theirs[0]) or _structure(ours.astype(np.float64), truth.astype(np.float64)):
        return _broken(port, check, "float32", 0.0, note)
    own = max(_difference(draw, truth)[0] for draw in theirs)
    max_abs, scale = _difference(ours, truth)
    limit = tolerances.FLOAT32_FACTOR * own + tolerances.FLOAT32_FLOOR * scale
    return Check(port, check, "float32", max_abs, _relative(max_abs, scale), limit, max_abs <= limit)


def _zero_in_truth(truth: np.ndarray, scale: float) -> bool:
    return truth.size > 0 and 0.0 < np.abs(truth).max() <= tolerances.ZERO_GRADIENT * scale


def compare_gradient64(port: str, check: str, ours: np.ndarray, theirs: np.ndarray, scale: float) -> Check:
    """Rule 1 for a gradient, with its one exception: a gradient that is zero but for rounding.

    Such a leaf (a bias in front of BatchNorm) has no digits to compare: its absolute size is judged against `scale`,
    that of the loss, and the note names it.
    """
    usual = compare64(port, check, ours, theirs)
    if not np.isfinite(usual.max_abs) or not _zero_in_truth(theirs, scale):
        return usual
    size = float(np.abs(ours).max())
    limit = tolerances.ZERO_GRADIENT
    note = f"zero gradient: {size:.1e} here, {np.abs(theirs).max():.1e} in PyTorch, beside a loss of {scale:.1e}"
    return Check(port, check, "float64", usual.max_abs, size / scale, limit, size <= limit * scale, note)


def compare_gradient32(
    port: str, check: str, ours: np.ndarray, theirs: Sequence[np.ndarray], truth: np.ndarray, scale: float
) -> Check:
    """Rule 2 for a gradient; one that is zero but for rounding gets the floor of the loss, which `scale` is."""
    usual = compare32(port, check, ours, theirs, truth)
    if not np.isfinite(usual.max_abs) or not _zero_in_truth(truth, scale):
        return usual
    limit = usual.limit + tolerances.FLOAT32_FLOOR * scale
    note = f"zero gradient: {np.abs(ours).max():.1e} beside a loss of {scale:.1e}"
    return Check(port, check, "float32", usual.max_abs, usual.max_abs / scale, limit, usual.max_abs <= limit, note)


def compare_bits(port: str, check: str, ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> Check:
    """Two dictionaries of arrays are the same in keys, order, shapes, dtypes and every bit."""
    note = "" if list(ours) == list(theirs) else f"keys {list(ours)}, expected {list(theirs)}"
    for key in theirs:
        if not note and (
            ours[key].shape != theirs[key].shape
            or ours[key].dtype != theirs[key].dtype
            or ours[key].tobytes() != theirs[key].tobytes()
        ):
            note = f"{key} differs"
    worst = float("inf") if note else 0.0
    return Check(port, check, "exact", worst, worst, 0.0, not note, note)


def same_keys(port: str, check: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Check:
    """Both sides have the same tensors: a missing or unused one is a finding, never skipped."""
    missing, extra = sorted(theirs.keys() - ours.keys()), sorted(ours.keys() - theirs.keys())
    note = ", ".join([*(f"missing {key}" for key in missing), *(f"only here {key}" for key in extra)])
    note = note or ("" if ours else "nothing was compared")
    worst = float("inf") if note else 0.0
    return Check(port, f"{check}/keys", "exact", worst, worst, 0.0, not note, note)


def worst(checks: list[Check], name: str) -> Check:
    """Return the check closest to (or furthest over) its limit, under another name; its own goes to the note."""

    def strain(check: Check) -> float:
        value = check.max_rel if check.dtype == "float64" else check.max_abs
        return float("inf") if not check.ok else value / check.limit if check.limit else 0.0

    top = max(checks, key=strain)
    note = f"worst of {len(checks)}: {top.check}" + (f", {top.note}" if top.note else "")
    return Check(top.port, name, top.dtype, top.max_abs, top.max_rel, top.limit, top.ok, note)
