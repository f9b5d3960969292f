"""Which number of a step was not finite first: the input, a layer's output, the loss, a gradient, or the update."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxport.nn import record_outputs, valid_rows

from .precision import compute_dtype, in_half
from .state import Batch, TrainState
from .step import Task, loss_and_gradients, loss_of, take_step


def first_bad(task: Task, state: TrainState, batch: Batch) -> str:
    """Return the name of the first tensor of a step that holds NaN or infinity, in the order of computation.

    Args:
        task: what is trained.
        state: before the step.
        batch: of the step.

    Returns:
        "input x", "output of layer conv1", "loss", "gradient of conv1.weight", "new value of conv1.weight", or
        "nothing" if the step is finite.
    """
    return next(_bad(task, state, batch), "nothing")


def _bad(task: Task, state: TrainState, batch: Batch) -> Iterator[str]:
    for name, tree in (("input x", batch.x), ("target y", batch.y), ("weight", batch.weight)):
        if not _finite(tree, batch.where):
            yield name
    module = nnx.merge(task.train_graph, state.params, state.rest, copy=True)
    x = task.prepare(batch.x)
    for path, parameter in module.named_parameters():
        if not _finite(parameter[...]):
            yield f"value of {path}"
    dtype = compute_dtype(task.precision)
    with valid_rows(batch.where), in_half(module, dtype) as cast, record_outputs(module) as outputs:
        prediction = module(*cast(x)) if isinstance(x, tuple) else module(cast(x))
    for path, output in outputs.items():
        if not _finite(output, batch.where):
            yield f"output of layer {path}" if path else "prediction"
    if not _finite(loss_of(task, cast.back(prediction), batch)):
        yield "loss"
    if task.train_logic is None:
        yield from _bad_gradients(task, state, batch)


def _bad_gradients(task: Task, state: TrainState, batch: Batch) -> Iterator[str]:
    grads = loss_and_gradients(task, state.params, state.rest, batch)[3]
    for what, tree in (("gradient of", grads), ("new value of", take_step(task, state, batch)[0].params)):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            if not _finite(leaf):
                names = (getattr(key, "key", getattr(key, "name", None)) for key in path)
                yield f"{what} {'.'.join(str(name) for name in names if name not in (None, 'value'))}"


def _finite(tree: Any, where: Any = None) -> bool:
    """Return whether all floating numbers are finite, padded rows left out."""
    for leaf in jax.tree.leaves(tree):
        array = jnp.asarray(leaf)
        if not jnp.issubdtype(array.dtype, jnp.inexact):
            continue
        good = np.asarray(jnp.isfinite(array))
        if where is not None and good.ndim and len(good) == len(where):
            good = good[np.asarray(where)]
        if not good.all():
            return False
    return True
