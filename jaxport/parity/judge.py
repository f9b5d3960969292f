"""judge: two tensors of any two models, and the verdict on them with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from . import tolerances
from .result import Error, Tensor, Verdict
from .views import best_axes, to_torch

_BINS = 24
_SAMPLE = 1 << 16
_PART = 1 << 17


@dataclass(frozen=True)
class Sides:
    """One tensor as each side gives it, JAX's in its own order of axes; None where a precision was not run.

    Attributes:
        ours64: JAX, float64.
        ours32: JAX, float32.
        theirs64: PyTorch, float64: the truth.
        theirs32: PyTorch, float32: the first of the very same inputs, others of inputs that differ in the last bit.
    """

    ours64: np.ndarray | None
    ours32: np.ndarray | None
    theirs64: np.ndarray
    theirs32: Sequence[np.ndarray] = ()

    @property
    def ours(self) -> np.ndarray:
        """JAX's, of the precision that decides."""
        found = self.ours64 if self.ours64 is not None else self.ours32
        assert found is not None
        return found


def measure(ours: np.ndarray, theirs: np.ndarray) -> Error:
    """Return how far two arrays of the same axes are apart; equal infinities agree, NaN never does."""
    if theirs.size == 0:
        return Error(0.0, 0.0)
    # Part by part, so that what is computed on the way stays in the processor's cache.
    a, b = np.asarray(ours).reshape(-1), np.asarray(theirs).reshape(-1)
    worst, at, scale = -1.0, 0, 0.0
    for start in range(0, b.size, _PART):
        wide, true = a[start : start + _PART].astype(np.float64), b[start : start + _PART].astype(np.float64)
        gap, size = _gaps(wide, true)
        place = int(gap.argmax())
        if gap[place] > worst:
            worst, at = float(gap[place]), start + place
        scale = max(scale, size)
    where = tuple(int(i) for i in np.unravel_index(at, theirs.shape))
    return Error(worst, relative(worst, scale), where, float(a[at]), float(b[at]))


def _gaps(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the differences of elements, and the largest finite magnitude of the reference."""
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(ours - theirs)
    size = float(max(theirs.max(), -theirs.min()))
    if np.isfinite(gap.max()) and np.isfinite(size):
        return gap, size
    gap = np.where(ours == theirs, 0.0, np.where(np.isfinite(gap), gap, np.inf))
    return gap, float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0))


def largest(array: np.ndarray) -> float:
    """Return the largest finite magnitude."""
    if array.size == 0:
        return 0.0
    size = float(max(array.max(), -array.min()))
    return size if np.isfinite(size) else float(np.abs(array[np.isfinite(array)]).max(initial=0.0))


def relative(max_abs: float, scale: float) -> float:
    """Return a difference over the largest magnitude; of nothing at all, only nothing is no difference."""
    if scale > 0.0:
        return max_abs / scale
    return 0.0 if max_abs == 0.0 else float("inf")


def magnitudes(ours: np.ndarray, theirs: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return the largest error by magnitude, in at most 24 steps of the logarithm, from at most 65,536 elements."""
    step = max(1, theirs.size // _SAMPLE)
    true = np.abs(theirs.reshape(-1)[::step].astype(np.float64))
    gap = np.abs(ours.reshape(-1)[::step].astype(np.float64) - theirs.reshape(-1)[::step])
    use = np.isfinite(gap) & (gap > 0) & (true > 0)
    if not use.any():
        return ()
    size, error = np.log10(true[use]), np.log10(gap[use])
    low, step = float(size.min()), (float(size.max()) + 1e-9 - float(size.min())) / _BINS
    place = np.clip(((size - low) / step).astype(np.int64), 0, _BINS - 1)
    most = np.full(_BINS, -np.inf)
    np.maximum.at(most, place, error)
    found = np.flatnonzero(np.isfinite(most))
    return tuple((round(low + (b + 0.5) * step, 3), round(float(most[b]), 3)) for b in found)


def judge(tensor: Tensor, sides: Sides, *, last: bool = False, scale: float | None = None) -> Tensor:
    """Return the tensor with its errors, its limit and its verdict.

    Shapes decide first, then NaN, then float64, then float32 against PyTorch's own rounding; elementwise, never by a
    mean.

    Args:
        tensor: its names; a verdict that is given is replaced.
        sides: the arrays.
        last: whether the JAX model has its channels last, which is tried first where several orders of axes fit.
        scale: of a gradient: the size of what was differentiated, beside which it may be zero but for rounding.
    """
    truth = sides.theirs64
    axes = best_axes(sides.ours, truth, last, tensor.axes or None)
    if axes is None:
        note = f"shape {sides.ours.shape}, PyTorch has {truth.shape}"
        return replace(tensor, verdict=Verdict.DIFFERENT, required=float("inf"), note=note)
    tensor = replace(tensor, axes=() if axes == tuple(range(truth.ndim)) else axes)
    ours64, ours32 = (None if a is None else to_torch(a, axes) for a in (sides.ours64, sides.ours32))
    sides = replace(sides, ours64=ours64, ours32=ours32)
    if truth.dtype.kind != "f":
        return _exact(tensor, sides)
    return _floats(tensor, sides, scale)


def _exact(tensor: Tensor, sides: Sides) -> Tensor:
    """Integers and truth values are equal or not."""
    error = measure(sides.ours, sides.theirs64)
    verdict = Verdict.EQUAL if error.max_abs == 0.0 else Verdict.DIFFERENT
    return replace(tensor, float64=error, verdict=verdict, required=error.max_rel)


def _floats(tensor: Tensor, sides: Sides, scale: float | None) -> Tensor:
    truth = sides.theirs64
    wide = None if sides.ours64 is None else measure(sides.ours64, truth)
    narrow = None if sides.ours32 is None else measure(sides.ours32, truth)
    floor = max((measure(draw, truth).max_abs for draw in sides.theirs32), default=None)
    size = largest(truth)
    zero = scale is not None and 0.0 < size <= tolerances.ZERO_GRADIENT * scale
    limit = None
    if narrow is not None and floor is not None:
        unit = max(size, scale or 0.0) if zero else size
        limit = tolerances.FLOAT32_FACTOR * floor + tolerances.FLOAT32_FLOOR * unit
    required = (wide or narrow or Error(0.0, 0.0)).max_rel
    tensor = replace(tensor, float64=wide, float32=narrow, floor=floor, limit=limit, required=required)
    shown = sides.ours32 if sides.ours32 is not None else sides.ours
    tensor = replace(tensor, magnitudes=magnitudes(shown, truth))
    if note := _not_numbers(sides.ours, truth):
        verdict = Verdict.SUSPICIOUS if note.endswith("on both sides") else Verdict.DIFFERENT
        return replace(tensor, verdict=verdict, note=note)
    if zero and scale is not None:
        return _of_zero(tensor, sides, scale)
    if note := _too_narrow(sides, wide):
        return replace(tensor, verdict=Verdict.DIFFERENT, note=note)
    return replace(tensor, verdict=_verdict(wide, narrow, floor, limit, size))


def _verdict(
    wide: Error | None, narrow: Error | None, floor: float | None, limit: float | None, size: float
) -> Verdict:
    if wide is not None and wide.max_rel > tolerances.FLOAT64_RTOL:
        return Verdict.DIFFERENT
    if narrow is None or limit is None:
        return Verdict.EQUAL
    if narrow.max_abs <= tolerances.FLOAT32_FLOOR * size:
        return Verdict.EQUAL
    if narrow.max_abs <= limit:
        return Verdict.ROUNDING
    # Without float64 only a difference that no rounding makes is certain.
    return (
        Verdict.SUSPICIOUS
        if wide is not None or narrow.max_abs <= tolerances.FLOAT32_ALONE * limit
        else Verdict.DIFFERENT
    )


def _of_zero(tensor: Tensor, sides: Sides, scale: float) -> Tensor:
    """A gradient that is zero but for rounding has no digits to compare: its size is judged."""
    ours = float(np.abs(sides.ours).max())
    if sides.ours64 is not None:
        small = ours <= tolerances.ZERO_GRADIENT * scale
    else:
        small = tensor.limit is not None and ours <= tensor.limit
    theirs = float(np.abs(sides.theirs64).max())
    note = f"zero gradient: {ours:.1e} here, {theirs:.1e} in PyTorch, beside {scale:.1e} that was differentiated"
    fits = tensor.float32 is None or tensor.limit is None or tensor.float32.max_abs <= tensor.limit
    verdict = Verdict.DIFFERENT if not small else Verdict.ROUNDING if fits else Verdict.SUSPICIOUS
    return replace(tensor, verdict=verdict, required=0.0 if small else tensor.required, note=note)


def _not_numbers(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Say where one side has NaN or infinity and the other has not, or both have NaN."""
    if ours.size == 0 or all(np.isfinite(edge) for a in (ours, theirs) for edge in (a.min(), a.max())):
        return ""
    mine, true = np.isnan(ours), np.isnan(theirs)
    infinite = np.isinf(ours) | np.isinf(theirs)
    if not (mine.any() or true.any() or infinite.any()):
        return ""
    differ = int((mine != true).sum()) + int((infinite & (ours != theirs) & ~(mine | true)).sum())
    if differ:
        return f"{differ} elements are NaN or infinite on one side: {int(mine.sum())} NaN here, {int(true.sum())} there"
    return f"{int(mine.sum())} elements are NaN on both sides" if mine.any() else ""


def _too_narrow(sides: Sides, wide: Error | None) -> str:
    """Say that JAX's result has not the precision of the run: a layer has a dtype of its own."""
    found = sides.ours64
    if found is not None and found.dtype.itemsize < 8 and wide is not None and wide.max_rel > tolerances.FLOAT64_RTOL:
        return f"it is {found.dtype} in the float64 run: a layer or the model sets a dtype of its own"
    return ""
