"""probe: two layers on the same random input, in float64: finds what shapes cannot tell, a transposed square matrix."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxport.parity import tolerances
from jaxport.parity.describe_jax import is_equinox
from jaxport.parity.foreign import Linen
from jaxport.parity.layer import Layer, Pair
from jaxport.parity.result import Finding

from .leaves import cast, fill, leaves
from .rules import layer_unit
from .torch_units import torch_family

_MIDDLE = ("conv", "batchnorm", "groupnorm", "instancenorm")
"""Families whose channels stand in the middle in PyTorch, and last in Flax."""


def probe(jax_layer: Layer, torch_layer: Layer, seed: int = 0) -> Finding | None:
    """Run two layers whose weights have been transferred on one random input, both copied to float64.

    Args:
        jax_layer: a layer of Flax or Equinox with its module.
        torch_layer: the layer that it stands for.
        seed: of the input.

    Returns:
        None if their outputs agree, or if there is no probe for the class (recurrent layers, attention, users' own).
        An "error" if another layout of the weights would make them agree, else a "warning": settings may differ too.
    """
    family = torch_family(torch_layer)
    model = _model_of(jax_layer)
    if model is None or family is None or layer_unit(jax_layer) is None or jax_layer.name == "Einsum":
        return None
    module = copy.deepcopy(torch_layer.module).double().eval()
    x = _input(torch_layer, family, np.random.default_rng(seed))
    theirs = _run_torch(module, x)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        model = cast(model, jnp.float64)
        ours = _run(model, x, family)
        if ours is None or _same(ours, theirs):
            return None
        change = next((text for text, other in _other_layouts(model) if _same(_run(other, x, family), theirs)), None)
    return _finding(jax_layer, torch_layer, ours, theirs, change)


def probe_squares(
    jax_layers: Mapping[str, Layer], torch_layers: Mapping[str, Layer], pairs: Iterable[Pair]
) -> Iterator[Finding]:
    """Probe the layers whose weight has as many rows as columns, and yield the ones that have it in another layout.

    Args:
        jax_layers: path → layer, with the weights that are to be verified.
        torch_layers: the same of PyTorch.
        pairs: which stands for which.
    """
    for pair in pairs:
        ours, theirs = jax_layers.get(pair.jax_path or ""), torch_layers.get(pair.torch_path or "")
        if ours is None or theirs is None or not _is_square(theirs):
            continue
        finding = probe(ours, theirs)
        if finding is not None and finding.rule == "weights/layout":
            yield finding


def _is_square(layer: Layer) -> bool:
    weight = layer.arrays.get("weight")
    return weight is not None and weight.ndim > 1 and weight.shape[0] == weight.shape[1]


def _finding(jax_layer: Layer, torch_layer: Layer, ours: Any, theirs: np.ndarray, change: str | None) -> Finding:
    where = f"{jax_layer.path or 'the model'} and {torch_layer.path or 'the model'}"
    if change is not None:
        text = f"{where} differ on a random input, and agree with the kernel {change}: its layout is wrong"
        return Finding("weights/layout", "error", text, jax_layer.path, torch_layer.path, fix=f"the kernel {change}")
    apart = "shapes " + " and ".join(map(str, (np.shape(ours), theirs.shape)))
    if np.shape(ours) == theirs.shape:
        apart = f"by {np.abs(np.asarray(ours) - theirs).max():.3g}"
    text = f"{where} differ on a random input ({apart}): weights or settings"
    return Finding("weights/probe", "warning", text, jax_layer.path, torch_layer.path)


def _model_of(layer: Layer) -> Any:
    """Return the layer as a model of its own."""
    if isinstance(layer.module, nnx.Module) or is_equinox(layer.module):
        return layer.module
    if layer.kind.startswith("flax.linen.") and layer.module is not None:
        variables: dict[str, dict[str, Any]] = {}
        for name, value in layer.arrays.items():
            variables.setdefault("batch_stats" if name in ("mean", "var") else "params", {})[name] = value
        return Linen(layer.module.clone(parent=None, name=None), variables)
    return None


def _input(layer: Layer, family: str, rng: np.random.Generator) -> np.ndarray:
    """Return an input whose axes are all of different lengths, as far as the layer allows."""
    settings = layer.settings
    if family == "embedding":
        return rng.integers(settings["num_embeddings"], size=(2, 3))
    if family in ("layernorm", "rmsnorm"):
        return rng.standard_normal((2, 3, *settings["normalized_shape"]))
    if family == "linear":
        return rng.standard_normal((3, layer.arrays["weight"].shape[1]))
    if family == "prelu":
        return rng.standard_normal((2, len(layer.arrays["weight"])))
    channels = next(settings[name] for name in ("in_channels", "num_features", "num_channels") if name in settings)
    return rng.standard_normal((2, channels, *_spatial(layer)))


def _spatial(layer: Layer) -> Sequence[int]:
    kernel = layer.settings.get("kernel_size")
    if kernel is None:
        axes = {"1": 1, "2": 2, "3": 3}.get(layer.name[-2:-1], 2)
        return range(4, 4 + axes)
    dilation = layer.settings["dilation"]
    return [d * (k - 1) + 3 + axis for axis, (k, d) in enumerate(zip(kernel, dilation, strict=True))]


def _run_torch(module: Any, x: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


def _run(model: Any, x: np.ndarray, family: str) -> Any:
    """Return the JAX layer's output in PyTorch's axes, or None if it cannot be called with such an input."""
    middle = family.startswith(_MIDDLE) and not is_equinox(model)
    arguments = {"use_running_average": True} if family == "batchnorm" else {}
    inputs = jnp.moveaxis(jnp.asarray(x), 1, -1) if middle else jnp.asarray(x)
    try:
        output = _call(model, inputs, family, arguments)
    except Exception:  # whatever a library raises for an input that this layer, as it was set up, does not take
        return None
    return jnp.moveaxis(output, -1, 1) if middle else output


def _call(model: Any, x: Any, family: str, arguments: dict[str, Any]) -> Any:
    if isinstance(model, Linen):
        output = model.module.apply(model.variables, x, **arguments)
        return output.reshape(len(x), -1) if family == "linear" else output
    if isinstance(model, nnx.Module):
        into = getattr(model, "in_features", None)
        x = x.reshape(-1, *into) if family == "linear" and isinstance(into, tuple) else x
        output = model(x, **arguments)  # type: ignore[operator]
        return output.reshape(len(x), -1) if family == "linear" else output
    return _mapped(model, x, family)


def _mapped(model: Any, x: Any, family: str) -> Any:
    """Run an Equinox layer, which takes one example: one index, one vector, one picture."""
    depth = {"embedding": x.ndim, "linear": x.ndim - 1}.get(family, 1)
    if family in ("layernorm", "rmsnorm"):
        depth = x.ndim - len(model.shape)
    run = model
    for _ in range(depth):
        run = jax.vmap(run)
    return run(x)


def _same(ours: Any, theirs: np.ndarray) -> bool:
    if ours is None or np.shape(ours) != theirs.shape:
        return False
    return bool(np.abs(np.asarray(ours) - theirs).max() <= tolerances.FLOAT64_RTOL * np.abs(theirs).max())


def _other_layouts(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the model with its kernel in each other layout that has the same shape."""
    name = next((name for name in leaves(model) if name in ("kernel", "weight")), None)
    if name is None:
        return
    kernel = np.asarray(leaves(model)[name])
    flax = name == "kernel"
    spatial = tuple(range(kernel.ndim - 2)) if flax else tuple(range(2, kernel.ndim))
    channels = (kernel.ndim - 2, kernel.ndim - 1) if flax else (0, 1)
    changes = {"transposed": np.swapaxes(kernel, *channels) if kernel.ndim > 1 else kernel}
    if spatial:
        changes["turned round in space"] = np.flip(kernel, spatial)
        changes["transposed and turned round in space"] = np.flip(np.swapaxes(kernel, *channels), spatial)
    if len(spatial) == 2:
        changes["with height and width exchanged"] = np.swapaxes(kernel, *spatial)
    for text, value in changes.items():
        if value.shape == kernel.shape:
            yield text, fill(model, {name: value})
