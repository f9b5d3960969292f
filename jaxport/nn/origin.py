"""Where the arrays of a traced program come from, for layers that are faster with what lies before them.

A layer notes how its output was made. A later one that finds such notes may make that output again, in another form of
the same numbers, from what went in; what was made first is then used by nobody, and the compiler drops it. Where
somebody else uses it too, both are computed, and both are right.

Images also have their channels last beside them: so CPUs work through them, while PyTorch's order is channels first.

Only tracers are noted: an array that is computed at once has been paid for.
"""

from __future__ import annotations

import contextlib
import contextvars
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer


class Origin(NamedTuple):
    """How an array was made.

    Attributes:
        again: makes it again: of the array before it, or of nothing where `source` is None.
        source: the array before it.
        pointwise: whether each element is made of the one in its place, whatever its place is.
        flat: whether it is `source` (N, *) with all axes behind the first as one.
    """

    again: Callable[..., Any]
    source: jax.Array | None = None
    pointwise: bool = False
    flat: bool = False


class _Note(NamedTuple):
    array: weakref.ref[Any]
    origin: Origin | None
    last: jax.Array | None


# By the identity of the array, which must not be compared or hashed. A note goes with its array.
_notes: dict[int, _Note] = {}
_is_noting: contextvars.ContextVar[bool] = contextvars.ContextVar("_is_noting", default=True)


@contextlib.contextmanager
def no_notes() -> Iterator[None]:
    """Trace the layers as they are written, each by itself: for programs that are shown and not run."""
    token = _is_noting.set(False)
    try:
        yield
    finally:
        _is_noting.reset(token)


def _update(array: jax.Array, **fields: Any) -> jax.Array:
    if _is_noting.get() and _is_staged(array):
        key = id(array)
        found = _find(array)
        if found is None:
            found = _Note(weakref.ref(array, lambda _: _notes.pop(key, None)), None, None)
        _notes[key] = found._replace(**fields)
    return array


def _find(array: jax.Array) -> _Note | None:
    found = _notes.get(id(array))
    return found if found is not None and found.array() is array else None


def note(output: jax.Array, origin: Origin) -> jax.Array:
    """Note how `output` was made, and return it."""
    return _update(output, origin=origin)


def of(array: jax.Array) -> Origin | None:
    """Return how an array was made, None where it is not known."""
    found = _find(array)
    return None if found is None else found.origin


def chain(array: jax.Array) -> list[Origin]:
    """Return how an array was made from an array without a note, what was last first; [] where it is not known."""
    links: list[Origin] = []
    current: jax.Array | None = array
    while current is not None and (found := of(current)) is not None:
        links.append(found)
        current = found.source
    return links


def channels_first(last: jax.Array) -> jax.Array:
    """Return (N, *, C) as (N, C, *), and note what it is the transpose of."""
    return _update(jnp.moveaxis(last, -1, 1), last=last)


def known_last(array: jax.Array) -> jax.Array | None:
    """Return (N, C, *) as the (N, *, C) that it was made of; None where it is not known."""
    found = _find(array)
    return None if found is None else found.last


def channels_last(array: jax.Array) -> jax.Array:
    """Return (N, C, *) as (N, *, C), the one that it was made of where that is known.

    Two transpositions with something in between are not removed by XLA: they become part of its loops, which then
    compute places in place of reading one number after the other.
    """
    last = known_last(array)
    return jnp.moveaxis(array, 1, -1) if last is None else last


def pointwise(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Return an elementwise function of x, computed in the order in which x was."""
    last = known_last(x)
    y = function(x) if last is None else channels_first(function(last))
    return note(y, Origin(lambda x: pointwise(function, x), x, pointwise=True))


def as_dtype(x: jax.Array, dtype: Any) -> jax.Array:
    """Return x in a dtype; as it is where it has it, so that what is known of it stays known."""
    return x if x.dtype == dtype else x.astype(dtype)


def _is_staged(array: Any) -> bool:
    """Return whether an array is a tracer that stands for an operation still to be compiled."""
    if not isinstance(array, Tracer):
        return False
    inner: Any = array
    while isinstance(inner, Tracer):  # of derivatives, then of mapped axes
        inner = getattr(inner, "primal", getattr(inner, "val", None))
    return not isinstance(inner, jax.Array)
