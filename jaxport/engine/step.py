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

from .state import Batch, Totals, TrainState, add_to_totals, split

Loss = Callable[..., jax.Array]


def _identity(x: jax.Array) -> jax.Array:
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
    """

    train_graph: Any
    eval_graph: Any
    loss: Loss
    optimizer: optax.GradientTransformation
    metrics: tuple[Metric, ...] = ()
    prepare: Callable[[jax.Array], jax.Array] = _identity

    @property
    def summed(self) -> bool:
        """Whether the loss is a sum over examples rather than a mean."""
        return getattr(self.loss, "reduction", "mean") == "sum"

    def weight(self, batch: Batch) -> jax.Array:
        """Return how much a batch's loss counts in its epoch's."""
        if self.summed:
            return jnp.ones(())
        return jnp.asarray(float(batch.x.shape[0])) if batch.where is None else batch.where.sum()


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
    prepare: Callable[[jax.Array], jax.Array] = _identity,
) -> Task:
    """Return the `Task` of training `module`."""
    return Task(*graphs(module), loss, optimizer, tuple(metrics), prepare)


def _masked_loss(task: Task, prediction: Any, batch: Batch) -> jax.Array:
    if batch.where is None:
        return task.loss(prediction, batch.y)
    return task.loss(prediction, batch.y, where=batch.where)


def _training_loss(task: Task, params: Any, rest: Any, batch: Batch) -> tuple[jax.Array, tuple[Any, Any]]:
    """Return loss and (prediction, new rest) of one batch in training mode."""
    # Without copy, a layer that updates its buffers raises a trace-level error.
    module = nnx.merge(task.train_graph, params, rest, copy=True)
    with valid_rows(batch.where):
        prediction = module(task.prepare(batch.x))
    return _masked_loss(task, prediction, batch), (prediction, split(module)[2])


def loss_and_gradients(task: Task, params: Any, rest: Any, batch: Batch) -> tuple[jax.Array, Any, Any, Any]:
    """Return (loss, prediction, new rest, gradients of the parameters) of one batch in training mode."""
    objective = jax.value_and_grad(lambda params: _training_loss(task, params, rest, batch), has_aux=True)
    (loss, (prediction, new_rest)), grads = objective(params)
    return loss, prediction, new_rest, grads


def train_step(task: Task, state: TrainState, totals: Totals, batch: Batch) -> tuple[TrainState, Totals, jax.Array]:
    """Take one optimiser step: θ ← θ + update(∇L(θ)).

    An optimiser that takes optax's extra arguments gets them: ``value`` (the loss), ``grad`` and ``value_fn`` (the
    batch's loss as a function of the parameters, for LBFGS and other line searches).

    Args:
        task: what is trained (static: close over it before ``jax.jit``).
        state: before the step.
        totals: of the epoch so far; the batch's loss and predictions, both before the update, are added.
        batch: the examples.

    Returns:
        The state after the step, the new totals, and the batch's loss.
    """
    loss, prediction, rest, grads = loss_and_gradients(task, state.params, state.rest, batch)
    extra = {"value": loss, "grad": grads, "value_fn": lambda p: _training_loss(task, p, state.rest, batch)[0]}
    optimizer = optax.with_extra_args_support(task.optimizer)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params, **extra)
    params = optax.apply_updates(state.params, updates)
    totals = add_to_totals(totals, loss, task.weight(batch), prediction, batch, task.metrics)
    return TrainState(params, rest, opt_state, state.step + 1), totals, loss


def eval_step(task: Task, params: Any, rest: Any, totals: Totals, batch: Batch) -> Totals:
    """Add one batch's loss and metrics in evaluation mode to `totals`."""
    module = nnx.merge(task.eval_graph, params, rest, copy=True)
    with valid_rows(batch.where):
        prediction = module(task.prepare(batch.x))
    loss = _masked_loss(task, prediction, batch)
    return add_to_totals(totals, loss, task.weight(batch), prediction, batch, task.metrics)
