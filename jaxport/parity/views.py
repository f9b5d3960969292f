"""How a tensor of the JAX model lies beside PyTorch's: the order of its axes, found from the shapes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from . import tolerances

Axes = tuple[int, ...]
"""JAX's axis i is PyTorch's axis ``axes[i]``: ``(0, 2, 3, 1)`` is (N, H, W, C) of (N, C, H, W)."""


def channels_last(ndim: int) -> Axes:
    """Return the order of axes that puts PyTorch's second axis last."""
    return (0, *range(2, ndim), 1) if ndim > 2 else tuple(range(ndim))


def candidates(jax_shape: Sequence[int], torch_shape: Sequence[int], prefer_last: bool = False) -> list[Axes]:
    """Return the orders of axes that make PyTorch's shape JAX's, the likeliest first.

    Alike and channels last come first (in the order that `prefer_last` says), then the two leading axes swapped (time
    and batch), and any other order only if none of these fits.
    """
    n = len(torch_shape)
    if len(jax_shape) != n:
        return []
    same = tuple(range(n))
    usual = [same, channels_last(n)] if not prefer_last else [channels_last(n), same]
    if n > 2:
        usual.append((1, 0, *range(2, n)))
    fits = [axes for axes in dict.fromkeys(usual) if _fits(axes, jax_shape, torch_shape)]
    if fits or n > 5:
        return fits
    return [axes for axes in permutations(range(n)) if _fits(axes, jax_shape, torch_shape)]


def _fits(axes: Axes, jax_shape: Sequence[int], torch_shape: Sequence[int]) -> bool:
    return all(jax_shape[i] == torch_shape[axis] for i, axis in enumerate(axes))


def find_axes(jax_shape: Sequence[int], torch_shape: Sequence[int], prefer_last: bool = False) -> Axes | None:
    """Return the likeliest order of axes, None if none fits."""
    return next(iter(candidates(jax_shape, torch_shape, prefer_last)), None)


def to_torch(array: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Return a JAX array in PyTorch's order of axes."""
    return np.transpose(array, np.argsort(axes)) if tuple(axes) != tuple(range(array.ndim)) else array


def to_jax(array: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Return a PyTorch array in JAX's order of axes."""
    return np.transpose(array, axes) if tuple(axes) != tuple(range(array.ndim)) else array


def best_axes(
    ours: np.ndarray, theirs: np.ndarray, prefer_last: bool = False, given: Sequence[int] | None = None
) -> Axes | None:
    """Return the order of axes for two tensors.

    Where the shapes allow several it is the likeliest, unless another makes nearly all of the difference go away: of
    tensors that differ for another reason, the least difference is chance.
    """
    if given is not None:
        return tuple(given)
    fits = candidates(ours.shape, theirs.shape, prefer_last)
    if len(fits) < 2 or ours.dtype.kind not in "fiu":
        return next(iter(fits), None)

    def apart(axes: Axes) -> float:
        gap = np.abs(to_torch(ours, axes).astype(np.float64) - theirs.astype(np.float64)).max(initial=0.0)
        return float(gap) if np.isfinite(gap) else float("inf")

    first, *others = fits
    best = min(others, key=apart)
    return best if apart(best) < tolerances.CLEARLY * apart(first) else first


def moved_last(array: np.ndarray) -> np.ndarray:
    """Return (N, C, *) as (N, *, C)."""
    return np.transpose(array, channels_last(array.ndim))


def unflattened(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return features that JAX flattened from (*spatial, C) in PyTorch's order (C, *spatial): (N, ∏) → (N, ∏).

    Args:
        array: (…, ∏ shape).
        shape: (C, *spatial), PyTorch's.
    """
    lead = array.shape[:-1]
    split = array.reshape(*lead, *shape[1:], shape[0])
    return np.moveaxis(split, -1, len(lead)).reshape(*lead, -1)


def flattened(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return features in PyTorch's flattened order (C, *spatial) as JAX has them: (*spatial, C)."""
    lead = array.shape[:-1]
    return np.moveaxis(array.reshape(*lead, *shape), len(lead), -1).reshape(*lead, -1)
