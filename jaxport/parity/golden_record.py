"""record: run a PyTorch model and keep everything that a JAX model is to be checked against, in one file."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from jaxport.errors import UsageError

from . import golden_file, preflight, tolerances
from .describe_torch import describe_torch
from .golden import DTYPES, output_name
from .golden_arguments import as_arrays, check_arguments, hidden_dropouts, tried, wanted
from .judge import measure
from .layer import Layer
from .observe_torch import TorchModel
from .record import nudge
from .seen import Pass, Store
from .weights.find_flatten import find_flatten

_TORCH = {"float64": torch.float64, "float32": torch.float32}


def record(
    model: torch.nn.Module | Callable[..., Any],
    inputs: Any,
    path: str | os.PathLike[str],
    *,
    gradients: bool = True,
    dtypes: Sequence[str] = DTYPES,
    layers: bool | Collection[str] = True,
    modes: Sequence[str] = ("eval",),
    draws: int = tolerances.ROUNDING_DRAWS,
    seed: int = 0,
    title: str = "",
    memory: int = 2 << 30,
) -> None:
    """Run a PyTorch model and write inputs, state, outputs of all modules, gradients and buffers to one file.

    Weights and inputs are rounded to float32 first, so that both precisions start from the same numbers. In float32 the
    file has, for each array, the run that is furthest from float64: of the inputs as they are, and of `draws` more
    whose last bits are changed at random. Gradients are those of Σ cotangent · output for random cotangents, and
    dropouts in training mode keep what random masks say: both are in the file.

    Args:
        model: a module, which is not changed, or a function of the inputs.
        inputs: its arguments, an array or a tuple of them (NumPy or PyTorch).
        path: the file, which ends in .safetensors; it appears when it is complete.
        gradients: whether to record gradients of parameters, inputs and activations.
        dtypes: "float64" and "float32", or float64 alone: then float32 cannot be checked.
        layers: whether to record the outputs of all modules, or of which: paths, with * and ?.
        modes: "eval", "train" or both. In training mode the buffers after the pass are recorded too.
        draws: how many more runs in float32 tell PyTorch's own rounding.
        seed: of cotangents, masks and draws.
        title: what was recorded; the class's name if not given.
        memory: bytes of arrays that are kept in memory; the rest waits in a temporary folder.

    Raises:
        UsageError: an argument is wrong, the model does not take the inputs, or a dropout cannot be replayed.
        WeightsError: the file cannot be written.
    """
    check_arguments(path, dtypes, modes, draws)
    module = model if isinstance(model, torch.nn.Module) else _Function(model)
    narrow, wide = TorchModel(module, torch.float32), TorchModel(module, torch.float64)
    state, xs = _state(narrow), as_arrays(inputs)
    wide.load(state)
    described = describe_torch(module)
    watch = {path for path in described if path and wanted(path, layers)}
    arrays = {f"input/{i}": array for i, array in enumerate(xs)} | {f"state/{key}": v for key, v in state.items()}
    passes: dict[str, Any] = {}
    store = Store(memory)
    try:
        for mode in modes:
            run = _ModeRun(wide, narrow if "float32" in dtypes else None, xs, mode, watch, store, seed)
            found, passes[mode] = run.record(gradients, draws)
            arrays |= found
        manifest = {
            "flatten": find_flatten(narrow.module, narrow.tensors(xs)),
            "title": title or getattr(model, "__name__", type(model).__name__),
            "environment": preflight.environment(),
            "seed": seed,
            "draws": draws,
            "modes": list(modes),
            "dtypes": list(dtypes),
            "state": list(state),
            "modules": [_described(layer) for layer in described.values()],
            "passes": passes,
        }
        golden_file.write(path, arrays, manifest)
    finally:
        store.close()


def _state(model: TorchModel) -> dict[str, np.ndarray]:
    """Return the state dict; tied tensors are one and the same array."""
    state = model.state()
    first: dict[int, str] = {}
    live = model.module.state_dict(keep_vars=True)
    return {key: state[first.setdefault(id(live[key]), key)] for key in state}


class _Function(torch.nn.Module):
    """A function as a module without parameters."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Call it."""
        return self.function(*inputs)


class _ModeRun:
    """One mode of a model, run in float64 and, if `narrow` is given, in float32."""

    def __init__(
        self,
        wide: TorchModel,
        narrow: TorchModel | None,
        inputs: list[np.ndarray],
        mode: str,
        watch: set[str],
        store: Store,
        seed: int,
    ) -> None:
        self.wide, self.narrow, self.inputs = wide, narrow, inputs
        self.mode, self.watch, self.store, self.seed = mode, watch, store, seed
        self.persistent = set(wide.state())
        self.rng = np.random.default_rng(seed)
        self.masks = tried(wide.draw_masks, inputs, self.rng) if mode == "train" else []
        if mode == "train" and (hidden := {*wide.hidden, *hidden_dropouts(wide.module)}):
            names = ", ".join(sorted(hidden))
            raise UsageError(f"modes: a dropout inside {names} cannot be recorded; set it to 0, or record eval alone")

    def record(self, gradients: bool, draws: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the arrays of the mode by name, and what the manifest says of them."""
        trial = tried(self.wide.run, self.inputs, self.mode == "train", masks=self.masks)
        shapes = [out.shape for out in trial.outputs]
        cotangents = [self.rng.standard_normal(shape).astype(np.float32) for shape in shapes] if gradients else None
        truth = self._run(self.wide, self.inputs, cotangents)
        arrays = self._named("float64", truth)
        arrays |= {f"{self.mode}/mask/{i}": mask for i, mask in enumerate(self.masks)}
        arrays |= {f"{self.mode}/cotangent/{i}": value for i, value in enumerate(cotangents or ())}
        if self.narrow is not None:
            arrays |= self._rounded(self.narrow, self._named("float64", truth), cotangents, draws)
        return arrays, self._manifest(truth)

    def _run(self, model: TorchModel, inputs: list[np.ndarray], cotangents: list[np.ndarray] | None) -> Pass:
        training = self.mode == "train"
        options: dict[str, Any] = {"watch": self.watch, "masks": self.masks, "store": self.store}
        return model.run(inputs, training, cotangents=cotangents, **options)

    def _rounded(
        self, model: TorchModel, truth: Mapping[str, np.ndarray], cotangents: list[np.ndarray] | None, draws: int
    ) -> dict[str, np.ndarray]:
        """Return for each array the float32 run that is furthest from float64."""
        own = model.state()
        furthest = self._named("float32", self._run(model, self.inputs, cotangents))
        apart = {name: _apart(name, array, truth) for name, array in furthest.items()}
        for number in range(draws):
            rng = np.random.default_rng([self.seed, number])
            model.load({key: nudge(value, rng) for key, value in own.items()})
            drawn = self._named("float32", self._run(model, [nudge(x, rng) for x in self.inputs], cotangents))
            for name, array in drawn.items():
                if (error := _apart(name, array, truth)) > apart[name]:
                    furthest[name], apart[name] = array, error
        model.load(own)
        return furthest

    def _named(self, dtype: str, seen: Pass) -> dict[str, np.ndarray]:
        place = f"{self.mode}/{dtype}"
        found: dict[str, np.ndarray | None] = {}
        for key, call in seen.calls.items():
            for kind, values in (("argument", call.inputs), ("output", call.outputs)):
                found |= {f"{place}/{kind}/{output_name(key, i)}": value for i, value in enumerate(values)}
        for key, values in seen.activation_gradients.items():
            found |= {f"{place}/activation_gradient/{output_name(key, i)}": value for i, value in enumerate(values)}
        found |= {f"{place}/gradient/{key}": value for key, value in seen.gradients.items()}
        found |= {f"{place}/input_gradient/{i}": value for i, value in enumerate(seen.input_gradients)}
        found |= {f"{place}/buffer/{key}": seen.buffers[key] for key in self._buffers(seen)}
        return {name: value for name, value in found.items() if value is not None}

    def _buffers(self, seen: Pass) -> list[str]:
        """Return the buffers that a pass may change and the state dict has."""
        return [key for key in seen.buffers if key in self.persistent] if self.mode == "train" else []

    def _manifest(self, seen: Pass) -> dict[str, Any]:
        return {
            "calls": [[*key, len(call.inputs), len(call.outputs)] for key, call in seen.calls.items()],
            "ended": [list(key) for key in seen.ended],
            "gradients": list(seen.gradients),
            "input_gradients": len(seen.input_gradients),
            "activation_gradients": [[*key, len(values)] for key, values in seen.activation_gradients.items()],
            "buffers": self._buffers(seen),
        }


def _described(layer: Layer) -> dict[str, Any]:
    return {
        "path": layer.path,
        "kind": layer.kind,
        "settings": _plain(dict(layer.settings)),
        "arrays": list(layer.arrays),
        "children": layer.children,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _apart(name: str, array: np.ndarray, truth: Mapping[str, np.ndarray]) -> float:
    true = truth.get(name.replace("/float32/", "/float64/", 1))
    if true is None or true.shape != array.shape or array.dtype.kind != "f":
        return 0.0
    return measure(array, true).max_abs
