"""The pure steps: one optimiser step on a batch, and one evaluation of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxport.metrics import Metric
from jaxport.nn import Module, valid_rows
from jaxport.optim.swa_utils import update_average

from .precision import Precision, compute_dtype, in_half, scale_of, scaled_optimizer
from .state import Average, Batch, Totals, TrainState, add_to_totals, split
from .weighting import ClassWeight, example_weights, per_example, weighted_loss

Loss = Callable[..., jax.Array]
Logs = dict[str, Any]
AvgFn = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def _identity(x: Any) -> Any:
    return x


@dataclass(frozen=True)
class Task:
    """What is trained: structure, loss, optimiser, metrics.

    Attributes:
        train_graph: the module's structure in training mode (``engine.graphs``).
        eval_graph: the same in evaluation mode.
        loss: ``loss(prediction, target, where=mask)`` → scalar, such as any jaxport.nn loss.
        optimizer: an optax transformation.
        metrics: streaming metrics, updated with each batch's predictions.
        prepare: applied to the inputs on the device, at the start of each step (pixels to floats, say).
        precision: "float32", or what the model computes in: "bfloat16", "float16".
        remat: whether activations are computed again in the backward pass instead of kept.
        class_weight: how much an example of each class counts in the loss.
        average: how the weights are averaged over the steps; None for not.
        guard: whether a step that is not finite leaves everything as it was.
        train_logic: (state, batch) → (state, logs), in place of `take_step`.
        eval_logic: (params, rest, batch) → logs, in place of `measure`.
        gather: applied to the parameters where the model uses them: puts those together that are split over devices.
    """

    train_graph: Any
    eval_graph: Any
    loss: Loss
    optimizer: optax.GradientTransformation
    metrics: tuple[Metric, ...] = ()
    prepare: Callable[[Any], Any] = _identity
    precision: Precision = "float32"
    remat: bool = False
    class_weight: ClassWeight | None = None
    average: AvgFn | None = None
    guard: bool = False
    train_logic: Callable[[TrainState, Batch], tuple[TrainState, Logs]] | None = None
    eval_logic: Callable[[Any, Any, Batch], Logs] | None = None
    gather: Callable[[Any], Any] = _identity

    @property
    def summed(self) -> bool:
        """Whether the loss is a sum over examples rather than a mean."""
        return getattr(self.loss, "reduction", "mean") == "sum"

    def weight(self, batch: Batch) -> jax.Array:
        """Return how much a batch's loss counts in its epoch's."""
        if self.summed:
            return jnp.ones(())
        weights = example_weights(self.class_weight, batch)
        if weights is not None:
            return weights.sum()
        rows = jax.tree.leaves(batch.x)[0].shape[0]
        return jnp.asarray(float(rows)) if batch.where is None else batch.where.sum()


def graphs(module: Module) -> tuple[Any, Any]:
    """Return the module's structure in training and in evaluation mode; its own mode stays as it is."""
    modes = [(part, part.training) for part in module.modules()]
    train_graph, eval_graph = (split(module.train(mode))[0] for mode in (True, False))
    for part, training in modes:
        part.training = training
    return train_graph, eval_graph


def make_task(
    module: Module,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    metrics: Sequence[Metric] = (),
    prepare: Callable[[Any], Any] = _identity,
    **options: Any,
) -> Task:
    """Return the `Task` of training `module`; `options` are the task's further attributes.

    With precision="float16" the optimiser is wrapped: the loss is scaled, and steps that overflow are skipped.

    Raises:
        UsageError: an option that does not fit.
    """
    compute_dtype(options.get("precision", "float32"))
    optimizer = scaled_optimizer(optimizer, options.get("precision", "float32"))
    return Task(*graphs(module), loss, optimizer, tuple(metrics), prepare, **options)


def apply_module(task: Task, graph: Any, params: Any, rest: Any, batch: Batch) -> tuple[Any, Module]:
    """Return the prediction for a batch, and the module after it (its buffers may have changed)."""
    # Without copy, a layer that updates its buffers raises a trace-level error.
    module = nnx.merge(graph, task.gather(params), rest, copy=True)
    x = task.prepare(batch.x)
    with valid_rows(batch.where), in_half(module, compute_dtype(task.precision)) as cast:
        prediction = module(*cast(x)) if isinstance(x, tuple) else module(cast(x))
    return cast.back(prediction), module


def loss_of(task: Task, prediction: Any, batch: Batch) -> jax.Array:
    """Return the loss of predictions: the mean or the sum over the real examples, weighted where weights are given."""
    weights = example_weights(task.class_weight, batch)
    if weights is not None:
        return weighted_loss(per_example(task.loss), prediction, batch, weights, task.summed)
    if batch.where is None:
        return task.loss(prediction, batch.y)
    return task.loss(prediction, batch.y, where=batch.where)


def _training_loss(task: Task, params: Any, rest: Any, batch: Batch) -> tuple[jax.Array, tuple[Any, Any]]:
    """Return loss and (prediction, new rest) of one batch in training mode."""
    prediction, module = apply_module(task, task.train_graph, params, rest, batch)
    return loss_of(task, prediction, batch), (prediction, split(module)[2])


def loss_and_gradients(
    task: Task, params: Any, rest: Any, batch: Batch, scale: jax.Array | None = None
) -> tuple[jax.Array, Any, Any, Any]:
    """Return (loss, prediction, new rest, gradients of the parameters) of one batch in training mode.

    The gradients are those of the loss times `scale`, if there is one; the loss is not multiplied.
    """

    def objective(params: Any) -> tuple[jax.Array, tuple[jax.Array, Any, Any]]:
        loss, (prediction, new_rest) = _training_loss(task, params, rest, batch)
        return (loss if scale is None else loss * scale.astype(loss.dtype)), (loss, prediction, new_rest)

    objective = jax.checkpoint(objective) if task.remat else objective
    (_, (loss, prediction, new_rest)), grads = jax.value_and_grad(objective, has_aux=True)(params)
    return loss, prediction, new_rest, grads


def take_step(task: Task, state: TrainState, batch: Batch) -> tuple[TrainState, Logs]:
    """Take one optimiser step, θ ← θ + update(∇L(θ)), and return the state and {"loss": …, "prediction": …}.

    An optimiser that takes optax's extra arguments gets them: ``value`` (the loss), ``grad`` and ``value_fn`` (the
    batch's loss as a function of the parameters, for LBFGS and other line searches).
    """
    scale = scale_of(state.opt_state) if task.precision == "float16" else None
    loss, prediction, rest, grads = loss_and_gradients(task, state.params, state.rest, batch, scale)
    extra = {"value": loss, "grad": grads, "value_fn": lambda p: _training_loss(task, p, state.rest, batch)[0]}
    optimizer = optax.with_extra_args_support(task.optimizer)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params, **extra)
    params = optax.apply_updates(state.params, updates)
    state = state._replace(params=params, rest=rest, opt_state=opt_state, step=state.step + 1)
    return state, {"loss": loss, "prediction": prediction}


def measure(task: Task, params: Any, rest: Any, batch: Batch) -> Logs:
    """Return {"loss": …, "prediction": …} of one batch in evaluation mode."""
    prediction, _ = apply_module(task, task.eval_graph, params, rest, batch)
    return {"loss": loss_of(task, prediction, batch), "prediction": prediction}


def train_step(task: Task, state: TrainState, totals: Totals, batch: Batch) -> tuple[TrainState, Totals, jax.Array]:
    """Take one optimiser step and add it to the epoch's sums.

    Args:
        task: what is trained (static: close over it before ``jax.jit``).
        state: before the step.
        totals: of the epoch so far; the batch's loss and predictions, both before the update, are added.
        batch: the examples.

    Returns:
        The state after the step, the new totals, and the batch's loss.
    """
    new, logs = take_step(task, state, batch) if task.train_logic is None else task.train_logic(state, batch)
    if task.average is not None and state.average is not None:
        old, count = state.average
        new = new._replace(average=Average(update_average(old, new.params, count, task.average), count + 1))
    totals = add_logs(task, totals, logs, batch)
    if task.guard and state.bad is not None:
        new = _guarded(state, new, logs["loss"])
    return new, totals, logs["loss"]


def eval_step(task: Task, params: Any, rest: Any, totals: Totals, batch: Batch) -> Totals:
    """Add one batch's loss and metrics in evaluation mode to `totals`."""
    logs = measure(task, params, rest, batch) if task.eval_logic is None else task.eval_logic(params, rest, batch)
    return add_logs(task, totals, logs, batch)


def add_logs(task: Task, totals: Totals, logs: Logs, batch: Batch) -> Totals:
    """Add what a step reports of a batch to the epoch's sums."""
    more = {name: jnp.asarray(logs[name]) for name in extra_logs(logs)}
    metrics = task.metrics if "prediction" in logs else ()
    if not metrics and totals.metrics:
        raise KeyError('the step\'s logs lack "prediction", which the metrics need')
    return add_to_totals(totals, logs["loss"], task.weight(batch), logs.get("prediction"), batch, metrics, more)


def extra_logs(logs: Logs) -> list[str]:
    """Return the names of what a step of one's own reports beside loss and prediction."""
    return [name for name in logs if name not in ("loss", "prediction")]


def _guarded(old: TrainState, new: TrainState, loss: jax.Array) -> TrainState:
    """Return `new` if everything in it is finite and always was, else `old` with the step's number in `bad`."""
    floats = [leaf for leaf in jax.tree.leaves(new.params) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in (loss, *floats)]).all()
    assert old.bad is not None
    bad = jnp.where((old.bad < 0) & ~finite, old.step, old.bad)
    kept = jax.tree.map(lambda a, b: jnp.where(bad < 0, a, b), new, old)
    return kept._replace(bad=bad)
