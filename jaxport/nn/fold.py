"""Sliding blocks of images and their sum: unfold, fold, Unfold, Fold."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from .checks import int_tuple
from .conv_bilinear import Axis, Geometry
from .module import Module

Size = int | tuple[int, ...]


def _geometry(
    owner: str, size: tuple[int, ...], kernel_size: Size, dilation: Size, padding: Size, stride: Size
) -> Geometry:
    """Check the options and return where the blocks lie; there must be at least one."""
    kernel = int_tuple(owner, "kernel_size", kernel_size, 2, 1)
    dilations = int_tuple(owner, "dilation", dilation, 2, 1)
    pads = int_tuple(owner, "padding", padding, 2, 0)
    strides = int_tuple(owner, "stride", stride, 2, 1)
    geometry = Geometry(size, kernel, strides, tuple((p, p) for p in pads), dilations)
    if min(geometry.output) < 1:
        raise ValueError(
            f"{owner}: no block of kernel_size {kernel}, dilation {dilations} fits into {size} with padding {pads}"
        )
    return geometry


def _check_dtype(owner: str, input: jax.Array) -> None:
    if jnp.issubdtype(input.dtype, jnp.integer):
        raise TypeError(f"{owner}: input must be floating, complex or boolean, got {input.dtype}")


def _seen(x: jax.Array, at: int, axis: Axis) -> jax.Array:
    """Replace the axis at `at` by two: (kernel position, block)."""
    edges = [(0, 0, 0)] * x.ndim
    edges[at] = (*axis.pad, 0)
    x = lax.pad(x, jnp.zeros((), x.dtype), edges)
    starts = range(0, axis.k * axis.d, axis.d)
    parts = [lax.slice_in_dim(x, u, u + (axis.out - 1) * axis.s + 1, axis.s, at) for u in starts]
    return jnp.stack(parts, axis=at)


def _placed(x: jax.Array, at: int, axis: Axis) -> jax.Array:
    """Transpose `_seen`: add what each kernel position holds at the places that it saw."""
    parts = []
    for u in range(axis.k):
        before = u * axis.d - axis.pad[0]
        edges = [(0, 0, 0)] * (x.ndim - 1)
        edges[at] = (before, axis.n - before - (axis.out - 1) * axis.s - 1, axis.s - 1)
        parts.append(lax.pad(lax.index_in_dim(x, u, at, keepdims=False), jnp.zeros((), x.dtype), edges))
    return functools.reduce(jnp.add, parts)


def unfold(input: jax.Array, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> jax.Array:
    """Copy every sliding block of an image into a column: (N, C, H, W) to (N, C·kH·kW, L).

    y[n, (c, u, v), (i, j)] = x[n, c, i·sH + u·dH - pH, j·sW + v·dW - pW], and 0 outside.

    L is the number of blocks, ∏ (⌊(size + 2·padding - dilation·(kernel - 1) - 1) / stride⌋ + 1). One image (C, H, W)
    becomes (C·kH·kW, L).

    Raises:
        ValueError: shapes or options that do not fit, including no block at all.
        TypeError: integers, as in PyTorch.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.unfold.html
    """
    if input.ndim not in (3, 4) or 0 in input.shape[-3:]:
        raise ValueError(f"unfold: input must be (N, C, H, W) or (C, H, W), only N may be 0, got {input.shape}")
    _check_dtype("unfold", input)
    geometry = _geometry("unfold", input.shape[-2:], kernel_size, dilation, padding, stride)
    rows, columns = geometry.axes()
    blocks = _seen(_seen(input, input.ndim - 2, rows), input.ndim, columns)  # (..., kH, P, kW, Q)
    blocks = blocks.swapaxes(-3, -2)
    return blocks.reshape(*input.shape[:-3], input.shape[-3] * rows.k * columns.k, rows.out * columns.out)


def fold(
    input: jax.Array,
    output_size: Size,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Size = 0,
    stride: Size = 1,
) -> jax.Array:
    """Add columns of blocks to the places that `unfold` takes them from: (N, C·kH·kW, L) to (N, C, H, W).

    It is the transpose of `unfold`: where blocks overlap, their values are summed. One example (C·kH·kW, L) becomes
    (C, H, W).

    Raises:
        ValueError: shapes or options that do not fit.
        TypeError: integers, as in PyTorch.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fold.html
    """
    if input.ndim not in (2, 3) or 0 in input.shape[-2:]:
        raise ValueError(f"fold: input must be (N, C·kH·kW, L) or (C·kH·kW, L), only N may be 0, got {input.shape}")
    _check_dtype("fold", input)
    size = int_tuple("fold", "output_size", output_size, 2, 1)
    geometry = _geometry("fold", size, kernel_size, dilation, padding, stride)
    rows, columns = geometry.axes()
    if input.shape[-2] % (rows.k * columns.k) or input.shape[-1] != rows.out * columns.out:
        raise ValueError(
            f"fold: input must have a multiple of {rows.k * columns.k} rows (kernel_size {geometry.kernel}) and "
            f"{rows.out} · {columns.out} = {rows.out * columns.out} columns for output_size {size}, got {input.shape}"
        )
    channels = input.shape[-2] // (rows.k * columns.k)
    blocks = input.reshape(*input.shape[:-2], channels, rows.k, columns.k, rows.out, columns.out).swapaxes(-3, -2)
    return _placed(_placed(blocks, blocks.ndim - 2, columns), blocks.ndim - 4, rows)


class Unfold(Module):
    """Copy every sliding block of an image into a column; see `unfold`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Unfold.html
    """

    def __init__(self, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> None:
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, C, H, W) to (N, C·kH·kW, L)."""
        return unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        names = ("kernel_size", "dilation", "padding", "stride")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


class Fold(Module):
    """Add columns of blocks to an image; see `fold`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Fold.html
    """

    def __init__(
        self, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
    ) -> None:
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, C·kH·kW, L) to (N, C, H, W)."""
        return fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        names = ("output_size", "kernel_size", "dilation", "padding", "stride")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)
