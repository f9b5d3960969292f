"""Convolutions over copied windows are JAX's own, whatever the outputs that one window serves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxport.nn import conv_windows
from jaxport.nn.conv_bilinear import Geometry

# (size, kernel, stride, pads, dilation) and how many outputs a window serves.
CASES = {
    "5 columns": (((9, 12), (5, 5), (1, 1), ((0, 0), (2, 2)), (1, 1)), 4),
    "outputs that fill no last window": (((7, 9), (3, 5), (1, 1), ((1, 0), (1, 0)), (1, 1)), 4),
    "3 columns": (((6, 7), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)), 2),
    "stride, and a rest that no window sees": (((15, 16), (7, 7), (2, 2), ((3, 3), (3, 3)), (1, 1)), 2),
    "stride of 3 in rows alone": (((10, 11), (4, 3), (3, 1), ((2, 0), (0, 2)), (2, 1)), 2),
    "fewer outputs than a window could serve": (((5, 7), (3, 5), (1, 1), ((0, 0), (0, 0)), (1, 1)), 2),
    "one output": (((5, 5), (5, 5), (1, 1), ((0, 0), (0, 0)), (1, 1)), 1),
    "dilated columns": (((9, 9), (3, 3), (1, 1), ((1, 2), (2, 1)), (1, 2)), 1),
    "cropped": (((8, 12), (3, 3), (1, 1), ((-1, 0), (-2, -1)), (1, 1)), 2),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("with_bias", [True, False])
def test_convolution_and_gradients_are_jaxs(name, with_bias):
    fields, outputs = CASES[name]
    geometry = Geometry(*fields)
    assert conv_windows._outputs(geometry) == outputs
    rng = np.random.default_rng(0)

    def own(x, w, b):
        return conv_windows.convolve(x, w, b if with_bias else None, geometry)

    def jaxs(x, w, b):
        y = lax.conv_general_dilated(
            x, w, geometry.stride, geometry.pads, rhs_dilation=geometry.dilation,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        return y + b if with_bias else y

    with jax.enable_x64(True):
        x, w, b = (jnp.asarray(rng.normal(size=s)) for s in ((2, *geometry.size, 2), (*geometry.kernel, 2, 3), (3,)))
        (y, back), (wanted, wanted_back) = jax.vjp(own, x, w, b), jax.vjp(jaxs, x, w, b)
        g = jnp.asarray(rng.normal(size=wanted.shape))
        for a, e in zip((y, *back(g)), (wanted, *wanted_back(g)), strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-12)


def test_windows_are_differentiated_forward_and_over_batches_of_batches():
    geometry = Geometry((6, 8), (5, 5), (1, 1), ((2, 2), (2, 2)), (1, 1))
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        x, w = jnp.asarray(rng.normal(size=(3, 2, 6, 8, 1))), jnp.asarray(rng.normal(size=(5, 5, 1, 2)))

        def convolve(x):
            return conv_windows.convolve(x, w, None, geometry)

        whole = jax.vmap(convolve)(x)
        np.testing.assert_allclose(whole[1], convolve(x[1]), rtol=1e-12)
        _, tangent = jax.jvp(convolve, (x[0],), (x[1],))
        np.testing.assert_allclose(tangent, convolve(x[1]), rtol=1e-12)
