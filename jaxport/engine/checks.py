"""What can be wrong with a model and its data, found before anything is compiled and said in the user's terms."""

from __future__ import annotations

from types import TracebackType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxport.errors import UsageError
from jaxport.nn import Module, valid_rows

from .precision import compute_dtype, in_half
from .state import Batch, TrainState, empty_totals
from .step import Logs, Task, add_logs, extra_logs, loss_of, measure, take_step
from .traits import has_long_convolution
from .weighting import per_example

# Losses whose integer targets are classes along the prediction's axis 1.
_CLASS_LOSSES = ("CrossEntropyLoss", "NLLLoss")


class Facts(NamedTuple):
    """What one trace of a step tells.

    prediction, loss: shapes. extra, eval_extra: names of further logs, of training and of evaluation. convolutional:
    whether there is a convolution that does not belong in a CPU's loop.
    """

    prediction: Any
    loss: jax.ShapeDtypeStruct
    extra: tuple[str, ...]
    eval_extra: tuple[str, ...]
    convolutional: bool


def examine(task: Task, state: TrainState, batch: Batch, evaluation: bool = False, eager: bool = False) -> Facts:
    """Trace a step on shapes alone; or, where nothing is to be traced (`eager`), take it and forget it.

    Raises:
        UsageError: the model does not take the inputs (names the layer), the loss does not take the predictions, a
            metric fails, or the shapes of prediction and target would be broadcast.
    """
    if batch.weight is not None or task.class_weight is not None:
        per_example(task.loss)  # refuses a loss that cannot be weighted
    extra = () if task.train_logic is None or evaluation else _extra(task, state, batch)
    eval_extra = () if task.eval_logic is None else _eval_extra(task, state, batch)
    rows = _rows(batch)

    def step(state: TrainState, batch: Batch) -> Any:
        totals = empty_totals(task.metrics, rows, eval_extra if evaluation else extra)
        if evaluation:
            logic = task.eval_logic or (lambda params, rest, batch: measure(task, params, rest, batch))
            new, logs = None, logic(state.params, state.rest, batch)
        else:
            new, logs = (task.train_logic or (lambda state, batch: take_step(task, state, batch)))(state, batch)
        return new, add_logs(task, totals, logs, batch), logs

    try:
        jaxpr, shapes = (None, step(state, batch)) if eager else jax.make_jaxpr(step, return_shape=True)(state, batch)
    except Exception as error:
        _explain(task, state, batch)
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"a training step does not go through: {error}") from error
    logs = shapes[2]
    _check_shapes(task, logs.get("prediction"), batch)
    loss = jax.ShapeDtypeStruct(jnp.shape(logs["loss"]), logs["loss"].dtype)
    return Facts(logs.get("prediction"), loss, extra, eval_extra, not eager and has_long_convolution(jaxpr))


def _rows(batch: Batch) -> int:
    shape = jax.tree.leaves(batch.x)[0].shape
    return shape[0] if shape else 0


def _explain(task: Task, state: TrainState, batch: Batch) -> None:
    """Find the part of a step that fails, and say what is wrong in the user's terms."""
    prediction = jax.eval_shape(lambda s, b: _prediction(task, s, b), state, batch)
    _check_shapes(task, prediction, batch)
    _named("loss", task.loss, lambda: jax.eval_shape(lambda p, b: loss_of(task, p, b), prediction, batch))
    for metric in task.metrics:
        totals = empty_totals((metric,), _rows(batch))
        update = lambda p, b, m=metric, t=totals: m.update(t.metrics[0], p, b.y, b.where)  # noqa: E731
        _named("metric", metric, lambda update=update: jax.eval_shape(update, prediction, batch))


def _extra(task: Task, state: TrainState, batch: Batch) -> tuple[str, ...]:
    logic = task.train_logic
    assert logic is not None
    try:
        new, logs = jax.eval_shape(lambda s, b: logic(s, b), state, batch)
    except Exception:
        _explain(task, state, batch)
        raise
    return _check_logs(state, new, logs)


def _eval_extra(task: Task, state: TrainState, batch: Batch) -> tuple[str, ...]:
    logic = task.eval_logic
    assert logic is not None
    logs = jax.eval_shape(lambda s, b: logic(s.params, s.rest, b), state, batch)
    return _check_logs(state, state, logs, "eval_step")


def _check_logs(old: TrainState, new: Any, logs: Logs, owner: str = "train_step") -> tuple[str, ...]:
    if not isinstance(logs, dict) or "loss" not in logs:
        raise UsageError(f'{owner} returned logs {logs!r}; they must be a dictionary with "loss"')
    wrong = [name for name in ("loss", *extra_logs(logs)) if logs[name].shape != ()]
    if wrong:
        raise UsageError(f"{owner}'s logs {wrong} are not scalars; only loss, prediction and scalars are logged")
    if jax.tree.structure(old) != jax.tree.structure(new):
        raise UsageError("train_step returned a state of another structure; use state._replace(params=…, …)")
    return tuple(extra_logs(logs))


def _prediction(task: Task, state: TrainState, batch: Batch) -> Any:
    module = nnx.merge(task.train_graph, state.params, state.rest, copy=True)
    x = task.prepare(batch.x)
    with valid_rows(batch.where), in_half(module, compute_dtype(task.precision)) as cast:
        try:
            return cast.back(module(*cast(x)) if isinstance(x, tuple) else module(cast(x)))
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(_where(error, module, x)) from error


def _where(error: Exception, module: Module, x: Any) -> str:
    """Say in which layer an error arose, and what the layer is."""
    paths = {id(part): (path, part) for path, part in module.named_modules()}
    path, part = "", module
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        found = paths.get(id(trace.tb_frame.f_locals.get("self")))
        path, part = found or (path, part)
        trace = trace.tb_next
    shapes = ", ".join(str(tuple(leaf.shape)) for leaf in jax.tree.leaves(x))
    layer = f"layer {path!r}" if path else "the model"
    own = "" if list(part.children()) else f" {part!r}"
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"x of shape {shapes} does not go through the model: {layer},{own or f' {type(part).__name__}'}: {text}"


def _named(what: str, owner: Any, function: Any) -> None:
    name = getattr(owner, "name", None) or getattr(owner, "__name__", None) or type(owner).__name__
    try:
        function()
    except Exception as error:
        raise UsageError(f"{what} {name} does not take the predictions and targets: {error}") from error


def _check_shapes(task: Task, prediction: Any, batch: Batch) -> None:
    """Refuse (N, 1) beside (N,) and the like where the loss would compute N² differences in silence."""
    if getattr(type(task.loss), "__module__", "").startswith("jaxport."):
        return  # these check it themselves
    y = batch.y
    if not hasattr(prediction, "shape") or not hasattr(y, "shape") or jnp.issubdtype(y.dtype, jnp.integer):
        return
    if prediction.shape != y.shape and prediction.size == y.size:
        raise UsageError(
            f"prediction has shape {prediction.shape} and target {y.shape}: a loss would broadcast them to all pairs; "
            "reshape one of them"
        )


def check_values(name: str, task: Task, prediction: Any, batch: Batch) -> None:
    """Look at the values of all examples, where they are on the host.

    Raises:
        UsageError: inputs with NaN, or classes that the model does not have.
    """
    for leaf in jax.tree.leaves(batch.x):
        if jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.size:
            bad = _nan_rows(leaf)
            if bad is not None:
                raise UsageError(
                    f"{name}: x has NaN in {bad[1]} of {len(leaf)} rows, first in row {bad[0]}; clean the data, or "
                    "give check_values=False if the model is made for it"
                )
    loss = type(task.loss).__name__
    if loss in _CLASS_LOSSES and hasattr(batch.y, "dtype") and jnp.issubdtype(batch.y.dtype, jnp.integer):
        _check_classes(name, task, prediction, batch)


def _nan_rows(array: Any) -> tuple[int, int] | None:
    if isinstance(array, jax.Array) and array.is_fully_replicated and next(iter(array.devices())).platform == "cpu":
        array = np.asarray(array)  # the same memory; on the device each operation would be compiled first
    if isinstance(array, jax.Array):
        rows = np.asarray(jnp.isnan(array).reshape(len(array), -1).any(1))
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            total = np.sum(array, dtype=np.float64 if array.dtype == np.float64 else np.float32)
        if not np.isnan(total):
            return None  # one pass without a copy: a sum of numbers with NaN is NaN
        rows = np.isnan(array.reshape(len(array), -1)).any(1)
    return (int(rows.argmax()), int(rows.sum())) if rows.any() else None


def _check_classes(name: str, task: Task, prediction: Any, batch: Batch) -> None:
    if prediction is None or len(prediction.shape) < 2:
        return
    classes, y = prediction.shape[1], np.asarray(batch.y)
    wrong = (y < 0) | (y >= classes)
    wrong &= y != getattr(task.loss, "ignore_index", -100)
    if wrong.any():
        row = int(np.argwhere(wrong)[0][0])
        raise UsageError(
            f"{name}: y has class {int(y[wrong][0])} in row {row}; the model predicts {classes} classes, so y must be "
            f"from 0 to {classes - 1}"
        )
