"""The maximum of regular windows along one axis, with a gradient that each input element gathers from its windows.

What JAX derives from a chain of selections writes one padded array per element of a window and adds them all: for
windows of 3 at every second place, seven times as long on CPUs. Where windows do not overlap, XLA joins those arrays,
and the chain is the faster form.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .pooling_windows import Windows, unseen

# Elements of a window are numbered in int8.
MOST_ELEMENTS = 127


def is_better(view: jax.Array, best: jax.Array, unseen: np.ndarray | None = None) -> jax.Array:
    """Return where `view` takes the place of the maximum before it: a larger one, NaN, or the first that is no padding.

    `unseen` says where all elements before are padding, which is never chosen; None: nowhere.
    """
    better = (view > best) | (view != view) if jnp.issubdtype(view.dtype, jnp.floating) else view > best
    return better if unseen is None else better | jnp.broadcast_to(jnp.asarray(unseen), better.shape)


def numbered_max(views: Sequence[jax.Array], unseen: Sequence[np.ndarray | None]) -> tuple[jax.Array, jax.Array]:
    """Return the maximum of the views, and the number of the first view that has it (of NaNs the last)."""
    best, number = views[0], jnp.zeros(views[0].shape, jnp.int8)
    for u, (view, mask) in enumerate(zip(views[1:], unseen[1:], strict=True), 1):
        better = is_better(view, best, mask)
        best, number = jnp.where(better, view, best), jnp.where(better, jnp.int8(u), number)
    return best, number


def _gathered(dy: jax.Array, number: jax.Array, axis: int, windows: Windows) -> jax.Array:
    """Return the gradient along `axis`: Σ of dy over the windows in which an element was the maximum.

    Place q·stride + r is element u of window q + m where m·stride = r + padding - u·dilation; the places of each r are
    taken together, and interleaved.
    """
    stride, blocks, zero = windows.stride, -(-windows.size // windows.stride), jnp.zeros((), dy.dtype)
    rows = []
    for r in range(stride):
        row = jnp.zeros((*dy.shape[:axis], blocks, *dy.shape[axis + 1 :]), dy.dtype)
        for u in range(windows.kernel):
            m, rest = divmod(r + windows.padding - u * windows.dilation, stride)
            if rest == 0:
                edges = [(0, 0, 0)] * dy.ndim
                edges[axis] = (-m, m + blocks - windows.output, 0)  # window q + m to place q; negative ones crop
                row = row + lax.pad(jnp.where(number == u, dy, zero), zero, edges)
        rows.append(row)
    whole = jnp.stack(rows, axis + 1) if stride > 1 else rows[0]
    whole = whole.reshape(*dy.shape[:axis], blocks * stride, *dy.shape[axis + 1 :])
    return lax.slice_in_dim(whole, 0, windows.size, axis=axis)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def axis_max(x: jax.Array, axis: int, windows: Windows, lowest: float) -> jax.Array:
    """Return the maximum of each window along `axis`; the whole gradient goes to the first one."""
    views = windows.views(x, axis, lowest)
    return functools.reduce(lambda best, view: jnp.where(is_better(view, best), view, best), views)


@axis_max.defjvp
def _axis_max_jvp(
    axis: int, windows: Windows, lowest: float, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The tangent is the transpose of the gathered gradient, so that reverse mode, its transpose again, gathers."""
    (x,), (dx,) = primals, tangents
    views = windows.views(lax.stop_gradient(x), axis, lowest)
    _, number = numbered_max(views, unseen(windows, axis, x.ndim))
    y = axis_max(x, axis, windows, lowest)
    gather = functools.partial(_gathered, number=number, axis=axis, windows=windows)
    (dy,) = jax.linear_transpose(gather, jax.ShapeDtypeStruct(y.shape, y.dtype))(dx)
    return y, dy
