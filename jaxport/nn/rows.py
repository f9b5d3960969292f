"""Which rows of a batch are examples, for the layers that mix rows: a padded batch must count as the short one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax
import jax.numpy as jnp

_valid: ContextVar[jax.Array | None] = ContextVar("rows of the batch that are examples", default=None)


@contextmanager
def valid_rows(mask: jax.Array | None) -> Iterator[None]:
    """Inside, layers whose statistics mix examples (BatchNorm, InstanceNorm's running ones) see only these rows.

    A last batch that is padded to full size then gives the same statistics as the short one. Works under tracing,
    where the mask may be an argument of the traced function; a function that was compiled outside does not see it.
    The engine's steps set it. Rows that are not valid are normalised like the others, and must be masked in the loss.

    Args:
        mask: bool (N,), True where a row is an example; None when all are.

    Raises:
        ValueError: another shape or dtype.
    """
    if mask is not None and (mask.ndim != 1 or mask.dtype != jnp.bool_):
        raise ValueError(f"valid_rows: mask must be bool of shape (N,), got {mask.dtype} of shape {mask.shape}")
    token = _valid.set(mask)
    try:
        yield
    finally:
        _valid.reset(token)


def rows_of(owner: str, input: jax.Array) -> jax.Array | None:
    """Return the mask over the first axis of `input`, or None when every row is an example.

    Raises:
        ValueError: the mask is for another number of rows.
    """
    mask = _valid.get()
    if mask is not None and mask.shape != input.shape[:1]:
        raise ValueError(
            f"{owner}: valid_rows marks {mask.shape[0]} rows, got an input of shape {input.shape}; a model that merges "
            "the batch with another axis needs a batch size that divides the number of examples"
        )
    return mask
