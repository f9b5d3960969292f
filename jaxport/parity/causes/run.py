"""A PyTorch layer computed again, in float64, as it is or changed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxport.parity.layer import Layer

from .case import Case, Input

_LARGE = 8_000_000
"""Weights of a layer that is computed again: each hypothesis has a copy of its own, in float64."""


@dataclass(frozen=True)
class Variant:
    """A layer with one thing done as a JAX port may do it.

    Attributes:
        rule: id of the finding that names it.
        message: what is done.
        run: the layer's function under this hypothesis, from its inputs (NumPy, float64) to its output.
        fix: what to write instead; "" takes the trap's.
    """

    rule: str
    message: str
    run: Callable[..., np.ndarray]
    fix: str = ""


@dataclass
class Runner:
    """A copy of a PyTorch layer in float64, without hooks, that NumPy arrays go through.

    Attributes:
        module: the copy.
        keywords: what it is given by name.
    """

    module: Any
    keywords: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """Return the first output."""
        import torch

        # An embedding with max_norm scales its rows in place.
        module = copy.deepcopy(self.module) if getattr(self.module, "max_norm", None) else self.module
        with torch.no_grad():
            out = module(*(tensor(x) for x in inputs), **{k: tensor(v) for k, v in self.keywords.items()})
        while isinstance(out, tuple | list):
            out = out[0]
        return out.detach().numpy()

    def changed(self, **attributes: Any) -> Runner:
        """Return another copy with some attributes set; a dotted name's dot is written ``__``."""
        module = copy.deepcopy(self.module)
        for name, value in attributes.items():
            set_attribute(module, name, value)
        return Runner(module, self.keywords)

    def array(self, name: str) -> np.ndarray:
        """Return a parameter or buffer."""
        return getattr(self.module, name).detach().numpy()

    def has(self, name: str) -> bool:
        """Return whether it has a parameter or buffer of that name that is not None."""
        return getattr(self.module, name, None) is not None


def tensor(array: np.ndarray) -> Any:
    """Return a tensor in PyTorch's usual wide dtypes."""
    import torch

    array = np.asarray(array)
    kind = np.bool_ if array.dtype.kind == "b" else np.int64 if array.dtype.kind in "iu" else np.float64
    return torch.from_numpy(np.array(array, dtype=kind))


def set_attribute(module: Any, name: str, value: Any) -> None:
    """Set a setting, or the values of a parameter or buffer."""
    import torch

    if isinstance(getattr(module, name, None), torch.Tensor) and isinstance(value, np.ndarray):
        getattr(module, name).data = tensor(value)
    else:
        setattr(module, name, value)


def runner(layer: Layer | None, case: Case, own: bool) -> Runner | None:
    """Return a layer's copy; `own` says that it is the case's own layer, whose arrays and keywords the case has."""
    import torch

    if layer is None or not isinstance(layer.module, torch.nn.Module):
        return None
    if sum(p.numel() for p in layer.module.parameters()) > _LARGE:
        return None
    module = copy.deepcopy(layer.module)
    for part in module.modules():
        for hooks in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
            getattr(part, hooks).clear()
        part.__dict__.pop("forward", None)  # a replaced forward (a dropout that is replayed) is not the layer's own
    module = module.double().train(case.training)
    for name, array in (case.arrays if own else {}).items():
        target = module
        *parts, leaf = name.split(".")
        for part in parts:
            target = getattr(target, part)
        set_attribute(target, leaf, np.asarray(array))
    return Runner(module, case.keywords if own else {})


def as_inputs(value: Input) -> tuple[np.ndarray, ...]:
    """Return a case's input as a tuple."""
    return value if isinstance(value, tuple) else () if value is None else (value,)
