"""A small vision transformer in plain Flax Linen, channels last; and four mistakes that porters make in it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxport.parity.foreign import Linen

NORMAL = nn.initializers.normal(0.02)


class Transformer(nn.Module):
    """One pre-norm encoder layer."""

    heads: int
    hidden: int
    bias: bool = True
    eps: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.LayerNorm(epsilon=self.eps, use_fast_variance=False)(x)
        x = x + nn.MultiHeadDotProductAttention(self.heads)(y, y)
        y = nn.LayerNorm(epsilon=1e-5, use_fast_variance=False)(x)
        y = nn.gelu(nn.Dense(self.hidden, use_bias=self.bias)(y), approximate=False)
        return x + nn.Dense(x.shape[-1])(y)


class VisionTransformer(nn.Module):
    """Logits of pictures (batch, height, width, channels)."""

    features: int = 10
    layers: int = 2
    classes: int = 6
    transposed: bool = False
    last: bool = False
    second: tuple[tuple[str, Any], ...] = ()

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        x = nn.Conv(self.features, (4, 4), strides=(4, 4), padding="VALID", name="patches")(images)
        if self.transposed:
            x = jnp.swapaxes(x, 1, 2)
        x = x.reshape(len(x), -1, self.features)
        token = self.param("token", NORMAL, (1, 1, self.features))
        x = jnp.concatenate([jnp.tile(token, (len(x), 1, 1)), x], axis=1)
        x = x + self.param("positions", NORMAL, (1, x.shape[1], self.features))
        for i in range(self.layers):
            x = Transformer(2, 17, name=f"layer_{i}", **dict(self.second if i else ()))(x)
        x = nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name="last_norm")(x)
        return nn.Dense(self.classes, name="logits")(x[:, -1 if self.last else 0])


def _linen(**settings: Any) -> Linen:
    module = VisionTransformer(**settings)
    return Linen(module, module.init(jax.random.key(0), jnp.zeros((1, 12, 20, 3))))


def build() -> Linen:
    return _linen()


def flatten_order() -> Linen:
    """The patches are laid out column by column; each then gets the position of another one."""
    return _linen(transposed=True)


def last_token() -> Linen:
    """The logits are read from the last patch and not from the class token."""
    return _linen(last=True)


def missing_bias() -> Linen:
    """The second layer's first Dense has no bias."""
    return _linen(second=(("bias", False),))


def norm_eps() -> Linen:
    """The second layer's first norm has Linen's default eps, 1e-6."""
    return _linen(second=(("eps", 1e-6),))
