"""One training step of either framework as its user wrote it, from a state that can be read and set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx

from jaxport.errors import UsageError

from .foreign import Function, Linen
from .observe_torch import TorchModel, _Dropout, to_numpy
from .record import Arrays, Snapshot
from .recorder import dropout_rate, values_of
from .subjects import key_of
from .views import find_axes

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


class Masks:
    """The dropout masks of one step: drawn by the first model that steps, replayed by the others."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.drawn: list[np.ndarray] = []

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Let PyTorch's model draw."""
        self.drawn = []

        def draw(x: torch.Tensor, p: float) -> np.ndarray:
            self.drawn.append(self.rng.random(tuple(x.shape)) >= p)
            return self.drawn[-1]

        with _Dropout(draw):
            yield

    @contextmanager
    def replaying(self) -> Iterator[None]:
        """Give PyTorch's model the masks that were drawn."""
        rest = iter(self.drawn)
        with _Dropout(lambda x, p: next(rest)):
            yield

    @contextmanager
    def replaying_in_jax(self) -> Iterator[None]:
        """Give every dropout layer of Flax and Equinox its mask: by number, fetched when the step runs."""
        classes: list[type] = [nnx.Dropout, flax.linen.Dropout, *_equinox_dropout()]
        originals = [(cls, cls.__call__) for cls in classes]
        number = 0

        def replaced(cls: type, original: Any) -> Any:
            def __call__(layer: Any, *args: Any, **kwargs: Any) -> Any:
                nonlocal number
                rate = dropout_rate(layer, args, kwargs, True)
                if not rate or not self.drawn:
                    return original.__get__(layer, cls)(*args, **kwargs)
                x = values_of((args, kwargs))[0]
                mine, number = number % len(self.drawn), number + 1
                axes = find_axes(x.shape, self.drawn[mine].shape)
                if axes is None:
                    raise UsageError(f"dropout: shape {x.shape}, PyTorch's number {mine} has {self.drawn[mine].shape}")
                shape = jax.ShapeDtypeStruct(x.shape, jnp.bool_)
                mask = jax.pure_callback(lambda _: np.transpose(self.drawn[mine], axes), shape, jnp.zeros(()))
                return x * (mask.astype(x.dtype) / (1.0 - rate))

            return __call__

        try:
            for cls, original in originals:
                cls.__call__ = replaced(cls, original)  # type: ignore[method-assign]
            yield
        finally:
            for cls, original in originals:
                cls.__call__ = original  # type: ignore[method-assign]


def _equinox_dropout() -> list[type]:
    import sys

    equinox = sys.modules.get("equinox")
    return [equinox.nn.Dropout] if equinox is not None else []


class TorchTrainer(TorchModel):
    """A copy of PyTorch's model with its optimiser and its step.

    Args:
        module: the model.
        dtype: its precision.
        optimizer: returns the optimiser of the parameters it is given.
        step: ``step(model, optimizer, *batch)`` takes one step and returns the loss before it.
        masks: of the dropouts.
    """

    def __init__(
        self, module: torch.nn.Module, dtype: torch.dtype, optimizer: Callable[..., Any], step: Any, masks: Masks
    ) -> None:
        super().__init__(module, dtype)
        self.optimizer = optimizer(self.module.parameters())
        self.step_function, self.masks = step, masks
        self.keys = {parameter: name for name, parameter in self.module.named_parameters()}
        self.steps = 0

    @property
    def rate(self) -> float:
        """The largest learning rate."""
        return max(float(group.get("lr", 0.0)) for group in self.optimizer.param_groups)

    def step(self, batch: Sequence[np.ndarray], first: bool = False) -> np.ndarray:
        """Take one step in training mode; the first model to do so draws the dropouts' masks."""
        self.module.train()
        with self.masks.drawing() if first else self.masks.replaying():
            loss = self.step_function(self.module, self.optimizer, *self.tensors(batch))
        self.steps += 1
        return _as_loss(loss, "torch_step")

    def gradients(self) -> dict[str, np.ndarray | None]:
        """Return what the last step left as gradients."""
        return {key: None if p.grad is None else to_numpy(p.grad) for p, key in self.keys.items() if p.requires_grad}

    def snapshot(self) -> Snapshot:
        """Return the training state."""
        kept: dict[str, Arrays] = {}
        for parameter, state in self.optimizer.state.items():
            for name, value in state.items():
                if isinstance(value, torch.Tensor):
                    kept.setdefault(name, {})[self.keys[parameter]] = to_numpy(value)
        return Snapshot(self.steps, self.state(), kept)

    def restore(self, state: Snapshot) -> None:
        """Go back to a training state."""
        self.load(state.params)
        self.steps = state.steps
        self.optimizer.state.clear()
        for parameter, key in self.keys.items():
            for name, arrays in state.optimizer.items():
                if key in arrays:
                    self.optimizer.state[parameter][name] = torch.from_numpy(np.array(arrays[key]))


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
                return _as_loss(self.step_function(self.model, self.optimizer, *given), "jax_step")
            result = self.step_function(self.params, self.opt_state, *given)
            if not isinstance(result, tuple) or len(result) != 3:
                raise UsageError("jax_step: it must return (params, opt_state, loss) for a model that is no nnx.Module")
            self.params, self.opt_state, loss = result
            return _as_loss(loss, "jax_step")


def _as_loss(loss: Any, name: str) -> np.ndarray:
    value = to_numpy(loss) if isinstance(loss, torch.Tensor) else np.asarray(loss)
    if value.size != 1 or value.dtype.kind != "f":
        raise UsageError(f"{name}: it must return the loss, a number; got {value.dtype} of shape {value.shape}")
    return value.reshape(())


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
