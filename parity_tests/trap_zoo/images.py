"""Traps of convolutions, pooling and resizing: 7 to 9, 13, 14, 17 to 19."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch
from flax import nnx
from torch import nn
from torch.nn import functional

from .entry import Compared, conv, fill, linear, normal, randomised, trap


class TorchNet(nn.Module):
    """Convolution, something without weights, convolution."""

    def __init__(self, between: Callable[[Any], Any], **last: Any) -> None:
        super().__init__()
        self.conv1, self.between, self.conv2 = nn.Conv2d(3, 5, 3), between, nn.Conv2d(5, 4, 3, **last)

    def forward(self, x: Any) -> Any:
        return self.conv2(self.between(self.conv1(x)))


class JaxNet(nnx.Module):
    """The same in NNX, channels last."""

    def __init__(self, between: Callable[[Any], Any], **last: Any) -> None:
        rngs = nnx.Rngs(0)
        self.conv1 = nnx.Conv(3, 5, (3, 3), padding="VALID", rngs=rngs)
        self.conv2 = nnx.Conv(5, 4, (3, 3), **({"padding": "VALID"} | last), rngs=rngs)
        self.between = between

    def __call__(self, x: Any) -> Any:
        return self.conv2(self.between(self.conv1(x)))


def _pair(ours: Callable[[Any], Any], theirs: Callable[[Any], Any], size: tuple[int, int] = (11, 13)) -> Compared:
    return Compared(JaxNet(ours), randomised(TorchNet(theirs)), (normal(2, 3, *size),), options={"gradients": False})


class TorchFlat(nn.Module):
    """Convolution, flatten, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.flatten, self.fc = nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(5 * 4 * 6, 7)

    def forward(self, x: Any) -> Any:
        return self.fc(self.flatten(self.conv(x)))


class JaxFlat(nnx.Module):
    """The same in NNX, flattened as it lies: height, width, channels."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(3, 5, (3, 3), padding="VALID", rngs=rngs)
        self.fc = nnx.Linear(5 * 4 * 6, 7, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = self.conv(x)
        return self.fc(x.reshape(x.shape[0], -1))


@trap(7, "output", "fc", "cause/flatten-order", "lint/flatten-order", "weights carried over without permuting")
def flattened_with_channels_last() -> Compared:
    ours, theirs = JaxFlat(), TorchFlat()
    randomised(theirs)
    conv(ours.conv, theirs.conv)
    linear(ours.fc, theirs.fc)
    return Compared(ours, theirs, (normal(2, 3, 6, 8),), None)


@trap(8, "output", "conv2", "cause/padding", "lint/padding")
def same_padding_at_stride_two() -> Compared:
    ours = JaxNet(nnx.relu, strides=2, padding="SAME")
    theirs = randomised(TorchNet(nn.ReLU(), stride=2, padding=1))
    return Compared(ours, theirs, (normal(2, 3, 10, 8),))


class TorchUp(nn.Module):
    """Convolution and its transposition."""

    def __init__(self, **up: Any) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(3, 5, 3), nn.ConvTranspose2d(5, 4, 3, 2, **up)

    def forward(self, x: Any) -> Any:
        return self.up(self.conv(x))


class JaxUp(nnx.Module):
    """The same in NNX."""

    def __init__(self, padding: Any) -> None:
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(3, 5, (3, 3), padding="VALID", rngs=rngs)
        self.up = nnx.ConvTranspose(5, 4, (3, 3), (2, 2), padding=padding, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.up(self.conv(x))


@trap(9, "output", "up", "cause/kernel-flip", "", "weights carried over without flipping")
def transposed_kernel_is_not_flipped() -> Compared:
    ours, theirs = JaxUp(((1, 1), (1, 1))), TorchUp(padding=1)
    randomised(theirs)
    conv(ours.conv, theirs.conv)
    fill(ours.up.kernel, theirs.up.weight, (2, 3, 0, 1))
    fill(ours.up.bias, theirs.up.bias)
    return Compared(ours, theirs, (normal(2, 3, 6, 8),), None)


@trap(9, "output", "up", "cause/transposed-padding", "lint/transposed-convolution")
def transposed_with_same_padding() -> Compared:
    theirs = randomised(TorchUp(padding=1, output_padding=1))
    return Compared(JaxUp("SAME"), theirs, (normal(2, 3, 6, 8),))


ONE = ((1, 1), (1, 1))


@trap(13, "input", "conv2", "cause/count-include-pad", "lint/pooling")
def average_pooling_leaves_the_padding_out() -> Compared:
    ours = lambda x: nnx.avg_pool(x, (3, 3), (2, 2), ONE, count_include_pad=False)  # noqa: E731
    return _pair(ours, nn.AvgPool2d(3, 2, 1))


@trap(13, "input", "conv2", "cause/pool-stride", "lint/pooling")
def average_pooling_at_stride_one() -> Compared:
    return _pair(lambda x: nnx.avg_pool(x, (2, 2)), lambda x: functional.avg_pool2d(x, 2))


@trap(14, "input", "conv2", "cause/max-pool-padding", "lint/pooling")
def zeros_around_a_max_pool() -> Compared:
    def ours(x: Any) -> Any:
        return nnx.max_pool(jnp.pad(x, ((0, 0), *ONE, (0, 0))), (3, 3), (2, 2))

    made = _pair(ours, lambda x: functional.max_pool2d(x, 3, 2, 1))
    with torch.no_grad():
        made.torch.conv1.bias -= 9.0  # type: ignore[operator]
    return made


@trap(14, "input", "conv2", "cause/ceil-mode", "lint/pooling")
def max_pool_without_ceil_mode() -> Compared:
    return _pair(lambda x: nnx.max_pool(x, (2, 2), (2, 2)), nn.MaxPool2d(2, ceil_mode=True))


def _resized(size: tuple[int, int], method: str, **torch_mode: Any) -> Compared:
    def ours(x: Any) -> Any:
        return jax.image.resize(x, (x.shape[0], *size, x.shape[3]), method)

    return _pair(ours, lambda x: functional.interpolate(x, size, **torch_mode))


@trap(17, "input", "conv2", "cause/nearest", "lint/resize")
def nearest_by_pixel_centres() -> Compared:
    return _resized((7, 17), "nearest", mode="nearest")


@trap(18, "input", "conv2", "cause/antialias", "lint/resize")
def linear_with_antialiasing() -> Compared:
    return _resized((6, 5), "linear", mode="bilinear")


@trap(18, "input", "conv2", "cause/align-corners", "lint/resize")
def linear_without_aligned_corners() -> Compared:
    return _resized((14, 17), "linear", mode="bilinear", align_corners=True)


@trap(19, "input", "conv2", "cause/bicubic", "lint/resize")
def bicubic_with_another_kernel() -> Compared:
    return _resized((14, 17), "cubic", mode="bicubic")
