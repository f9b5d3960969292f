"""Batches: every example exactly once an epoch, a new order each epoch, padding that is masked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxport.engine import Batch, Batches, choose_dispatch
from jaxport.engine.dispatch import compiler_options
from jaxport.engine.history import History
from jaxport.engine.traits import has_convolution

pytestmark = pytest.mark.usefixtures("strict_jax")
KEY = jax.random.key(4)


def epoch(batches: Batches, data: Batch, number: int) -> list[Batch]:
    order = batches.order(KEY, jnp.int32(number))
    return [batches.take(data, order, jnp.int32(step)) for step in range(batches.steps)]


def rows(examples: int) -> Batch:
    return Batch(jnp.arange(examples * 2.0).reshape(examples, 2), jnp.arange(examples, dtype=jnp.int32))


def real(batch: Batch) -> list[int]:
    y = np.asarray(batch.y)
    return (y if batch.where is None else y[np.asarray(batch.where)]).tolist()


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("examples", "size"), [(10, 3), (9, 3), (7, 7), (5, 1), (1, 1), (11, 10), (100, 7)])
def test_every_example_exactly_once_an_epoch(examples, size, shuffle):
    batches = Batches(examples, size, shuffle)
    assert batches.steps == -(-examples // size)
    for number in range(3):
        steps = epoch(batches, rows(examples), number)
        seen = [label for batch in steps for label in real(batch)]
        assert sorted(seen) == list(range(examples))
        for batch in steps:
            assert batch.x.shape == (size, 2)
            assert batch.y.shape == (size,)
            assert (batch.where is not None) == (examples % size != 0)
            np.testing.assert_array_equal(np.asarray(batch.x[:, 0]), 2.0 * np.asarray(batch.y))
        if not shuffle:
            assert seen == list(range(examples))


def test_only_the_end_of_the_last_step_is_masked():
    masks = [np.asarray(batch.where).tolist() for batch in epoch(Batches(10, 4, True), rows(10), 0)]
    assert masks == [[True] * 4, [True] * 4, [True, True, False, False]]


def test_each_epoch_and_each_seed_has_its_own_order():
    batches = Batches(50, 8, True)
    orders = [np.asarray(batches.order(KEY, jnp.int32(number))) for number in range(5)]
    orders.append(np.asarray(batches.order(jax.random.key(5), jnp.int32(0))))
    for i, a in enumerate(orders):
        assert a.dtype == np.int32
        assert all((a != b).any() for b in orders[:i])
        assert (a.ravel()[:50] != np.arange(50)).any()
    np.testing.assert_array_equal(np.asarray(batches.order(KEY, jnp.int32(3))), orders[3])


def test_the_first_place_is_taken_by_every_example_equally_often():
    batches = Batches(5, 2, True)
    order = jax.jit(jax.vmap(lambda number: batches.order(KEY, number)))
    first = np.asarray(order(jnp.arange(2_000, dtype=jnp.int32)))[:, 0, 0]
    counts = np.bincount(first, minlength=5)
    assert np.abs(counts - 400).max() < 5 * np.sqrt(2_000 * 0.2 * 0.8)


def test_one_full_step_takes_the_data_as_they_are():
    data = rows(6)
    assert epoch(Batches(6, 6, True), data, 0) == [data]


def test_dispatch_rule_and_compiler_options():
    assert choose_dispatch("cpu", True) == "steps"
    assert [choose_dispatch(*row) for row in [("cpu", False), ("gpu", True), ("tpu", False)]] == ["scan"] * 3
    assert compiler_options("gpu", True) == compiler_options("cpu", False) == {}
    assert compiler_options("cpu", True)


def test_a_convolution_is_seen_in_a_traced_program():
    from jaxport.nn import functional as F

    # With few channels a convolution becomes a matrix product on CPUs; with four of them it stays one.
    x, w = jnp.ones((1, 4, 5, 5)), jnp.ones((3, 4, 3, 3))
    assert has_convolution(jax.make_jaxpr(F.conv2d)(x, w))
    assert has_convolution(jax.make_jaxpr(jax.jit(jax.grad(lambda w: F.conv2d(x, w).sum())))(w))
    assert not has_convolution(jax.make_jaxpr(F.linear)(x, jnp.ones((2, 5))))


def test_history():
    history = History()
    assert len(history) == 0
    history.append({"epoch": [1, 2], "loss": [3.0, 2.0], "val_loss": [4.0, 5.0]})
    history.append({"epoch": [3], "loss": [1.0], "val_loss": [6.0]})
    assert len(history) == 3
    assert history.columns["loss"] == [3.0, 2.0, 1.0]
    assert history.last() == {"loss": 1.0}
    assert history.last("val_") == {"loss": 6.0}
