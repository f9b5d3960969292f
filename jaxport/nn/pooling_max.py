"""The maximum of windows, with PyTorch's choice among equal elements: the first, but the last NaN."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from . import origin
from .checks import index_dtype
from .pooling_axis import MOST_ELEMENTS, axis_max, is_better
from .pooling_grid import AnyWindows
from .pooling_windows import Windows, channels_back, channels_last, unseen

# Longer windows that lie side by side are reduced as blocks: a slice for every element would be a long program.
_LONG = 8


def lowest(dtype: np.dtype) -> float:
    """Return what every value of `dtype` is at least as large as."""
    return -np.inf if jnp.issubdtype(dtype, jnp.floating) else int(jnp.iinfo(dtype).min)


def first_max(
    views: Sequence[jax.Array], places: Sequence[jax.Array] | None, unseen: Sequence[np.ndarray | None]
) -> tuple[jax.Array, jax.Array | None]:
    """Return the elementwise maximum of the views, and the element of `places` that belongs to it.

    A chain of selections, whose derivative is a selection by the same masks: the whole gradient goes to one element.
    `unseen` says where all views before this one were padding, which is never chosen; None: nowhere.
    """
    best, place = views[0], views[0] if places is None else places[0]
    for number, view in enumerate(views[1:], 1):
        better = is_better(view, best, unseen[number])
        best = jnp.where(better, view, best)
        if places is not None:
            place = jnp.where(better, places[number], place)
    return best, None if places is None else place


def _axis_max(
    x: jax.Array, place: jax.Array | None, axis: int, windows: AnyWindows
) -> tuple[jax.Array, jax.Array | None]:
    if isinstance(windows, Windows) and windows.tiled and windows.kernel > _LONG and place is None:
        return block_max(windows.blocks(x, axis), (axis + 1,)), None
    if isinstance(windows, Windows) and windows.overlap and place is None and windows.kernel <= MOST_ELEMENTS:
        return axis_max(x, axis, windows, lowest(x.dtype)), None
    places = None if place is None else windows.views(place, axis, 0)
    return first_max(windows.views(x, axis, lowest(x.dtype)), places, unseen(windows, axis, x.ndim))


# ------------------------------------------------------------------------------------------------- whole axes at once


def _chosen(x: jax.Array, axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Return where the first maximum over `axes` is (of NaNs the last), and its index into these axes."""
    shape = [x.shape[axis] if axis in axes else 1 for axis in range(x.ndim)]
    size = int(np.prod(shape))
    number = jnp.broadcast_to(jnp.arange(size, dtype=np.int32).reshape(shape), x.shape)
    best = lax.stop_gradient(x.max(axes, keepdims=True))
    # Two plain reductions: XLA's argmax, one of pairs, is not vectorised on CPUs.
    rank = jnp.where(x == best, size - 1 - number, -1)
    if jnp.issubdtype(x.dtype, jnp.floating):
        rank = jnp.where(x != x, size + number, rank)
    top = rank.max(axes, keepdims=True)
    return rank == top, jnp.where(top >= size, top - size, size - 1 - top)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def block_max(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return the maximum over whole axes; the gradient goes to the first one."""
    return x.max(axes)


@block_max.defjvp
def _block_max_jvp(
    axes: tuple[int, ...], primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (x,), (dx,) = primals, tangents
    chosen, _ = _chosen(lax.stop_gradient(x), axes)
    return block_max(x, axes), jnp.where(chosen, dx, jnp.zeros_like(dx)).sum(axes)


def _global_max(x: jax.Array, axes: tuple[int, ...], indices: bool) -> tuple[jax.Array, jax.Array | None]:
    place = _chosen(lax.stop_gradient(x), axes)[1] if indices else None
    return jnp.expand_dims(block_max(x, axes), axes), place


# --------------------------------------------------------------------------------------------------- several axes


def flat_places(shape: tuple[int, ...], first: int, dims: int) -> jax.Array:
    """Return the index of every element into the `dims` axes from `first` on, in `shape`."""
    inner = [size if first <= axis < first + dims else 1 for axis, size in enumerate(shape)]
    return jnp.broadcast_to(jnp.arange(np.prod(inner), dtype=np.int32).reshape(inner), shape)


def max_over(input: jax.Array, windows: tuple[AnyWindows, ...], indices: bool) -> tuple[jax.Array, jax.Array | None]:
    """Return the maximum of each window over the last axes, and its index into them if wanted.

    The last axis goes first, so that of equal elements the first in row-major order is kept. Of a convolution before it
    nothing is computed that no window sees, and before a global maximum its gradients are those of one position.
    """
    if not indices:
        input, windows = _after_convolution(input, windows)
        best = _max(input, windows)
        return origin.note(best, origin.Origin(lambda x: _max(x, windows), input)), None
    x, first = channels_last(input, len(windows))
    best, place = _max_over(x, first, windows, True)
    assert place is not None
    return channels_back(best, first, len(windows)), channels_back(place, first, len(windows))


def _max(input: jax.Array, windows: tuple[AnyWindows, ...]) -> jax.Array:
    x, first = channels_last(input, len(windows))
    return channels_back(_max_over(x, first, windows, False)[0], first, len(windows))


def _after_convolution(input: jax.Array, windows: tuple[AnyWindows, ...]) -> tuple[jax.Array, tuple[AnyWindows, ...]]:
    """Return the input of a maximum over `windows` made again as they need it, and the windows on that."""
    links = origin.chain(input)
    if not links or links[-1].source is not None:
        return input, windows
    convolution, options = links[-1], {}
    if all(w.covers_all for w in windows):
        options["single"] = True
    else:
        seen = tuple(w.seen for w in windows)
        if seen == input.shape[-len(windows) :] or not all(link.pointwise for link in links[:-1]):
            return input, windows
        options["size"] = seen
        windows = tuple(w._replace(size=size) for w, size in zip(windows, seen, strict=True))
    again = functools.partial(convolution.again, **options)
    x = origin.note(again(), origin.Origin(again))
    for link in reversed(links[:-1]):
        x = origin.note(link.again(x), link._replace(source=x))
    return x, windows


@functools.partial(jax.jit, static_argnames=("first", "windows", "indices"), inline=True)
def _max_over(
    x: jax.Array, first: int, windows: tuple[AnyWindows, ...], indices: bool
) -> tuple[jax.Array, jax.Array | None]:
    """Return the maxima over the axes from `first` on, and their indices."""
    dims = len(windows)
    if all(w.covers_all for w in windows):
        best, place = _global_max(x, tuple(range(first, first + dims)), indices)
    else:
        best, place = x, flat_places(x.shape, first, dims) if indices else None
        for offset in reversed(range(dims)):
            best, place = _axis_max(best, place, first + offset, windows[offset])
    return best, None if place is None else place.astype(index_dtype())
