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


class Average(NamedTuple):
    """Averaged parameters, and how many steps are in the average (int32)."""

    params: Any
    steps: jax.Array


class TrainState(NamedTuple):
    """Everything that a step changes.

    Attributes:
        params: what is trained.
        rest: the module's other variables: buffers, random streams, frozen parameters.
        opt_state: the optimiser's.
        step: optimiser steps taken, int32.
        average: the weights' average, where the task keeps one.
        bad: the first step whose loss or new parameters were not finite, int32, -1 while there is none; where the task
            is guarded.
    """

    params: Any
    rest: Any
    opt_state: Any
    step: jax.Array
    average: Average | None = None
    bad: jax.Array | None = None


class Batch(NamedTuple):
    """Inputs (B, …), targets (B, …), which of the B examples are real (B,), and their weights (B,); None when equal.

    Inputs and targets may also be tuples or dictionaries of such arrays; a tuple of inputs is given to the model as
    several arguments.
    """

    x: Any
    y: Any
    where: jax.Array | None = None
    weight: jax.Array | None = None


class Totals(NamedTuple):
    """Sums over an epoch: the loss weighted by examples, each metric's state, and the mean of each further log."""

    loss: Any
    metrics: tuple[Any, ...]
    extra: dict[str, Any] = {}  # noqa: RUF012 - never changed in place


def split(module: Module) -> tuple[Any, Any, Any]:
    """Return (graphdef, parameters, rest): structure, what is trained, all other arrays (frozen parameters too)."""
    graph, params, rest = nnx.split(module, trainable, ...)
    return graph, params, rest


def create_state(
    module: Module, optimizer: optax.GradientTransformation, *, average: bool = False, guard: bool = False
) -> TrainState:
    """Return the state at step 0: copies of the module's arrays (a donated state must not delete the module's own)."""
    _, params, rest = split(module)
    params, rest = copies((params, rest))
    # Some optimisers (optax.lbfgs) start with one array in two places, which cannot be donated twice.
    opt_state = copies(optimizer.init(params))
    kept = Average(copies(params), jnp.zeros((), jnp.int32)) if average else None
    bad = jnp.full((), -1, jnp.int32) if guard else None
    return TrainState(params, rest, opt_state, jnp.zeros((), jnp.int32), kept, bad)


def evaluated(state: TrainState) -> Any:
    """Return the parameters that are evaluated: the average where one is kept."""
    return state.params if state.average is None else state.average.params


def copies(tree: Any) -> Any:
    """Return arrays with memory of their own; unlike `jnp.copy`, compiles nothing for a new shape."""
    return jax.device_put(tree, may_alias=False)


def empty_totals(metrics: Sequence[Metric], rows: int = 0, extra: Sequence[str] = ()) -> Totals:
    """Return the sums of having seen nothing.

    Args:
        metrics: what is measured.
        rows: how many rows there will be at most, padded ones included, for metrics that collect them.
        extra: names of further logs.
    """
    states = tuple(metric.init(rows) if getattr(metric, "collects", False) else metric.init() for metric in metrics)  # pyright: ignore[reportCallIssue]
    return Totals(_LOSS.init(), states, {name: _LOSS.init() for name in extra})


def add_to_totals(
    totals: Totals,
    loss: jax.Array,
    weight: jax.Array,
    prediction: Any,
    batch: Batch,
    metrics: Sequence[Metric],
    extra: dict[str, jax.Array] | None = None,
) -> Totals:
    """Add one batch: its loss counts `weight` times (examples for a mean loss, 1 for a summed one)."""
    weight = weight.astype(loss.dtype)
    states = tuple(
        metric.update(state, prediction, batch.y, batch.where)
        for metric, state in zip(metrics, totals.metrics, strict=True)
    )
    extra = extra or {}
    more = {name: _LOSS.update(totals.extra[name], value, weight.astype(value.dtype)) for name, value in extra.items()}
    return Totals(_LOSS.update(totals.loss, loss, weight), states, {**totals.extra, **more})


def read_totals(totals: Totals, metrics: Sequence[Metric], summed: bool, prefix: str = "") -> dict[str, jax.Array]:
    """Return {loss, metric…} of an epoch; a summed loss is the sum over the epoch, any other the mean per example."""
    value = totals.loss.value + totals.loss.carry if summed else _LOSS.compute(totals.loss)
    row = {f"{prefix}loss": value}
    for metric, state in zip(metrics, totals.metrics, strict=True):
        row[f"{prefix}{metric.name}"] = metric.compute(state)
    for name, state in totals.extra.items():
        row[f"{prefix}{name}"] = _LOSS.compute(state)
    return row
