"""A bidirectional LSTM tagger in plain Flax NNX; and three mistakes that porters make in it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx


class WordVectors(nnx.Embed):
    """A table whose row 0, of the padding, is not trained."""

    def __call__(self, inputs: jax.Array) -> jax.Array:
        x = super().__call__(inputs)
        return jnp.where(inputs[..., None] == 0, jax.lax.stop_gradient(x), x)


class SequenceTagger(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs, cell: Any = nnx.OptimizedLSTMCell) -> None:
        self.words = WordVectors(23, 6, rngs=rngs)
        self.encoder = nnx.Bidirectional(
            nnx.RNN(nnx.OptimizedLSTMCell(6, 5, rngs=rngs)), nnx.RNN(cell(6, 5, rngs=rngs))
        )
        self.output = nnx.Linear(10, 4, rngs=rngs)

    def __call__(self, ids: jax.Array) -> jax.Array:
        return self.output(self.encoder(self.words(ids)))


def build() -> SequenceTagger:
    return SequenceTagger(rngs=nnx.Rngs(0))


class SwappedGates(nnx.OptimizedLSTMCell):
    """Takes the gates in the order i, g, f, o."""

    def __call__(self, carry: tuple[jax.Array, jax.Array], inputs: jax.Array) -> Any:
        c, h = carry
        i, g, f, o = jnp.split(self.dense_i(inputs) + self.dense_h(h), 4, axis=-1)
        c = nnx.sigmoid(f) * c + nnx.sigmoid(i) * jnp.tanh(g)
        h = nnx.sigmoid(o) * jnp.tanh(c)
        return (c, h), h


def swapped_gates() -> SequenceTagger:
    """The backward cell takes the cell's candidate for the forget gate and the other way round."""
    return SequenceTagger(rngs=nnx.Rngs(0), cell=SwappedGates)


def _backwards_first(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.concatenate([b, a], axis=-1)


def swapped_directions() -> SequenceTagger:
    """The backward states come first."""
    model = build()
    model.encoder.merge_fn = _backwards_first
    return model


def padding_is_trained() -> SequenceTagger:
    """The padding's row gets a gradient: the values are right and the training is not."""

    model = build()
    model.words = nnx.Embed(23, 6, rngs=nnx.Rngs(1))
    return model
