"""How well a hypothesis gives the numbers."""

from __future__ import annotations

import numpy as np

from jaxport.parity import tolerances


def wide(array: np.ndarray) -> np.ndarray:
    """Return it in float64 (booleans and half precision too)."""
    return np.asarray(array).astype(np.float64)


def scale(array: np.ndarray) -> float:
    """Return the largest finite magnitude, 0 if there is none."""
    values = np.abs(wide(array))
    values = values[np.isfinite(values)]
    return float(values.max()) if values.size else 0.0


def error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference over the largest magnitude of `theirs`; infinite if shapes or NaNs differ."""
    a, b = wide(ours), wide(theirs)
    if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf")
    finite = np.isfinite(a)
    if not finite.any():
        return 0.0
    size = scale(b)
    gap = float(np.abs(a[finite] - b[finite]).max())
    return gap / size if size else (0.0 if gap == 0.0 else float("inf"))


def rounding(*arrays: np.ndarray) -> float:
    """Return what rounding may explain between arrays of these dtypes: the coarsest decides."""
    narrow = any(np.asarray(a).dtype in (np.float32, np.float16) or np.asarray(a).dtype.itemsize == 2 for a in arrays)
    return 1e-5 if narrow else tolerances.FLOAT64_RTOL


def differs(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Return whether there is anything to explain."""
    return error(ours, theirs) > tolerances.FLOAT64_RTOL


def explains(candidate: np.ndarray, target: np.ndarray, present: float) -> float | None:
    """Return the remaining error if `candidate` gives `target`, where `present` is the error without a hypothesis.

    It must be small by itself, and small beside what it explains.
    """
    left = error(candidate, target)
    fits = left <= tolerances.CAUSE_RTOL and left <= tolerances.CAUSE_SHARE * present
    return left if fits else None


def ratio(ours: np.ndarray, theirs: np.ndarray) -> float | None:
    """Return c where ours = c · theirs for all elements (at least two that are not 0) and is not 1, else None."""
    a, b = wide(ours).ravel(), wide(theirs).ravel()
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    size = float(b @ b)
    if size == 0.0 or np.count_nonzero(b) < 2:
        return None
    factor = float(a @ b) / size
    left = float(np.abs(a - factor * b).max()) / scale(b)
    limit = min(tolerances.CAUSE_RTOL * abs(factor), tolerances.CAUSE_SHARE * abs(factor - 1.0))
    return factor if factor and left <= limit else None


def spread(values: np.ndarray) -> float:
    """Return how far values are from their median, over the median."""
    middle = float(np.median(values))
    return float(np.abs(values - middle).max() / abs(middle)) if middle else float("inf")
