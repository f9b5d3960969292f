"""Layers that exist twice: as a Flax user writes them, channels last, and as a PyTorch user does, channels first.

Each has `out`, its output's shape without the batch in JAX's axes, or None if it cannot follow that shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import torch
from flax import nnx
from torch import nn

Shape = tuple[int, ...]
"""(H, W, C) of pictures, (T, E) of sequences, (F,) of vectors."""


class Spec(Protocol):
    """A layer on both sides."""

    def out(self, shape: Shape) -> Shape | None:
        """Return the output's shape, None if the input cannot be of that shape."""
        ...

    def jax(self, shape: Shape, rngs: nnx.Rngs) -> Callable[..., Any]:
        """Return the Flax layer."""
        ...

    def torch(self, shape: Shape) -> nn.Module:
        """Return PyTorch's."""
        ...


class UnbiasedBatchNorm(nnx.BatchNorm):
    """nnx.BatchNorm whose running variance is the unbiased one, as PyTorch's."""

    def __call__(self, x: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
        assert self.var is not None
        before = self.momentum * self.var[...]
        y = super().__call__(x, *args, **kwargs)
        if not self.use_running_average:
            n = x.size // x.shape[-1]
            self.var[...] = before + (self.var[...] - before) * (n / (n - 1))
        return y


@dataclass(frozen=True)
class Conv:
    features: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: int = 0
    groups: int = 1
    dilation: int = 1
    bias: bool = True

    def out(self, shape: Shape) -> Shape | None:
        if len(shape) != 3 or shape[-1] % self.groups or self.features % self.groups:
            return None
        # XLA of jaxlib 0.10.2 aborts on the CPU while it compiles the gradient of some of these.
        if self.groups > 1 and max(self.stride, self.dilation) > 1:
            return None
        size = [
            (n + 2 * self.padding - self.dilation * (k - 1) - 1) // self.stride + 1
            for n, k in zip(shape, self.kernel, strict=False)
        ]
        return (*size, self.features) if min(size) > 0 else None

    def jax(self, shape: Shape, rngs: nnx.Rngs) -> nnx.Conv:
        return nnx.Conv(
            shape[-1],
            self.features,
            self.kernel,
            strides=(self.stride, self.stride),
            padding=self.padding,
            kernel_dilation=(self.dilation, self.dilation),
            feature_group_count=self.groups,
            use_bias=self.bias,
            rngs=rngs,
        )

    def torch(self, shape: Shape) -> nn.Conv2d:
        rest = (self.stride, self.padding, self.dilation, self.groups, self.bias)
        return nn.Conv2d(shape[-1], self.features, self.kernel, *rest)


@dataclass(frozen=True)
class ConvTranspose:
    features: int
    kernel: int
    stride: int
    padding: int = 0

    def out(self, shape: Shape) -> Shape | None:
        if len(shape) != 3 or self.padding >= self.kernel:
            return None
        return (*((n - 1) * self.stride + self.kernel - 2 * self.padding for n in shape[:2]), self.features)

    def jax(self, shape: Shape, rngs: nnx.Rngs) -> nnx.ConvTranspose:
        pad = [(self.kernel - 1 - self.padding,) * 2] * 2
        size, step = (self.kernel,) * 2, (self.stride,) * 2
        return nnx.ConvTranspose(shape[-1], self.features, size, step, padding=pad, rngs=rngs)

    def torch(self, shape: Shape) -> nn.ConvTranspose2d:
        return nn.ConvTranspose2d(shape[-1], self.features, self.kernel, self.stride, self.padding)


@dataclass(frozen=True)
class Norm:
    kind: str

    def out(self, shape: Shape) -> Shape | None:
        fits = {"batch": len(shape) != 2, "group": len(shape) == 3 and shape[-1] % 2 == 0, "layer": len(shape) < 3}
        return shape if fits[self.kind] else None

    def jax(self, shape: Shape, rngs: nnx.Rngs) -> nnx.Module:
        n, eps = shape[-1], {"epsilon": 1e-5, "use_fast_variance": False, "rngs": rngs}
        if self.kind == "batch":
            return UnbiasedBatchNorm(n, momentum=0.9, **eps)
        return nnx.LayerNorm(n, **eps) if self.kind == "layer" else nnx.GroupNorm(n, 2, **eps)

    def torch(self, shape: Shape) -> nn.Module:
        n = shape[-1]
        if self.kind == "batch":
            return nn.BatchNorm2d(n) if len(shape) == 3 else nn.BatchNorm1d(n)
        return nn.LayerNorm(n) if self.kind == "layer" else nn.GroupNorm(2, n)


ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[[], nn.Module]]] = {
    "relu": (nnx.relu, nn.ReLU),
    "gelu": (partial(jax.nn.gelu, approximate=False), nn.GELU),
    "gelu_tanh": (jax.nn.gelu, partial(nn.GELU, approximate="tanh")),
    "silu": (nnx.silu, nn.SiLU),
    "tanh": (jnp.tanh, nn.Tanh),
    "elu": (nnx.elu, nn.ELU),
    "leaky_relu": (partial(nnx.leaky_relu, negative_slope=0.01), nn.LeakyReLU),
    "softplus": (jax.nn.softplus, nn.Softplus),
    "sigmoid": (nnx.sigmoid, nn.Sigmoid),
}


@dataclass(frozen=True)
class Activation:
    name: str

    def out(self, shape: Shape) -> Shape:
        return shape

    def jax(self, shape: Shape, rngs: nnx.Rngs) -> Callable[..., Any]:
        return ACTIVATIONS[self.name][0]

    def torch(self, shape: Shape) -> nn.Module:
        return ACTIVATIONS[self.name][1]()


@dataclass(frozen=True)
class Pool:
    kind: str
    size: int
    stride: int
    padding: int = 0

    def out(self, shape: Shape) -> Shape | None:
        if len(shape) != 3 or 2 * self.padding > self.size:
            return None
        size = [(n + 2 * self.padding - self.size) // self.stride + 1 for n in shape[:2]]
        return (*size, shape[-1]) if min(size) > 0 else None

    def jax(self, shape: Shape, rngs: nnx.Rngs) -> Callable[..., Any]:
        pool = nnx.max_pool if self.kind == "max" else nnx.avg_pool
        pad = ((self.padding, self.padding),) * 2
        return partial(pool, window_shape=(self.size,) * 2, strides=(self.stride,) * 2, padding=pad)

    def torch(self, shape: Shape) -> nn.Module:
        pool = nn.MaxPool2d if self.kind == "max" else nn.AvgPool2d
        return pool(self.size, self.stride, self.padding)


@dataclass(frozen=True)
class Dropout:
    rate: float

    def out(self, shape: Shape) -> Shape:
        return shape

    def jax(self, shape: Shape, rngs: nnx.Rngs) -> nnx.Dropout:
        return nnx.Dropout(self.rate, rngs=rngs)

    def torch(self, shape: Shape) -> nn.Dropout:
        return nn.Dropout(self.rate)


@dataclass(frozen=True)
class Linear:
    features: int
    bias: bool = True

    def out(self, shape: Shape) -> Shape | None:
        return (*shape[:-1], self.features) if len(shape) < 3 else None

    def jax(self, shape: Shape, rngs: nnx.Rngs) -> nnx.Linear:
        return nnx.Linear(shape[-1], self.features, use_bias=self.bias, rngs=rngs)

    def torch(self, shape: Shape) -> nn.Linear:
        return nn.Linear(shape[-1], self.features, self.bias)


def _flatten(x: jax.Array) -> jax.Array:
    """Flatten pictures in PyTorch's order."""
    return jnp.moveaxis(x, -1, 1).reshape(len(x), -1)


class Mean(nn.Module):
    """Mean over all axes but batch and features."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(self.dims)


@dataclass(frozen=True)
class Flatten:
    """To a vector: all of it, or the mean over places."""

    mean: bool

    def out(self, shape: Shape) -> Shape | None:
        return None if len(shape) == 1 else (shape[-1],) if self.mean else (math.prod(shape),)

    def jax(self, shape: Shape, rngs: nnx.Rngs) -> Callable[..., Any]:
        if self.mean:
            return partial(jnp.mean, axis=tuple(range(1, len(shape))))
        return _flatten if len(shape) == 3 else lambda x: x.reshape(len(x), -1)

    def torch(self, shape: Shape) -> nn.Module:
        return Mean((2, 3) if len(shape) == 3 else (1,)) if self.mean else nn.Flatten()
