"""The maximum of regular windows, with a gradient that every input element gathers from the windows it lies in.

What JAX derives from a chain of selections writes one padded array per element of a window and adds them all.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .pooling_windows import Windows

# A program has a slice for every element of a window.
MOST_ELEMENTS = 25


def _elements(windows: tuple[Windows, ...]) -> itertools.product[tuple[int, ...]]:
    return itertools.product(*(range(w.kernel) for w in windows))


def _padded(x: jax.Array, fill: float, pads: list[tuple[int, int, int]]) -> jax.Array:
    return lax.pad(x, jnp.asarray(fill, x.dtype), pads) if any(map(any, pads)) else x


def _views(x: jax.Array, first: int, windows: tuple[Windows, ...]) -> list[jax.Array]:
    """Return a strided slice of `x`, padded with -inf, for each element of a window."""
    axes = range(first, first + len(windows))
    if any(any(w.pads) for w in windows):
        pads = [(0, 0, 0)] * x.ndim
        for axis, w in zip(axes, windows, strict=True):
            pads[axis] = (*w.pads, 0)
        x = _padded(x, -np.inf, pads)
    views = []
    for element in _elements(windows):
        start, stop, step = [0] * x.ndim, list(x.shape), [1] * x.ndim
        for axis, u, w in zip(axes, element, windows, strict=True):
            start[axis], step[axis] = u * w.dilation, w.stride
            stop[axis] = start[axis] + (w.output - 1) * w.stride + 1
        views.append(lax.slice(x, start, stop, step))
    return views


def _unseen(first: int, windows: tuple[Windows, ...], ndim: int) -> list[np.ndarray | None]:
    """Return for each element in which windows all elements before it are padding; None: in none."""
    inside = [(places >= 0) & (places < w.size) for w, places in ((w, w.places()) for w in windows)]
    shape = [1] * ndim
    shape[first : first + len(windows)] = [w.output for w in windows]
    unseen, seen = [], np.zeros(shape, bool)
    for element in _elements(windows):
        unseen.append(None if seen.all() else ~seen)
        rows = [valid[u] for valid, u in zip(inside, element, strict=True)]
        seen = seen | functools.reduce(np.logical_and.outer, rows).reshape(shape)
    return unseen


def is_better(view: jax.Array, best: jax.Array) -> jax.Array:
    """Return where `view` takes the place of a maximum that comes before it."""
    return (view > best) | (view != view) if jnp.issubdtype(view.dtype, jnp.floating) else view > best


def _first_number(x: jax.Array, first: int, windows: tuple[Windows, ...]) -> jax.Array:
    """Return the number, within each window, of its first maximum (of NaNs the last); padding is never chosen.

    A root of squares: XLA computes a selection anew wherever it is read, for each of 3 × 3 elements, say, but holds a
    root to be too costly for that. (`lax.optimization_barrier` is gone before XLA's CPU backend decides this.)
    """
    best, *views = _views(x, first, windows)
    square = jnp.zeros(best.shape, jnp.float32)
    for n, (view, mask) in enumerate(zip(views, _unseen(first, windows, x.ndim)[1:], strict=True), 1):
        better = is_better(view, best)
        if mask is not None:
            better = better | jnp.broadcast_to(jnp.asarray(mask), better.shape)
        best, square = jnp.where(better, view, best), jnp.where(better, jnp.float32(n * n), square)
    return jnp.sqrt(square)


def _shifts(w: Windows) -> list[tuple[int, np.ndarray]]:
    """Return the pairs (m, u): element q·stride + r of the axis is element u[r] of window q - m, or none of it (-1)."""
    shifts = []
    for m in range(-w.stride - w.padding, w.kernel * w.dilation + 1):
        reach = m * w.stride + np.arange(w.stride) + w.padding
        u, rest = np.divmod(reach, w.dilation)
        u = np.where((rest == 0) & (u >= 0) & (u < w.kernel), u, -1)
        if (u >= 0).any():
            shifts.append((m, u))
    return shifts


def _gather(
    dy: jax.Array, number: jax.Array, first: int, windows: tuple[Windows, ...], shape: tuple[int, ...]
) -> jax.Array:
    """Return the gradient of an input of `shape`: Σ over the windows of an element of dy where it was the maximum.

    Each pooled axis is split into (q, r), element q·stride + r.
    """
    dims = len(windows)
    blocks = [-(-w.size // w.stride) for w in windows]
    split = [n for q, w in zip(blocks, windows, strict=True) for n in (q, w.stride)]
    full = (*shape[:first], *split, *shape[first + dims :])
    axes = (*range(first), *range(first, first + 2 * dims, 2), *range(first + 2 * dims, len(full)))
    shifts = [_shifts(w) for w in windows]
    pads = [(0, 0, 0)] * dy.ndim
    for i, (q, w) in enumerate(zip(blocks, windows, strict=True)):
        moved = [m for m, _ in shifts[i]]
        pads[first + i] = (max(0, *moved), max(0, *(q - w.output - m for m in moved)), 0)
    dy, number = _padded(dy, 0, pads), _padded(number, -1, pads)
    terms = []
    for shift in itertools.product(*shifts):
        start, stop = [0] * dy.ndim, list(dy.shape)
        wanted, none = np.zeros((1,) * len(full), int), np.zeros((1,) * len(full), bool)
        for i, ((m, u), w) in enumerate(zip(shift, windows, strict=True)):
            start[first + i] = pads[first + i][0] - m
            stop[first + i] = start[first + i] + blocks[i]
            u = u.reshape([-1 if axis == first + 2 * i + 1 else 1 for axis in range(len(full))])
            wanted, none = wanted * w.kernel + u, none | (u < 0)
        wanted = jnp.broadcast_to(jnp.asarray(np.where(none, -2, wanted), jnp.float32), full)
        here, value = (lax.broadcast_in_dim(lax.slice(a, start, stop), full, axes) for a in (number, dy))
        terms.append(jnp.where(here == wanted, value, jnp.zeros_like(value)))
    whole = functools.reduce(jnp.add, terms)
    joined = [q * w.stride for q, w in zip(blocks, windows, strict=True)]
    whole = whole.reshape(*shape[:first], *joined, *shape[first + dims :])
    return lax.slice(whole, [0] * whole.ndim, shape)


def fits(x: jax.Array, windows: tuple[Any, ...]) -> bool:
    """Whether `window_max` takes these: floating, regular windows of few elements that do not overlap.

    Where they do, each element would gather from several windows, which takes longer than adding the padded arrays.
    """
    if not jnp.issubdtype(x.dtype, jnp.floating) or not all(isinstance(w, Windows) for w in windows):
        return False
    apart = all((w.kernel - 1) * w.dilation < w.stride for w in windows)
    return apart and math.prod(w.kernel for w in windows) <= MOST_ELEMENTS


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def window_max(x: jax.Array, first: int, windows: tuple[Windows, ...]) -> jax.Array:
    """Return the maximum of each window of the axes from `first` on; the gradient goes to the first one.

    The derivative of y = x[argmax] is a selection by the same place.
    """
    best, *views = _views(x, first, windows)
    for view in views:
        best = jnp.where(is_better(view, best), view, best)
    return best


@window_max.defjvp
def _window_max_jvp(
    first: int, windows: tuple[Windows, ...], primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The tangent is the transpose of the gathered gradient, so that reverse mode, its transpose again, gathers."""
    (x,), (dx,) = primals, tangents
    y, number = window_max(x, first, windows), _first_number(lax.stop_gradient(x), first, windows)
    like = jax.ShapeDtypeStruct(y.shape, y.dtype)
    (dy,) = jax.linear_transpose(lambda dy: _gather(dy, number, first, windows, x.shape), like)(dx)
    return y, dy
