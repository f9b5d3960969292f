"""What of a traced program decides its dispatch and its compiler options: short convolutions, narrow products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxport import engine, metrics, nn, optim
from jaxport.engine.dispatch import compile_function
from jaxport.engine.traits import has_convolution, has_long_convolution, has_narrow_products
from jaxport.nn import functional as F

on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere convolutions are XLA's")


def gradient_of(images: int):
    """Trace the gradients of 16 → 8 channels, 3 × 3 of 10 × 10: 73,728 multiplications an image and map."""
    x, w = jnp.ones((images, 16, 10, 10)), jnp.ones((8, 16, 3, 3))
    return jax.make_jaxpr(jax.grad(lambda x, w: jnp.sin(F.conv2d(x, w)).sum(), (0, 1)))(x, w)


@on_cpu
def test_the_multiplications_of_all_three_maps_count():
    # (N, 8, 8, 8) outputs of 16 · 9 multiplications, three times: 221,184 an image; 2²¹ are 9.48 images.
    assert not has_long_convolution(gradient_of(9))
    assert has_long_convolution(gradient_of(10))
    assert has_convolution(gradient_of(9))


def test_a_convolution_of_xla_is_long_however_small():
    plain = lambda x: jax.lax.conv_general_dilated(x, jnp.ones((1, 1, 2, 2)), (1, 1), "SAME")  # noqa: E731
    assert has_long_convolution(jax.make_jaxpr(plain)(jnp.ones((1, 1, 3, 3))))
    assert not has_long_convolution(jax.make_jaxpr(jnp.sin)(1.0))


def shapes(left: tuple[int, ...], right: tuple[int, ...]):
    """Trace a product inside a loop inside a jit."""
    looped = lambda a, b: jax.lax.fori_loop(0, 2, lambda i, y: y + a @ b, jnp.zeros((left[0], right[1])))  # noqa: E731
    return jax.make_jaxpr(jax.jit(looped))(jnp.ones(left), jnp.ones(right))


@pytest.mark.parametrize(
    ("left", "right", "narrow"),
    [
        ((1500, 2), (2, 20), True),
        ((20, 1500), (1500, 24), True),
        ((20, 1500), (1500, 25), False),
        ((100_000, 2), (2, 1), True),
        ((1 << 19, 2), (2, 1), True),
        (((1 << 19) + 1, 2), (2, 1), False),
        ((1, 500), (500, 1), False),
        ((1, 784), (784, 512), False),
        ((32, 32), (32, 32), False),
    ],
)
def test_two_of_three_sizes_make_a_product_narrow(left, right, narrow):
    assert has_narrow_products(shapes(left, right)) is narrow


def test_a_batch_of_products_counts_its_rows_and_no_product_is_not_narrow():
    stacked = jax.make_jaxpr(lambda a, b: jnp.einsum("bij,bjk->bik", a, b))(jnp.ones((9, 30, 4)), jnp.ones((9, 4, 5)))
    assert not has_narrow_products(stacked)
    assert not has_narrow_products(jax.make_jaxpr(jnp.sin)(1.0))


@on_cpu
def test_narrow_products_are_compiled_without_ynn_fusions():
    def text(width: int) -> str:
        a, b = jnp.ones((4000, 2)), jnp.ones((2, width))
        compiled, _ = compile_function(lambda a, b: jnp.maximum(a @ b, 0).sum(0) @ b.T, a, b)
        return compiled.as_text()

    assert "__ynn_fusion" in text(64)
    assert "__ynn_fusion" not in text(20)


def fit(images: int, **options):
    """Train a convolution of 8 → 8 channels, 3 × 3 of 6 × 6: 9,216 multiplications an image and map."""
    module = nn.Sequential(nn.Conv2d(8, 8, 3, rngs=0), nn.Flatten(), nn.Linear(128, 1, rngs=1))
    model = engine.Model(module)
    model.compile(nn.MSELoss(), optim.SGD(lr=0.01), [metrics.MeanAbsoluteError()])
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2 * images, 8, 6, 6)).astype(np.float32), rng.normal(size=(2 * images, 1))
    return model.fit((x, y.astype(np.float32)), 3, batch_size=images, verbose=0, **options)


@on_cpu
def test_short_convolutions_are_trained_in_a_loop_as_step_by_step():
    looped, stepwise = fit(4), fit(4, dispatch="steps")
    assert (looped.dispatch, stepwise.dispatch) == ("scan", "steps")
    for name in ("loss", "mae"):
        np.testing.assert_allclose(looped[name], stepwise[name], rtol=1e-6)


@on_cpu
def test_long_ones_are_not():
    assert fit(128).dispatch == "steps"
