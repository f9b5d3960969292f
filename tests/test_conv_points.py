"""Convolutions of few points, and gradients at a stride, as products: against JAX's own convolution, in float64."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxport.nn.functional as F
from jaxport.nn import conv_cpu, conv_points
from jaxport.nn.conv_bilinear import Geometry

# Size, kernel, stride, padding, dilation; and whether the image has few points.
CASES = {
    "one point": ((1, 1), (3, 3), (1, 1), (1, 1), (1, 1), True),
    "two by two": ((2, 2), (3, 3), (1, 1), (1, 1), (1, 1), True),
    "two by three": ((2, 3), (3, 2), (1, 1), (1, 1), (1, 1), True),
    "halved": ((2, 3), (3, 3), (2, 2), (1, 1), (1, 1), True),
    "a window": ((3, 2), (3, 2), (1, 1), (0, 0), (1, 1), True),
    "much padding": ((2, 1), (3, 2), (1, 2), (2, 1), (1, 1), True),
    "dilated": ((3, 3), (3, 3), (1, 1), (2, 2), (2, 2), True),
    "a step over points": ((3, 3), (3, 3), (3, 2), (1, 2), (1, 1), True),
    "strided": ((7, 6), (3, 3), (2, 2), (1, 1), (1, 1), False),
    "strided, dilated": ((9, 8), (3, 2), (2, 3), (1, 0), (2, 1), False),
    "strided points": ((5, 6), (1, 1), (2, 2), (0, 0), (1, 1), False),
    "strided in one axis": ((6, 5), (2, 3), (1, 2), (1, 1), (1, 1), False),
    "more padding than kernel": ((5, 4), (2, 2), (2, 3), (3, 2), (1, 1), False),
    "what no window touches": ((8, 9), (3, 3), (3, 4), (0, 0), (1, 1), False),
}


@pytest.fixture(autouse=True)
def wide() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def plain(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    names = ("NHWC", "HWIO", "NHWC")
    pads, dilation = geometry.pads, geometry.dilation
    return lax.conv_general_dilated(x, w, geometry.stride, pads, rhs_dilation=dilation, dimension_numbers=names)


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_a_convolution(name: str) -> None:
    size, kernel, stride, padding, dilation, few = CASES[name]
    geometry = Geometry(size, kernel, stride, tuple((p, p) for p in padding), dilation)
    assert conv_points.has_few_points(geometry) is few
    rng = np.random.default_rng(0)
    x, w = jnp.asarray(rng.normal(size=(9, *size, 4))), jnp.asarray(rng.normal(size=(*kernel, 4, 5)))
    y, pullback = jax.vjp(lambda x, w: plain(x, w, geometry), x, w)
    g = jnp.asarray(rng.normal(size=y.shape))
    dx, dw = pullback(g)
    np.testing.assert_allclose(conv_cpu._forward(x, w, geometry), y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(conv_cpu._input_gradient(g, w, geometry), dx, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(conv_cpu._weight_gradient(x, g, geometry), dw, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 6])
def test_layers_of_them_have_derivatives_of_any_order_and_no_other_convolution(size: int) -> None:
    rng = np.random.default_rng(1)
    x, w = jnp.asarray(rng.normal(size=(3, 40, size, size))), jnp.asarray(rng.normal(size=(6, 40, 3, 3)))

    def ours(w: jax.Array) -> jax.Array:
        return (F.conv2d(x, w, stride=2, padding=1) ** 3).sum()

    def theirs(w: jax.Array) -> jax.Array:
        return (lax.conv_general_dilated(x, w, (2, 2), ((1, 1), (1, 1))) ** 3).sum()

    v = jnp.asarray(rng.normal(size=w.shape))
    for derivative in (jax.grad, lambda f: jax.grad(lambda w: (jax.grad(f)(w) * v).sum())):
        np.testing.assert_allclose(derivative(ours)(w), derivative(theirs)(w), rtol=1e-11, atol=1e-11)
    if jax.default_backend() == "cpu" and size <= 2:
        assert "convolution(" not in jax.jit(jax.grad(ours)).lower(w).compile().as_text()
