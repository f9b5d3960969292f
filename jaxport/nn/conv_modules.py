"""Convolutions with trained kernels: Conv1d, Conv2d, Conv3d, and what they share with the transposed ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from . import conv, init
from .checks import int_tuple, positive_int
from .conv import Padding, Pads, pad_amounts
from .module import Module, Parameter, fresh_rngs

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


class ConvBase(Module):
    """What all convolution layers hold and check; `_owner` and `_ndim` name the layer."""

    _owner: ClassVar[str]
    _ndim: ClassVar[int]
    transposed: bool = False

    def _setup(
        self,
        channels: tuple[int, int],
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...],
        padding: Padding,
        dilation: int | tuple[int, ...],
        output_padding: int | tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | int,
    ) -> None:
        owner, ndim = self._owner, self._ndim
        self.in_channels = positive_int(owner, "in_channels", channels[0])
        self.out_channels = positive_int(owner, "out_channels", channels[1])
        self.groups = positive_int(owner, "groups", groups)
        for name, number in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if number % groups:
                raise ValueError(f"{owner}: groups must divide {name}={number}, got {groups}")
        self.kernel_size = int_tuple(owner, "kernel_size", kernel_size, ndim, 1)
        self.stride = int_tuple(owner, "stride", stride, ndim, 1)
        self.dilation = int_tuple(owner, "dilation", dilation, ndim, 1)
        self.output_padding = int_tuple(owner, "output_padding", output_padding, ndim, 0)
        self.padding: Padding = padding if isinstance(padding, str) else int_tuple(owner, "padding", padding, ndim, 0)
        pad_amounts(owner, self.padding, self.kernel_size, self.stride, self.dilation)
        self.padding_mode = padding_mode
        dtype = jnp.float32 if dtype is None else dtype
        first, second = channels[::-1] if not self.transposed else channels
        self.weight = Parameter(jnp.zeros((first, second // groups, *self.kernel_size), dtype))
        self.bias = Parameter(jnp.zeros((self.out_channels,), dtype)) if bias else None
        self.reset_parameters(fresh_rngs(rngs, owner))

    def reset_parameters(self, rngs: nnx.Rngs) -> None:
        """Draw new initial values."""
        init.reset_weight_and_bias(self.weight, self.bias, rngs)

    def extra_repr(self) -> str:
        """Return the settings that are not the defaults, as PyTorch prints them."""
        parts = [f"{self.in_channels}, {self.out_channels}"]
        parts += [f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        zeros, ones = (0,) * self._ndim, (1,) * self._ndim
        for name, default in (("padding", zeros), ("dilation", ones), ("output_padding", zeros), ("groups", 1)):
            if getattr(self, name) != default:
                parts.append(f"{name}={getattr(self, name)}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


def _pad_with(owner: str, input: jax.Array, pads: Pads, mode: str) -> jax.Array:
    """Pad with values of the input, as far as PyTorch does."""
    sizes = input.shape[-len(pads) :]
    for size, pad in zip(sizes, pads, strict=True):
        # 'reflect' does not repeat the edge and mirrors once; 'circular' goes around once; 'replicate' needs an edge.
        most = {"reflect": size - 1, "circular": size}.get(mode, max(pad) if size else -1)
        if max(pad) > most:
            raise ValueError(f"{owner}: padding_mode={mode!r} allows a padding of at most {most} for {input.shape}")
    return jnp.pad(input, ((0, 0),) * (input.ndim - len(pads)) + pads, mode=PAD_MODES[mode])  # pyright: ignore


class _ConvNd(ConvBase):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: Padding = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        if padding_mode not in PAD_MODES:
            known = ", ".join(PAD_MODES)
            raise ValueError(f"{self._owner}: padding_mode must be one of {known}, got {padding_mode!r}")
        channels = (in_channels, out_channels)
        self._setup(channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode, dtype, rngs)

    def _convolve(self, function: Callable[..., jax.Array], input: jax.Array) -> jax.Array:
        padding = self.padding
        if self.padding_mode != "zeros":
            pads = pad_amounts(self._owner, padding, self.kernel_size, self.stride, self.dilation)
            if input.ndim in (self._ndim + 1, self._ndim + 2):  # else the function below names the error
                input = _pad_with(self._owner, input, pads, self.padding_mode)
            padding = 0
        bias = None if self.bias is None else self.bias[...]
        return function(input, self.weight[...], bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_ConvNd):
    """Cross-correlate sequences with trained kernels: `weight` (out, in / groups, kL) and `bias` (out,).

    (N, in, L) or (in, L) becomes (N, out, L') or (out, L'). Arguments, initial values and errors are those of `Conv2d`,
    with one number for each spatial axis.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv1d.html
    """

    _owner = "Conv1d"
    _ndim = 1

    # In every class, not in the base: nnx.capture records only the methods that a class defines itself.
    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, in, L) to (N, out, L'), or one example to one."""
        return self._convolve(conv.conv1d, input)


class Conv2d(_ConvNd):
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

    _owner = "Conv2d"
    _ndim = 2

    # In every class, not in the base: nnx.capture records only the methods that a class defines itself.
    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, in, H, W) to (N, out, H', W'), or one example to one."""
        return self._convolve(conv.conv2d, input)


class Conv3d(_ConvNd):
    """Cross-correlate volumes with trained kernels: `weight` (out, in / groups, kD, kH, kW) and `bias` (out,).

    (N, in, D, H, W) or (in, D, H, W) becomes (N, out, D', H', W') or the like. Arguments, initial values and errors are
    those of `Conv2d`, with one number for each spatial axis.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv3d.html
    """

    _owner = "Conv3d"
    _ndim = 3

    # In every class, not in the base: nnx.capture records only the methods that a class defines itself.
    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, in, D, H, W) to (N, out, D', H', W'), or one example to one."""
        return self._convolve(conv.conv3d, input)
