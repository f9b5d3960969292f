"""Where the arrays of a traced program come from, for layers that are faster with what lies before them.

A layer notes how its output was made. A later one that finds such notes may make that output again, in another form of
the same numbers, from what went in; what was made first is then used by nobody, and the compiler drops it. Where
somebody else uses it too, both are computed, and both are right.

Only tracers are noted: an array that is computed at once has been paid for.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.core import Tracer


class Origin(NamedTuple):
    """How an array was made.

    Attributes:
        again: makes it again: of the array before it, or of nothing where `source` is None.
        source: the array before it.
        pointwise: whether each element is made of the one in its place, whatever its place is.
    """

    again: Callable[..., Any]
    source: jax.Array | None = None
    pointwise: bool = False


# By the identity of the array, which must not be compared or hashed. A note goes with its array.
_notes: dict[int, tuple[weakref.ref[Any], Origin]] = {}


def note(output: jax.Array, origin: Origin) -> jax.Array:
    """Note how `output` was made, and return it."""
    if _is_staged(output):
        key = id(output)
        _notes[key] = weakref.ref(output, lambda _: _notes.pop(key, None)), origin
    return output


def of(array: jax.Array) -> Origin | None:
    """Return how an array was made, None where it is not known."""
    found = _notes.get(id(array))
    return found[1] if found is not None and found[0]() is array else None


def chain(array: jax.Array) -> list[Origin]:
    """Return how an array was made from an array without a note, what was last first; [] where it is not known."""
    links: list[Origin] = []
    current: jax.Array | None = array
    while current is not None and (found := of(current)) is not None:
        links.append(found)
        current = found.source
    return links


def _is_staged(array: Any) -> bool:
    """Return whether an array is a tracer that stands for an operation still to be compiled."""
    if not isinstance(array, Tracer):
        return False
    inner: Any = array
    while isinstance(inner, Tracer):  # of derivatives, then of mapped axes
        inner = getattr(inner, "primal", getattr(inner, "val", None))
    return not isinstance(inner, jax.Array)
