"""Convolutions as XLA's CPU backend runs them fast: the three bilinear maps of a convolution, each a primitive.

y = x ∗ w, and its transposes ∂x = g ∗ᵀ w and ∂w = x ∗ᵀ g. XLA runs a convolution on the CPU at full speed only in one
canonical form (channels last, no reversed kernel), and inside a loop it recognises no other: a weight gradient as JAX
derives it is a hundred times slower there. Here all three maps are written in that form, and since each is the
transpose of the others, every derivative of every order stays in it, and every JAX transformation works.

Arrays are channels last: x (N, H, W, C), w (kH, kW, C, O), g and y (N, P, Q, O).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

PRIMITIVE_PREFIX = "jaxport_conv2d"
"""Begins the names of the primitives: with it a program that holds one is recognised."""

# Up to this many inputs to a window (C·kH·kW), one product over copied windows beats a convolution.
_FEW = 32

Pair = tuple[int, int]


class Geometry(NamedTuple):
    """The static part of a convolution.

    Attributes:
        size: (H, W) of the input.
        kernel: (kH, kW).
        stride: (sH, sW).
        pads: ((before, after) of H, (before, after) of W).
        dilation: (dH, dW).
    """

    size: Pair
    kernel: Pair
    stride: Pair
    pads: tuple[Pair, Pair]
    dilation: Pair

    @property
    def output(self) -> Pair:
        """(P, Q) of the output: ⌊(n + before + after - d·(k - 1) - 1) / s⌋ + 1."""
        axes = zip(self.size, self.kernel, self.stride, self.pads, self.dilation, strict=True)
        first, second = ((n + sum(pad) - d * (k - 1) - 1) // s + 1 for n, k, s, pad, d in axes)
        return first, second


_canonical = functools.partial(lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _forward(x: jax.Array, w: jax.Array, *, geometry: Geometry) -> jax.Array:
    return _canonical(x, w, geometry.stride, geometry.pads, rhs_dilation=geometry.dilation)


def _weight_gradient(x: jax.Array, g: jax.Array, *, geometry: Geometry) -> jax.Array:
    """Convolve with channels as batch, batch as channels, and g as the kernel, dilated by the stride."""
    axes = zip(
        geometry.size,
        geometry.kernel,
        geometry.stride,
        geometry.pads,
        geometry.dilation,
        geometry.output,
        strict=True,
    )
    # What no window touches at the end is cropped: a negative padding.
    pads = [(pad[0], (k - 1) * d + (out - 1) * s + 1 - pad[0] - n) for n, k, s, pad, d, out in axes]
    channels_as_batch, g_as_kernel = x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3)
    result = _canonical(channels_as_batch, g_as_kernel, geometry.dilation, pads, rhs_dilation=geometry.stride)
    return result.transpose(1, 2, 0, 3)


def _input_gradient(g: jax.Array, w: jax.Array, *, geometry: Geometry) -> jax.Array:
    (top, bottom), (left, right) = geometry.pads
    kernel_h, kernel_w = geometry.kernel
    dense = geometry.stride == geometry.dilation == (1, 1)
    if dense and max(top, bottom) < kernel_h and max(left, right) < kernel_w:
        return _input_gradient_by_rows(g, w, geometry)
    axes = zip(
        geometry.size,
        geometry.kernel,
        geometry.stride,
        geometry.pads,
        geometry.dilation,
        geometry.output,
        strict=True,
    )
    pads = [(d * (k - 1) - pad[0], n + pad[0] - 1 - (out - 1) * s) for n, k, s, pad, d, out in axes]
    mirrored = w[::-1, ::-1].transpose(0, 1, 3, 2)
    return _canonical(g, mirrored, (1, 1), pads, lhs_dilation=geometry.stride, rhs_dilation=geometry.dilation)


def _input_gradient_by_rows(g: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """At stride 1: a 1 × kW convolution that yields all kH rows at once, then kH shifted additions.

    It does 1.5 instead of 2.1 times the useful arithmetic of a full correlation (5 × 5 kernel on 9 × 9).
    """
    kernel_h, kernel_w, channels, features = w.shape
    height, width = geometry.size
    (top, _), (left, right) = geometry.pads
    rows = w[:, ::-1].transpose(1, 3, 0, 2).reshape(1, kernel_w, features, kernel_h * channels)
    partial = _canonical(g, rows, (1, 1), ((0, 0), (kernel_w - 1 - left, kernel_w - 1 - right)))
    partial = partial.reshape(*g.shape[:2], width, kernel_h, channels)
    zero = jnp.zeros((), g.dtype)
    shifted = []
    for row in range(kernel_h):
        before = row - top
        edges = ((0, 0, 0), (before, height - g.shape[1] - before, 0), (0, 0, 0), (0, 0, 0))
        shifted.append(lax.pad(partial[:, :, :, row], zero, edges))
    return functools.reduce(jnp.add, shifted)


def _define(name: str, function: Callable[..., jax.Array], shape: Callable[..., tuple[int, ...]]) -> Primitive:
    primitive = Primitive(f"{PRIMITIVE_PREFIX}{name}")

    @functools.lru_cache(maxsize=1024)
    def eager(geometry: Geometry) -> Callable[..., Any]:
        return jax.jit(lambda a, b: primitive.bind(a, b, geometry=geometry))

    primitive.def_impl(lambda a, b, *, geometry: eager(geometry)(a, b))
    primitive.def_abstract_eval(lambda a, b, *, geometry: a.update(shape=shape(a, b, geometry), weak_type=False))
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False))
    return primitive


forward_p = _define("", _forward, lambda x, w, geo: (x.shape[0], *geo.output, w.shape[3]))
input_p = _define("_input", _input_gradient, lambda g, w, geo: (g.shape[0], *geo.size, w.shape[2]))
weight_p = _define("_weight", _weight_gradient, lambda x, g, geo: (*geo.kernel, x.shape[3], g.shape[3]))

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


batching.primitive_batchers[forward_p] = _batch_rule(forward_p, foldable=True)
batching.primitive_batchers[input_p] = _batch_rule(input_p, foldable=True)
batching.primitive_batchers[weight_p] = _batch_rule(weight_p, foldable=False)


@jax.custom_jvp
def _add_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
    return y + bias.reshape(1, 1, 1, -1)


@_add_bias.defjvp
def _add_bias_jvp(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    (y, bias), (dy, dbias) = primals, tangents
    # As a product with ones, whose transpose is a product too: XLA's own reduction over N, P, Q is slow on the CPU.
    ones = jnp.ones((math.prod(y.shape[:-1]), 1), y.dtype)
    return _add_bias(y, bias), dy + (ones @ dbias[None]).reshape(y.shape)


def _over_copied_windows(x: jax.Array, w: jax.Array, bias: jax.Array | None, geometry: Geometry) -> jax.Array:
    """Copy every window into a row and multiply once; the bias is one more row of the weight."""
    (out_h, out_w), (step_h, step_w) = geometry.output, geometry.stride
    x = jnp.pad(x, ((0, 0), *geometry.pads, (0, 0)))
    columns = []
    for u in range(geometry.kernel[0]):
        for v in range(geometry.kernel[1]):
            top, left = u * geometry.dilation[0], v * geometry.dilation[1]
            bottom, right = top + (out_h - 1) * step_h + 1, left + (out_w - 1) * step_w + 1
            columns.append(x[:, top:bottom:step_h, left:right:step_w])
    weight = w.reshape(-1, w.shape[-1])
    if bias is not None:
        columns.append(jnp.ones((*columns[0].shape[:3], 1), x.dtype))
        weight = jnp.concatenate([weight, bias[None]])
    windows = jnp.concatenate(columns, axis=-1).reshape(-1, weight.shape[0])
    return (windows @ weight).reshape(x.shape[0], out_h, out_w, w.shape[-1])


def conv2d_cpu(
    input: jax.Array,
    weight: jax.Array,
    bias: jax.Array | None,
    stride: Pair,
    pads: tuple[Pair, Pair],
    dilation: Pair,
) -> jax.Array:
    """Cross-correlate (N, C, H, W) with (O, C, kH, kW) and add the bias: (N, O, P, Q)."""
    # XLA removes these transposes between layers.
    x, w = input.transpose(0, 2, 3, 1), weight.transpose(2, 3, 1, 0)
    size, kernel = (x.shape[1], x.shape[2]), (w.shape[0], w.shape[1])
    geometry = Geometry(size, kernel, stride, pads, dilation)
    if math.prod(w.shape[:3]) <= _FEW:
        y = _over_copied_windows(x, w, bias, geometry)
    else:
        y = forward_p.bind(x, w, geometry=geometry)
        y = y if bias is None else _add_bias(y, bias)
    return y.transpose(0, 3, 1, 2)
