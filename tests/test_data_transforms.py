"""Pixels to floats: exact division, on NumPy and JAX, compiled or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxport.data import to_float

PIXELS = np.arange(256, dtype=np.uint8).reshape(4, 1, 8, 8)
RUNS = {
    "numpy": lambda x, dtype: to_float(x, dtype),
    "jax": lambda x, dtype: to_float(jnp.asarray(x), dtype),
    "jit": lambda x, dtype: jax.jit(to_float, static_argnums=1)(x, dtype),
}


@pytest.fixture(autouse=True)
def _strict():
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, jnp.bfloat16], ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_divides_exactly(run, dtype):
    with jax.enable_x64(np.dtype(dtype) == np.float64):
        result = np.asarray(run(PIXELS, dtype))
    assert result.shape == PIXELS.shape
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, PIXELS.astype(dtype) / np.asarray(255, dtype))
    assert (result.min(), result.max()) == (0, 1)


def test_default_is_float32():
    assert to_float(PIXELS).dtype == np.float32


@pytest.mark.parametrize(
    "x", [np.ones(3, np.float32), np.full(2, 300.0), jnp.ones(3, jnp.bfloat16), jnp.ones((2, 2), jnp.float16)]
)
def test_floats_pass(x):
    assert to_float(x, np.float32) is x


@pytest.mark.parametrize("dtype", [np.int32, np.int8, bool, np.uint16, np.complex64])
@pytest.mark.parametrize("array", [np.zeros, jnp.zeros])
def test_other_inputs_are_refused(array, dtype):
    with pytest.raises(TypeError, match=f"x is of dtype {np.dtype(dtype)}; it must be uint8"):
        to_float(array(3, dtype), np.float32)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, bool])
def test_other_outputs_are_refused(dtype):
    with pytest.raises(TypeError, match=f"dtype is {np.dtype(dtype)}; it must be a float dtype"):
        to_float(PIXELS, dtype)
