"""Setup: both models in both precisions, from the same weights, on the same inputs, before anything is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from jaxport.errors import UsageError

from . import views
from .align import Alignment, align
from .describe_jax import describe_jax
from .layer import Layers, Pair
from .layout import find_flattened, lay_out
from .observe_jax import JaxModel
from .record import nudge
from .reference_model import Reference
from .result import Finding
from .seen import Store
from .subjects import subject
from .weights import Plan, cast, plan

Arrays = dict[str, np.ndarray]
_CHANNELS = ("Conv", "BatchNorm", "InstanceNorm", "GroupNorm", "Pool", "Upsample", "Dropout2d")


@dataclass
class Setup:
    """What a comparison works on.

    Attributes:
        jax64: the JAX model in float64, None if that is not asked for.
        jax32: the same in float32.
        torch64: PyTorch's model in float64: the truth.
        torch32: the same in float32.
        jax_layers: what is known of the JAX model's modules.
        torch_layers: the same of PyTorch's.
        alignment: which stands for which.
        plan: how weights and gradients go from one to the other.
        inputs: PyTorch's arguments, exact in float32.
        input_axes: how each lies in JAX; None where the JAX model gets arguments of its own.
        jax_inputs: the JAX model's arguments.
        last: whether the JAX model has its channels last.
        flatten: Linear of PyTorch → (C, *spatial), where JAX flattens (*spatial, C).
        findings: what was found on the way.
        weights: whose weights both have: "torch", "jax" or None.
    """

    jax64: JaxModel | None
    jax32: JaxModel | None
    torch64: Reference
    torch32: Reference
    jax_layers: Layers
    torch_layers: Layers
    alignment: Alignment
    plan: Plan
    inputs: list[np.ndarray]
    jax_inputs: list[np.ndarray] = field(default_factory=list)
    input_axes: list[views.Axes] | None = None
    last: bool = False
    flatten: dict[str, tuple[int, ...]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    weights: str | None = "torch"

    @property
    def jax_models(self) -> list[JaxModel]:
        """Those that are there, float64 first."""
        return [model for model in (self.jax64, self.jax32) if model is not None]

    @property
    def pairs(self) -> dict[str, Pair]:
        """PyTorch's path → pair, of those that stand for one module each."""
        found: dict[str, list[Pair]] = {}
        for pair in self.alignment.pairs:
            if pair.torch_path and pair.jax_path:
                found.setdefault(pair.torch_path, []).append(pair)
        return {path: pairs[0] for path, pairs in found.items() if len(pairs) == 1}

    @property
    def sources(self) -> dict[str, str]:
        """Key of PyTorch's state dict → path of the JAX leaf that it is made of."""
        found = {key: entry.jax[0] for entry in self.plan.entries for key in entry.torch}
        return found | {key: found[other] for key, other in self.plan.tied.items() if other in found}

    def mask_of_jax(self, mask: np.ndarray) -> np.ndarray:
        """Return a dropout's mask in JAX's order of features, where it drops of what was flattened."""
        shapes = [shape for shape in self.flatten.values() if mask.ndim > 1 and mask.shape[-1] == np.prod(shape)]
        return views.flattened(mask, shapes[0]) if shapes else mask

    def prefers_last(self, path: str, ndim: int) -> bool:
        """Whether channels are last in JAX, most likely, in a tensor at a PyTorch module.

        Of three axes they are where a layer has channels; elsewhere (N, L, features) are the same on both sides.
        """
        name = self.torch_layers[path].name if path in self.torch_layers else ""
        return self.last and (ndim > 3 or any(part in name for part in _CHANNELS))

    def decides(self, path: str) -> bool:
        """Whether the outputs of a PyTorch module count: it has parameters of its own and nothing but them inside."""
        layer = self.torch_layers[path]
        jax_layer = self.jax_layers.get(self.pairs[path].jax_path)
        whole = layer.kind.startswith("torch.nn.") and layer.name not in ("Sequential", "ModuleList", "ModuleDict")
        composed = layer.children and not (whole and layer.arrays)
        return bool(layer.arrays) and not composed and jax_layer is not None


def as_arrays(inputs: Any, name: str = "inputs") -> list[np.ndarray]:
    """Return a model's arguments as arrays; floats are rounded to float32, in which both precisions have them exactly.

    Raises:
        UsageError: there are none, or one is not an array of numbers.
    """
    given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    if not given:
        raise UsageError(f"{name}: at least one array is needed")
    arrays = []
    for i, value in enumerate(given):
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        if array.dtype.kind not in "fiub":
            raise UsageError(f"{name}[{i}]: an array of numbers is needed, got {type(value).__name__}")
        arrays.append(array.astype(np.float32) if array.dtype.kind == "f" else array)
    return arrays


def prepare(
    jax_model: Any,
    references: tuple[Reference, Reference],
    inputs: Any,
    *,
    weights: str | None,
    mapping: Mapping[str, str | None] | None,
    dtypes: Sequence[str],
    jax_inputs: Any = None,
    flatten: Mapping[str, tuple[int, ...]] | None = None,
    randomise: int | None = None,
    kept: Store | None = None,
) -> Setup:
    """Bring both models to the same weights and the same inputs.

    Args:
        jax_model: the JAX model.
        references: PyTorch's, in float64 and in float32.
        inputs: its arguments, an array or several.
        weights: whose weights both get: "torch", "jax", or None if they have the same already.
        mapping: JAX's path → PyTorch's, for modules that are not aligned by themselves.
        dtypes: "float64" and "float32", or one of them.
        jax_inputs: the JAX model's arguments, where they are not PyTorch's with the channels last.
        flatten: Linear of PyTorch → (C, *spatial) that JAX flattens as (*spatial, C); None to find out.
        randomise: seed of what replaces a degenerate state on both sides; None leaves it.
        kept: where what PyTorch's layers give in evaluation mode is put, if it will be compared without gradients.

    Raises:
        UsageError: an argument is wrong, or the JAX model does not take the inputs.
    """
    arrays = as_arrays(inputs)
    torch64, torch32 = references
    subject(jax_model)
    with jax.enable_x64(True):
        jax64 = JaxModel(cast(jax_model, np.float64), np.float64) if "float64" in dtypes else None
    jax32 = JaxModel(jax_model, np.float32) if "float32" in dtypes else None
    given = None if jax_inputs is None else as_arrays(jax_inputs, "jax_inputs")
    jax_layers = _described(jax_model, given or arrays)
    torch_layers = torch32.layers()
    alignment = align(jax_layers, torch_layers, mapping)
    setup = Setup(
        jax64=jax64,
        jax32=jax32,
        torch64=torch64,
        torch32=torch32,
        jax_layers=jax_layers,
        torch_layers=torch_layers,
        alignment=alignment,
        plan=plan(jax_layers, torch_layers, alignment, flatten),
        inputs=arrays,
        flatten=dict(flatten or {}),
        weights=weights,
    )
    if randomise is not None and weights is None:
        raise UsageError('randomise: it needs weights that go to the other side: weights="torch" or "jax"')
    state = _state(setup, weights, randomise)
    fill(setup, weights, state)
    lay_out(setup, given, kept)
    if flatten is None:
        find_flattened(setup, lambda: fill(setup, weights, state))
    setup.findings += [*setup.alignment.findings, *setup.plan.findings]
    return setup


def _described(jax_model: Any, arrays: list[np.ndarray]) -> Layers:
    """Return the JAX model's modules; a Linen module is traced on the inputs as they are, or with the channels last."""
    moved = [views.moved_last(array) if array.dtype.kind == "f" else array for array in arrays]
    for inputs in (arrays, moved):
        try:
            return describe_jax(jax_model, inputs)
        except UsageError:
            raise
        except Exception:  # whatever a stranger's model raises on arguments of another layout
            continue
    return describe_jax(jax_model)


def _state(setup: Setup, weights: str | None, randomise: int | None) -> Arrays:
    """Return the PyTorch state that all models get."""
    if weights not in ("torch", "jax", None):
        raise UsageError(f'weights: "torch", "jax" or None, got {weights!r}')
    state = setup.torch32.state(copied=False)
    if weights == "jax":
        own = {path: np.asarray(array) for path, array in setup.jax_models[-1].arrays.items()}
        state |= setup.plan.to_torch(own)
    if randomise is None:
        return state
    from . import guards

    return guards.randomise(state, setup.torch_layers, randomise)


def fill(setup: Setup, weights: str | None, state: Arrays) -> None:
    """Give all models the same weights, exact in float32."""
    for model in (setup.torch64, setup.torch32):
        model.load(state)
    if weights is not None:
        for jax_side in setup.jax_models:
            jax_side.load(setup.plan.leaves(_wide(state) if jax_side.dtype == np.float64 else state))


def _wide(state: Arrays) -> Arrays:
    """Return the state in float64, so that what is made of two arrays (b_ih + b_hh) is not rounded on the way."""
    return {key: value.astype(np.float64) if value.dtype.kind == "f" else value for key, value in state.items()}


def nudged(setup: Setup, rng: np.random.Generator) -> tuple[Arrays, list[np.ndarray]]:
    """Return PyTorch's weights and inputs with the last bit changed at random."""
    state = {key: nudge(value, rng) for key, value in setup.torch32.state().items()}
    return state, [nudge(array, rng) for array in setup.inputs]
