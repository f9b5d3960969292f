"""Rearrangements of channels: pixel_shuffle, pixel_unshuffle, channel_shuffle and their modules."""

from __future__ import annotations

import jax

from .checks import positive_int
from .module import Module


def _image_axes(owner: str, input: jax.Array) -> tuple[tuple[int, ...], int, int, int]:
    """Return the leading axes and C, H, W."""
    if input.ndim < 3:
        raise ValueError(f"{owner}: input must be (*, C, H, W), got shape {input.shape}")
    *lead, channels, height, width = input.shape
    return tuple(lead), channels, height, width


def pixel_shuffle(input: jax.Array, upscale_factor: int) -> jax.Array:
    """Move channels into space: (*, C·r², H, W) → (*, C, H·r, W·r).

    y[c, h·r + i, w·r + j] = x[c·r² + i·r + j, h, w]

    Raises:
        ValueError: fewer than 3 axes, or r² does not divide the channels.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pixel_shuffle.html
    """
    lead, channels, height, width = _image_axes("pixel_shuffle", input)
    r = positive_int("pixel_shuffle", "upscale_factor", upscale_factor)
    if channels % (r * r):
        raise ValueError(f"pixel_shuffle: {r * r} must divide the {channels} channels of {input.shape}")
    c, n = channels // (r * r), len(lead)
    split = input.reshape((*lead, c, r, r, height, width))
    turned = split.transpose((*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return turned.reshape((*lead, c, height * r, width * r))


def pixel_unshuffle(input: jax.Array, downscale_factor: int) -> jax.Array:
    """Move space into channels, the inverse of pixel_shuffle: (*, C, H·r, W·r) → (*, C·r², H, W).

    Raises:
        ValueError: fewer than 3 axes, or r does not divide the height or the width.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pixel_unshuffle.html
    """
    lead, channels, height, width = _image_axes("pixel_unshuffle", input)
    r = positive_int("pixel_unshuffle", "downscale_factor", downscale_factor)
    if height % r or width % r:
        raise ValueError(f"pixel_unshuffle: {r} must divide the height and the width of {input.shape}")
    n = len(lead)
    split = input.reshape((*lead, channels, height // r, r, width // r, r))
    turned = split.transpose((*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return turned.reshape((*lead, channels * r * r, height // r, width // r))


def channel_shuffle(input: jax.Array, groups: int) -> jax.Array:
    """Interleave groups of channels: of (N, C, *), channel i·(C/g) + j becomes channel j·g + i.

    Raises:
        ValueError: fewer than 3 axes, or `groups` does not divide the channels.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.channel_shuffle.html
    """
    if input.ndim < 3:
        raise ValueError(f"channel_shuffle: input must be (N, C, *) with at least 3 axes, got shape {input.shape}")
    positive_int("channel_shuffle", "groups", groups)
    batch, channels, *rest = input.shape
    if channels % groups:
        raise ValueError(f"channel_shuffle: groups must divide the {channels} channels, got {groups}")
    split = input.reshape((batch, groups, channels // groups, *rest))
    return split.swapaxes(1, 2).reshape(input.shape)


class PixelShuffle(Module):
    """Move channels into space: (*, C·r², H, W) → (*, C, H·r, W·r), r the `upscale_factor`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.PixelShuffle.html
    """

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = upscale_factor

    def forward(self, input: jax.Array) -> jax.Array:
        """Return r times as large an image with r² times fewer channels."""
        return pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        """Return the factor, as PyTorch prints it."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Move space into channels: (*, C, H·r, W·r) → (*, C·r², H, W), r the `downscale_factor`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.PixelUnshuffle.html
    """

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = downscale_factor

    def forward(self, input: jax.Array) -> jax.Array:
        """Return r times as small an image with r² times more channels."""
        return pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        """Return the factor, as PyTorch prints it."""
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Interleave `groups` groups of channels of (N, C, *).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ChannelShuffle.html
    """

    def __init__(self, groups: int) -> None:
        self.groups = groups

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the input with its channels interleaved, in its own shape."""
        return channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        """Return the number of groups, as PyTorch prints it."""
        return f"groups={self.groups}"
