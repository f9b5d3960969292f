"""Batches of sequences of different lengths: padded, packed, and lists of arrays.

Lengths decide shapes here, so they must be concrete. Under ``jax.jit`` give a padded batch and ``lengths`` to the
recurrent layer itself.

Source: https://docs.pytorch.org/docs/stable/nn.html#utilities
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from ..checks import index_dtype, is_concrete


class _Packed(NamedTuple):
    data: jax.Array
    batch_sizes: np.ndarray
    sorted_indices: jax.Array | None
    unsorted_indices: jax.Array | None


class PackedSequence(_Packed):
    """Sequences of different lengths without padding: first the first elements of all, then the second ones, …

    Made by `pack_padded_sequence` and `pack_sequence`, taken and returned by the recurrent layers. It is a pytree:
    `batch_sizes` is static, so a jitted function compiles once for each set of lengths.

    Attributes:
        data: (Σ lengths, *), the longest sequence first within each step.
        batch_sizes: (T,) NumPy integers, how many sequences reach each step.
        sorted_indices: how the sequences were put in order; None if they were in order.
        unsorted_indices: the inverse of `sorted_indices`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.PackedSequence.html
    """

    def __new__(
        cls,
        data: jax.Array,
        batch_sizes: Any,
        sorted_indices: jax.Array | None = None,
        unsorted_indices: jax.Array | None = None,
    ) -> Self:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        sizes = _concrete("PackedSequence", "batch_sizes", batch_sizes)
        return super().__new__(cls, data, sizes, sorted_indices, unsorted_indices)

    def to(self, dtype: DTypeLike) -> PackedSequence:
        """Return the same with `data` cast to `dtype`."""
        return PackedSequence(self.data.astype(dtype), *self[1:])


def _flatten(sequence: PackedSequence) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    leaves = (sequence.data, sequence.sorted_indices, sequence.unsorted_indices)
    return leaves, tuple(sequence.batch_sizes.tolist())


def _unflatten(sizes: tuple[int, ...], leaves: Iterable[Any]) -> PackedSequence:
    data, order, inverse = leaves
    # Not through __new__, which would look into leaves that may be anything.
    return _Packed.__new__(PackedSequence, data, np.asarray(sizes, np.int64), order, inverse)


jax.tree_util.register_pytree_node(PackedSequence, _flatten, _unflatten)


def _concrete(owner: str, name: str, value: Any) -> np.ndarray:
    """Return integers as a NumPy vector.

    Raises:
        TypeError: they are traced, or no integers.
        ValueError: not a vector.
    """
    if not is_concrete(value):
        raise TypeError(f"{owner}: {name} must be concrete, since they decide shapes; under jit give a layer lengths=")
    array = np.asarray(value)
    if array.ndim != 1:
        raise ValueError(f"{owner}: {name} must be a vector, got shape {array.shape}")
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{owner}: {name} must be integers, got {array.dtype}")
    return array.astype(np.int64)


def invert_permutation(permutation: jax.Array | None) -> jax.Array | None:
    """Return the inverse of a permutation; None of None."""
    return None if permutation is None else jnp.argsort(permutation).astype(permutation.dtype)


def packed_lengths(sequence: PackedSequence) -> np.ndarray:
    """Return the lengths (B,) of the sequences in the order in which they are packed."""
    sizes = sequence.batch_sizes
    return (sizes[None, :] > np.arange(sizes[0])[:, None]).sum(1)


def _places(lengths: np.ndarray, steps: int) -> np.ndarray:
    """Return where each element of the packed data lies in a padded batch (steps · B,) with time first."""
    return np.flatnonzero(np.arange(steps)[:, None] < lengths[None, :])


def pack_steps(padded: jax.Array, lengths: np.ndarray) -> jax.Array:
    """Return the elements of (T, B, *) that are inside sequences of decreasing length, packed."""
    flat = padded.reshape(-1, *padded.shape[2:])
    return flat[_places(lengths, padded.shape[0])]


def unpack_steps(data: jax.Array, lengths: np.ndarray, steps: int, fill: ArrayLike = 0) -> jax.Array:
    """Return packed data as a padded batch (steps, B, *)."""
    flat = jnp.full((steps * len(lengths), *data.shape[1:]), fill, data.dtype)
    flat = flat.at[_places(lengths, steps)].set(data, unique_indices=True, indices_are_sorted=True)
    return flat.reshape(steps, len(lengths), *data.shape[1:])


def pack_padded_sequence(
    input: jax.Array, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack a padded batch.

    Args:
        input: (T, B, *), or (B, T, *) with `batch_first`.
        lengths: (B,) concrete positive integers.
        batch_first: whether the batch is the first axis.
        enforce_sorted: whether the lengths must decrease; otherwise the sequences are put in order.

    Raises:
        TypeError: `lengths` is traced or no integers.
        ValueError: `lengths` does not fit the batch, is not positive, or is not in order.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pack_padded_sequence.html
    """
    owner = "pack_padded_sequence"
    sizes = _concrete(owner, "lengths", lengths)
    padded = _time_first(owner, input, batch_first)
    if len(sizes) != padded.shape[1] or not len(sizes):
        raise ValueError(f"{owner}: lengths must be one for each of the {padded.shape[1]} sequences, got {len(sizes)}")
    if sizes.min() < 1 or sizes.max() > padded.shape[0]:
        raise ValueError(f"{owner}: lengths must lie in [1, {padded.shape[0]}], got {sizes.tolist()}")
    indices = None
    if not enforce_sorted:
        order = np.argsort(-sizes, kind="stable")
        sizes, indices = sizes[order], jnp.asarray(order, index_dtype())
        padded = padded[:, order]
    if (np.diff(sizes) > 0).any():
        raise ValueError(f"{owner}: lengths must decrease unless enforce_sorted is False, got {sizes.tolist()}")
    steps = np.arange(sizes[0])[:, None] < sizes[None, :]
    return PackedSequence(pack_steps(padded, sizes), steps.sum(1), indices)


def _time_first(owner: str, input: jax.Array, batch_first: bool) -> jax.Array:
    if input.ndim < 2:
        raise ValueError(f"{owner}: input must have time and batch axes, got shape {input.shape}")
    return jnp.swapaxes(input, 0, 1) if batch_first else input


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[jax.Array, jax.Array]:
    """Return a packed batch as a padded one, and the lengths, both in the order before packing.

    Args:
        sequence: the packed batch.
        batch_first: whether to return (B, T, *) rather than (T, B, *).
        padding_value: what stands beyond each length.
        total_length: T; None means the greatest length.

    Raises:
        ValueError: `total_length` is less than the greatest length.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pad_packed_sequence.html
    """
    longest = len(sequence.batch_sizes)
    steps = longest if total_length is None else total_length
    if steps < longest:
        raise ValueError(f"pad_packed_sequence: total_length must be at least {longest}, got {total_length}")
    sizes = packed_lengths(sequence)
    padded, lengths = unpack_steps(sequence.data, sizes, steps, padding_value), jnp.asarray(sizes, index_dtype())
    if sequence.unsorted_indices is not None:
        padded, lengths = padded[:, sequence.unsorted_indices], lengths[sequence.unsorted_indices]
    return (jnp.swapaxes(padded, 0, 1) if batch_first else padded), lengths


def pad_sequence(
    sequences: Iterable[jax.Array],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: Literal["left", "right"] = "right",
) -> jax.Array:
    """Stack sequences (L, *) of different lengths into (T, B, *), or (B, T, *), with padding at one side.

    Raises:
        ValueError: no sequence, different shapes after the first axis, or an unknown side.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pad_sequence.html
    """
    rows = list(sequences)
    if padding_side not in ("left", "right"):
        raise ValueError(f"pad_sequence: padding_side must be 'left' or 'right', got {padding_side!r}")
    if not rows or len({row.shape[1:] for row in rows}) > 1 or rows[0].ndim == 0:
        raise ValueError(f"pad_sequence: sequences must share their later axes, got {[row.shape for row in rows]}")
    steps = max(row.shape[0] for row in rows)

    def padded(row: jax.Array) -> jax.Array:
        gap = steps - row.shape[0]
        sides = (gap, 0) if padding_side == "left" else (0, gap)
        return jnp.pad(row, (sides, *((0, 0),) * (row.ndim - 1)), constant_values=padding_value)

    return jnp.stack([padded(row) for row in rows], axis=0 if batch_first else 1)


def unpad_sequence(padded_sequences: jax.Array, lengths: Any, batch_first: bool = False) -> list[jax.Array]:
    """Return the sequences of a padded batch as a list.

    Raises:
        TypeError: `lengths` is traced or no integers.
        ValueError: `lengths` does not fit the batch.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.unpad_sequence.html
    """
    sizes = _concrete("unpad_sequence", "lengths", lengths)
    rows = jnp.swapaxes(_time_first("unpad_sequence", padded_sequences, batch_first), 0, 1)
    if len(sizes) != rows.shape[0]:
        raise ValueError(f"unpad_sequence: lengths must be {rows.shape[0]} numbers, got {len(sizes)}")
    return [rows[i, : max(0, n)] for i, n in enumerate(sizes.tolist())]


def pack_sequence(sequences: Sequence[jax.Array], enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of sequences (L, *); their lengths must decrease unless `enforce_sorted` is False.

    Raises:
        ValueError: as `pad_sequence` and `pack_padded_sequence`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pack_sequence.html
    """
    lengths = [row.shape[0] for row in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[jax.Array]:
    """Return the sequences of a packed batch as a list, in the order before packing.

    Raises:
        TypeError: the order is traced.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.unpack_sequence.html
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
