"""A small language model in plain Flax NNX; and four mistakes that porters make in it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx


class Attention(nnx.Module):
    """Causal self-attention, (batch, time, features)."""

    def __init__(self, features: int, heads: int, rate: float, *, rngs: nnx.Rngs) -> None:
        self.heads = heads
        self.qkv = nnx.Linear(features, 3 * features, rngs=rngs)
        self.out = nnx.Linear(features, features, rngs=rngs)
        self.dropout = nnx.Dropout(rate, rngs=rngs)

    def attend(self, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return jax.nn.dot_product_attention(q, k, v, is_causal=True)

    def __call__(self, x: jax.Array) -> jax.Array:
        batch, time, _ = x.shape
        q, k, v = (a.reshape(batch, time, self.heads, -1) for a in jnp.split(self.qkv(x), 3, axis=-1))
        return self.dropout(self.out(self.attend(q, k, v).reshape(x.shape)))


class FeedForward(nnx.Module):
    def __init__(self, features: int, rate: float, *, rngs: nnx.Rngs, approximate: bool = False) -> None:
        self.up = nnx.Linear(features, 4 * features, rngs=rngs)
        self.down = nnx.Linear(4 * features, features, rngs=rngs)
        self.dropout = nnx.Dropout(rate, rngs=rngs)
        self.approximate = approximate

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.dropout(self.down(jax.nn.gelu(self.up(x), approximate=self.approximate)))


class DecoderLayer(nnx.Module):
    def __init__(self, features: int, heads: int, rate: float, *, rngs: nnx.Rngs) -> None:
        self.attention_norm = nnx.LayerNorm(features, epsilon=1e-5, use_fast_variance=False, rngs=rngs)
        self.attention = Attention(features, heads, rate, rngs=rngs)
        self.mlp_norm = nnx.LayerNorm(features, epsilon=1e-5, use_fast_variance=False, rngs=rngs)
        self.mlp = FeedForward(features, rate, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class LanguageModel(nnx.Module):
    def __init__(
        self,
        tokens: int = 29,
        length: int = 11,
        features: int = 12,
        heads: int = 3,
        layers: int = 2,
        rate: float = 0.1,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.token_table = nnx.Embed(tokens, features, rngs=rngs)
        self.position_table = nnx.Embed(length, features, rngs=rngs)
        self.dropout = nnx.Dropout(rate, rngs=rngs)
        self.layers = nnx.List([DecoderLayer(features, heads, rate, rngs=rngs) for _ in range(layers)])
        self.final_norm = nnx.LayerNorm(features, epsilon=1e-5, use_fast_variance=False, rngs=rngs)

    def __call__(self, ids: jax.Array) -> jax.Array:
        x = self.dropout(self.token_table(ids) + self.position_table(jnp.arange(ids.shape[1])))
        for layer in self.layers:
            x = layer(x)
        return self.token_table.attend(self.final_norm(x))


def build() -> LanguageModel:
    return LanguageModel(rngs=nnx.Rngs(0))


def tanh_gelu() -> LanguageModel:
    """jax.nn.gelu's default in one layer."""
    model = build()
    model.layers[1].mlp.approximate = True
    return model


class Unscaled(Attention):
    def attend(self, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return jax.nn.dot_product_attention(q, k, v, is_causal=True, scale=1.0)


class SeesTheNext(Attention):
    def attend(self, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        mask = jnp.tril(jnp.ones((q.shape[1], q.shape[1]), bool), k=1)
        return jax.nn.dot_product_attention(q, k, v, mask=mask[None, None])


def unscaled_attention() -> LanguageModel:
    """The scores of one layer are not divided by the root of the head's width."""
    model = build()
    model.layers[1].attention = Unscaled(12, 3, 0.1, rngs=nnx.Rngs(1))
    return model


def mask_off_by_one() -> LanguageModel:
    """The first layer's mask lets each position see the next one."""
    model = build()
    model.layers[0].attention = SeesTheNext(12, 3, 0.1, rngs=nnx.Rngs(1))
    return model


def norm_eps() -> LanguageModel:
    """The last norm keeps Flax's default eps, 1e-6."""
    model = build()
    model.final_norm = nnx.LayerNorm(12, use_fast_variance=False, rngs=nnx.Rngs(1))
    return model
