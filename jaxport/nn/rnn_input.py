"""What the recurrent layers ask of their arguments."""

from __future__ import annotations

import numbers
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .checks import is_concrete
from .rnn_scan import State


def refuse_bad_options(owner: str, options: dict[str, Any]) -> None:
    """Check the constructor's arguments.

    Raises:
        TypeError: a size is no integer, or a switch no bool.
        ValueError: a size, `dropout` or `proj_size` is out of range.
    """
    dropout, layers, proj = options["dropout"], options["num_layers"], options["proj_size"]
    if isinstance(dropout, bool) or not isinstance(dropout, numbers.Real) or not 0 <= dropout <= 1:
        raise ValueError(f"{owner}: dropout must be a probability between 0 and 1, got {dropout!r}")
    for name in ("bias", "batch_first"):
        if not isinstance(options[name], bool):
            raise TypeError(f"{owner}: {name} must be a bool, got {options[name]!r}")
    for name in ("input_size", "hidden_size", "num_layers"):
        if not isinstance(options[name], int):
            raise TypeError(f"{owner}: {name} must be an integer, got {options[name]!r}")
        if options[name] <= 0:
            raise ValueError(f"{owner}: {name} must be greater than zero, got {options[name]}")
    if not 0 <= proj < options["hidden_size"]:
        wanted = f"0 (no projection) or less than hidden_size {options['hidden_size']}"
        raise ValueError(f"{owner}: proj_size must be {wanted}, got {proj}")
    if dropout > 0 and layers == 1:
        warnings.warn(f"{owner}: dropout={dropout} has no effect with num_layers=1", stacklevel=5)


def refuse_bad_input(owner: str, input: jax.Array, axes: tuple[int, ...], size: int, dtype: Any) -> None:
    """Check the input's number of axes, last axis and dtype.

    Raises:
        ValueError: one of them does not fit.
    """
    if input.ndim not in axes:
        raise ValueError(f"{owner}: input must have {' or '.join(map(str, axes))} axes, got shape {input.shape}")
    if input.dtype != dtype:
        raise ValueError(f"{owner}: input must have the weights' dtype, {dtype}, got {input.dtype}; cast one of them")
    if input.shape[-1] != size:
        raise ValueError(f"{owner}: input must end in input_size {size}, got shape {input.shape}")


def initial_states(
    owner: str, hx: State | None, shapes: tuple[tuple[int, ...], ...], batched: bool, dtype: Any
) -> State:
    """Return the initial states in `shapes` (layers, batch, features), zeros if `hx` is None.

    Raises:
        ValueError: another number of arrays, another shape or dtype.
    """
    if hx is None:
        return tuple(jnp.zeros(shape, dtype) for shape in shapes)
    if len(hx) != len(shapes):
        raise ValueError(f"{owner}: hx must be a pair (h, c), got {len(hx)} arrays")
    states = []
    for number, (array, shape) in enumerate(zip(hx, shapes, strict=True)):
        name = "hx" if len(shapes) == 1 else f"hx[{number}]"
        wanted = shape if batched else (shape[0], shape[2])
        if array.shape != wanted or array.dtype != dtype:
            raise ValueError(f"{owner}: {name} must be {wanted} of {dtype}, got {array.shape} of {array.dtype}")
        states.append(array.reshape(shape))
    return tuple(states)


def check_lengths(owner: str, lengths: Any, batch: int | None, steps: int) -> jax.Array:
    """Return `lengths` (B,) as an array.

    Raises:
        TypeError: they are no integers.
        ValueError: another shape, an unbatched input (`batch` None), or a concrete one outside [1, steps].
    """
    array = jnp.asarray(lengths)
    if batch is None:
        raise ValueError(f"{owner}: lengths must be None for an unbatched input, got {lengths!r}")
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{owner}: lengths must be integers, got {array.dtype}")
    if array.shape != (batch,):
        raise ValueError(f"{owner}: lengths must have shape ({batch},), one for each sequence, got {array.shape}")
    if is_concrete(array) and batch:
        values = np.asarray(array)
        if values.min() < 1 or values.max() > steps:
            raise ValueError(f"{owner}: lengths must lie in [1, {steps}], got {values.tolist()}")
    return array


def inside(lengths: jax.Array, steps: int) -> jax.Array:
    """Return (T, B, 1), True where a sequence has not ended."""
    times = jax.lax.broadcasted_iota(lengths.dtype, (steps, *lengths.shape), 0)
    return (times < jnp.broadcast_to(lengths, times.shape))[..., None]


def poison(states: State, lengths: jax.Array, steps: int) -> State:
    """Return the states with NaN for sequences whose length lies outside [1, steps], which tracing cannot refuse."""
    good = ((lengths >= 1) & (lengths <= steps))[None, :, None]
    return tuple(jnp.where(good, state, jnp.full_like(state, jnp.nan)) for state in states)
