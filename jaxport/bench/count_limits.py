"""How many programs, dispatches and transfers `Model.fit` may ask for: one table, with the reason of each number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

PROGRAMS: dict[str, tuple[str, ...]] = {
    # All epochs with their validation in one program, whatever their number; a short last batch is padded.
    "scan": ("epochs",),
    # A callback sees every epoch: its order, its steps and its validation in a program each; `read` divides the sums.
    "scan, watched": ("order", "read", "steps", "validation"),
    # Some steps in a call: the same.
    "chunks": ("order", "read", "steps", "validation"),
    # Convolutions on a CPU: one step in a call, in training and in validation.
    "steps": ("order", "read", "step", "validation_step"),
    # Batches of the host: no order is drawn on the device.
    "batches": ("chunk", "read", "validation_batch"),
    "single batches": ("batch", "read", "validation_batch"),
}
"""What the first `fit` compiles, for each way to dispatch; a second one of the same shapes compiles nothing."""


class Limit(NamedTuple):
    """`number` of something for each `unit` of a run: a fit, an epoch, a step …; `why` for a reader."""

    unit: str
    number: int
    why: str


_KEY = Limit("drawn", 2, "the seed becomes the key of the order: two operations of JAX's own")
_SEED = Limit("drawn", 1, "the seed")
_ARRAYS = Limit("array", 1, "x and y of training and of validation, once")
_STORED = Limit("fit", 1, "the order of the validation's examples, made on the host")
_START = Limit("fit", 1, "the step that the state stands at")
_CHECKED = Limit("checked array", 1, "floats are looked through for NaN, class numbers for those that there are not")
_ROWS = Limit("epoch and column", 1, "the row of the history")
_READ = Limit("epoch", 2, "the sums of training and of validation are divided")
_ORDER = Limit("epoch", 1, "the order is drawn")
_NUMBER = Limit("epoch", 1, "the epoch's number, for its order")
_LATE = Limit("late call", 1, "the host waits for the loss of the last but two, so that it is not too far ahead")

LIMITS: dict[str, dict[str, tuple[Limit, ...]]] = {
    "scan": {
        "dispatches": (_KEY, Limit("fit", 1, "all epochs")),
        "to_device": (_SEED, _ARRAYS, Limit("fit", 2, "the first epoch's number, and how many there are")),
        "to_host": (_START, _CHECKED, Limit("column", 1, "the history, all rows at once")),
    },
    "scan, watched": {
        "dispatches": (
            _KEY, _ORDER, _READ,
            Limit("epoch", 1, "all steps"),
            Limit("epoch", 1, "the validation"),
        ),
        "to_device": (_SEED, _ARRAYS, _STORED, _NUMBER, Limit("epoch", 2, "the first step and the last")),
        "to_host": (_START, _CHECKED, _ROWS),
    },
    "chunks": {
        "dispatches": (_KEY, _ORDER, _READ, Limit("call", 1, "its steps"), Limit("epoch", 1, "the validation")),
        "to_device": (_SEED, _ARRAYS, _STORED, _NUMBER, Limit("call", 2, "the first step and the last")),
        "to_host": (_START, _CHECKED, _ROWS, _LATE),
    },
    "steps": {
        "dispatches": (
            _KEY, _ORDER, _READ,
            Limit("call", 1, "the step"),
            Limit("validation step", 1, "the step"),
        ),
        "to_device": (
            _SEED, _ARRAYS, _STORED, _NUMBER,
            Limit("call", 1, "the step's number"),
            Limit("validation step", 1, "the step's number"),
        ),
        "to_host": (_START, _CHECKED, _ROWS, _LATE),
    },
    "batches": {
        "dispatches": (_READ, Limit("call", 1, "its steps"), Limit("validation step", 1, "the step")),
        "to_device": (
            Limit("call", 4, "x, y, which rows are examples, and how many of the batches are real"),
            Limit("validation step", 3, "x, y, and which rows are examples"),
        ),
        "to_host": (_START, _ROWS, _LATE),
    },
    "single batches": {
        "dispatches": (_READ, Limit("call", 1, "its step"), Limit("validation step", 1, "the step")),
        "to_device": (
            Limit("call", 3, "x, y, and which rows are examples"),
            Limit("validation step", 3, "x, y, and which rows are examples"),
        ),
        "to_host": (_START, _ROWS, _LATE),
    },
}  # fmt: skip
"""Way to dispatch → what is counted → its parts. A part counts once for each of its units."""


def expected(kind: str, what: str, units: Mapping[str, int]) -> int:
    """Return how many `what` a run of so many units asks for."""
    return sum(limit.number * units.get(limit.unit, 0) for limit in LIMITS[kind][what])


def reasons(kind: str, what: str, units: Mapping[str, int]) -> str:
    """Return the sum behind `expected`, for a reader."""
    parts = [limit for limit in LIMITS[kind][what] if units.get(limit.unit)]
    return ", ".join(f"{limit.number * units[limit.unit]} ({limit.why})" for limit in parts)
