"""Transposed convolutions with trained kernels: ConvTranspose1d, ConvTranspose2d, ConvTranspose3d."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import jax
from flax import nnx
from jax.typing import DTypeLike

from . import conv_transpose
from .conv_modules import ConvBase
from .conv_transpose import output_padding_for


class _ConvTransposeNd(ConvBase):
    transposed: bool = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        output_padding: int | tuple[int, ...] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, ...] = 1,
        padding_mode: Literal["zeros"] = "zeros",
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f"{self._owner}: padding_mode must be 'zeros', got {padding_mode!r}")
        if isinstance(padding, str):
            raise ValueError(
                f"{self._owner}: padding must be integers, got {padding!r}: names are for Conv layers alone"
            )
        channels, more = (in_channels, out_channels), output_padding
        self._setup(channels, kernel_size, stride, padding, dilation, more, groups, bias, padding_mode, dtype, rngs)

    def _transpose(
        self, function: Callable[..., jax.Array], input: jax.Array, output_size: Sequence[int] | None
    ) -> jax.Array:
        padding, more = self.padding, self.output_padding
        assert isinstance(padding, tuple)
        if output_size is not None:
            geometry = (self.kernel_size, self.stride, padding, self.dilation)
            more = output_padding_for(self._owner, output_size, input.shape, geometry)
        bias = None if self.bias is None else self.bias[...]
        return function(input, self.weight[...], bias, self.stride, padding, more, self.groups, self.dilation)


class ConvTranspose1d(_ConvTransposeNd):
    """Apply the transpose of a convolution with a trained `weight` (in, out / groups, kL), and add `bias` (out,).

    (N, in, L) or (in, L) becomes (N, out, L') or (out, L'). Arguments, initial values and errors are those of
    `ConvTranspose2d`, with one number for each spatial axis.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose1d.html
    """

    _owner = "ConvTranspose1d"
    _ndim = 1

    def forward(self, input: jax.Array, output_size: Sequence[int] | None = None) -> jax.Array:
        """Map (N, in, L) to (N, out, L'), or one example to one; `output_size` replaces output_padding.

        Raises:
            ValueError: `output_size` cannot be reached by an output_padding smaller than the stride.
        """
        return self._transpose(conv_transpose.conv_transpose1d, input, output_size)


class ConvTranspose2d(_ConvTransposeNd):
    """Apply the transpose of a convolution with a trained `weight` (in, out / groups, kH, kW), and add `bias` (out,).

    H' = (H - 1)·stride - 2·padding + dilation·(kH - 1) + output_padding + 1. Both parameters start from U(±1/√fan),
    fan = out / groups · kH · kW, as PyTorch computes it from the weight's second axis.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: an integer or (kH, kW).
        stride: step between the windows that are written, an integer or (sH, sW).
        padding: how much is cropped on every side, an integer or (pH, pW).
        output_padding: how much is added at the end of each axis, smaller than stride or dilation.
        groups: channels are split into this many independent groups.
        bias: whether b is added.
        dilation: step between kernel elements.
        padding_mode: only 'zeros'.
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (stream ``params``) or a seed.

    Raises:
        ValueError: a size or option that is not one of these.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html
    """

    _owner = "ConvTranspose2d"
    _ndim = 2

    def forward(self, input: jax.Array, output_size: Sequence[int] | None = None) -> jax.Array:
        """Map (N, in, H, W) to (N, out, H', W'), or one example to one; `output_size` replaces output_padding.

        Raises:
            ValueError: `output_size` cannot be reached by an output_padding smaller than the stride.
        """
        return self._transpose(conv_transpose.conv_transpose2d, input, output_size)


class ConvTranspose3d(_ConvTransposeNd):
    """Apply the transpose of a convolution with trained `weight` (in, out / groups, kD, kH, kW), and add `bias` (out,).

    (N, in, D, H, W) or (in, D, H, W) becomes (N, out, D', H', W') or the like. Arguments, initial values and errors are
    those of `ConvTranspose2d`, with one number for each spatial axis.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose3d.html
    """

    _owner = "ConvTranspose3d"
    _ndim = 3

    def forward(self, input: jax.Array, output_size: Sequence[int] | None = None) -> jax.Array:
        """Map (N, in, D, H, W) to (N, out, D', H', W'), or one example to one; `output_size` replaces output_padding.

        Raises:
            ValueError: `output_size` cannot be reached by an output_padding smaller than the stride.
        """
        return self._transpose(conv_transpose.conv_transpose3d, input, output_size)
