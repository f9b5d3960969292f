"""Arrays of a bare pytree, or of a user's own JAX layer, for a Linear or a convolution of PyTorch."""

from __future__ import annotations

from dataclasses import replace

from jaxport.parity.layer import Layer
from jaxport.parity.result import Finding

from .rules import PLAIN, permuted, same
from .unit import JaxUnit, Rule, TorchUnit


def guess(layer: Layer, unit: TorchUnit) -> tuple[JaxUnit | None, Finding | None]:
    """Return a layer's arrays as a Linear or convolution, if their shapes leave one layout only.

    The kernel is PyTorch's (out, in, spatial…) or Flax's (spatial…, in, out). Where both fit, its name decides if it is
    ``kernel`` (Flax's) or ``weight`` (PyTorch's); any other is a finding that asks for a map.

    Args:
        layer: of the JAX model, of no class that is known.
        unit: PyTorch's layer at the same path.
    """
    names = {PLAIN.get(name, name): name for name in layer.arrays}
    shapes = unit.signature
    if set(names) != set(shapes) or len(names) != len(layer.arrays):
        return None, None
    fitting = [rule for rule in _layouts(layer, names["weight"]) if rule.shapes[0] == shapes["weight"]]
    named = {"kernel": 1, "weight": 0}.get(names["weight"])
    if len(fitting) == 2 and named is None:
        return None, _ambiguous(layer, names["weight"], unit)
    if not fitting:
        return None, None
    weight = fitting[named or 0] if len(fitting) == 2 else fitting[0]
    others = (same(layer, own, name) for name, own in names.items() if name != "weight")
    return JaxUnit(layer.path, unit.family, (weight, *others), layer.path), None


def _layouts(layer: Layer, name: str) -> tuple[Rule, Rule] | tuple[()]:
    n = len(layer.arrays[name].shape) - 2
    if n < 0:
        return ()
    flax = permuted(layer, name, "weight", (n + 1, n, *range(n)))
    own = same(layer, name, "weight")
    return own, replace(
        flax, text=f"{flax.text}, the only layout that fits" if own.shapes != flax.shapes else flax.text
    )


def _ambiguous(layer: Layer, name: str, unit: TorchUnit) -> Finding:
    slot = unit.slots["weight"]
    key = layer.key(name)
    text = f"{key} {slot.shape} may be laid out as PyTorch's {slot.key}, or as Flax's kernel: nothing tells which"
    fix = f"a map with `{key}: {slot.key}` or `{key}: {slot.key}.T`"
    return Finding("align/ambiguous", "error", text, key, slot.key, fix=fix)
