"""Padding: pad, in PyTorch's four modes."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

Pair = tuple[int, int]
_NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _pairs(pad: Sequence[int], ndim: int) -> list[Pair]:
    """Return (before, after) for every axis; PyTorch lists them from the last axis backwards."""
    if not all(isinstance(p, int) and not isinstance(p, bool) for p in pad):
        raise TypeError(f"pad: pad must be a sequence of integers, got {pad!r}")
    if len(pad) % 2 or len(pad) > 2 * ndim:
        raise ValueError(f"pad: pad must have an even length of at most {2 * ndim} for {ndim} axes, got {pad!r}")
    given = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    return [(0, 0)] * (ndim - len(given)) + given[::-1]


def _constant(input: jax.Array, pairs: list[Pair], value: float | None) -> jax.Array:
    for size, (before, after) in zip(input.shape, pairs, strict=True):
        if size + min(before, 0) + min(after, 0) < 0:
            raise ValueError(f"pad: {(before, after)} removes more than there is on an axis of {input.shape}")
    fill = jnp.asarray(0 if value is None else value).astype(input.dtype)
    return lax.pad(input, fill, [(before, after, 0) for before, after in pairs])


def _check(input: jax.Array, pairs: list[Pair], count: int, mode: str) -> None:
    """Refuse what PyTorch refuses in the modes that continue the input."""
    if (count, input.ndim) not in ((1, 2), (1, 3), (2, 3), (2, 4), (3, 4), (3, 5)):
        raise ValueError(
            f"pad: mode {mode!r} takes 2, 4 or 6 amounts for the last 1, 2 or 3 of (N, C, *) or (C, *), "
            f"got {2 * count} for shape {input.shape}"
        )
    batch = input.shape[: input.ndim - count - 1]
    if mode != "circular" and 0 in input.shape[len(batch) :]:
        raise ValueError(f"pad: mode {mode!r} needs a non-empty input (the batch may be empty), got {input.shape}")
    for size, (before, after) in list(zip(input.shape, pairs, strict=True))[-count:]:
        most = {"reflect": size - 1, "circular": size + min(before, 0) + min(after, 0)}.get(mode)
        if most is not None and max(before, after) > max(most, 0):
            raise ValueError(f"pad: mode {mode!r} allows at most {most} on an axis of {size}, got {(before, after)}")
        if size + before + after < (mode != "circular"):
            raise ValueError(f"pad: {(before, after)} leaves nothing of an axis of {size} in {input.shape}")


def _crop(input: jax.Array, pairs: list[Pair]) -> jax.Array:
    limits = [size + min(after, 0) for size, (_, after) in zip(input.shape, pairs, strict=True)]
    return lax.slice(input, [max(-before, 0) for before, _ in pairs], limits)


def _continued(input: jax.Array, pairs: list[Pair], mode: str) -> jax.Array:
    """Extend where amounts are positive and crop where negative; circular crops first and repeats what is left."""
    grown = [(max(before, 0), max(after, 0)) for before, after in pairs]
    if mode == "circular":
        return jnp.pad(_crop(input, pairs), grown, mode="wrap")
    return _crop(jnp.pad(input, grown, mode=_NUMPY_MODES[mode]), pairs)


def pad(input: jax.Array, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> jax.Array:
    """Pad the last axes, or crop them where an amount is negative.

    Args:
        input: any shape; (N, C, *) or (C, *) in the modes other than 'constant'.
        pad: (before, after) of the last axis, then of the last but one, and so on.
        mode: 'constant', 'reflect' (the edge is not repeated), 'replicate' (the edge is repeated) or 'circular'.
        value: what 'constant' fills with; None means 0.

    Raises:
        TypeError: an amount is not an integer.
        ValueError: amounts that do not fit the shape or the mode, an unknown mode, or a value for another mode.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pad.html
    """
    pairs = _pairs(pad, input.ndim)
    if mode == "constant":
        return _constant(input, pairs, value)
    if mode not in _NUMPY_MODES:
        raise ValueError(f"pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got {mode!r}")
    if value is not None and value != 0:
        raise ValueError(f"pad: mode {mode!r} takes no value, got {value}")
    _check(input, pairs, len(pad) // 2, mode)
    return _continued(input, pairs, mode)
