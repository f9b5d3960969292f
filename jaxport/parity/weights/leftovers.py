"""What of two models' weights no layer is paired for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from flax import nnx

from jaxport.parity.layer import Layers
from jaxport.parity.result import Finding

from .torch_units import torch_family
from .unit import UNCOUNTED

if TYPE_CHECKING:
    from jaxport.parity.align import Alignment


def leftover_findings(
    jax: Layers, torch: Layers, alignment: Alignment, tied: Mapping[str, str], used: set[str]
) -> Iterator[Finding]:
    """Yield a finding for every leaf and key of the layers that found no partner, and for tied tensors."""
    leaves = {layer.key(name): layer for layer in jax.values() for name in layer.arrays}
    keys = {layer.key(name): (layer, name) for layer in torch.values() for name in layer.arrays}
    yield from _leaves(leaves, alignment)
    seen = {slot.key for pair in alignment.units for slot in pair.torch.slots.values()}
    for key, (layer, name) in keys.items():
        if key in seen:
            continue
        if tied.get(key) in used:
            text = f"{key} is the tensor {tied[key]} too, which is transferred"
            yield Finding("weights/tied", "info", text, "", key)
        elif torch_family(layer) is None and name in getattr(layer.module, "_buffers", {}):
            text = f"{key} is not used: a buffer of {layer.kind}; if it is no constant, name it in a map"
            yield Finding("weights/unused-buffer", "warning", text, "", key)
        elif name != UNCOUNTED:
            text = f"{key} is not used: no layer of the JAX model was found for it"
            yield Finding("weights/unused-key", "error", text, "", key, fix="name the two in a map, or add the layer")
    for key in (key for key in tied if key in used):
        text = f"{key} and {tied[key]} are one tensor in PyTorch and two arrays in JAX: training would part them"
        yield Finding("weights/tied", "warning", text, "", key)


def _leaves(leaves: Mapping[str, object], alignment: Alignment) -> Iterator[Finding]:
    paired = {key for pair in alignment.units for key in pair.jax.keys} | set(alignment.left_out)
    for key, layer in leaves.items():
        if key in paired:
            continue
        if _is_constant(key, layer):
            text = f"{key} keeps its own value: it is no parameter, and no tensor of PyTorch's was found for it"
            yield Finding("weights/constant", "info", text, key)
        else:
            text = f"{key} is not filled: no layer of the PyTorch model was found for it"
            yield Finding("weights/unfilled-leaf", "error", text, key, fix="name the two in a map, or add the layer")


def _is_constant(key: str, layer: object) -> bool:
    """Say whether an nnx module keeps it as something else than a parameter or a statistic."""
    module = getattr(layer, "module", None)
    if not isinstance(module, nnx.Module):
        return False
    value = vars(module).get(key.rpartition(".")[2])
    return not isinstance(value, nnx.Param | nnx.BatchStat)
