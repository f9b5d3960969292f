"""Counts of fits of the ports, held against the table of `limits`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxport import engine
from jaxport.engine.dispatch import make_plan
from jaxport.engine.state import split
from jaxport.engine.traits import has_long_convolution
from jaxport.port import Port

from .count_limits import PROGRAMS, expected, reasons
from .counts import Counts, Program, counting, recording
from .hlo import convolutions, hlo_problems

# Epochs of the two fits that are counted: what an epoch costs shows in their difference.
EPOCHS = (2, 4)
# Examples in a step: counts do not depend on it, but the time to count does.
_BATCH = 4


class Watcher(engine.Callback):
    """A callback that sees every epoch, as those that print or save do."""

    every_epoch = True


# Way to dispatch → arguments of `fit` that ask for it.
WAYS: dict[str, dict[str, Any]] = {
    "scan": {"dispatch": "scan"},
    "scan, watched": {"dispatch": "scan"},
    "chunks": {"dispatch": "chunks"},
    "steps": {"dispatch": "steps"},
    "batches": {"steps_per_call": 2},
    "single batches": {"steps_per_call": 1},
}


@dataclass(frozen=True)
class FitCounts:
    """What fits of one port asked for.

    Attributes:
        port: its name.
        kind: the way to dispatch, of `LIMITS`.
        first: what the first fit compiled, by name.
        programs: those of the engine among it.
        fits: epochs → what was counted in a later fit of so many.
        units: epochs → how many of each unit of `LIMITS` it had.
        warnings: texts of the warnings.
        reads: programs of `read`: a metric that collects rows has sums of another shape in a validation of other size.
        asked: whether that way was asked for, rather than the engine's choice.
    """

    port: str
    kind: str
    first: Counter[str]
    programs: Sequence[Program]
    fits: dict[int, Counts]
    units: dict[int, dict[str, int]]
    warnings: Sequence[str] = field(default=())
    reads: int = 1
    asked: bool = False


def count_fit(port: Port, way: str | None = None) -> FitCounts:
    """Fit a port three times on made-up data with a short last batch, and count.

    Args:
        port: which.
        way: of `WAYS`, None for the engine's choice.
    """
    import warnings

    port = replace(port, batch_size=min(port.batch_size or 2 * _BATCH, _BATCH))
    made = port.synthetic(3 * _BATCH + 2).train
    train, val = (tuple(array[rows] for array in made) for rows in (slice(2 * _BATCH + 1), slice(2 * _BATCH + 1, None)))
    model = engine.Model(port.build())
    model.compile(port.loss(), port.make_optimizer(), port.metrics, prepare=port.prepare)

    def fit(epochs: int) -> engine.History:
        given, options = (train, val), {"batch_size": _BATCH, **(WAYS[way] if way else {})}
        if way in ("batches", "single batches"):
            given = [_Batches(part) for part in given]
        watched = [Watcher()] if way == "scan, watched" else []
        return model.fit(given[0], epochs, given[1], watched, verbose=0, **options)

    with warnings.catch_warnings(record=True) as caught, recording() as programs, counting() as first:
        warnings.simplefilter("always")
        history = fit(EPOCHS[0])
    kind, columns = way or history.dispatch, len(history.columns) - 2  # "epoch" and "seconds" are the host's
    fits, units = {}, {}
    for epochs in EPOCHS:
        with counting() as fits[epochs]:
            fit(epochs)
        checked = _checked(model, train) + _checked(model, val)
        units[epochs] = _units(kind, epochs, columns, len(train) + len(val), checked, len(train[0]), len(val[0]))
    texts, reads = [str(warning.message) for warning in caught], _shapes_of_sums(port, len(train[0]), len(val[0]))
    return FitCounts(port.name, kind, first.compilations, programs, fits, units, texts, reads, asked=way is not None)


def _shapes_of_sums(port: Port, *examples: int) -> int:
    """Return how many shapes the sums over so many examples have."""
    made = [engine.empty_totals(port.metrics, -(-count // _BATCH) * _BATCH) for count in examples]
    return len({tuple(leaf.shape for leaf in jax.tree.leaves(totals)) for totals in made})


class _Batches:
    """Batches of the host, with a length."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return -(-len(self.arrays[0]) // _BATCH)

    def __iter__(self) -> Any:
        for first in range(0, len(self.arrays[0]), _BATCH):
            yield tuple(array[first : first + _BATCH] for array in self.arrays)


def _checked(model: engine.Model, arrays: Sequence[Any]) -> int:
    """Return how many arrays are looked through before training."""
    x, y = arrays
    classes = type(model.task.loss).__name__ in ("CrossEntropyLoss", "NLLLoss") if model.task else False
    return int(np.issubdtype(x.dtype, np.floating)) + int(classes and np.issubdtype(y.dtype, np.integer))


def _units(kind: str, epochs: int, columns: int, arrays: int, checked: int, train: int, val: int) -> dict[str, int]:
    steps = -(-train // {"steps": _BATCH, "batches": 2 * _BATCH, "single batches": _BATCH}.get(kind, train))
    return {
        "fit": 1,
        "drawn": 1,
        "array": arrays,
        "checked array": checked,
        "column": columns,
        "epoch": epochs,
        "epoch and column": epochs * columns,
        "call": epochs * steps,
        "late call": epochs * max(0, steps - 2),
        "validation step": epochs * -(-val // _BATCH),
    }


def problems(found: FitCounts) -> list[str]:
    """Return one line for each count that is not the table's, and for each program with what it must not hold."""
    wanted = {name: found.reads if name == "read" else 1 for name in PROGRAMS[found.kind]}
    often = [(name, found.first[name], times) for name, times in wanted.items() if found.first[name] != times]
    lines = [f"program {name} was compiled {times} times instead of {right}" for name, times, right in often]
    own = {program.name for program in found.programs}
    lines += [f"program {name} was compiled, and {found.kind} needs none" for name in sorted(own - set(wanted))]
    for epochs, counts in found.fits.items():
        if counts.compilations:
            lines.append(f"a later fit of {epochs} epochs compiled {dict(counts.compilations)}")
        for what in ("dispatches", "to_device", "to_host"):
            count = getattr(counts, what)
            count = count.total() if isinstance(count, Counter) else count
            limit = expected(found.kind, what, found.units[epochs])
            if count != limit:
                why = reasons(found.kind, what, found.units[epochs])
                lines.append(f"{count} {what} in {epochs} epochs instead of {limit}: {why}")
    # `step_problems` tells of long convolutions in a loop; short ones are put there.
    loops = found.asked or found.kind != "steps"
    lines += [line for program in found.programs for line in program_problems(program, loops)]
    lines += [f"warning: {text}" for text in found.warnings if "donated" in text]
    return [f"{found.port}, {found.kind}: {line}" for line in lines]


# Program → how many of its first arguments it takes over: the state, if it trains, and the sums of the epoch so far.
_TAKEN = {"epochs": 1, "steps": 2, "step": 2, "chunk": 2, "batch": 2}
_TAKEN |= {"validation": 1, "validation_step": 1, "validation_batch": 1}


def program_problems(program: Program, loops: bool = False) -> list[str]:
    """Return what is wrong with one program: slow operations, or memory that is not used again.

    `loops` allows convolutions in a loop in the form that is fast there, for a loop that was asked for, or short ones.
    """
    lines = hlo_problems(program.text, jax.default_backend(), loops)
    due = sum(program.arguments[: _TAKEN.get(program.name, 0)])
    if program.donated < due:
        lines.append(f"{due} bytes of state and sums are needed no more, and {program.donated} are given")
    if program.reused < program.donated:
        lines.append(f"{program.donated} bytes are given, and {program.reused} used again")
    return [f"{program.name}: {line}" for line in lines]


def step_text(port: Port) -> tuple[str, str, bool]:
    """Return the HLO of a port's training step at the recipe's batch size, how the engine would dispatch it, and
    whether it holds a convolution that does not belong in a CPU's loop.

    Everything is made of shapes: nothing is computed or compiled.
    """
    module = nnx.eval_shape(lambda: port.build(0))
    optimizer, rows = port.make_optimizer(), port.batch_size or 256
    task = engine.make_task(module, port.loss(), optimizer, port.metrics, port.prepare)
    example = port.synthetic(2).train
    x, y = (jax.ShapeDtypeStruct((rows, *a.shape[1:]), jax.dtypes.canonicalize_dtype(a.dtype)) for a in example)
    where: Any = jax.ShapeDtypeStruct((rows,), bool)
    params, rest = split(module)[1:]
    state = jax.eval_shape(lambda p, r: engine.TrainState(p, r, optimizer.init(p), jnp.int32(0)), params, rest)
    totals = jax.eval_shape(lambda: engine.empty_totals(port.metrics, rows))
    traced = jax.jit(lambda *args: engine.train_step(task, *args)).trace(state, totals, engine.Batch(x, y, where))
    long = has_long_convolution(traced.jaxpr)
    return traced.lower().as_text(dialect="hlo"), make_plan(None, None, long, None).dispatch, long


def step_problems(port: Port, backend: str = "cpu") -> list[str]:
    """Return what is slow in a port's training step, and in the way it is dispatched; compiles nothing."""
    text, dispatch, long = step_text(port)
    found = convolutions(text)
    lines = hlo_problems(text, backend, loops=False)
    if backend == "cpu" and long and dispatch != "steps":
        lines.append(f"{len(found)} convolutions are dispatched by {dispatch}, inside a loop")
    # They are also to be fast in the loop that a user may ask for (dispatch="scan").
    lines += [f"convolution {c.labels}, which is slow in a loop" for c in found if backend == "cpu" and not c.fast]
    return [f"{port.name}: {line}" for line in lines]
