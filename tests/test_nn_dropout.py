"""Dropout: rate, scale, pattern and stream, and the masks that can be replayed."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxport import nn
from jaxport.nn import functional as F

pytestmark = pytest.mark.usefixtures("strict_jax")
SIGMAS = 5.0
SHAPE = (50, 40, 6, 5)


def images(seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(1.0, 0.3, SHAPE).astype(np.float32))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("function", [F.dropout, F.dropout2d])
def test_rate_and_scale(function, p):
    x = images()
    y = np.asarray(function(x, p, key=jax.random.key(3)))
    kept = y != 0
    np.testing.assert_array_equal(y[kept], (np.asarray(x) * np.float32(1.0 / (1.0 - p)))[kept])
    units = kept if function is F.dropout else kept[:, :, 0, 0]
    assert abs(units.mean() - (1.0 - p)) < SIGMAS * math.sqrt(p * (1.0 - p) / units.size)
    # Each example, channel and place has its own mask: no axis shares one.
    for axis in range(units.ndim):
        rates = units.mean(tuple(i for i in range(units.ndim) if i != axis))
        assert np.abs(rates - (1.0 - p)).max() < SIGMAS * math.sqrt(p * (1.0 - p) * units.shape[axis] / units.size)
        assert not (np.diff(units, axis=axis) == 0).all()


def test_dropout2d_drops_whole_channels():
    kept = np.asarray(F.dropout2d(images(), 0.3, key=jax.random.key(0))) != 0
    assert (kept == kept[:, :, :1, :1]).all()
    rows = np.asarray(F.dropout2d(images()[..., 0], 0.3, key=jax.random.key(0))) != 0
    assert rows.shape == SHAPE[:3]
    assert (rows == rows[:, :, :1]).all()


def test_neighbours_are_dropped_independently():
    kept = np.asarray(F.dropout(images(), 0.5, key=jax.random.key(1))) != 0
    for axis in range(4):
        a, b = np.moveaxis(kept, axis, 0)[:-1], np.moveaxis(kept, axis, 0)[1:]
        assert abs((a == b).mean() - 0.5) < SIGMAS * 0.5 / math.sqrt(a.size)


def test_extreme_rates_need_no_key_and_p_1_drops_everything():
    x = images()
    for function in (F.dropout, F.dropout2d):
        assert function(x, 0.0) is x
        assert function(x, 0.7, training=False) is x
        assert not np.asarray(function(x, 1.0)).any()
        assert np.asarray(jax.grad(lambda x, f=function: f(x, 1.0).sum())(x)).any() == np.False_


@pytest.mark.parametrize("layer", [nn.Dropout, nn.Dropout2d])
def test_stream_advances_while_training_only(layer):
    x, module = images(), layer(0.5, rngs=7)
    first, second = np.asarray(module(x)), np.asarray(module(x))
    assert (first != second).any()
    again = layer(0.5, rngs=7)
    np.testing.assert_array_equal(np.asarray(again(x)), first)
    assert again.eval()(x) is x
    with nn.replay_masks([jnp.ones(SHAPE if layer is nn.Dropout else (*SHAPE[:2], 1, 1), bool)]):
        again.train()(x)
    np.testing.assert_array_equal(np.asarray(again(x)), second)
    assert (np.asarray(layer(0.5, rngs=8)(x)) != first).any()


def test_layers_of_one_generator_have_streams_of_their_own():
    rngs, x = nnx.Rngs(0), images()
    a, b = nn.Dropout(0.5, rngs=rngs), nn.Dropout(0.5, rngs=rngs)
    assert ((np.asarray(a(x)) != 0) != (np.asarray(b(x)) != 0)).any()
    # Drawing from one leaves the other's stream alone.
    c, d = (nn.Dropout(0.5, rngs=rngs) for rngs in [nnx.Rngs(0)] for _ in range(2))
    c(x), c(x), c(x)
    np.testing.assert_array_equal(np.asarray(d(x)), np.asarray(nn.Sequential(*_pair(0))[1](x)))


def _pair(seed: int) -> list[nn.Module]:
    rngs = nnx.Rngs(seed)
    return [nn.Dropout(0.5, rngs=rngs) for _ in range(2)]


def test_stream_is_state_that_jit_can_carry():
    x, module = images(), nn.Dropout(0.5, rngs=0)
    graph, state = nnx.split(module)

    @jax.jit
    def step(state: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        module = nnx.merge(graph, state, copy=True)
        return module(x), nnx.split(module)[1]

    first, state = step(state, x)
    second, state = step(state, x)
    assert (np.asarray(first) != np.asarray(second)).any()
    np.testing.assert_array_equal(np.asarray(first), np.asarray(module(x)))
    np.testing.assert_array_equal(np.asarray(second), np.asarray(module(x)))


def test_gradient_flows_where_it_kept():
    x = images()
    key = jax.random.key(0)
    grads = np.asarray(jax.grad(lambda x: F.dropout(x, 0.25, key=key).sum())(x))
    np.testing.assert_array_equal(grads != 0, np.asarray(F.dropout(x, 0.25, key=key)) != 0)
    assert set(np.unique(grads)) == {np.float32(0.0), np.float32(1.0 / 0.75)}


# ---------------------------------------------------------------------------------------------------- replayed masks


def test_replayed_masks_are_used_in_order():
    x = jnp.arange(1.0, 5.0)
    masks = [jnp.array([True, False, True, False]), jnp.array([False, False, True, True])]
    net = nn.Sequential(nn.Dropout(0.5, rngs=0), nn.Dropout(0.75, rngs=0))
    with nn.replay_masks(masks):
        assert np.asarray(net(x)).tolist() == [0.0, 0.0, 24.0, 0.0]
    with nn.replay_masks(iter(masks)):
        assert np.asarray(net(x)).tolist() == [0.0, 0.0, 24.0, 0.0]


def test_replay_under_tracing_takes_masks_as_arguments():
    def run(x: jax.Array, masks: list[jax.Array]) -> jax.Array:
        with nn.replay_masks(masks):
            return F.dropout(x, 0.5)

    mask = jnp.array([True, False])
    for function in (run, jax.jit(run)):
        assert np.asarray(function(jnp.ones(2), [mask])).tolist() == [2.0, 0.0]
    grads = jax.grad(lambda x: run(x, [mask]).sum())(jnp.ones(2))
    assert np.asarray(grads).tolist() == [2.0, 0.0]


def test_replay_errors_and_what_they_leave():
    x = jnp.ones((2, 3))
    right = jnp.ones((2, 3), bool)
    with pytest.raises(ValueError, match="dropout: no mask is left to replay"), nn.replay_masks([right]):
        F.dropout(F.dropout(x))
    with pytest.raises(ValueError, match="more masks were given than dropout calls"), nn.replay_masks([right, right]):
        F.dropout(x)
    with (
        pytest.raises(ValueError, match=r"the replayed mask must have shape \(2, 3\), got \(2, 1\)"),
        nn.replay_masks([right[:, :1]]),
    ):
        F.dropout(x)
    with (
        pytest.raises(ValueError, match=r"dropout2d: the replayed mask must have shape \(2, 3, 1\), got \(2, 3, 4\)"),
        nn.replay_masks([jnp.ones((2, 3, 4), bool)]),
    ):
        F.dropout2d(jnp.ones((2, 3, 4)))
    # An error inside is not hidden by the masks that it left over, and nothing is replayed afterwards.
    with pytest.raises(ZeroDivisionError), nn.replay_masks([right]):
        raise ZeroDivisionError
    with pytest.raises(ValueError, match="key must be a JAX PRNG key"):
        F.dropout(x)


def test_replay_nests():
    ones, zeros = jnp.ones(2, bool), jnp.zeros(2, bool)
    with nn.replay_masks([ones]):
        with nn.replay_masks([zeros]):
            assert not np.asarray(F.dropout(jnp.ones(2))).any()
        assert np.asarray(F.dropout(jnp.ones(2))).all()


def test_layers_that_do_nothing_take_no_mask():
    net = nn.Sequential(nn.Dropout(0.0, rngs=0), nn.Dropout(1.0, rngs=0), nn.Dropout(0.5, rngs=0).eval())
    with nn.replay_masks([]):
        net(jnp.ones(3))
