"""Dropout: random zeroing of elements or whole channels while training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax
import jax.numpy as jnp
from flax import nnx

from .checks import probability
from .module import Module, fresh_rngs
from .origin import Origin, channels_first, known_last, note

_replayed: ContextVar[Iterator[jax.Array] | None] = ContextVar("replayed dropout masks", default=None)


@contextmanager
def replay_masks(masks: Iterable[jax.Array]) -> Iterator[None]:
    """Use given masks in place of drawn ones: the n-th dropout call inside takes the n-th mask (True keeps).

    JAX and PyTorch draw from different generators, so a training step with dropout can be compared only when both
    sides use the same masks. Masks have the shape that the layer draws: the input's for dropout and alpha_dropout,
    (N, C, 1, 1) for dropout2d, likewise for the other kinds that drop channels; rrelu takes its slopes, in the
    input's shape and dtype. Works under tracing, where masks may be arguments of the traced function.

    Raises:
        ValueError: a mask is missing, is left over or has another shape.
    """
    rest = iter(masks)
    token = _replayed.set(rest)
    try:
        yield
    finally:
        _replayed.reset(token)
    if next(rest, None) is not None:
        raise ValueError("replay_masks: more masks were given than dropout calls were made")


def is_replaying() -> bool:
    """Whether random arrays are given by `replay_masks`, so that no key is needed."""
    return _replayed.get() is not None


def replayed(shape: tuple[int, ...], owner: str) -> jax.Array | None:
    """Return the next array to replay, or None where nothing is replayed.

    Raises:
        ValueError: none is left, or it has another shape.
    """
    masks = _replayed.get()
    if masks is None:
        return None
    mask = next(masks, None)
    if mask is None:
        raise ValueError(f"{owner}: no mask is left to replay")
    if mask.shape != shape:
        raise ValueError(f"{owner}: the replayed mask must have shape {shape}, got {mask.shape}")
    return mask


def keep_mask(key: jax.Array | None, p: float, shape: tuple[int, ...], owner: str) -> jax.Array:
    """Return the next replayed mask, or draw one that is True with probability 1 - p.

    Raises:
        ValueError: there is neither a key nor a mask of this shape.
    """
    mask = replayed(shape, owner)
    if mask is not None:
        return mask
    if key is None:
        raise ValueError(f"{owner}: key must be a JAX PRNG key while training with p > 0, got None")
    return jax.random.bernoulli(key, 1.0 - p, shape)


def _dropout(
    input: jax.Array, p: float, training: bool, key: jax.Array | None, mask_shape: tuple[int, ...], owner: str
) -> jax.Array:
    p = probability(owner, "p", p)
    if not training or p == 0.0 or input.size == 0:
        return input
    if p == 1.0:
        return input * 0
    # A product, as in PyTorch, so that a NaN stays a NaN where it is dropped.
    scale = jnp.where(keep_mask(key, p, mask_shape, owner), 1.0 / (1.0 - p), 0.0).astype(input.dtype)
    return _scaled(input, scale)


def _scaled(x: jax.Array, scale: jax.Array) -> jax.Array:
    """Return x · scale; of images that have their channels last beside them, there."""
    last = known_last(x)
    y = x * scale if last is None else channels_first(last * jnp.moveaxis(scale, 1, -1))
    return note(y, Origin(lambda x: _scaled(x, scale), x))


def dropout(
    input: jax.Array, p: float = 0.5, training: bool = True, inplace: bool = False, *, key: jax.Array | None = None
) -> jax.Array:
    """Zero each element with probability `p` and scale the rest by 1 / (1 - p); unchanged when not training.

    Args:
        input: any shape.
        p: probability of an element to be zeroed.
        training: whether dropout applies at all.
        inplace: accepted and without effect; JAX arrays are immutable.
        key: JAX PRNG key of the mask; needed while training.

    Raises:
        ValueError: `p` outside [0, 1], or no key.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout.html
    """
    del inplace
    return _dropout(input, p, training, key, input.shape, "dropout")


def dropout2d(
    input: jax.Array, p: float = 0.5, training: bool = True, inplace: bool = False, *, key: jax.Array | None = None
) -> jax.Array:
    """Zero whole channels (H, W) with probability `p` and scale the rest by 1 / (1 - p).

    Args:
        input: (N, C, H, W), or (N, C, L) whose channels are rows of length L, as PyTorch takes it.
        p: probability of a channel to be zeroed.
        training: whether dropout applies at all.
        inplace: accepted and without effect; JAX arrays are immutable.
        key: JAX PRNG key of the mask; needed while training.

    Raises:
        ValueError: `p` outside [0, 1], no key, or fewer than 3 axes.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout2d.html
    """
    del inplace
    if input.ndim not in (3, 4):
        raise ValueError(f"dropout2d: input must be (N, C, H, W) or (N, C, L), got shape {input.shape}")
    mask_shape = (*input.shape[:2], *(1,) * (input.ndim - 2))
    return _dropout(input, p, training, key, mask_shape, "dropout2d")


def dropout1d(
    input: jax.Array, p: float = 0.5, training: bool = True, inplace: bool = False, *, key: jax.Array | None = None
) -> jax.Array:
    """Zero whole channels (L,) with probability `p` and scale the rest by 1 / (1 - p).

    `input` is (N, C, L) or (C, L); the other arguments are those of `dropout`.

    Raises:
        ValueError: `p` outside [0, 1], no key, or neither 2 nor 3 axes.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout1d.html
    """
    del inplace
    if input.ndim not in (2, 3):
        raise ValueError(f"dropout1d: input must be (N, C, L) or (C, L), got shape {input.shape}")
    return _dropout(input, p, training, key, (*input.shape[:-1], 1), "dropout1d")


def dropout3d(
    input: jax.Array, p: float = 0.5, training: bool = True, inplace: bool = False, *, key: jax.Array | None = None
) -> jax.Array:
    """Zero whole channels (D, H, W) with probability `p` and scale the rest by 1 / (1 - p).

    `input` is (N, C, D, H, W) or (C, D, H, W); the other arguments are those of `dropout`.

    Raises:
        ValueError: `p` outside [0, 1], no key, or neither 4 nor 5 axes (PyTorch warns and treats the first two axes
            as N and C).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout3d.html
    """
    del inplace
    if input.ndim not in (4, 5):
        raise ValueError(f"dropout3d: input must be (N, C, D, H, W) or (C, D, H, W), got shape {input.shape}")
    return _dropout(input, p, training, key, (*input.shape[:-3], 1, 1, 1), "dropout3d")


class DropoutModule(Module):
    """What every kind of dropout shares: the probability `p` and a random stream of its own."""

    def __init__(self, p: float = 0.5, inplace: bool = False, *, rngs: nnx.Rngs | int) -> None:
        self.p = probability(type(self).__name__, "p", p)
        self.inplace = inplace
        self.rngs = fresh_rngs(rngs, type(self).__name__)["dropout"].fork()

    def _key(self) -> jax.Array | None:
        # Drawn only when used, so that evaluation and replay leave the stream where it was.
        needed = self.training and 0.0 < self.p < 1.0 and not is_replaying()
        return self.rngs() if needed else None

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(DropoutModule):
    """Zero each element with probability `p` while training and scale the rest by 1 / (1 - p).

    Args:
        p: probability of an element to be zeroed.
        inplace: accepted and without effect; JAX arrays are immutable.
        rngs: a ``flax.nnx.Rngs`` (stream ``dropout``) or a seed; the layer keeps a stream of its own.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the input with elements dropped, in its own shape."""
        return dropout(input, self.p, self.training, key=self._key())


class Dropout1d(DropoutModule):
    """Zero whole channels of (N, C, L) or (C, L) with probability `p` while training and scale the rest by 1 / (1 - p).

    Args:
        p: probability of a channel to be zeroed.
        inplace: accepted and without effect; JAX arrays are immutable.
        rngs: a ``flax.nnx.Rngs`` (stream ``dropout``) or a seed; the layer keeps a stream of its own.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout1d.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the input with channels dropped, in its own shape."""
        return dropout1d(input, self.p, self.training, key=self._key())


class Dropout2d(DropoutModule):
    """Zero whole channels with probability `p` while training and scale the rest by 1 / (1 - p).

    Args:
        p: probability of a channel to be zeroed.
        inplace: accepted and without effect; JAX arrays are immutable.
        rngs: a ``flax.nnx.Rngs`` (stream ``dropout``) or a seed; the layer keeps a stream of its own.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout2d.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return (N, C, H, W) with channels dropped."""
        return dropout2d(input, self.p, self.training, key=self._key())


class Dropout3d(DropoutModule):
    """Zero whole channels of (N, C, D, H, W) or (C, D, H, W) with probability `p` while training.

    Args:
        p: probability of a channel to be zeroed.
        inplace: accepted and without effect; JAX arrays are immutable.
        rngs: a ``flax.nnx.Rngs`` (stream ``dropout``) or a seed; the layer keeps a stream of its own.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout3d.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the input with channels dropped and the rest scaled by 1 / (1 - p), in its own shape."""
        return dropout3d(input, self.p, self.training, key=self._key())
