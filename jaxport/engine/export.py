"""A model as a file that runs without its code: weights and the compiled prediction, through jax.export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxport.errors import UsageError
from jaxport.viz.table import write_atomic

from .state import Batch, TrainState, evaluated
from .step import Task, apply_module

_MAGIC = b"jaxport.export.1\n"


def export_function(
    path: Path,
    task: Task,
    state: TrainState,
    input_shape: tuple[int, ...],
    dtype: Any,
    batch_size: int | None = None,
    platforms: Sequence[str] | None = None,
) -> None:
    """Write x (N, *input_shape) → prediction as one file, weights included; see ``Model.export``.

    Raises:
        UsageError: the model does not take such inputs, or not any number of rows; the file cannot be written.
    """
    params, rest = evaluated(state), state.rest

    def predict(x: jax.Array) -> Any:
        return apply_module(task, task.eval_graph, params, rest, Batch(x, None))[0]

    rows: Any = batch_size
    if batch_size is None:
        (rows,) = jax.export.symbolic_shape("rows")
    shape = jax.ShapeDtypeStruct((rows, *input_shape), dtype)
    try:
        exported = jax.export.export(jax.jit(predict), platforms=platforms)(shape)
    except Exception as error:
        hint = "give batch_size= for a fixed number of rows: " if batch_size is None else ""
        reason = str(error).splitlines()[0]
        raise UsageError(f"the model cannot be exported for inputs of {input_shape}; {hint}{reason}") from error
    write_atomic(path, _MAGIC + bytes(exported.serialize()))


def load_exported(path: str | Path) -> Callable[[Any], Any]:
    """Return the function that `Model.export` wrote: x (N, …) → prediction, compiled at its first call.

    The file holds a program for XLA and numbers, no Python code.

    Raises:
        UsageError: the file is not there, or is no exported model. Calling it: inputs of another shape or dtype.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"path is {str(path)!r}: {error.strerror}") from None
    if not data.startswith(_MAGIC):
        raise UsageError(f"path is {str(path)!r}, which is no model that jaxport exported")
    try:
        exported = jax.export.deserialize(bytearray(data[len(_MAGIC) :]))
    except Exception as error:
        raise UsageError(f"path is {str(path)!r}, which is damaged: {str(error).splitlines()[0]}") from error
    wanted, compiled = exported.in_avals[0], jax.jit(exported.call)

    def call(x: Any) -> Any:
        x = np.asarray(x)
        if x.ndim != len(wanted.shape) or x.shape[1:] != tuple(wanted.shape[1:]) or x.dtype != wanted.dtype:
            raise UsageError(f"x is {x.dtype}{list(x.shape)}; the exported model takes {wanted.str_short()}")
        return compiled(x)

    return call
