"""Where interpolation reads and with what weights, for one axis: NumPy tables, computed once while tracing.

A table is (index, weight), both (outputs, taps): y_i = Σ_k weight_ik x_index_ik. The positions follow PyTorch's
arithmetic, roundings included, since a rounding decides which pixel a nearest neighbour is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Table = tuple[np.ndarray, np.ndarray]


def _step(size: int, output: int, align_corners: bool, factor: float | None, real: Any) -> Any:
    """Return how far apart two outputs are in the input; a given `factor` counts, not the sizes' ratio."""
    if align_corners:
        return real(size - 1) / real(output - 1) if output > 1 else real(0)
    return real(1.0 / factor) if factor is not None and factor > 0 else real(size) / real(output)


def _one_tap(index: np.ndarray, size: int) -> Table:
    return np.minimum(index, size - 1).astype(np.int64)[:, None], np.ones((len(index), 1))


def nearest(size: int, output: int, factor: float | None, real: Any) -> Table:
    """⌊i · step⌋, in the precision `real`; the floor is that of single precision, as in PyTorch."""
    places = np.arange(output).astype(real) * _step(size, output, False, factor, real)
    return _one_tap(np.floor(places.astype(np.float32)), size)


def nearest_gradient(size: int, output: int, factor: float | None) -> Table:
    """Return what PyTorch's gradient of `nearest` reads: single precision, and whole multiples whatever the factor."""
    if output in (size, 2 * size):
        return _one_tap(np.arange(output) // (output // size), size)
    return nearest(size, output, factor, np.float32)


def nearest_exact(size: int, output: int, factor: float | None, real: Any) -> Table:
    """⌊(i + ½) · step⌋, in the order of PyTorch's operations."""
    centres = _step(size, output, False, factor, real) * (np.arange(output).astype(real) + real(0.5)) - real(0.5)
    return _one_tap(np.floor((np.maximum(centres, real(0)) + real(0.5)).astype(np.float32)), size)


def nearest_exact_gradient(size: int, output: int, factor: float | None) -> Table:
    """Return what PyTorch's gradient of `nearest_exact` reads: the same place, rounded in single precision."""
    step = _step(size, output, False, factor, np.float32)
    return _one_tap(np.floor((np.arange(output).astype(np.float32) + np.float32(0.5)) * step), size)


def area(size: int, output: int) -> Table:
    """Return means over [⌊i·size/output⌋, ⌈(i+1)·size/output⌉)."""
    i = np.arange(output)
    start, end = i * size // output, -(-(i + 1) * size // output)
    return _windows(start, end, lambda places: np.ones(places.shape))


def _split(size: int, output: int, align_corners: bool, factor: float | None, cubic: bool) -> tuple[Any, Any]:
    """Return the pixel at or before each output's position, and how far beyond it the position lies."""
    step, i = _step(size, output, align_corners, factor, np.float64), np.arange(output)
    places = step * i if align_corners else step * (i + 0.5) - 0.5
    places = places if cubic else np.maximum(places, 0.0)
    index = np.minimum(np.floor(places.astype(np.float32)).astype(np.int64), size - 1)
    return index, np.clip(places - index, 0.0, 1.0)


def linear(size: int, output: int, align_corners: bool, factor: float | None) -> Table:
    """Weigh the pixels before and after; an axis that keeps its size is copied, whatever the factor."""
    if size == output:
        return _one_tap(np.arange(size), size)
    index, beyond = _split(size, output, align_corners, factor, cubic=False)
    return np.stack([index, np.minimum(index + 1, size - 1)], 1), np.stack([1.0 - beyond, beyond], 1)


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel with parameter `a`."""
    x = np.abs(distance)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    return np.where(x <= 1.0, near, np.where(x < 2.0, far, 0.0))


def cubic(size: int, output: int, align_corners: bool, factor: float | None) -> Table:
    """Weigh four pixels by the cubic kernel with a = -0.75; the edge pixels stand for those beyond."""
    index, beyond = _split(size, output, align_corners, factor, cubic=True)
    offsets = np.arange(-1, 3)[None, :]
    return np.clip(index[:, None] + offsets, 0, size - 1), _cubic(offsets - beyond[:, None], -0.75)


def _triangle(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1.0 - np.abs(distance), 0.0)


def _lanczos(distance: np.ndarray) -> np.ndarray:
    return np.where(np.abs(distance) < 3.0, np.sinc(distance) * np.sinc(distance / 3.0), 0.0)


# Half width and kernel of each filter; antialiasing has the cubic kernel of Pillow, a = -0.5.
_FILTERS = {"bilinear": (1.0, _triangle), "bicubic": (2.0, lambda d: _cubic(d, -0.5)), "lanczos": (3.0, _lanczos)}


def antialiased(mode: str, size: int, output: int, align_corners: bool, factor: float | None) -> Table:
    """Weigh by a filter as wide as the step between outputs, at least one pixel; an axis of equal size is copied."""
    if size == output:
        return _one_tap(np.arange(size), size)
    return antialiased_gradient(mode, size, output, align_corners, factor)


def antialiased_gradient(mode: str, size: int, output: int, align_corners: bool, factor: float | None) -> Table:
    """Return what PyTorch's gradient of `antialiased` goes by: the same, but no axis is copied."""
    half, kernel = _FILTERS[mode]
    step = _step(size, output, align_corners, factor, np.float64)
    width = max(step, 1.0)
    centre = step * (np.arange(output) + 0.5)
    start = np.maximum((centre - half * width + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + half * width + 0.5).astype(np.int64), size)
    return _windows(start, end, lambda places: kernel((places - centre[:, None] + 0.5) / width))


def _windows(start: np.ndarray, end: np.ndarray, kernel: Any) -> Table:
    """Return normalised weights over [start, end); what is not needed of the widest window has weight 0."""
    places = start[:, None] + np.arange(max(int((end - start).max()), 1))[None, :]
    inside = places < end[:, None]
    weight = np.where(inside, kernel(places), 0.0)
    total = weight.sum(1, keepdims=True)
    weight = weight / np.where(total == 0.0, 1.0, total)
    # A tap without use points at one that has one, so that it reads nothing that the output does not depend on.
    return np.where(inside, places, np.maximum(end - 1, 0)[:, None]), weight


def transposed(table: Table, size: int) -> Table:
    """Return the table of the transposed map: which outputs each input goes to, and with what weights."""
    index, weight = table
    outputs = np.repeat(np.arange(len(index)), index.shape[1])
    used = weight.ravel() != 0.0
    inputs, outputs, weights = index.ravel()[used], outputs[used], weight.ravel()[used]
    order = np.argsort(inputs, kind="stable")
    inputs, outputs, weights = inputs[order], outputs[order], weights[order]
    counts = np.bincount(inputs, minlength=size)
    slot = np.arange(len(inputs)) - np.repeat(np.cumsum(counts) - counts, counts)
    taps = max(int(counts.max(initial=0)), 1)
    first = outputs[np.minimum(np.cumsum(counts) - counts, max(len(outputs) - 1, 0))]
    back, back_weight = np.repeat(first[:, None], taps, axis=1), np.zeros((size, taps))
    back[inputs, slot], back_weight[inputs, slot] = outputs, weights
    return back, back_weight
