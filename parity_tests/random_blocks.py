"""Layers of random pairs that hold others or look along a sequence: residuals, attention, LSTM, embedding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import torch
from flax import nnx
from random_layers import Shape, Spec
from torch import nn

WORDS = 13


class SkipFlax(nnx.Module):
    """x + body(x)."""

    def __init__(self, body: nnx.Sequential) -> None:
        self.body = body

    def __call__(self, x: jax.Array) -> jax.Array:
        return x + self.body(x)


class SkipTorch(nn.Module):
    """x + the parts, one after the other."""

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for part in self.parts:
            y = part(y)
        return x + y


@dataclass(frozen=True)
class Residual:
    body: tuple[Spec, ...]

    def out(self, shape: Shape) -> Shape | None:
        return shape if shapes(self.body, shape)[-1] == shape else None

    def jax(self, shape: Shape, rngs: nnx.Rngs) -> SkipFlax:
        return SkipFlax(nnx.Sequential(*flax_layers(self.body, shape, rngs)))

    def torch(self, shape: Shape) -> SkipTorch:
        return SkipTorch(torch_layers(self.body, shape))


class AttentionFlax(nnx.Module):
    def __init__(self, features: int, causal: bool, rngs: nnx.Rngs) -> None:
        self.heads = nnx.MultiHeadAttention(2, features, decode=False, rngs=rngs)
        self.causal = causal

    def __call__(self, x: jax.Array) -> jax.Array:
        mask = nnx.make_causal_mask(x[..., 0]) if self.causal else None
        return self.heads(x, mask=mask)


class AttentionTorch(nn.Module):
    def __init__(self, features: int, causal: bool) -> None:
        super().__init__()
        self.mha = nn.MultiheadAttention(features, 2, batch_first=True)
        self.causal = causal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1) if self.causal else None
        return self.mha(x, x, x, attn_mask=mask, need_weights=False)[0]


@dataclass(frozen=True)
class Attention:
    causal: bool

    def out(self, shape: Shape) -> Shape | None:
        return shape if len(shape) == 2 and shape[-1] % 2 == 0 else None

    def jax(self, shape: Shape, rngs: nnx.Rngs) -> AttentionFlax:
        return AttentionFlax(shape[-1], self.causal, rngs)

    def torch(self, shape: Shape) -> AttentionTorch:
        return AttentionTorch(shape[-1], self.causal)


class StatesTorch(nn.Module):
    """An LSTM's hidden states."""

    def __init__(self, inputs: int, features: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(inputs, features, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(x)[0]


@dataclass(frozen=True)
class LSTM:
    features: int

    def out(self, shape: Shape) -> Shape | None:
        return (shape[0], self.features) if len(shape) == 2 else None

    def jax(self, shape: Shape, rngs: nnx.Rngs) -> nnx.RNN:
        return nnx.RNN(nnx.OptimizedLSTMCell(shape[-1], self.features, rngs=rngs), rngs=rngs)

    def torch(self, shape: Shape) -> StatesTorch:
        return StatesTorch(shape[-1], self.features)


@dataclass(frozen=True)
class Embedding:
    """Of numbers of words, (T,), not of vectors: it is always the first layer of sequences."""

    features: int

    def out(self, shape: Shape) -> Shape | None:
        return (*shape, self.features)

    def jax(self, shape: Shape, rngs: nnx.Rngs) -> nnx.Embed:
        return nnx.Embed(WORDS, self.features, rngs=rngs)

    def torch(self, shape: Shape) -> nn.Embedding:
        return nn.Embedding(WORDS, self.features)


def shapes(layers: tuple[Spec, ...], shape: Shape) -> list[Shape | None]:
    """Return the shapes in front of each layer and behind the last."""
    found: list[Shape | None] = [shape]
    for layer in layers:
        before = found[-1]
        found.append(None if before is None else layer.out(before))
    return found


def flax_layers(layers: tuple[Spec, ...], shape: Shape, rngs: nnx.Rngs) -> list[Callable[..., Any]]:
    """Return the Flax layers."""
    return [layer.jax(at, rngs) for layer, at in zip(layers, shapes(layers, shape), strict=False) if at is not None]


def torch_layers(layers: tuple[Spec, ...], shape: Shape) -> list[nn.Module]:
    """Return PyTorch's layers."""
    return [layer.torch(at) for layer, at in zip(layers, shapes(layers, shape), strict=False) if at is not None]
