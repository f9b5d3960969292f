"""Convolutions: conv1d, conv2d, conv3d, conv_tbc."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from .checks import int_tuple, positive_int, same_dtype
from .conv_bilinear import Geometry, Ints, Pads
from .conv_fast import conv_cpu
from .origin import Origin, as_dtype, channels_first, known_last, note
from .precision import product_precision

Padding = int | tuple[int, ...] | Literal["same", "valid"]
AXES = {1: "L", 2: "HW", 3: "DHW"}


def int_numbers(owner: str, name: str, value: int | Sequence[int], ndim: int, least: int) -> Ints:
    """Return one integer for each spatial axis; one of them stands for all, alone or in a tuple, as in PyTorch.

    Raises:
        ValueError: another length, type or size.
    """
    if not isinstance(value, int) and len(value) == 1:
        value = value[0]
    return int_tuple(owner, name, value, ndim, least)


def pad_amounts(owner: str, padding: Padding, kernel: Ints, stride: Ints, dilation: Ints) -> Pads:
    """Return (before, after) for each spatial axis; 'same' puts the odd one after, as PyTorch does."""
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ValueError(f"{owner}: padding='same' needs stride 1, got stride {stride}")
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    if isinstance(padding, str):
        raise ValueError(f"{owner}: padding must be integers, 'same' or 'valid', got {padding!r}")
    return tuple((p, p) for p in int_numbers(owner, "padding", padding, len(kernel), 0))


def check_ranks(owner: str, ndim: int, input: jax.Array, weight: jax.Array, weight_axes: str) -> None:
    """Refuse an input that is neither a batch nor a single example, a weight of another rank, and an empty kernel."""
    axes = ", ".join(AXES[ndim])
    if input.ndim not in (ndim + 1, ndim + 2) or weight.ndim != ndim + 2:
        kernel = ", ".join(f"k{axis}" for axis in AXES[ndim])
        raise ValueError(
            f"{owner}: input must be (N, C, {axes}) or (C, {axes}) and weight ({weight_axes}, {kernel}), "
            f"got {input.shape} and {weight.shape}"
        )
    if 0 in weight.shape:
        raise ValueError(f"{owner}: weight must have at least one channel and one element, got {weight.shape}")


def check_bias(owner: str, bias: jax.Array | None, channels: int) -> None:
    """Refuse a bias that is not one number for each output channel."""
    if bias is not None and bias.shape != (channels,):
        raise ValueError(f"{owner}: bias must have shape {(channels,)}, got {bias.shape}")


def _check_shapes(
    owner: str, ndim: int, input: jax.Array, weight: jax.Array, bias: jax.Array | None, groups: int
) -> None:
    check_ranks(owner, ndim, input, weight, "out, in/groups")
    channels = input.shape[-ndim - 1]
    if channels != weight.shape[1] * groups:
        raise ValueError(
            f"{owner}: input {input.shape} has {channels} channels, but weight {weight.shape} with groups={groups} "
            f"takes {weight.shape[1] * groups}"
        )
    if weight.shape[0] % groups or weight.shape[0] < groups:
        raise ValueError(f"{owner}: groups must divide the {weight.shape[0]} output channels, got {groups}")
    check_bias(owner, bias, weight.shape[0])


def fast_on_cpu(input: jax.Array) -> bool:
    """Whether the CPU's fast formulation applies: nothing empty, and no mesh with axes of explicit type."""
    on_cpu = jax.default_backend() == "cpu" and jax.sharding.get_abstract_mesh().empty
    return on_cpu and 0 not in input.shape and jnp.issubdtype(input.dtype, jnp.floating)


def computed_in(dtype: jnp.dtype) -> jnp.dtype:
    """Return the dtype to convolve in: on CPUs float32 for the half precisions, as PyTorch sums; else `dtype`."""
    half = jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4 and jax.default_backend() == "cpu"
    return jnp.dtype(jnp.float32) if half else dtype


def add_channel_bias(output: jax.Array, bias: jax.Array | None) -> jax.Array:
    """Add a bias (C,) to (N, C, ...)."""
    return output if bias is None else output + bias.reshape(-1, *(1,) * (output.ndim - 2))[None]


def _convolve(
    input: jax.Array, weight: jax.Array, bias: jax.Array | None, geometry: Geometry, groups: int, single: bool = False
) -> jax.Array:
    if fast_on_cpu(input):
        return conv_cpu(input, weight, bias, geometry, groups, single)
    axes = AXES[len(geometry.size)]
    output = lax.conv_general_dilated(
        input,
        weight,
        window_strides=geometry.stride,
        padding=geometry.pads,
        rhs_dilation=geometry.dilation,
        dimension_numbers=(f"NC{axes}", f"OI{axes}", f"NC{axes}"),
        feature_group_count=groups,
        precision=product_precision(),
    )
    return add_channel_bias(output, bias)


def _cut(x: jax.Array, geometry: Geometry, size: Ints) -> tuple[jax.Array, Geometry]:
    """Return what the first `size` positions see of x (N, C, *geometry.size), and the geometry of that."""
    if size == geometry.output:
        return x, geometry
    sizes, pads = [], []
    for axis, out in zip(geometry.axes(), size, strict=True):
        after = (out - 1) * axis.s + axis.d * (axis.k - 1) + 1 - axis.n - axis.pad[0]
        sizes.append(axis.n + min(after, 0))
        pads.append((axis.pad[0], max(after, 0)))
    last = known_last(x)
    if last is None:
        x = x[(slice(None), slice(None), *map(slice, sizes))]
    else:
        x = channels_first(last[(slice(None), *map(slice, sizes))])
    return x, geometry._replace(size=tuple(sizes), pads=tuple(pads))


def _conv(
    owner: str,
    ndim: int,
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None,
    stride: int | Sequence[int],
    padding: Padding,
    dilation: int | Sequence[int],
    groups: int,
) -> jax.Array:
    """Cross-correlate in `ndim` dimensions, after checking everything."""
    same_dtype(owner, input=input, weight=weight, bias=bias)
    positive_int(owner, "groups", groups)
    _check_shapes(owner, ndim, input, weight, bias, groups)
    kernel, size = weight.shape[2:], input.shape[-ndim:]
    strides = int_numbers(owner, "stride", stride, ndim, 1)
    dilations = int_numbers(owner, "dilation", dilation, ndim, 1)
    geometry = Geometry(size, kernel, strides, pad_amounts(owner, padding, kernel, strides, dilations), dilations)
    for n, k, _, pad, d, _ in geometry.axes():
        if n + sum(pad) < d * (k - 1) + 1:
            raise ValueError(
                f"{owner}: the padded input {n + sum(pad)} is smaller than the kernel's extent {d * (k - 1) + 1}: "
                f"input {input.shape}, weight {weight.shape}, padding {padding!r}"
            )
    batch = input if input.ndim == ndim + 2 else input[None]
    dtype = computed_in(input.dtype)
    x, w, b = as_dtype(batch, dtype), weight.astype(dtype), None if bias is None else bias.astype(dtype)

    def again(size: Ints = geometry.output, single: bool = False) -> jax.Array:
        """Return the first `size` positions; `single`: of each channel one at most will have a gradient."""
        seen, rest = _cut(x, geometry, size)
        return as_dtype(_convolve(seen, w, b, rest, groups, single), input.dtype)

    output = again()
    if input.ndim == ndim + 1:
        return output[0]
    return note(output, Origin(again)) if fast_on_cpu(batch) else output


def conv1d(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> jax.Array:
    """Cross-correlate sequences with kernels.

    y[n, o, i] = b[o] + Σ_{c,u} W[o, c, u] · x[n, c, i·stride + u·dilation - padding]

    Args and Raises: as in `conv2d`, with x (N, C, L) or (C, L) and W (O, C / groups, kL).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv1d.html
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> jax.Array:
    """Cross-correlate images with kernels.

    y[n, o, i, j] = b[o] + Σ_{c,u,v} W[o, c, u, v] · x[n, c, i·stride + u·dilation - padding, …]

    Args:
        input: x, (N, C, H, W) or one image (C, H, W).
        weight: W, (O, C / groups, kH, kW).
        bias: b, (O,).
        stride: step between windows, an integer or one for each axis.
        padding: zeros on every side, an integer, (pH, pW), 'valid' (none) or 'same' (output as large as the input).
        dilation: step between kernel elements.
        groups: channels are split into this many independent groups.

    Returns:
        y, (N, O, H', W') or (O, H', W'), with H' = ⌊(H + 2·pH - dH·(kH - 1) - 1) / sH⌋ + 1.

    Raises:
        ValueError: shapes or options that do not fit, including no channels and an output that would be empty.
        TypeError: the dtypes differ.

    Differs from PyTorch: an input of no channels is refused; PyTorch returns one of no channels, whatever the weight's.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv2d.html
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> jax.Array:
    """Cross-correlate volumes with kernels.

    y[n, o, h, i, j] = b[o] + Σ_{c,t,u,v} W[o, c, t, u, v] · x[n, c, h·stride + t·dilation - padding, …]

    Args and Raises: as in `conv2d`, with x (N, C, D, H, W) or (C, D, H, W) and W (O, C / groups, kD, kH, kW).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv3d.html
    """
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def conv_tbc(input: jax.Array, weight: jax.Array, bias: jax.Array, pad: int = 0) -> jax.Array:
    """Cross-correlate sequences with time first: (T, N, C) with W (k, C, O), plus b (O,), to (T', N, O).

    T' = T + 2·pad - k + 1; a negative `pad` crops, and T' may be 0.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: the dtypes differ, or `pad` is not an integer.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.conv_tbc.html
    """
    if isinstance(pad, bool) or not isinstance(pad, int):
        raise TypeError(f"conv_tbc: pad must be an integer, got {pad!r}")
    if input.ndim != 3 or weight.ndim != 3 or input.shape[2] != weight.shape[1]:
        raise ValueError(f"conv_tbc: input must be (T, N, C) and weight (k, C, O), got {input.shape}, {weight.shape}")
    same_dtype("conv_tbc", input=input, weight=weight, bias=bias)
    check_bias("conv_tbc", bias, weight.shape[2])
    steps = input.shape[0] + 2 * pad - weight.shape[0] + 1
    if steps == 0:
        return jnp.zeros((0, input.shape[1], weight.shape[2]), input.dtype)
    edges = ((pad, pad, 0), (0, 0, 0), (0, 0, 0))
    padded = lax.pad(input, jnp.zeros((), input.dtype), edges) if input.shape[0] + 2 * pad > 0 else input[:0]
    output = _conv("conv_tbc", 1, padded.transpose(1, 2, 0), weight.transpose(2, 1, 0), bias, 1, 0, 1, 1)
    return output.transpose(2, 0, 1)
