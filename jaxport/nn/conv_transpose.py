"""Transposed convolutions: conv_transpose1d, conv_transpose2d, conv_transpose3d."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from .checks import int_tuple, positive_int, same_dtype
from .conv import AXES, add_channel_bias, check_bias, check_ranks, computed_in, fast_on_cpu, int_numbers
from .conv_bilinear import Geometry, Ints
from .conv_fast import conv_transpose_cpu
from .origin import as_dtype
from .precision import product_precision


def _geometry(
    owner: str, size: Ints, kernel: Ints, stride: Ints, padding: Ints, output_padding: Ints, dilation: Ints
) -> Geometry:
    """Return the geometry of the convolution that this is the transpose of: its input is what comes out here."""
    if any(more >= max(s, d) for more, s, d in zip(output_padding, stride, dilation, strict=True)):
        raise ValueError(
            f"{owner}: output_padding must be smaller than stride or dilation, "
            f"got {output_padding} with stride {stride} and dilation {dilation}"
        )
    axes = list(zip(size, kernel, stride, padding, output_padding, dilation, strict=True))
    outputs = tuple((n - 1) * s - 2 * p + d * (k - 1) + more + 1 for n, k, s, p, more, d in axes)
    if min(outputs) < 1 or 0 in size:
        raise ValueError(f"{owner}: an input of size {size} would give an output of size {outputs}")
    # Where output_padding makes room for further windows (it is as large as the stride), they are cut off.
    pads = tuple((p, p if more < s else p - more) for _, _, s, p, more, _ in axes)
    return Geometry(outputs, kernel, stride, pads, dilation)


def _check_shapes(
    owner: str, ndim: int, input: jax.Array, weight: jax.Array, bias: jax.Array | None, groups: int
) -> None:
    check_ranks(owner, ndim, input, weight, "in, out/groups")
    channels = input.shape[-ndim - 1]
    if channels != weight.shape[0]:
        raise ValueError(
            f"{owner}: input {input.shape} has {channels} channels, but weight {weight.shape} takes {weight.shape[0]}"
        )
    if channels % groups:
        raise ValueError(f"{owner}: groups must divide the {channels} input channels, got {groups}")
    check_bias(owner, bias, weight.shape[1] * groups)


def _transpose(
    input: jax.Array, weight: jax.Array, bias: jax.Array | None, geometry: Geometry, groups: int
) -> jax.Array:
    if fast_on_cpu(input):
        return conv_transpose_cpu(input, weight, bias, geometry, groups)
    ndim, axes = len(geometry.size), AXES[len(geometry.size)]
    # (groups · in, out, *kernel) → (in, groups · out, *kernel), mirrored.
    kernel = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(0, 1)
    kernel = jnp.flip(kernel.reshape(kernel.shape[0], -1, *weight.shape[2:]), tuple(range(2, 2 + ndim)))
    output = lax.conv_general_dilated(
        input,
        kernel,
        window_strides=(1,) * ndim,
        padding=[(d * (k - 1) - pad[0], n + pad[0] - 1 - (out - 1) * s) for n, k, s, pad, d, out in geometry.axes()],
        lhs_dilation=geometry.stride,
        rhs_dilation=geometry.dilation,
        dimension_numbers=(f"NC{axes}", f"IO{axes}", f"NC{axes}"),
        feature_group_count=groups,
        precision=product_precision(),
    )
    return add_channel_bias(output, bias)


def _conv_transpose(
    owner: str,
    ndim: int,
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None,
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    output_padding: int | Sequence[int],
    groups: int,
    dilation: int | Sequence[int],
) -> jax.Array:
    """Apply the transpose of a convolution in `ndim` dimensions, after checking everything."""
    same_dtype(owner, input=input, weight=weight, bias=bias)
    positive_int(owner, "groups", groups)
    _check_shapes(owner, ndim, input, weight, bias, groups)
    if isinstance(padding, str):
        raise TypeError(f"{owner}: padding must be integers, got {padding!r}: names are for convolutions alone")
    numbers = [
        int_numbers(owner, name, value, ndim, least)
        for name, value, least in (
            ("stride", stride, 1),
            ("padding", padding, 0),
            ("output_padding", output_padding, 0),
            ("dilation", dilation, 1),
        )
    ]
    geometry = _geometry(owner, input.shape[-ndim:], weight.shape[2:], *numbers)
    batch = input if input.ndim == ndim + 2 else input[None]
    dtype = computed_in(input.dtype)
    wide = None if bias is None else bias.astype(dtype)
    output = _transpose(as_dtype(batch, dtype), weight.astype(dtype), wide, geometry, groups)
    output = as_dtype(output, input.dtype)
    return output if input.ndim == ndim + 2 else output[0]


def conv_transpose1d(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
) -> jax.Array:
    """Apply the transpose of `conv1d`, (N, C, L) to (N, O, L').

    y[n, o, i·stride + u·dilation - padding] += Σ_c x[n, c, i] · W[c, o, u], and b[o] is added.

    Args and Raises: as in `conv_transpose2d`, with W (C, O / groups, kL).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv_transpose1d.html
    """
    options = (stride, padding, output_padding, groups, dilation)
    return _conv_transpose("conv_transpose1d", 1, input, weight, bias, *options)


def conv_transpose2d(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
) -> jax.Array:
    """Apply the transpose of `conv2d` (its gradient with respect to the input), (N, C, H, W) to (N, O, H', W').

    y[n, o, i·stride + u·dilation - padding, …] += Σ_c x[n, c, i, …] · W[c, o, u, …], and b[o] is added.

    Args:
        input: x, (N, C, H, W) or one image (C, H, W).
        weight: W, (C, O / groups, kH, kW): the layout of the convolution that goes the other way.
        bias: b, (O,).
        stride: step between the windows that are written, an integer or one for each axis.
        padding: how much is cropped on every side.
        output_padding: how much is added at the end of each axis, smaller than stride or dilation.
        groups: channels are split into this many independent groups.
        dilation: step between kernel elements.

    Returns:
        y, (N, O, H', W') or (O, H', W'), with H' = (H - 1)·sH - 2·pH + dH·(kH - 1) + output_paddingH + 1.

    Raises:
        ValueError: shapes or options that do not fit.
        TypeError: the dtypes differ, or `padding` is a name.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv_transpose2d.html
    """
    options = (stride, padding, output_padding, groups, dilation)
    return _conv_transpose("conv_transpose2d", 2, input, weight, bias, *options)


def conv_transpose3d(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    output_padding: int | tuple[int, ...] = 0,
    groups: int = 1,
    dilation: int | tuple[int, ...] = 1,
) -> jax.Array:
    """Apply the transpose of `conv3d`, (N, C, D, H, W) to (N, O, D', H', W').

    y[n, o, i·stride + u·dilation - padding, …] += Σ_c x[n, c, i, …] · W[c, o, u, …], and b[o] is added.

    Args and Raises: as in `conv_transpose2d`, with W (C, O / groups, kD, kH, kW).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv_transpose3d.html
    """
    options = (stride, padding, output_padding, groups, dilation)
    return _conv_transpose("conv_transpose3d", 3, input, weight, bias, *options)


def output_padding_for(
    owner: str, output_size: Sequence[int], shape: tuple[int, ...], geometry: tuple[Ints, Ints, Ints, Ints]
) -> Ints:
    """Return the output_padding that gives `output_size`, of the spatial axes alone or of all, for an input of `shape`.

    `geometry` is (kernel, stride, padding, dilation).

    Raises:
        ValueError: no output_padding gives it.
    """
    ndim = len(geometry[0])
    wanted = tuple(output_size)[-ndim:] if len(output_size) == len(shape) else tuple(output_size)
    wanted = int_tuple(owner, "output_size", wanted, ndim, 0)
    axes = zip(shape[-ndim:], *geometry, strict=True)
    least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in axes]
    if any(not low <= size < low + s for size, low, s in zip(wanted, least, geometry[1], strict=True)):
        most = [low + s - 1 for low, s in zip(least, geometry[1], strict=True)]
        raise ValueError(f"{owner}: output_size must lie between {least} and {most} for {shape}, got {wanted}")
    return tuple(size - low for size, low in zip(wanted, least, strict=True))
