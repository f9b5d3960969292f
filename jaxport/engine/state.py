"""What training carries from step to step, and what it sums over an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxport.metrics import Mean, Metric
from jaxport.nn import Module, trainable

_LOSS = Mean("loss")


class TrainState(NamedTuple):
    """Everything that a step changes: parameters, the module's other variables, optimiser state, steps taken."""

    params: Any
    rest: Any
    opt_state: Any
    step: jax.Array


class Batch(NamedTuple):
    """Inputs (B, …), targets (B, …), and which of the B examples are real (B,), None when all are."""

    x: jax.Array
    y: jax.Array
    where: jax.Array | None = None


class Totals(NamedTuple):
    """Sums over an epoch: the loss weighted by examples, and each metric's state."""

    loss: Any
    metrics: tuple[Any, ...]


def split(module: Module) -> tuple[Any, Any, Any]:
    """Return (graphdef, parameters, rest): structure, what is trained, all other arrays (frozen parameters too)."""
    graph, params, rest = nnx.split(module, trainable, ...)
    return graph, params, rest


def create_state(module: Module, optimizer: optax.GradientTransformation) -> TrainState:
    """Return the state at step 0: copies of the module's arrays (a donated state must not delete the module's own)."""
    _, params, rest = split(module)
    params, rest = jax.tree.map(jnp.copy, (params, rest))
    # Some optimisers (optax.lbfgs) start with one array in two places, which cannot be donated twice.
    opt_state = jax.tree.map(jnp.copy, optimizer.init(params))
    return TrainState(params, rest, opt_state, jnp.zeros((), jnp.int32))


def empty_totals(metrics: Sequence[Metric]) -> Totals:
    """Return the sums of having seen nothing."""
    return Totals(_LOSS.init(), tuple(metric.init() for metric in metrics))


def add_to_totals(
    totals: Totals, loss: jax.Array, weight: jax.Array, prediction: Any, batch: Batch, metrics: Sequence[Metric]
) -> Totals:
    """Add one batch: its loss counts `weight` times (examples for a mean loss, 1 for a summed one)."""
    weight = weight.astype(loss.dtype)
    states = tuple(
        metric.update(state, prediction, batch.y, batch.where)
        for metric, state in zip(metrics, totals.metrics, strict=True)
    )
    return Totals(_LOSS.update(totals.loss, loss, weight), states)


def read_totals(totals: Totals, metrics: Sequence[Metric], summed: bool, prefix: str = "") -> dict[str, jax.Array]:
    """Return {loss, metric…} of an epoch; a summed loss is the sum over the epoch, any other the mean per example."""
    value = totals.loss.value + totals.loss.carry if summed else _LOSS.compute(totals.loss)
    row = {f"{prefix}loss": value}
    for metric, state in zip(metrics, totals.metrics, strict=True):
        row[f"{prefix}{metric.name}"] = metric.compute(state)
    return row
