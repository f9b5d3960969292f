"""The order of an epoch is the one of jax.random.permutation, to the last place."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxport.engine import shuffle


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100, 2_800, 70_000])
@pytest.mark.parametrize("seed", [0, 3])
def test_it_is_jaxs_order(count, seed):
    key = jax.random.key(seed)
    found = jax.jit(shuffle.permutation, static_argnums=1)(key, count)
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, jax.random.permutation(key, count))


def test_equal_keys_stay_in_their_order(monkeypatch):
    """Keys of 32 bits are equal now and then: here all of them are, of two kinds."""
    monkeypatch.setattr(jax.random, "bits", lambda key, shape, dtype: (jnp.arange(shape[0]) % 2).astype(dtype))
    found = np.asarray(shuffle.permutation(jax.random.key(0), 6))  # one round
    np.testing.assert_array_equal(found, [0, 2, 4, 1, 3, 5])


def test_it_does_not_turn_on_64_bits():
    shuffle.permutation(jax.random.key(0), 5)
    assert jnp.arange(3).dtype == jnp.int32
    assert not jax.config.jax_enable_x64


def test_elsewhere_it_is_jaxs_own(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    asked = []
    monkeypatch.setattr(jax.random, "permutation", lambda key, count: asked.append(count) or jnp.arange(count))
    assert shuffle.permutation(jax.random.key(0), 4).dtype == jnp.int32
    assert asked == [4]
