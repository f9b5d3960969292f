"""Convolutions of few channels as one product over copied windows.

A window may serve several outputs that lie side by side: it is wider by what they see more, and every output has its
own columns of the weight, with zeros where it sees nothing. Windows of 5 columns as 5 × 1 numbers are slow to copy and
too narrow for a product; windows of 8 columns for 4 outputs are copied in pieces of 8, and there are a quarter as many.
Forward and weight gradient, 100 × 28 × 28 × 1, 5 × 5 kernel, 16 features: 6.9 ms → 2.9.

Arrays are channels last: x (N, H, W, C), w (kH, kW, C, O), y (N, P, Q, O).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax
import jax.numpy as jnp
from jax import lax

from .conv_bilinear import Geometry

# The most outputs of a window, and how much wider than the kernel it may be for them. 5 columns: 4 outputs of 8 columns
# (2.9 ms, 2 of 6: 2.7, 1: 6.9); 3: 2 of 4 (2.4, 4 of 8: 5.8, 1: 3.8); 7 at stride 2: 2 of 12 (6.0, 4 of 16: 8.8).
_MOST, _WIDER = 4, 1.75

_narrow: ContextVar[bool] = ContextVar("narrow windows", default=False)


def convolve(x: jax.Array, w: jax.Array, bias: jax.Array | None, geometry: Geometry) -> jax.Array:
    """Return y: windows, one a row, times the weight; the bias is one more row of it."""
    outputs = _outputs(geometry)
    windows = _windows(x, geometry) if outputs == 1 else _wide_windows(x, geometry, outputs)
    weight = w.reshape(-1, w.shape[-1]) if outputs == 1 else _wide_weight(w, geometry, outputs)
    if bias is not None:
        windows = jnp.concatenate([windows, jnp.ones((*windows.shape[:3], 1), x.dtype)], axis=-1)
        weight = jnp.concatenate([weight, jnp.tile(bias, outputs)[None]])
    y = windows.reshape(-1, weight.shape[0]) @ weight
    return y.reshape(*windows.shape[:2], -1, w.shape[-1])[:, :, : geometry.output[1]]


@contextmanager
def narrow() -> Iterator[None]:
    """Give every output its own window in what is traced here: no product with the zeros of a wide one."""
    token = _narrow.set(True)
    try:
        yield
    finally:
        _narrow.reset(token)


def _outputs(geometry: Geometry) -> int:
    """Return how many outputs a window serves."""
    kernel, step = geometry.kernel[1], geometry.stride[1]
    if geometry.dilation[1] > 1 or _narrow.get():
        return 1
    counts = (count for count in range(min(_MOST, geometry.output[1]), 1, -1) if (count & (count - 1)) == 0)
    return next((count for count in counts if _columns(kernel, step, count) <= _WIDER * kernel), 1)


def _columns(kernel: int, step: int, outputs: int) -> int:
    """Return how wide a window is: whole steps from one to the next."""
    whole = outputs * step
    return math.ceil(((outputs - 1) * step + kernel) / whole) * whole


def _rows(x: jax.Array, geometry: Geometry) -> list[jax.Array]:
    """Return what the kernel's rows see, (N, P, W, C) each, of an image that is padded already."""
    height = next(geometry.axes())
    last = (height.out - 1) * height.s + 1
    return [x[:, u * height.d : u * height.d + last : height.s] for u in range(height.k)]


def _windows(x: jax.Array, geometry: Geometry) -> jax.Array:
    """Return each output's own window, (N, P, Q, kH·kW·C)."""
    _, width = geometry.axes()
    last = (width.out - 1) * width.s + 1
    x = jnp.pad(x, ((0, 0), *geometry.pads, (0, 0)))
    starts = [v * width.d for v in range(width.k)]
    return jnp.concatenate([row[:, :, v : v + last : width.s] for row in _rows(x, geometry) for v in starts], axis=-1)


def _wide_windows(x: jax.Array, geometry: Geometry, outputs: int) -> jax.Array:
    """Return windows for several outputs each, (N, P, ⌈Q / outputs⌉, kH·columns·C)."""
    _, width = geometry.axes()
    whole = outputs * width.s
    parts, count = _columns(width.k, width.s, outputs) // whole, math.ceil(width.out / outputs)
    total = (count - 1 + parts) * whole
    edges = ((0, 0, 0), (*geometry.pads[0], 0), (width.pad[0], total - width.n - width.pad[0], 0), (0, 0, 0))
    x = lax.pad(x, jnp.zeros((), x.dtype), edges)
    x = x.reshape(*x.shape[:2], -1, whole * x.shape[-1])
    wide = jnp.concatenate([x[:, :, part : part + count] for part in range(parts)], axis=-1)
    # Joined with the copy of the rows, it would copy in pieces of one step again: 4.0 ms where this takes 2.9.
    return jnp.concatenate(_rows(lax.optimization_barrier(wide), geometry), axis=-1)


def _wide_weight(w: jax.Array, geometry: Geometry, outputs: int) -> jax.Array:
    """Return the weight of such a window, (kH·columns·C, outputs·O)."""
    kernel, step = geometry.kernel[1], geometry.stride[1]
    rest = _columns(kernel, step, outputs) - kernel
    shifted = [jnp.pad(w, ((0, 0), (i * step, rest - i * step), (0, 0), (0, 0))) for i in range(outputs)]
    return jnp.stack(shifted, axis=3).reshape(-1, outputs * w.shape[-1])
