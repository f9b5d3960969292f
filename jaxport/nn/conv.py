"""Convolutions: conv2d, Conv2d."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike

from . import init
from .checks import int_pair, positive_int, same_dtype
from .conv_cpu import Pair, conv2d_cpu
from .module import Module, Parameter, fresh_rngs
from .precision import product_precision

Padding = int | tuple[int, ...] | Literal["same", "valid"]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
_PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _pad_amounts(padding: Padding, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """Return (before, after) for each spatial axis; 'same' puts the odd one after, as PyTorch does."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ValueError(f"conv2d: padding='same' needs stride 1, got stride {stride}")
        height, width = (d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
        return (height // 2, height - height // 2), (width // 2, width - width // 2)
    if isinstance(padding, str):
        raise ValueError(f"conv2d: padding must be an integer, a pair, 'same' or 'valid', got {padding!r}")
    height, width = int_pair("conv2d", "padding", padding, 0)
    return (height, height), (width, width)


def _check_shapes(input: jax.Array, weight: jax.Array, bias: jax.Array | None, groups: int) -> None:
    if input.ndim not in (3, 4) or weight.ndim != 4:
        raise ValueError(
            f"conv2d: input must be (N, C, H, W) or (C, H, W) and weight (out, in/groups, kH, kW), "
            f"got {input.shape} and {weight.shape}"
        )
    channels = input.shape[-3]
    if channels != weight.shape[1] * groups:
        raise ValueError(
            f"conv2d: input {input.shape} has {channels} channels, but weight {weight.shape} with groups={groups} "
            f"takes {weight.shape[1] * groups}"
        )
    if weight.shape[0] % groups:
        raise ValueError(f"conv2d: groups must divide the {weight.shape[0]} output channels, got {groups}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"conv2d: bias must have shape {weight.shape[:1]}, got {bias.shape}")


def conv2d(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None = None,
    stride: int | tuple[int, int] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> jax.Array:
    """Cross-correlate images with kernels.

    y[n, o, i, j] = b[o] + Σ_{c,u,v} W[o, c, u, v] · x[n, c, i·stride + u·dilation - padding, …]

    Args:
        input: x, (N, C, H, W) or one image (C, H, W).
        weight: W, (O, C / groups, kH, kW).
        bias: b, (O,).
        stride: step between windows, an integer or (sH, sW).
        padding: zeros on every side, an integer, (pH, pW), 'valid' (none) or 'same' (output as large as the input).
        dilation: step between kernel elements.
        groups: channels are split into this many independent groups.

    Returns:
        y, (N, O, H', W') or (O, H', W'), with H' = ⌊(H + 2·pH - dH·(kH - 1) - 1) / sH⌋ + 1.

    Raises:
        ValueError: shapes or options that do not fit, including an output that would be empty.
        TypeError: the dtypes differ.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv2d.html
    """
    same_dtype("conv2d", input=input, weight=weight, bias=bias)
    positive_int("conv2d", "groups", groups)
    _check_shapes(input, weight, bias, groups)
    strides = int_pair("conv2d", "stride", stride, 1)
    dilations = int_pair("conv2d", "dilation", dilation, 1)
    kernel = (weight.shape[2], weight.shape[3])
    pads = _pad_amounts(padding, kernel, strides, dilations)
    for size, k, d, (before, after) in zip(input.shape[-2:], kernel, dilations, pads, strict=True):
        if size + before + after < d * (k - 1) + 1:
            raise ValueError(
                f"conv2d: the padded input {size + before + after} is smaller than the kernel's extent "
                f"{d * (k - 1) + 1}: input {input.shape}, weight {weight.shape}, padding {padding!r}"
            )
    if input.ndim == 3:
        return conv2d(input[None], weight, bias, strides, padding, dilations, groups)[0]
    if _canonical_on_cpu(input, groups):
        return conv2d_cpu(input, weight, bias, strides, pads, dilations)
    output = lax.conv_general_dilated(
        input,
        weight,
        window_strides=strides,
        padding=pads,
        rhs_dilation=dilations,
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
        feature_group_count=groups,
        precision=product_precision(),
    )
    return output if bias is None else output + bias[None, :, None, None]


def _canonical_on_cpu(input: jax.Array, groups: int) -> bool:
    """Whether the CPU's fast formulation applies: no groups, no empty batch, no mesh with axes of explicit type."""
    on_cpu = jax.default_backend() == "cpu" and jax.sharding.get_abstract_mesh().empty
    return on_cpu and groups == 1 and 0 not in input.shape and jnp.issubdtype(input.dtype, jnp.floating)


class Conv2d(Module):
    """Cross-correlate images with trained kernels: `weight` (out, in / groups, kH, kW) and `bias` (out,).

    Both start from U(±1/√fan_in), fan_in = in / groups · kH · kW, as in PyTorch.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: an integer or (kH, kW).
        stride: step between windows, an integer or (sH, sW).
        padding: an integer, (pH, pW), 'valid' or 'same'.
        dilation: step between kernel elements.
        groups: channels are split into this many independent groups.
        bias: whether b is added.
        padding_mode: what the padding holds: 'zeros', 'reflect', 'replicate' or 'circular'.
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (stream ``params``) or a seed.

    Raises:
        ValueError: a size or option that is not one of these.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: Padding = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        self.in_channels = positive_int("Conv2d", "in_channels", in_channels)
        self.out_channels = positive_int("Conv2d", "out_channels", out_channels)
        self.groups = positive_int("Conv2d", "groups", groups)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"Conv2d: groups must divide {name}={channels}, got {groups}")
        if padding_mode not in _PAD_MODES:
            raise ValueError(f"Conv2d: padding_mode must be one of {', '.join(_PAD_MODES)}, got {padding_mode!r}")
        self.kernel_size = int_pair("Conv2d", "kernel_size", kernel_size, 1)
        self.stride = int_pair("Conv2d", "stride", stride, 1)
        self.dilation = int_pair("Conv2d", "dilation", dilation, 1)
        self.padding: Padding = padding if isinstance(padding, str) else int_pair("Conv2d", "padding", padding, 0)
        self.padding_mode = padding_mode
        _pad_amounts(self.padding, self.kernel_size, self.stride, self.dilation)
        dtype = jnp.float32 if dtype is None else dtype
        self.weight = Parameter(jnp.zeros((out_channels, in_channels // groups, *self.kernel_size), dtype))
        self.bias = Parameter(jnp.zeros((out_channels,), dtype)) if bias else None
        self.reset_parameters(fresh_rngs(rngs, "Conv2d"))

    def reset_parameters(self, rngs: nnx.Rngs) -> None:
        """Draw new initial values."""
        init.reset_weight_and_bias(self.weight, self.bias, rngs)

    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, in, H, W) to (N, out, H', W')."""
        padding = self.padding
        if self.padding_mode != "zeros":
            pads = _pad_amounts(padding, self.kernel_size, self.stride, self.dilation)
            input = jnp.pad(input, ((0, 0),) * (input.ndim - 2) + pads, mode=_PAD_MODES[self.padding_mode])
            padding = 0
        bias = None if self.bias is None else self.bias[...]
        return conv2d(input, self.weight[...], bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """Return the settings that are not the defaults, as PyTorch prints them."""
        parts = [f"{self.in_channels}, {self.out_channels}"]
        parts += [f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        if self.padding != (0, 0):
            parts.append(f"padding={self.padding}")
        if self.dilation != (1, 1):
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)
