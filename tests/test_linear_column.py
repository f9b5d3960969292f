"""Linear maps of few features to one number for many rows: numbers and derivatives of a product, without one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxport.nn import functional as F
from jaxport.nn import linear_column

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere it is a product")
ROWS = 4097
RNG = np.random.default_rng(5)


def case(features: int, rows: int = ROWS):
    x, w, b = (RNG.normal(size=shape) for shape in ((rows, features), (1, features), (1,)))
    return jnp.asarray(x), jnp.asarray(w), jnp.asarray(b)


def product(x, w, b):
    return x @ w.T + b


def has_product(*arrays) -> bool:
    return "dot_general" in str(jax.make_jaxpr(F.linear)(*arrays))


@pytest.mark.parametrize("features", [1, 2, 4])
def test_values_and_derivatives_of_any_order(features):
    with jax.enable_x64(True):
        args = case(features)
        assert not has_product(*args)
        np.testing.assert_allclose(F.linear(*args), product(*args), rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(F.linear(*args[:2]), args[0] @ args[1].T, rtol=1e-13, atol=1e-13)
        scored = [lambda *a, f=f: jnp.mean(jnp.tanh(f(*a)) ** 2) for f in (F.linear, product)]
        for ours, plain in zip(*(jax.grad(score, (0, 1, 2))(*args) for score in scored), strict=True):
            np.testing.assert_allclose(ours, plain, rtol=1e-10, atol=1e-15)
        for ours, plain in zip(*(jax.tree.leaves(jax.hessian(score, (1, 2))(*args)) for score in scored), strict=True):
            np.testing.assert_allclose(ours, plain, rtol=1e-10, atol=1e-14)
        ours, plain = (jax.jvp(f, args, args) for f in (F.linear, product))
        np.testing.assert_allclose(ours[1], plain[1], rtol=1e-13, atol=1e-13)


def test_a_mapped_axis():
    with jax.enable_x64(True):
        x, w, b = case(2)
        many = jnp.stack([w, 2 * w])
        ours = jax.vmap(jax.grad(lambda w, b: jnp.sum(jnp.sin(F.linear(x, w, b)))), (0, None))(many, b)
        plain = jax.vmap(jax.grad(lambda w, b: jnp.sum(jnp.sin(product(x, w, b)))), (0, None))(many, b)
        np.testing.assert_allclose(ours, plain, rtol=1e-10)


def test_a_gradient_in_float32_rounds_little():
    x, w, b = (np.asarray(each, np.float32) for each in case(2, 100_000))
    slope = jax.jit(jax.grad(lambda w: F.linear(x, w, b).sum()))(w)
    error = np.abs(slope[0] - np.asarray(x, np.float64).sum(0))
    assert (error <= 1e-7 * np.abs(x).sum(0)).all()


@pytest.mark.parametrize(
    ("x", "w", "b"),
    [
        ((4095, 2), (1, 2), (1,)),
        ((ROWS, 5), (1, 5), (1,)),
        ((ROWS, 2), (2, 2), (2,)),
        ((ROWS, 2), (2, 2), None),
        ((3, ROWS, 2), (1, 2), (1,)),
        ((ROWS, 2), (1, 2), ()),
        ((ROWS, 2), (2,), ()),
    ],
)
def test_everything_else_is_a_product(x, w, b):
    arrays = [jnp.ones(shape) for shape in (x, w, b) if shape is not None]
    assert has_product(*arrays)


def test_half_precision_is_a_product():
    arrays = [jnp.ones(shape) for shape in ((ROWS, 2), (1, 2), (1,))]
    assert linear_column.fits(*arrays)
    assert not linear_column.fits(*(each.astype(jnp.bfloat16) for each in arrays))
