"""Alpha dropout: random elements or channels set to SELU's negative limit while training."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from .activation_rule import floating
from .checks import probability
from .dropout import DropoutModule, keep_mask

# Minus SELU's limit at -inf: its scale times its alpha.
_LIMIT = 1.7580993408473766


@floating
def _affine(input: jax.Array, keep: jax.Array, p: float) -> jax.Array:
    """Return a · (x where kept, else -α) + b, which keeps mean 0 and variance 1: a = 1/√((α²p + 1)(1 - p)), b = aαp."""
    a = 1.0 / math.sqrt((_LIMIT * _LIMIT * p + 1.0) * (1.0 - p))
    # A product, as in PyTorch, so that a NaN stays a NaN where it is dropped.
    scale = jnp.where(keep, a, 0.0).astype(input.dtype)
    shift = jnp.where(keep, a * _LIMIT * p, a * _LIMIT * (p - 1.0)).astype(input.dtype)
    return input * scale + shift


def _alpha_dropout(
    input: jax.Array, p: float, training: bool, key: jax.Array | None, mask_shape: tuple[int, ...], owner: str
) -> jax.Array:
    p = probability(owner, "p", p)
    if not training or p == 0.0 or input.size == 0:
        return input
    if p == 1.0:
        return input * 0
    return _affine(input, keep_mask(key, p, mask_shape, owner), p)


def alpha_dropout(
    input: jax.Array, p: float = 0.5, training: bool = False, inplace: bool = False, *, key: jax.Array | None = None
) -> jax.Array:
    """Set each element to -α with probability `p`, then scale and shift all to keep mean 0 and variance 1.

    y = a · (x or -α) + b with α = 1.7581 (SELU's limit), a = 1 / √((α² p + 1)(1 - p)), b = a α p; all 0 at p = 1.

    Args:
        input: any shape.
        p: probability of an element to be dropped.
        training: whether dropout applies at all; False by default, as in PyTorch.
        inplace: accepted and without effect; JAX arrays are immutable.
        key: JAX PRNG key of the mask; needed while training.

    Raises:
        ValueError: `p` outside [0, 1], or no key.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.alpha_dropout.html
    """
    del inplace
    return _alpha_dropout(input, p, training, key, input.shape, "alpha_dropout")


def feature_alpha_dropout(
    input: jax.Array, p: float = 0.5, training: bool = False, inplace: bool = False, *, key: jax.Array | None = None
) -> jax.Array:
    """Apply alpha dropout to whole channels of (N, C, *); the arguments are those of `alpha_dropout`.

    Raises:
        ValueError: `p` outside [0, 1], no key, or fewer than 2 axes.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.feature_alpha_dropout.html
    """
    del inplace
    if training and input.ndim < 2 and 0.0 < p < 1.0:
        raise ValueError(f"feature_alpha_dropout: input must be (N, C, *), got shape {input.shape}")
    mask_shape = (*input.shape[:2], *(1,) * (input.ndim - 2))
    return _alpha_dropout(input, p, training, key, mask_shape, "feature_alpha_dropout")


class AlphaDropout(DropoutModule):
    """Set each element to -α with probability `p` while training, keeping mean 0 and variance 1.

    Args:
        p: probability of an element to be dropped.
        inplace: accepted and without effect; JAX arrays are immutable.
        rngs: a ``flax.nnx.Rngs`` (stream ``dropout``) or a seed; the layer keeps a stream of its own.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AlphaDropout.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the input with elements dropped, in its own shape."""
        return alpha_dropout(input, self.p, self.training, key=self._key())


class FeatureAlphaDropout(DropoutModule):
    """Set whole channels to -α with probability `p` while training, keeping mean 0 and variance 1.

    Args:
        p: probability of a channel to be dropped.
        inplace: accepted and without effect; JAX arrays are immutable.
        rngs: a ``flax.nnx.Rngs`` (stream ``dropout``) or a seed; the layer keeps a stream of its own.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.FeatureAlphaDropout.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return (N, C, *) with channels dropped."""
        return feature_alpha_dropout(input, self.p, self.training, key=self._key())
