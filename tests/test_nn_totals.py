"""The sum over all axes but the last: what it is, how it is derived and mapped, and that it rounds little."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxport.engine.dispatch import compiler_options
from jaxport.nn.channel_sums import channel_sums, spread
from jaxport.nn.totals import repeat, total

# Positions that divide into blocks, a prime number of them, more than a block of them, none, and rows alone.
SHAPES = [(4, 8, 8, 3), (2, 7, 11, 5), (3, 67, 1, 2), (2, 0, 4), (6, 4), (5,)]


def numbers(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_sum_over_all_axes_but_the_last(shape):
    x = numbers(shape)
    with jax.enable_x64(True):
        for run in (total, jax.jit(total)):
            np.testing.assert_allclose(run(jnp.asarray(x)), x.reshape(-1, shape[-1]).sum(0), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES[:3])
def test_the_transpose_repeats_and_theirs_sums(shape):
    with jax.enable_x64(True):
        x, row = jnp.asarray(numbers(shape)), jnp.asarray(numbers(shape[-1:], 1))
        (of_total,) = jax.linear_transpose(total, x)(row)
        np.testing.assert_array_equal(of_total, np.broadcast_to(row, shape))
        (of_repeat,) = jax.linear_transpose(lambda row: repeat(row, shape), row)(x)
        np.testing.assert_array_equal(of_repeat, total(x))
        np.testing.assert_array_equal(repeat(row, shape), np.broadcast_to(row, shape))
        _, tangent = jax.jvp(lambda x: total(x * x), (x,), (x,))
        np.testing.assert_allclose(tangent, 2 * (x * x).reshape(-1, shape[-1]).sum(0), rtol=1e-12)


def test_a_mapped_axis_is_kept_apart():
    x = jnp.asarray(numbers((3, 2, 4, 5)))
    np.testing.assert_allclose(jax.vmap(total)(x), x.sum((1, 2)), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(total, in_axes=2)(x), x.transpose(2, 0, 1, 3).sum((1, 2)), rtol=1e-6, atol=1e-6)
    rows = jnp.asarray(numbers((3, 5)))
    assert jax.vmap(lambda row: repeat(row, (2, 4, 5)))(rows).shape == (3, 2, 4, 5)


def test_it_rounds_little_though_what_is_summed_is_made_on_the_way():
    """As programs with convolutions are compiled: one number after the other rounds 2e-6, pairs and blocks 1e-7."""
    x, g = (numbers((16, 64, 64, 16), seed).astype(np.float32) + np.float32(0.5) for seed in (0, 1))
    exact = (x.astype(np.float64) * g).reshape(-1, 16).sum(0)
    options = compiler_options("cpu", convolutional=True)
    for function, rounds_little in ((total, True), (lambda a: a.reshape(-1, 16).sum(0), False)):
        program = jax.jit(lambda x, g, function=function: function(x * g)).lower(x, g).compile(options)
        error = np.abs(np.asarray(program(x, g)) - exact).max() / np.abs(exact).max()
        assert (error < 5e-7) == rounds_little, error


@pytest.mark.parametrize("shape", [(4, 3, 8, 8), (2, 5, 7), (6, 4), (2, 3, 2, 3, 4)])
def test_channels_stand_second(shape):
    with jax.enable_x64(True):
        x, values = jnp.asarray(numbers(shape)), jnp.asarray(numbers(shape[1:2], 1))
        expected = np.asarray(x).sum((0, *range(2, len(shape))))
        np.testing.assert_allclose(channel_sums(x), expected, rtol=1e-12)
        wide = np.broadcast_to(np.asarray(values).reshape(1, -1, *(1,) * (len(shape) - 2)), shape)
        np.testing.assert_array_equal(spread(values, shape), wide)
        (back,) = jax.linear_transpose(lambda v: spread(v, shape), values)(x)
        np.testing.assert_allclose(back, expected, rtol=1e-12)
