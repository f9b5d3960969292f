"""Pooling without PyTorch: errors, transformations, and what the docstrings promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxport.nn.functional as F
from jaxport import nn

X = jnp.asarray(np.random.default_rng(0).standard_normal((2, 3, 6, 7)), jnp.float32)
KEY = jax.random.key(0)

ERRORS = [
    (lambda: F.max_pool2d(X[0, 0], 2), r"max_pool2d: input must be \(N, C, H, W\) or \(C, H, W\), got shape \(6, 7\)"),
    (lambda: F.max_pool1d(X, 2), r"max_pool1d: input must be \(N, C, L\) or \(C, L\), got shape"),
    (lambda: F.max_pool2d(X[:, :0], 2), r"max_pool2d: input must have no empty axis but the batch"),
    (lambda: F.max_pool2d(X, 2, padding=2), r"max_pool2d: padding must be at most half of kernel_size \(2, 2\)"),
    (lambda: F.max_pool2d(X, 2, 0), r"max_pool2d: stride must be an integer >= 1"),
    (lambda: F.max_pool2d(X, 2, dilation=0), r"max_pool2d: dilation must be"),
    (lambda: F.max_pool2d(X, 2.0), r"max_pool2d: kernel_size must be an integer or a tuple of 2, got 2.0"),  # pyright: ignore[reportArgumentType]
    (lambda: F.max_pool2d(X, True), r"max_pool2d: kernel_size must be"),
    (lambda: F.max_pool2d(X, (2, 2, 2)), r"max_pool2d: kernel_size must be"),
    (lambda: F.max_pool3d(X, 7), r"max_pool3d: input \(2, 3, 6, 7\) is too small for kernel_size \(7, 7, 7\)"),
    (lambda: F.avg_pool2d(X, 8), r"avg_pool2d: input .* is too small"),
    (lambda: F.avg_pool2d(X, 2, divisor_override=0), r"avg_pool2d: divisor_override must not be zero"),
    (lambda: F.lp_pool2d(X, 0, 2), r"lp_pool2d: norm_type must not be zero"),
    (lambda: F.adaptive_avg_pool2d(X, (2,)), r"adaptive_avg_pool2d: output_size must be an integer or 2 of them"),
    (lambda: F.adaptive_avg_pool2d(X, -1), r"adaptive_avg_pool2d: output_size must be an integer >= 0"),
    (lambda: F.adaptive_max_pool1d(X[0], None), r"adaptive_max_pool1d: output_size must be"),
    (lambda: F.max_unpool2d(X, jnp.zeros((2, 3, 6, 6), int), 2), r"max_unpool2d: indices must have the shape of input"),
    (lambda: F.max_unpool2d(X, jnp.zeros(X.shape, int), 2, output_size=(16, 14)), r"output_size must differ from"),
    (lambda: F.fractional_max_pool2d(X, 2), r"output_size or output_ratio must be given"),
    (lambda: F.fractional_max_pool2d(X, 2, 3), r"fractional_max_pool2d: key must be a JAX PRNG key"),
    (lambda: F.fractional_max_pool2d(X, 2, 6, key=KEY), r"kernel_size \(2, 2\) is too large for output_size \(6, 6\)"),
    (lambda: F.fractional_max_pool2d(X, 2, None, 1.5, key=KEY), r"output_ratio must be a number in \(0, 1\)"),
    (
        lambda: F.fractional_max_pool2d(X, 2, 3, _random_samples=jnp.zeros((2, 3, 3))),
        r"_random_samples must have shape \(2, 3, 2\), got \(2, 3, 3\)",
    ),
    (lambda: nn.FractionalMaxPool2d(2, rngs=0), r"FractionalMaxPool2d: either output_size or output_ratio"),
    (lambda: nn.FractionalMaxPool3d(2, output_ratio=2, rngs=0), r"FractionalMaxPool3d: output_ratio must be"),
]
TYPE_ERRORS = [
    (lambda: F.adaptive_avg_pool2d(X.astype(int), 2), r"adaptive_avg_pool2d: input must be floating, got int32"),
    (lambda: F.max_unpool2d(X, X, 2), r"max_unpool2d: indices must be integers, got float32"),
    (
        lambda: F.fractional_max_pool2d(X, 2, 3, _random_samples=jnp.zeros((2, 3, 2), jnp.bfloat16)),
        r"fractional_max_pool2d: all arrays must have one dtype",
    ),
    (lambda: nn.FractionalMaxPool2d(2, 3), r"FractionalMaxPool2d: rngs must be"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[message for _, message in ERRORS])
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("call", "message"), TYPE_ERRORS, ids=[message for _, message in TYPE_ERRORS])
def test_type_errors(call, message):
    with pytest.raises(TypeError, match=message):
        call()


FUNCTIONS = [
    lambda x: F.max_pool2d(x, 3, 2, 1),
    lambda x: F.max_pool2d(x, (6, 7)),
    lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    lambda x: F.adaptive_avg_pool2d(x, (4, 3)),
    lambda x: F.adaptive_max_pool2d(x, (4, 3)),
    lambda x: F.lp_pool2d(x, 2, 2),
    lambda x: F.max_unpool2d(*F.max_pool2d(x, 3, 2, return_indices=True), 3, 2, output_size=(6, 7)),
    lambda x: F.fractional_max_pool2d(x, 2, 3, key=KEY),
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_transformations_agree(function):
    """Compiled, mapped, scanned, and differentiated forwards and backwards: one function."""
    found = function(X)
    np.testing.assert_allclose(jax.jit(function)(X), found, rtol=1e-6)
    many = jnp.stack([X, X[::-1] * 2.0])
    each = jnp.stack([function(x) for x in many])
    np.testing.assert_allclose(jax.vmap(function)(many), each, rtol=1e-6)
    _, scanned = jax.lax.scan(lambda carry, x: (carry, function(x)), 0, many)
    np.testing.assert_allclose(scanned, each, rtol=1e-6)
    out, pushed = jax.jvp(function, (X,), (jnp.ones_like(X),))
    _, pullback = jax.vjp(function, X)
    weights = jnp.cos(jnp.arange(out.size, dtype=jnp.float32)).reshape(out.shape)
    np.testing.assert_allclose((pushed * weights).sum(), pullback(weights)[0].sum(), rtol=1e-4, atol=1e-4)


def test_fractional_pooling_draws_new_windows_at_every_call():
    layer = nn.FractionalMaxPool2d(2, 3, rngs=0)
    first, second = layer(X), layer(X)
    assert first.shape == (2, 3, 3, 3)
    assert (first != second).any()
    np.testing.assert_array_equal(nn.FractionalMaxPool2d(2, 3, rngs=0)(X), first)
    assert not list(layer.named_buffers())


def test_an_index_outside_makes_the_image_nan_under_jit():
    index = jnp.zeros((1, 2, 3), jnp.int32).at[0, 1, 1].set(6)
    found = jax.jit(lambda i: F.max_unpool1d(jnp.ones((1, 2, 3)), i, 2))(index)
    assert bool(jnp.isnan(found[0, 1]).all())
    assert not bool(jnp.isnan(found[0, 0]).any())


def test_many_cells_do_not_make_a_long_program():
    """Adaptive pooling is unrolled along a window, not over the output's cells."""
    small, large = (
        len(str(jax.make_jaxpr(lambda x, o=o: F.adaptive_max_pool2d(x, o))(jnp.ones((1, 2, n, n)))).splitlines())
        for o, n in ((4, 9), (31, 70))
    )
    assert large <= 2 * small


def test_known_indices_inside_a_trace():
    index, beyond = jnp.array([[[0, 3]]]), jnp.array([[[0, 4]]])
    np.testing.assert_array_equal(jax.jit(lambda x: F.max_unpool1d(x, index, 2))(jnp.ones((1, 1, 2))), [[[1, 0, 0, 1]]])
    with pytest.raises(IndexError, match="indices must lie in"):
        jax.jit(lambda x: F.max_unpool1d(x, beyond, 2))(jnp.ones((1, 1, 2)))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"), [(2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 2), (2, 3, 1, 1)]
)
def test_derivatives_of_max_pooling_agree_in_both_modes_and_under_vmap(kernel, stride, padding, dilation):
    pool = lambda x: F.max_pool2d(x, kernel, stride, padding, dilation)  # noqa: E731
    y, backward = jax.vjp(pool, X)
    dx, dy = (jax.random.normal(key, a.shape) for key, a in zip(jax.random.split(KEY), (X, y), strict=True))
    tangent = jax.jvp(pool, (X,), (dx,))[1]
    np.testing.assert_allclose(jnp.vdot(tangent, dy), jnp.vdot(dx, backward(dy)[0]), rtol=1e-5)
    one_by_one = jax.vmap(lambda x, dy: jax.vjp(pool, x)[1](dy)[0])(X, dy)
    np.testing.assert_allclose(one_by_one, backward(dy)[0], rtol=1e-6)
