"""One run from data to history: sources, plan and programs made, checks done, the loop driven, nothing lost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxport.errors import UsageError

from .callbacks import Callback
from .checks import Facts, check_values, examine
from .devices import tell_padding
from .diagnose import first_bad
from .dispatch import Dispatch, Plan, make_plan
from .distributed import failing_together
from .evaluator import Evaluator, rows_of
from .history import History
from .interrupt import StopRequest, stop_on_interrupt
from .loop import Loop, OnProgress
from .programs import Programs
from .sharding import Placement
from .sources import Resident, Source, Streamed, as_source
from .state import Batch, TrainState, evaluated
from .step import Task, apply_module
from .training import Training, no_totals

MakePrograms = Callable[[Task, Placement, Facts, bool], Programs]
Examine = Callable[[Task, TrainState, Batch, bool, bool], Facts]


@dataclass(frozen=True)
class Options:
    """How a run goes: arguments of `fit`, and `memory`, the bytes that data may take on the device."""

    epochs: int = 1
    batch_size: int | None = None
    shuffle: bool = True
    seed: int = 0
    dispatch: Dispatch | None = None
    steps_per_call: int | None = None
    validate_every: int = 1
    place: Placement = field(default_factory=Placement)
    run_eagerly: bool = False
    check_values: bool = True
    verbose: int = 0
    memory: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "validate_every"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"{name} must be at least 1, got {value!r}")

    def source(self, name: str, data: Any, shuffle: bool, weight: Any = None) -> Source:
        """Return where the batches of an argument come from."""
        options = {"multiple": self.place.multiple, "put": self.place.put, "weight": weight, "memory": self.memory}
        return as_source(name, data, batch_size=self.batch_size, shuffle=shuffle, seed=self.seed, **options)


def train(
    task: Task,
    state: TrainState,
    data: Any,
    options: Options,
    validation: Any = None,
    callbacks: Sequence[Callback] = (),
    sample_weight: Any = None,
    *,
    on_progress: OnProgress | None = None,
    keep: Callable[[TrainState], None] = lambda state: None,
    programs_of: MakePrograms = Programs,
    facts_of: Examine = examine,
) -> tuple[TrainState, History]:
    """Run the loop from a state, and return the state after it and the record.

    Args:
        task: what is trained.
        state: to start from; its arrays are taken over.
        data: as `fit` takes it.
        options: how.
        validation: evaluated after each epoch.
        callbacks: called at the seams.
        sample_weight: of each example.
        on_progress: called between calls to the device.
        keep: gets the last state, also when something goes wrong on the way.
        programs_of: makes the compiled programs, or returns those of an earlier run that was alike.
        facts_of: traces a step, or returns what was found of one that was alike.

    Raises:
        UsageError: arguments or data that do not fit.
    """
    start = time.perf_counter()
    place = options.place
    source = options.source("train", data, options.shuffle, sample_weight)
    val_source = None if validation is None else options.source("validation", validation, False)
    first, source, batch_size = _first_batch(source, options.run_eagerly)
    with jax.disable_jit(options.run_eagerly):
        facts = facts_of(task, state, first, False, options.run_eagerly)
    _check(task, facts, options, source, val_source)
    tell_padding(batch_size, place.multiple)
    size = None if isinstance(source, Resident) else _bytes(first)
    plan = make_plan(options.dispatch, options.steps_per_call, facts.convolutional, size, options.run_eagerly)
    programs = programs_of(task, place, facts, options.run_eagerly)
    programs.begin()
    evaluator = None if val_source is None else _evaluator(programs, val_source, plan, facts.convolutional)
    history = History(dispatch=plan.dispatch)
    training = Training(task, place.put_state(state), history, options.epochs, source.steps, options.verbose)
    training.source, training.options, training.plan = source, options, plan
    training.input_spec = first.x
    training.empty_totals = lambda: programs.empty(training.source.rows or rows_of(training.source, first))
    # What keeps checkpoints comes last, when all others have seen an epoch.
    training.callbacks = callbacks = sorted(callbacks, key=lambda callback: hasattr(callback, "restore"))
    _restore(training, callbacks)
    source = training.source.at(training.loader_position)
    training.source = source
    alone, failed = jax.process_count() == 1, False
    loop = Loop(training, programs, plan, source, evaluator, callbacks, on_progress, options.validate_every)
    with ExitStack() as stack:
        if options.run_eagerly:
            stack.enter_context(jax.disable_jit())
        stack.enter_context(failing_together())
        # Several processes cannot agree where to stop: Ctrl-C ends one as it ends any program, and then the others.
        stop = stack.enter_context(stop_on_interrupt()) if alone else StopRequest()
        training.diagnose = lambda: _diagnose(training, loop)
        try:
            loop.run(stop)
        except BaseException:
            failed = True
            if alone:
                _rescue(training, callbacks)
            raise
        finally:
            # The parts of a state that lie elsewhere cannot be fetched where another process may be gone.
            if not _deleted(training.state) and (alone or not failed):
                keep(training.state)
            for callback in callbacks:
                callback.close()
            # They refer to the loop, and it to the data, which would stay until the garbage collector comes by.
            training.read_logs, training.diagnose, training.empty_totals = dict, str, no_totals
    source.finish(training.epoch)
    history.steps, history.compile_seconds = training.step, history.compile_seconds + programs.compile_seconds
    history.stop_reason = training.stop_reason
    history.train_seconds += time.perf_counter() - start - programs.compile_seconds
    return training.state, history


def measure(
    task: Task,
    state: TrainState,
    data: Any,
    options: Options,
    sample_weight: Any = None,
    programs_of: MakePrograms = Programs,
    facts_of: Examine = examine,
) -> dict[str, float]:
    """Return {"loss": …, metric: …} of a state over data, in evaluation mode; the arguments are those of `train`."""
    source = options.source("data", data, False, sample_weight)
    first, source, _ = _first_batch(source, options.run_eagerly)
    facts = facts_of(task, state, first, True, options.run_eagerly)
    _check(task, facts, options, source, None)
    place, eager = options.place, options.run_eagerly
    programs, state = programs_of(task, place, facts, eager), place.put_state(state)
    programs.begin()
    plan = make_plan(options.dispatch, options.steps_per_call, facts.convolutional, None, eager)
    with failing_together():
        return _evaluator(programs, source, plan, facts.convolutional).run(state)


def predictions(
    task: Task, state: TrainState, x: Any, options: Options, known: dict[Any, Programs] | None = None
) -> Any:
    """Return the predictions for x, as NumPy arrays; `known` holds the programs of earlier calls on the same task."""
    place, parts = options.place, []
    state, known = place.put_state(state), {} if known is None else known
    task = place.gathering(replace(task, loss=no_loss, metrics=(), class_weight=None, eval_logic=None))

    def apply(params: Any, rest: Any, batch: Batch) -> Any:
        # Whole on each device: a process sees the rows of its own devices alone.
        return place.replicated(apply_module(task, task.eval_graph, params, rest, place.batch(batch))[0])

    for batch, rows in _slices(x, options.batch_size or 256, place.multiple):
        key = tuple((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(batch))
        if key not in known:
            known[key] = Programs(
                task, place, examine(task, state, batch, True, options.run_eagerly), options.run_eagerly
            )
        programs = known[key]
        arguments = (evaluated(state), state.rest, place.put_batch(batch))
        parts.append((programs.call("predict", apply, *arguments), rows))
    if not parts:
        raise UsageError("x has 0 rows; at least one is needed")
    with failing_together():
        fetched = [jax.tree.map(lambda array, rows=rows: np.asarray(array)[:rows], part) for part, rows in parts]
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *fetched)


def no_loss(prediction: Any, target: Any, where: Any = None) -> jax.Array:
    """Return 0: the loss of a model that only predicts."""
    del prediction, target, where
    return jnp.zeros(())


def _slices(x: Any, size: int, multiple: int) -> Any:
    """Yield batches of `size` rows, the last one padded, and how many rows of each are real.

    Fewer rows than `size` in all are padded to the next power of two alone.
    """
    for part in [x] if _is_array(x) else x:
        part = jax.tree.map(np.asarray, part)
        rows = len(jax.tree.leaves(part)[0])
        whole = min(size, 1 << max(0, rows - 1).bit_length())
        whole = -(-whole // multiple) * multiple
        for first in range(0, rows, whole):
            count = min(whole, rows - first)
            index = np.minimum(np.arange(first, first + whole), rows - 1)
            piece = part if count == whole == rows else jax.tree.map(lambda array, index=index: array[index], part)
            where: Any = np.arange(whole) < count
            yield Batch(piece, None, where), count


def _is_array(x: Any) -> bool:
    if isinstance(x, (tuple, dict)):
        return all(hasattr(leaf, "shape") for leaf in jax.tree.leaves(x))
    return hasattr(x, "shape") or (isinstance(x, list) and not any(hasattr(row, "shape") for row in x))


# ------------------------------------------------------------------------------------------------------- preparation


def _first_batch(source: Source, eager: bool) -> tuple[Batch, Source, int]:
    """Return the first batch (shapes alone unless `eager`), the source, which may have learnt, and its batch size."""
    if isinstance(source, Resident):
        take = lambda data, order: source.take(data, order, np.int32(0), np.int32(0))  # noqa: E731
        if eager:
            return take(source.data, source.order(0)), source, source.batches.size
        if source.loader is None:
            return source.batches.taken(source.data), source, source.batches.size
        order = jax.ShapeDtypeStruct((source.steps, source.batches.rows), np.int32)
        return jax.eval_shape(take, source.data, order), source, source.batches.size
    batch = next(iter(source.epoch(0, 0)), None)
    if batch is None:
        raise UsageError("the data gives no batches; at least one is needed")
    rows = source.rows or (source.steps or 0) * len(jax.tree.leaves(batch.x)[0])
    examples = len(jax.tree.leaves(batch.x)[0]) if batch.where is None else int(batch.where.sum())
    examples *= jax.process_count() if source.own else 1
    source = replace(source, rows=rows or None)
    if eager:
        return jax.tree.map(jnp.asarray, batch), source, examples
    shape = lambda a: jax.ShapeDtypeStruct(a.shape, jax.dtypes.canonicalize_dtype(a.dtype))  # noqa: E731
    return jax.tree.map(shape, batch), source, examples


def _bytes(shapes: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def _check(task: Task, facts: Facts, options: Options, source: Source, val_source: Source | None) -> None:
    for name, each in (("train", source), ("validation", val_source)):
        collecting = [metric.name for metric in task.metrics if getattr(metric, "collects", False)]
        if isinstance(each, Streamed) and not each.rows and each.steps is None and collecting:
            raise UsageError(f"metric {collecting[0]} keeps every score: {name} must have a length (len())")
        if isinstance(each, Resident) and options.check_values and each.loader is None:
            check_values(name, task, facts.prediction, each.data)


def _evaluator(programs: Programs, source: Source, plan: Plan, convolutional: bool) -> Evaluator:
    single = plan.steps_per_call == 1 if isinstance(source, Resident) and not convolutional else True
    return Evaluator(programs, source, single)


# -------------------------------------------------------------------------------------------------- nothing is lost


def _restore(training: Training, callbacks: Sequence[Callback]) -> None:
    """Let the callbacks that keep checkpoints put the run back where it was."""
    for callback in callbacks:
        restore = getattr(callback, "restore", None)
        if restore is not None and restore(training, callbacks):
            return


def _rescue(training: Training, callbacks: Sequence[Callback]) -> None:
    """Let the callbacks that keep checkpoints save what there is."""
    if _deleted(training.state):
        return
    for callback in callbacks:
        rescue = getattr(callback, "rescue", None)
        if rescue is not None:
            rescue(training, callbacks)


def _deleted(state: TrainState) -> bool:
    """Return whether a call that failed has taken the state's arrays with it."""
    return any(leaf.is_deleted() for leaf in jax.tree.leaves(state) if isinstance(leaf, jax.Array))


def _diagnose(training: Training, loop: Loop) -> str:
    """Return the first tensor of the bad step that was not finite."""
    source, bad, place = training.source, training.bad_step, training.options.place
    assert bad is not None
    epoch, index = loop.place_of(bad)
    if isinstance(source, Resident):
        order = source.order(epoch)
        batch = place.whole(source.take(source.data, order, np.int32(epoch), np.int32(index)))
    else:
        batch = next(iter(source.epoch(epoch, index)))
    return first_bad(training.task, place.whole(training.state), batch)
