"""A small residual network for pictures in plain Flax NNX, channels last; and mistakes made in porting it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx


class BatchNorm(nnx.BatchNorm):
    """Keeps the unbiased variance, as PyTorch does."""

    def __call__(self, x: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
        if self.use_running_average or self.var is None:
            return super().__call__(x, *args, **kwargs)
        old = self.momentum * self.var[...]
        y = super().__call__(x, *args, **kwargs)
        n = x.size / x.shape[-1]
        self.var[...] = old + (self.var[...] - old) * n / (n - 1)
        return y


class ConvNorm(nnx.Module):
    """Convolution without bias and batch normalisation with PyTorch's settings."""

    def __init__(
        self, inputs: int, outputs: int, size: int, strides: int = 1, *, rngs: nnx.Rngs, eps: float = 1e-5
    ) -> None:
        padding = size // 2
        self.conv = nnx.Conv(
            inputs, outputs, (size, size), strides=(strides, strides), padding=padding, use_bias=False, rngs=rngs
        )
        self.norm = BatchNorm(outputs, momentum=0.9, epsilon=eps, use_fast_variance=False, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.norm(self.conv(x))


class BasicBlock(nnx.Module):
    def __init__(self, inputs: int, outputs: int, strides: int, *, rngs: nnx.Rngs) -> None:
        self.first = ConvNorm(inputs, outputs, 3, strides, rngs=rngs)
        self.second = ConvNorm(outputs, outputs, 3, rngs=rngs)
        self.shortcut = ConvNorm(inputs, outputs, 1, strides, rngs=rngs) if inputs != outputs else None

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.second(nnx.relu(self.first(x)))
        return nnx.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class BottleneckBlock(nnx.Module):
    def __init__(self, inputs: int, width: int, outputs: int, *, rngs: nnx.Rngs, eps: float = 1e-5) -> None:
        self.squeeze = ConvNorm(inputs, width, 1, rngs=rngs)
        self.spatial = ConvNorm(width, width, 3, rngs=rngs, eps=eps)
        self.expand = ConvNorm(width, outputs, 1, rngs=rngs)
        self.shortcut = ConvNorm(inputs, outputs, 1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = nnx.relu(self.spatial(nnx.relu(self.squeeze(x))))
        return nnx.relu(self.expand(y) + self.shortcut(x))


class ResNet(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs, **mistake: Any) -> None:
        self.stem = ConvNorm(3, 6, 7, 2, rngs=rngs)
        self.blocks = nnx.List(
            [
                BottleneckBlock(6, 5, 13, rngs=rngs, **mistake),
                BasicBlock(13, 9, 2, rngs=rngs),
                BasicBlock(9, 9, 1, rngs=rngs),
            ]
        )
        self.head = nnx.Linear(9, 11, rngs=rngs)

    def __call__(self, image: jax.Array) -> jax.Array:
        x = nnx.relu(self.stem(image))
        x = nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for block in self.blocks:
            x = block(x)
        return self.head(jnp.mean(x, axis=(1, 2)))


def build() -> ResNet:
    return ResNet(rngs=nnx.Rngs(0))


def wrong_eps() -> ResNet:
    """BatchNorm's eps is Keras's in one place."""
    return ResNet(rngs=nnx.Rngs(0), eps=1e-3)


def same_padding() -> ResNet:
    """The stem is padded with SAME: 2 in front and 3 behind, where PyTorch has 3 and 3."""
    model = build()
    model.stem.conv.padding = "SAME"
    return model


class LateSkip(BasicBlock):
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nnx.relu(self.second(nnx.relu(self.first(x))))
        return y + (x if self.shortcut is None else self.shortcut(x))


def skip_after_relu() -> ResNet:
    """The last block adds its input after the ReLU."""
    model = build()
    model.blocks[2] = LateSkip(9, 9, 1, rngs=nnx.Rngs(1))
    return model


def biased_variance() -> ResNet:
    """One norm is Flax's own, which keeps the biased variance."""
    model = build()
    model.blocks[1].first.norm = nnx.BatchNorm(9, momentum=0.9, use_fast_variance=False, rngs=nnx.Rngs(1))
    return model
