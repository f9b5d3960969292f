"""The three bilinear maps of a convolution as JAX primitives, each the transpose of the others.

y = x ∗ w, and its transposes ∂x = g ∗ᵀ w and ∂w = x ∗ᵀ g. Whoever defines them says how each is computed; their
derivatives of every order are these same maps, computed that way, and every JAX transformation works.

Arrays are channels last: x (N, *size, C), w (*kernel, C, O), g and y (N, *output, O).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from . import conv_onednn

PRIMITIVE_PREFIX = "jaxport_conv"
"""Begins the names of the primitives: with it a program that holds one is recognised."""

Ints = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


class Axis(NamedTuple):
    """One spatial axis of a convolution: its size n, kernel k, stride s, padding, dilation d, and the output's size."""

    n: int
    k: int
    s: int
    pad: tuple[int, int]
    d: int
    out: int


class Geometry(NamedTuple):
    """The static part of a convolution, a number for each spatial axis.

    Attributes:
        size: of the input.
        kernel: its size.
        stride: step between windows.
        pads: (before, after).
        dilation: step between kernel elements.
    """

    size: Ints
    kernel: Ints
    stride: Ints
    pads: Pads
    dilation: Ints

    @property
    def output(self) -> Ints:
        """The output's size: ⌊(n + before + after - d·(k - 1) - 1) / s⌋ + 1."""
        axes = zip(self.size, self.kernel, self.stride, self.pads, self.dilation, strict=True)
        return tuple((n + sum(pad) - d * (k - 1) - 1) // s + 1 for n, k, s, pad, d in axes)

    def axes(self) -> Iterator[Axis]:
        """Yield the spatial axes."""
        return map(Axis, self.size, self.kernel, self.stride, self.pads, self.dilation, self.output)


Map = Callable[..., jax.Array]


def define_maps(name: str, forward: Map, input_gradient: Map, weight_gradient: Map, *, depthwise: bool) -> list[Map]:
    """Return y(x, w), ∂x(g, w) and ∂w(x, g), computed by the given functions, whose last argument is the geometry.

    With `depthwise` each channel has its own kernel, w (*kernel, 1, C), and the shapes follow.
    """
    forward_p = _primitive(name, forward, lambda x, w, geo: (x.shape[0], *geo.output, w.shape[-1]))
    input_p = _primitive(
        f"{name}_input",
        input_gradient,
        lambda g, w, geo: (g.shape[0], *geo.size, g.shape[-1] if depthwise else w.shape[-2]),
    )
    weight_p = _primitive(
        f"{name}_weight",
        weight_gradient,
        lambda x, g, geo: (*geo.kernel, 1 if depthwise else x.shape[-1], g.shape[-1]),
    )
    # Each map is bilinear; the transposes in either argument are the other two.
    ad.defbilinear(
        forward_p,
        lambda ct, x, w, *, geometry: input_p.bind(ct, w, geometry=geometry),
        lambda ct, x, w, *, geometry: weight_p.bind(x, ct, geometry=geometry),
    )
    ad.defbilinear(
        input_p,
        lambda ct, g, w, *, geometry: forward_p.bind(ct, w, geometry=geometry),
        lambda ct, g, w, *, geometry: weight_p.bind(ct, g, geometry=geometry),
    )
    ad.defbilinear(
        weight_p,
        lambda ct, x, g, *, geometry: input_p.bind(g, ct, geometry=geometry),
        lambda ct, x, g, *, geometry: forward_p.bind(x, ct, geometry=geometry),
    )
    for primitive, foldable in ((forward_p, True), (input_p, True), (weight_p, False)):
        batching.primitive_batchers[primitive] = _batch_rule(primitive, foldable)
    return [functools.partial(_bind, primitive) for primitive in (forward_p, input_p, weight_p)]


def _bind(primitive: Primitive, a: jax.Array, b: jax.Array, geometry: Geometry) -> jax.Array:
    return primitive.bind(a, b, geometry=geometry)


def _primitive(name: str, function: Map, shape: Callable[..., tuple[int, ...]]) -> Primitive:
    primitive = Primitive(f"{PRIMITIVE_PREFIX}{name}")

    @functools.lru_cache(maxsize=1024)
    def eager(geometry: Geometry) -> Callable[..., Any]:
        return jax.jit(lambda a, b: primitive.bind(a, b, geometry=geometry))

    def lowered(a: jax.Array, b: jax.Array, *, geometry: Geometry) -> jax.Array:
        return function(a, b, geometry)

    primitive.def_impl(lambda a, b, *, geometry: eager(geometry)(a, b))
    primitive.def_abstract_eval(lambda a, b, *, geometry: a.update(shape=shape(a, b, geometry), weak_type=False))
    lower = functools.partial(mlir.lower_fun, multiple_results=False)
    mlir.register_lowering(primitive, conv_onednn.lowering(lower, lowered))
    return primitive


def _batch_rule(primitive: Primitive, foldable: bool) -> Callable[..., tuple[jax.Array, int]]:
    """Return a vmap rule: the mapped axis joins the batch where only images have one, else a loop over it."""

    def rule(args: tuple[jax.Array, jax.Array], dims: tuple[Any, Any], *, geometry: Geometry) -> tuple[jax.Array, int]:
        mapped = [None if dim is None else jnp.moveaxis(arg, dim, 0) for arg, dim in zip(args, dims, strict=True)]
        if foldable and dims[1] is None:
            images = mapped[0]
            assert images is not None
            result = primitive.bind(images.reshape(-1, *images.shape[2:]), args[1], geometry=geometry)
            return result.reshape(*images.shape[:2], *result.shape[1:]), 0

        def one(arrays: tuple[jax.Array, ...]) -> jax.Array:
            rest = iter(arrays)
            a, b = (arg if dim is None else next(rest) for arg, dim in zip(args, dims, strict=True))
            return primitive.bind(a, b, geometry=geometry)

        return lax.map(one, tuple(array for array in mapped if array is not None)), 0

    return rule
