"""fit and evaluate: the loop over epochs, in either way of dispatching the same steps."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax

from jaxport.errors import UsageError
from jaxport.metrics import Metric
from jaxport.nn import Module

from .batches import Batches
from .dispatch import Dispatch, choose_dispatch, compile_function, has_convolution
from .history import History
from .interrupt import StopRequest, stop_on_interrupt
from .state import Batch, Totals, TrainState, create_state, empty_totals, read_totals
from .step import Loss, Task, _identity, eval_step, make_task, train_step

# Epochs of a compiled loop are brought together up to this many steps, so that a short epoch does not wait for calls.
_STEPS_PER_CALL = 2_000
# Steps that may be queued on the device before the host waits for the oldest.
_QUEUE = 2


class Progress(NamedTuple):
    """Where a run is: `step` of `steps` (over all epochs), the last known loss, and a finished epoch's row."""

    epoch: int
    step: int
    steps: int
    loss: float | None = None
    row: dict[str, float] | None = None


OnProgress = Callable[[Progress], None]


class _Run(NamedTuple):
    """What every part of the loop needs."""

    task: Task
    batches: Batches
    val_batches: Batches | None
    key: jax.Array
    epochs: int
    on_progress: OnProgress | None


def fit(
    module: Module,
    train: tuple[Any, Any],
    *,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    epochs: int = 1,
    batch_size: int | None = None,
    validation: tuple[Any, Any] | None = None,
    metrics: Sequence[Metric] = (),
    prepare: Callable[[jax.Array], jax.Array] = _identity,
    shuffle: bool = True,
    seed: int = 0,
    dispatch: Dispatch | None = None,
    on_progress: OnProgress | None = None,
) -> History:
    """Train `module` in place and return the record of the run.

    Every example counts once an epoch; the last short batch is padded and masked, so that one compilation serves all
    steps and the means are exact. The numbers do not depend on `dispatch`, but for rounding.

    Args:
        module: trained in training mode, validated in evaluation mode; its own mode stays as it is.
        train: (x, y), arrays with N rows, kept on the device as they are.
        loss: ``loss(prediction, target, where=mask)`` → scalar, such as any jaxport.nn loss.
        optimizer: an optax transformation, such as any of jaxport.optim.
        epochs: passes over the data.
        batch_size: examples in a step; None means all of them.
        validation: (x, y), evaluated after each epoch.
        metrics: of jaxport.metrics.
        prepare: applied to x on the device at the start of each step.
        shuffle: whether each epoch takes the examples in a new order.
        seed: of the order of the examples.
        dispatch: "scan" compiles whole epochs into one loop on the device, "steps" calls once a step, None chooses.
        on_progress: called between calls to the device, with values that are there already.

    Returns:
        The `History`. After Ctrl-C it is marked ``interrupted``, and the module holds what was learnt so far.

    Raises:
        UsageError: sizes that do not fit.
    """
    batches = _batches("train", train, batch_size, shuffle)
    val_batches = None if validation is None else _batches("validation", validation, batch_size, False)
    if epochs < 1:
        raise UsageError(f"epochs must be at least 1, got {epochs}")
    if dispatch not in (None, "scan", "steps"):
        raise UsageError(f"dispatch must be 'scan', 'steps' or None, got {dispatch!r}")
    start = time.perf_counter()
    task = make_task(module, loss, optimizer, metrics, prepare)
    run = _Run(task, batches, val_batches, jax.random.key(seed), epochs, on_progress)
    data, val_data = _to_device(train), None if validation is None else _to_device(validation)
    state = create_state(module, optimizer)
    history = History(dispatch=dispatch or _dispatch_for(run, state, data))
    loop = _scan_epochs if history.dispatch == "scan" else _step_epochs
    with stop_on_interrupt() as stop:
        state = loop(run, state, data, val_data, history, stop)
    nnx.update(module, state.params, state.rest)
    history.steps = int(state.step)
    history.train_seconds = time.perf_counter() - start - history.compile_seconds
    return history


def evaluate(
    module: Module,
    data: tuple[Any, Any],
    *,
    loss: Loss,
    metrics: Sequence[Metric] = (),
    batch_size: int | None = None,
    prepare: Callable[[jax.Array], jax.Array] = _identity,
) -> dict[str, float]:
    """Return {"loss": …, metric: …} of `module` over `data`, in evaluation mode, exact per example.

    The arguments are those of `fit`.
    """
    task = make_task(module, loss, optax.identity(), metrics, prepare)
    batches = _batches("data", data, batch_size, False)
    state, arrays = create_state(module, optax.identity()), _to_device(data)
    step, _ = compile_function(
        lambda totals, params, rest, data, i: _eval_one(task, batches, totals, params, rest, data, i),
        empty_totals(task.metrics),
        state.params,
        state.rest,
        arrays,
        jnp.int32(0),
        donate=(0,),
    )
    totals = empty_totals(task.metrics)
    for i in range(batches.steps):
        totals = step(totals, state.params, state.rest, arrays, jnp.int32(i))
    return {name: float(value) for name, value in read_totals(totals, task.metrics, task.summed).items()}


def _batches(name: str, data: tuple[Any, Any], size: int | None, shuffle: bool) -> Batches:
    examples = len(data[0])
    if examples == 0 or examples != len(data[1]):
        raise UsageError(
            f"{name}: x and y must have the same number of rows, at least 1; got {examples}, {len(data[1])}"
        )
    if size is not None and size < 1:
        raise UsageError(f"batch_size must be at least 1, got {size}")
    return Batches(examples, examples if size is None else min(size, examples), shuffle)


def _to_device(data: tuple[Any, Any]) -> Batch:
    return Batch(*(jax.device_put(np.asarray(array)) for array in data))


def _dispatch_for(run: _Run, state: TrainState, data: Batch) -> Dispatch:
    def step(state: TrainState, data: Batch) -> Any:
        order = run.batches.order(run.key, jnp.int32(0))
        batch = run.batches.take(data, order, jnp.int32(0))
        return train_step(run.task, state, empty_totals(run.task.metrics), batch)

    convolutional = has_convolution(jax.make_jaxpr(step)(state, data))
    return choose_dispatch(jax.default_backend(), convolutional)


def _eval_one(task: Task, batches: Batches, totals: Totals, params: Any, rest: Any, data: Batch, step: Any) -> Totals:
    order = batches.order(jax.random.key(0), jnp.int32(0))
    return eval_step(task, params, rest, totals, batches.take(data, order, step))


# ---------------------------------------------------------------------------------------------------- whole epochs


def _epoch(run: _Run, state: TrainState, data: Batch, val_data: Batch | None, epoch: Any) -> tuple[TrainState, Any]:
    """One epoch and its validation, as one traceable function."""
    task, batches = run.task, run.batches
    order = batches.order(run.key, epoch)

    def body(carry: tuple[TrainState, Totals], step: jax.Array) -> tuple[tuple[TrainState, Totals], None]:
        state, totals, _ = train_step(task, *carry, batches.take(data, order, step))
        return (state, totals), None

    (state, totals), _ = lax.scan(body, (state, empty_totals(task.metrics)), jnp.arange(batches.steps))
    row = read_totals(totals, task.metrics, task.summed)
    if run.val_batches is not None and val_data is not None:
        val_batches = run.val_batches

        def val_body(totals: Totals, step: jax.Array) -> tuple[Totals, None]:
            return _eval_one(task, val_batches, totals, state.params, state.rest, val_data, step), None

        totals, _ = lax.scan(val_body, empty_totals(task.metrics), jnp.arange(val_batches.steps))
        row |= read_totals(totals, task.metrics, task.summed, "val_")
    return state, row


def _scan_epochs(
    run: _Run, state: TrainState, data: Batch, val_data: Batch | None, history: History, stop: StopRequest
) -> TrainState:
    """Run whole epochs, several in one call where they are short."""
    per_call = max(1, min(run.epochs, _STEPS_PER_CALL // run.batches.steps))

    def call(state: TrainState, data: Batch, val_data: Batch | None, first: Any, count: Any) -> tuple[TrainState, Any]:
        shapes = jax.eval_shape(lambda: _epoch(run, state, data, val_data, first)[1])
        rows = jax.tree.map(lambda leaf: jnp.zeros((per_call,), leaf.dtype), shapes)

        def body(i: Any, carry: Any) -> Any:
            state, rows = carry
            state, row = _epoch(run, state, data, val_data, first + i)
            return state, jax.tree.map(lambda column, value: column.at[i].set(value), rows, row)

        return lax.fori_loop(0, count, body, (state, rows))

    arguments = (data, val_data, jnp.int32(0), jnp.int32(1))
    compiled, history.compile_seconds = compile_function(call, state, *arguments, donate=(0,))
    for first in range(0, run.epochs, per_call):
        count = min(per_call, run.epochs - first)
        state, rows = compiled(state, data, val_data, jnp.int32(first), jnp.int32(count))
        columns = {name: np.asarray(rows[name])[:count].tolist() for name in _columns(run)}
        _record(run, history, first, count, columns)
        if stop and first + count < run.epochs:
            history.interrupted = True
            break
    return state


def _columns(run: _Run) -> list[str]:
    """Return the history's columns in their order (a dictionary that has been through jit is sorted by name)."""
    names = ["loss", *(metric.name for metric in run.task.metrics)]
    return names if run.val_batches is None else [*names, *(f"val_{name}" for name in names)]


def _record(run: _Run, history: History, first: int, count: int, columns: dict[str, list[float]]) -> None:
    """Add finished epochs to the history and tell the progress."""
    history.append({"epoch": list(range(first + 1, first + count + 1)), **columns})
    if run.on_progress is not None:
        steps, done = run.batches.steps, first + count
        row = {name: values[-1] for name, values in columns.items()}
        run.on_progress(Progress(done, done * steps, run.epochs * steps, row["loss"], row))


# ---------------------------------------------------------------------------------------------------- single steps


def _step_epochs(
    run: _Run, state: TrainState, data: Batch, val_data: Batch | None, history: History, stop: StopRequest
) -> TrainState:
    """Call the device once a step, never more than a few steps ahead of it."""
    task, batches = run.task, run.batches
    totals = empty_totals(task.metrics)

    def one(state: TrainState, totals: Totals, data: Batch, order: jax.Array, step: Any) -> Any:
        return train_step(task, state, totals, batches.take(data, order, step))

    order_of = jax.jit(lambda epoch: batches.order(run.key, epoch))
    order = order_of(jnp.int32(0))
    train_one, seconds = compile_function(one, state, totals, data, order, jnp.int32(0), donate=(0, 1))
    history.compile_seconds = seconds
    validate = _compile_validation(run, state, val_data, history)
    for epoch in range(run.epochs):
        order, totals = order_of(jnp.int32(epoch)), empty_totals(task.metrics)
        queue: deque[jax.Array] = deque()
        for i in range(batches.steps):
            state, totals, loss = train_one(state, totals, data, order, jnp.int32(i))
            queue.append(loss)
            if len(queue) > _QUEUE:
                _tell_step(run, epoch, i, queue.popleft())
            if stop and (epoch, i) != (run.epochs - 1, batches.steps - 1):
                history.interrupted = True
                return state
        row = read_totals(totals, task.metrics, task.summed)
        if validate is not None:
            row |= read_totals(validate(state), task.metrics, task.summed, "val_")
        _record(run, history, epoch, 1, {name: [float(value)] for name, value in row.items()})
    return state


def _tell_step(run: _Run, epoch: int, step: int, finished_loss: jax.Array) -> None:
    """Wait until the step of `finished_loss`, a few steps back, is done, and tell the progress."""
    finished_loss.block_until_ready()
    if run.on_progress is not None:
        steps = run.batches.steps
        run.on_progress(Progress(epoch + 1, epoch * steps + step + 1, run.epochs * steps, float(finished_loss)))


def _compile_validation(
    run: _Run, state: TrainState, val_data: Batch | None, history: History
) -> Callable[[TrainState], Totals] | None:
    if run.val_batches is None or val_data is None:
        return None
    task, batches = run.task, run.val_batches

    def one(totals: Totals, params: Any, rest: Any, data: Batch, step: Any) -> Totals:
        return _eval_one(task, batches, totals, params, rest, data, step)

    arguments = (empty_totals(task.metrics), state.params, state.rest, val_data, jnp.int32(0))
    compiled, seconds = compile_function(one, *arguments, donate=(0,))
    history.compile_seconds += seconds

    def validate(state: TrainState) -> Totals:
        totals = empty_totals(task.metrics)
        for i in range(batches.steps):
            totals = compiled(totals, state.params, state.rest, val_data, jnp.int32(i))
        return totals

    return validate
