"""Mixed precision: parameters stay in float32, the model computes in bfloat16 or float16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxport import optim
from jaxport.errors import UsageError
from jaxport.nn import Module

Precision = Literal["float32", "bfloat16", "float16"]
_DTYPES = {"float32": None, "bfloat16": jnp.bfloat16, "float16": jnp.float16}


def compute_dtype(precision: str) -> Any:
    """Return what the model computes in: bfloat16, float16, or None for what its parameters are in.

    Raises:
        UsageError: another name.
    """
    if precision not in _DTYPES:
        raise UsageError(f"precision is {precision!r}; it must be one of {', '.join(_DTYPES)}")
    return _DTYPES[precision]


@dataclass(frozen=True)
class _Cast:
    """Casts floating inputs to `dtype`, and predictions back to float32; does nothing without a dtype."""

    dtype: Any

    def __call__(self, tree: Any) -> Any:
        return tree if self.dtype is None else _floats_to(tree, self.dtype)

    def back(self, tree: Any) -> Any:
        return tree if self.dtype is None else _floats_to(tree, jnp.float32)


def _floats_to(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)


def _to_cast(module: Module) -> list[Any]:
    found: dict[int, Any] = {}
    for part in module.modules():
        if not any(kind.__module__.startswith("jaxport.nn.norm") for kind in type(part).__mro__):
            own = (member for _, member in part._members() if isinstance(member, nnx.Param))
            found |= {id(member): member for member in own if jnp.issubdtype(member.dtype, jnp.floating)}
    return list(found.values())


@contextmanager
def in_half(module: Module, dtype: Any) -> Iterator[_Cast]:
    """Inside, the module's parameters are in `dtype`; afterwards they are what they were.

    Layers that normalise keep theirs, and their buffers, in float32: they compute in it, and give `dtype` back.
    """
    parameters = [] if dtype is None else _to_cast(module)
    values = [parameter[...] for parameter in parameters]
    for parameter in parameters:
        parameter.set_value(parameter[...].astype(dtype))
    try:
        yield _Cast(dtype)
    finally:
        for parameter, value in zip(parameters, values, strict=True):
            parameter.set_value(value)


def scaled_optimizer(optimizer: optax.GradientTransformation, precision: str) -> optax.GradientTransformation:
    """Return the optimiser with loss scaling around it for float16; a scaler that it has already stays."""
    if precision != "float16":
        return optimizer
    probe = jax.eval_shape(optimizer.init, {"w": jax.ShapeDtypeStruct((1, 1), jnp.float32)})
    return optimizer if _scalers(probe) else optim.scaled(optimizer)


def scale_of(opt_state: Any) -> jax.Array:
    """Return the loss scale that stands in an optimiser's state."""
    return _scalers(opt_state)[0].scaler.scale


def _scalers(opt_state: Any) -> list[optim.ScaledState]:
    found = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, optim.ScaledState))
    return [node for node in found if isinstance(node, optim.ScaledState)]
