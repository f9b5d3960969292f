"""Architectures drawn at random and built twice, in plain Flax NNX and in PyTorch: correct pairs, for false alarms.

Sizes come from small sets, so that JAX finds what it compiled for other examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from hypothesis import strategies as st
from random_blocks import LSTM, WORDS, Attention, Embedding, Residual, flax_layers, torch_layers
from random_layers import (
    ACTIVATIONS,
    Activation,
    Conv,
    ConvTranspose,
    Dropout,
    Flatten,
    Linear,
    Norm,
    Pool,
    Shape,
    Spec,
)
from torch import nn

BATCH, TIME = 5, 7


class Net(nnx.Module):
    def __init__(self, parts: list[Callable[..., Any]]) -> None:
        self.features = nnx.Sequential(*parts[:-1])
        self.readout = parts[-1]

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.readout(self.features(x))


@dataclass(frozen=True)
class Architecture:
    """A model that both sides can build.

    Attributes:
        shape: of one example, in JAX's axes.
        layers: what it is made of.
        training: whether it is compared in training mode.
        seed: of inputs.
    """

    shape: Shape
    layers: tuple[Spec, ...]
    training: bool
    seed: int

    @property
    def pictures(self) -> bool:
        """Whether the JAX model takes its inputs channels last."""
        return len(self.shape) == 3

    def jax(self) -> Net:
        """Return the Flax model."""
        return Net(flax_layers(self.layers, self.shape, nnx.Rngs(0)))

    def torch(self) -> nn.Sequential:
        """Return PyTorch's, one flat sequence."""
        torch.manual_seed(self.seed)
        return nn.Sequential(*torch_layers(self.layers, self.shape))

    def inputs(self) -> np.ndarray:
        """Return a batch, in PyTorch's axes."""
        rng = np.random.default_rng(self.seed)
        if isinstance(self.layers[0], Embedding):
            return rng.integers(0, WORDS, (BATCH, *self.shape))
        x = rng.normal(0.3, 1.0, (BATCH, *self.shape)).astype(np.float32)
        return np.moveaxis(x, -1, 1) if self.pictures else x

    def to_jax(self, x: np.ndarray) -> jax.Array:
        """Return the batch in JAX's axes."""
        return jnp.asarray(np.moveaxis(x, 1, -1) if self.pictures else x)


_ACTIVATION = st.sampled_from(sorted(ACTIVATIONS)).map(Activation)
_DROPOUT = st.sampled_from([0.1, 0.5]).map(Dropout)
_CONV = st.builds(
    Conv,
    st.sampled_from([4, 6]),
    st.sampled_from([(1, 1), (3, 3), (3, 2)]),
    st.sampled_from([1, 2]),
    st.sampled_from([0, 1]),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 2]),
    st.booleans(),
)
_POOL = st.builds(Pool, st.sampled_from(["max", "mean"]), st.sampled_from([2, 3]), st.sampled_from([1, 2]), st.just(0))
_PADDED = st.sampled_from([Pool("max", 3, 2, 1), Pool("mean", 3, 2, 1), Pool("mean", 2, 2, 1)])
_TRANSPOSE = st.sampled_from([ConvTranspose(4, 2, 2), ConvTranspose(6, 3, 2, 1), ConvTranspose(4, 3, 1)])


def _skip_over_convolutions(features: int, kernel: int, first: Spec, norm: str) -> Residual:
    conv = Conv(features, (kernel, kernel), padding=kernel // 2)
    return Residual((conv, Norm(norm), first, conv))


_CONV_SKIP = st.builds(
    _skip_over_convolutions,
    st.sampled_from([4, 6]),
    st.sampled_from([1, 3]),
    _ACTIVATION,
    st.sampled_from(["batch", "group"]),
)
_PICTURE = st.one_of(
    _CONV, _CONV, _ACTIVATION, st.sampled_from(["batch", "group"]).map(Norm), _POOL, _PADDED, _TRANSPOSE, _CONV_SKIP
)


def _skip_over(*body: Spec) -> Residual:
    return Residual((Norm("layer"), *body))


_TOKEN = st.one_of(
    st.booleans().map(lambda causal: _skip_over(Attention(causal))),
    st.builds(lambda act, drop: _skip_over(Linear(16), act, drop, Linear(6)), _ACTIVATION, _DROPOUT),
    st.sampled_from([4, 6]).map(LSTM),
    st.just(Norm("layer")),
    st.just(Linear(6)),
    _DROPOUT,
)
_VECTOR = st.one_of(
    st.builds(Linear, st.sampled_from([8, 12]), st.booleans()),
    _ACTIVATION,
    st.sampled_from(["batch", "layer"]).map(Norm),
    _DROPOUT,
)


FAMILIES: dict[str, tuple[list[Shape], st.SearchStrategy[Any] | None, st.SearchStrategy[Any] | None]] = {
    "pictures": ([(9, 7, 2), (8, 11, 2)], _CONV, _PICTURE),
    "words": ([(TIME,)], st.just(Embedding(6)), _TOKEN),
    "vectors": ([(10,)], None, None),
}
"""Shapes of the inputs, the first layer, and those that may follow until all is flattened to a vector."""


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Draw a model: of pictures, words or vectors, then on vectors, and a linear layer at the end."""
    shapes, first, middle = FAMILIES[draw(st.sampled_from(["pictures", "pictures", "words", "vectors"]))]
    shape = draw(st.sampled_from(shapes))
    drawn: list[Spec] = [draw(first)] if first is not None else []
    if middle is not None:
        drawn += [*draw(st.lists(middle, min_size=2, max_size=5)), Flatten(draw(st.booleans()))]
    drawn += [*draw(st.lists(_VECTOR, min_size=2 if middle is None else 0, max_size=3)), Linear(3)]
    return Architecture(shape, _that_fit(drawn, shape), draw(st.booleans()), draw(st.integers(0, 99)))


def _that_fit(drawn: list[Spec], shape: Shape) -> tuple[Spec, ...]:
    """Leave out the layers that cannot stand where they are, or make much of little."""
    layers: list[Spec] = []
    for layer in drawn:
        after = layer.out(shape)
        if after is not None and math.prod(after) < 1500:
            layers, shape = [*layers, layer], after
    return tuple(layers)
