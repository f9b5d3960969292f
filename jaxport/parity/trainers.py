"""The JAX training step as its user wrote it, from a state that can be read and set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxport.errors import UsageError

from .foreign import Function, Linen
from .record import Arrays
from .step_masks import Masks
from .subjects import key_of
from .trainer_torch import as_loss

NAMES = {
    "exp_avg": ("mu",),
    "exp_avg_sq": ("nu",),
    "momentum_buffer": ("trace", "momentum"),
    "square_avg": ("nu", "e_g"),
    "sum": ("sum_of_squares",),
    "acc_delta": ("e_x",),
    "exp_inf": ("nu",),
    "max_exp_avg_sq": ("nu_max",),
    "grad_avg": ("mu",),
}
"""PyTorch's names of what an optimiser keeps for a parameter → optax's."""


class Recorded(NamedTuple):
    """An optax state that also keeps the gradients of the last step."""

    inner: Any
    gradient: Any


def recording(optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Return an optimiser that does the same and keeps the gradients it is given, for `train` to see them."""
    wrapped = optax.with_extra_args_support(optimizer)

    def init(params: Any) -> Recorded:
        return Recorded(wrapped.init(params), jax.tree.map(jnp.zeros_like, params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Recorded]:
        new, inner = wrapped.update(updates, state.inner, params, **extra)
        return new, Recorded(inner, updates)

    return optax.GradientTransformationExtraArgs(init, update)


class JaxTrainer:
    """A JAX model with its optimiser and its step.

    Args:
        model: `nnx.Module`, `parity.Linen`, `parity.Function` or an Equinox module.
        dtype: its precision.
        optimizer: the optax optimiser; for other models than nnx's it is what the step uses, and gradients are seen if
            it is ``parity.recording(optimizer)``.
        step: for nnx ``step(model, optimizer, *batch) → loss`` (optimizer is an `nnx.Optimizer`); else
            ``step(params, opt_state, *batch) → (params, opt_state, loss)``, of Linen with the variables as params.
        masks: of the dropouts.
    """

    def __init__(self, model: Any, dtype: Any, optimizer: Any, step: Any, masks: Masks) -> None:
        self.dtype, self.step_function, self.masks = np.dtype(dtype), step, masks
        self.is_nnx = isinstance(model, nnx.Module)
        with self.precision():
            if self.is_nnx:
                self.model = nnx.clone(model)
                self._put_model({}, {})
                self.model.train()
                self.optimizer = nnx.Optimizer(self.model, recording(optimizer), wrt=nnx.Param)
            else:
                self.params = jax.tree.map(self._cast, _parameters_of(model))
                self.opt_state = optimizer.init(_trained(self.params, model))

    def precision(self) -> Any:
        """Return the context in which this precision exists."""
        return jax.enable_x64(self.dtype == np.float64)

    def _cast(self, leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array | np.ndarray) or not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        return jnp.asarray(leaf, self.dtype)

    def arrays(self) -> Arrays:
        """Return parameters and buffers by path."""
        tree = nnx.state(self.model, nnx.Not(nnx.RngState)) if self.is_nnx else self.params
        flat = jax.tree_util.tree_flatten_with_path(tree)[0]
        drop = 0 if self.is_nnx or not _is_variables(tree) else 1
        return {key_of(path[drop:]): np.asarray(leaf) for path, leaf in flat if hasattr(leaf, "dtype")}

    def kept(self) -> dict[str, Arrays]:
        """Return what the optimiser keeps, by optax's name and parameter; "gradient" is the last step's."""
        tree = nnx.state(self.optimizer) if self.is_nnx else self.opt_state
        found: dict[str, Arrays] = {}
        own = sorted(self.arrays(), key=len, reverse=True)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            name, key = _split(key_of(path), own)
            if key:
                found.setdefault(name, {})[key] = np.asarray(leaf)
        return found

    def load(self, arrays: Mapping[str, np.ndarray], kept: Mapping[str, Arrays], steps: int) -> None:
        """Set parameters, buffers and what the optimiser keeps; what is not given stays."""
        with self.precision():
            own = sorted(self.arrays(), key=len, reverse=True)

            def of_optimizer(path: Any, leaf: Any) -> Any:
                name, key = _split(key_of(path), own)
                if key and key in kept.get(name, {}):
                    return jnp.asarray(kept[name][key], leaf.dtype)
                counts = not key and name in ("count", "step") and hasattr(leaf, "dtype")
                return jnp.full_like(leaf, steps) if counts else leaf

            if self.is_nnx:
                self._put_model(arrays, kept)
                state = jax.tree_util.tree_map_with_path(of_optimizer, nnx.state(self.optimizer))
                nnx.update(self.optimizer, state)
            else:
                drop = 1 if _is_variables(self.params) else 0
                self.params = jax.tree_util.tree_map_with_path(
                    lambda path, leaf: self._like(leaf, arrays.get(key_of(path[drop:]))), self.params
                )
                self.opt_state = jax.tree_util.tree_map_with_path(of_optimizer, self.opt_state)

    def _put_model(self, arrays: Mapping[str, np.ndarray], kept: Any) -> None:
        state = nnx.state(self.model, nnx.Not(nnx.RngState))
        new = jax.tree_util.tree_map_with_path(lambda path, leaf: self._like(leaf, arrays.get(key_of(path))), state)
        nnx.update(self.model, new)

    def _like(self, leaf: Any, array: np.ndarray | None) -> Any:
        return self._cast(leaf) if array is None else jnp.asarray(array, self._cast(leaf).dtype)

    def step(self, batch: Sequence[np.ndarray]) -> np.ndarray:
        """Take one step and return the loss before it."""
        with self.precision(), self.masks.replaying_in_jax():
            given = [self._cast(jnp.asarray(a if a.dtype.kind in "fb" else a.astype(np.int32))) for a in batch]
            if self.is_nnx:
                return as_loss(self.step_function(self.model, self.optimizer, *given), "jax_step")
            result = self.step_function(self.params, self.opt_state, *given)
            if not isinstance(result, tuple) or len(result) != 3:
                raise UsageError("jax_step: it must return (params, opt_state, loss) for a model that is no nnx.Module")
            self.params, self.opt_state, loss = result
            return as_loss(loss, "jax_step")


def _split(path: str, keys: Sequence[str]) -> tuple[str, str]:
    """Return (name of what is kept, parameter) of a path in an optimiser's state: ``0.mu.conv.kernel``."""
    for key in keys:
        if path == key or path.endswith(f".{key}"):
            return path[: -len(key)].rstrip(".").rpartition(".")[2], key
    return path.rpartition(".")[2], ""


def _parameters_of(model: Any) -> Any:
    if isinstance(model, Linen):
        return dict(model.variables)
    return model.params if isinstance(model, Function) else model


def _is_variables(params: Any) -> bool:
    return isinstance(params, Mapping) and "params" in params


def _trained(params: Any, model: Any) -> Any:
    if isinstance(model, Linen):
        return params["params"]
    return params if isinstance(model, Function) else jax.tree.map(lambda x: x if hasattr(x, "dtype") else None, params)
