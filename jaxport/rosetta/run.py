"""Running one side of a row: PyTorch's, or JAX's with and without `jax.jit`."""

from __future__ import annotations

import ast
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from .inputs import INPUTS
from .plain import plain
from .row import Row

TORCH_IMPORTS = """\
import math
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.autograd import Variable
from torch.utils.data import BatchSampler, ConcatDataset, DataLoader, Dataset, IterableDataset
from torch.utils.data import RandomSampler, SequentialSampler, TensorDataset, random_split
"""

JAX_IMPORTS = """\
import math
import jax
import jax.numpy as jnp
import jaxport
import jaxport.nn.functional as F
import numpy as np
import optax
from flax import nnx
from functools import partial
from jax import lax
from jaxport import data, engine, interop, nn, optim
from jaxport.data import transforms as T
from jaxport.random import Generator, epoch_order, torch_rngs
"""


@dataclass
class Outcome:
    """What one side did: its value and the one that the row names (both plain), the error, the warnings' texts."""

    value: Any = None
    expected: Any = None
    error: Exception | None = None
    warnings: list[str] = field(default_factory=list)


def run_torch(row: Row, double: bool = False) -> Outcome:
    """Run PyTorch's side, in float32 or with float64 as the default."""
    torch = import_module("torch")
    before, state = torch.get_default_dtype(), torch.get_rng_state()
    torch.set_default_dtype(torch.float64 if double else torch.float32)
    try:
        given = {name: torch.tensor(_typed(INPUTS[name], double)) for name in row.inputs()}
        with _names(TORCH_IMPORTS) as names:
            return _outcome(lambda: _evaluate(row.torch, row.torch_is, names | given))
    finally:
        torch.set_default_dtype(before)
        torch.set_rng_state(state)


def run_jax(row: Row, double: bool = False, jit: bool = False) -> Outcome:
    """Run the JAX side: without x64 or with it, as it stands or under `jax.jit` with the inputs as arguments."""
    jax = import_module("jax")
    reader = jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow")
    with jax.enable_x64(double), reader[0], reader[1], _names(JAX_IMPORTS) as names:
        given = {name: jax.numpy.asarray(_typed(INPUTS[name], double)) for name in row.inputs()}

        def side(arrays: dict[str, Any]) -> tuple[Any, Any]:
            return _evaluate(row.jax, row.jax_is, names | arrays)

        return _outcome(lambda: _traced(jax, side)(given) if jit else side(given))


def is_tracing_error(error: Exception | None) -> bool:
    """Whether an error says that a value or a shape must be known, which it is not under `jax.jit`."""
    errors = import_module("jax").errors
    words = ("concrete", "Traced", "JitTracer")
    unknown = isinstance(error, (TypeError, IndexError)) and any(word in str(error) for word in words)
    return unknown or isinstance(error, (errors.JAXTypeError, errors.JAXIndexError))


def _typed(array: np.ndarray, double: bool) -> np.ndarray:
    return array.astype(np.float64 if double else np.float32) if array.dtype == np.float64 else array.copy()


@contextmanager
def _names(imports: str) -> Iterator[dict[str, Any]]:
    """Give what both sides may use: the imports, and a folder that is removed afterwards."""
    names: dict[str, Any] = {}
    exec(imports, names)
    with tempfile.TemporaryDirectory() as folder:
        yield names | {"folder": folder}


def _evaluate(code: str, expected: str, names: dict[str, Any]) -> tuple[Any, Any]:
    """Run the lines, and return the last one's value and that of `expected`."""
    lines = ast.parse(code).body
    last = lines.pop()
    assert isinstance(last, ast.Expr), f"the last line must be an expression, got {ast.unparse(last)!r}"
    exec(compile(ast.Module(lines, []), "<row>", "exec"), names)
    value = eval(compile(ast.Expression(last.value), "<row>", "eval"), names)
    return value, eval(expected, names) if expected else None


def _traced(jax: Any, side: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """Return `side` under `jax.jit`; what is no array (a shape, a dtype) is known while tracing, and kept apart."""

    def call(arrays: dict[str, Any]) -> Any:
        kept: list[Any] = []

        def traced(arrays: dict[str, Any]) -> list[Any]:
            leaves, tree = jax.tree.flatten(side(arrays), is_leaf=lambda node: node is None)
            kept.extend((tree, [None if isinstance(leaf, jax.Array) else (leaf,) for leaf in leaves]))
            return [leaf for leaf in leaves if isinstance(leaf, jax.Array)]

        computed = iter(jax.jit(traced)(arrays))
        return jax.tree.unflatten(kept[0], [known[0] if known else next(computed) for known in kept[1]])

    return call


def _outcome(call: Callable[[], tuple[Any, Any]]) -> Outcome:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value, expected = call()
            outcome = Outcome(plain(value), plain(expected))
        except Exception as error:  # what a side raises is a part of what it does
            outcome = Outcome(error=error)
    outcome.warnings = [str(warning.message) for warning in caught]
    return outcome
