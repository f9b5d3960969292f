"""What of a traced program decides how it is compiled and dispatched."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from jaxport.nn.conv_cpu import PRIMITIVE_PREFIX

# jaxport's own convolutions of up to so many multiplications in a step may stand in a loop on a CPU: the step of
# lenet32 has 10⁶ and takes 0.8 ms, a call of it and an epoch's end another 0.5 to 1.
_SHORT = 1 << 21
# A product is narrow where two of its three sizes are at most this, and the third is not beyond what was measured.
_NARROW, _LONGEST = 24, 1 << 19


def has_convolution(jaxpr: Any) -> bool:
    """Return whether a traced program holds a convolution, JAX's or ours, at any depth."""
    return any(_is_convolution(equation) for equation in _equations(jaxpr))


def has_long_convolution(jaxpr: Any) -> bool:
    """Return whether it holds one of XLA's own, or of ours so many multiplications that a call costs little beside."""
    found = [equation for equation in _equations(jaxpr) if _is_convolution(equation)]
    own = [equation for equation in found if equation.primitive.name.startswith(PRIMITIVE_PREFIX)]
    return len(own) < len(found) or sum(map(_multiplications, own)) > _SHORT


def has_narrow_products(jaxpr: Any) -> bool:
    """Return whether it holds products, all of them narrow, as those of a few features are."""
    products = [_sizes(equation) for equation in _equations(jaxpr) if equation.primitive.name == "dot_general"]
    products = [sizes for sizes in products if sizes[1] > 1]  # of two vectors is a sum, which YNN does well
    return all(middle <= _NARROW and longest <= _LONGEST for _, middle, longest in products) and bool(products)


def _equations(jaxpr: Any) -> Iterator[Any]:
    """Yield the equations of a program and of those in it."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield equation
        for part in jax.tree.leaves(equation.params, is_leaf=_is_program):
            if _is_program(part):
                yield from _equations(part)


def _is_program(part: Any) -> bool:
    return isinstance(part, (Jaxpr, ClosedJaxpr))


def _is_convolution(equation: Any) -> bool:
    name = equation.primitive.name
    return name == "conv_general_dilated" or name.startswith(PRIMITIVE_PREFIX)


def _multiplications(equation: Any) -> int:
    """Return how many one of the maps (x, w) → y, (g, w) → x, (x, g) → w takes: the weight, once for each output."""
    images, second = (variable.aval for variable in equation.invars)
    weight = equation.outvars[0].aval if equation.primitive.name.endswith("_weight") else second
    return images.shape[0] * math.prod(equation.params["geometry"].output) * weight.size


def _sizes(equation: Any) -> list[int]:
    """Return the three sizes of a product, the least first."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    left, right = (variable.aval for variable in equation.invars)
    inner = math.prod(left.shape[axis] for axis in contracted)
    return sorted((inner, left.size // max(inner, 1), right.size // max(inner, 1)))
