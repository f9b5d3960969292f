"""A small U-Net in plain Equinox, written for one picture, as is usual there; and three mistakes in it."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp


class Unit(eqx.Module):
    """Convolution, group normalisation, swish."""

    conv: eqx.nn.Conv2d
    norm: eqx.nn.GroupNorm

    def __init__(self, inputs: int, outputs: int, bias: bool, key: jax.Array, eps: float = 1e-5) -> None:
        self.conv = eqx.nn.Conv2d(inputs, outputs, 3, padding=1, use_bias=bias, key=key)
        self.norm = eqx.nn.GroupNorm(2, outputs, eps=eps)

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.swish(self.norm(self.conv(x)))


class Stage(eqx.Module):
    units: list[Unit]

    def __init__(self, inputs: int, outputs: int, key: jax.Array, **second: Any) -> None:
        one, two = jax.random.split(key)
        self.units = [Unit(inputs, outputs, True, one), Unit(outputs, outputs, False, two, **second)]

    def __call__(self, x: jax.Array) -> jax.Array:
        for unit in self.units:
            x = unit(x)
        return x


class Segmenter(eqx.Module):
    """Logits of one picture (channels, height, width)."""

    down: list[Stage]
    deepest: Stage
    grow: list[eqx.nn.ConvTranspose2d]
    up: list[Stage]
    logits: eqx.nn.Conv2d
    swapped: bool = eqx.field(static=True)

    def __init__(self, key: jax.Array, swapped: bool = False, crop: Any = 1, **deep: Any) -> None:
        keys = jax.random.split(key, 8)
        self.down = [Stage(3, 4, keys[0]), Stage(4, 6, keys[1])]
        self.deepest = Stage(6, 10, keys[2], **deep)
        self.grow = [
            eqx.nn.ConvTranspose2d(10, 6, 2, stride=2, key=keys[3]),
            eqx.nn.ConvTranspose2d(6, 4, 4, stride=2, padding=crop, key=keys[4]),
        ]
        self.up = [Stage(12, 6, keys[5]), Stage(8, 4, keys[6])]
        self.logits = eqx.nn.Conv2d(4, 5, 1, key=keys[7])
        self.swapped = swapped

    def __call__(self, x: jax.Array) -> jax.Array:
        skips = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
            x = eqx.nn.MaxPool2d(2, stride=2)(x)
        x = self.deepest(x)
        for grow, stage in zip(self.grow, self.up, strict=True):
            x, skip = grow(x), skips.pop()
            x = stage(jnp.concatenate([x, skip] if self.swapped else [skip, x]))
        return self.logits(x)


def build() -> Segmenter:
    return Segmenter(jax.random.key(0))


def swapped_skip() -> Segmenter:
    """What comes from below is put in front of the skip."""
    return Segmenter(jax.random.key(0), swapped=True)


def norm_eps() -> Segmenter:
    """The deepest stage's second norm has another eps."""
    return Segmenter(jax.random.key(0), eps=1e-6)


def shifted_transpose() -> Segmenter:
    """The second transposed convolution crops 2 in front and none behind, where PyTorch crops 1 and 1."""
    return Segmenter(jax.random.key(0), crop=((2, 0), (2, 0)))
