"""What a run costs beside its steps: data freed at once, one program for any number of epochs, convolutions found."""

import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxport import nn, optim
from jaxport.engine import Model
from jaxport.engine.traits import has_convolution


@pytest.fixture(scope="module")
def fitted():
    model = Model(nn.Sequential(nn.Linear(3, 1, rngs=nnx.Rngs(0))))
    model.compile(nn.MSELoss(), optim.SGD(lr=0.1))
    x = np.random.default_rng(0).standard_normal((97, 3)).astype(np.float32)
    model.fit((x, x[:, :1]), epochs=1, batch_size=10, verbose=0)
    return model, x


def test_data_is_freed_without_the_garbage_collector(fitted):
    """Of several runs at most the last one's x and y are still there, as something in the background may hold them."""
    model, x = fitted
    gc.collect()
    gc.disable()
    try:
        for _ in range(4):
            model.fit((x, x[:, :1]), epochs=1, batch_size=10, verbose=0)
        held = [array.shape for array in jax.live_arrays() if array.shape[:1] == (97,)]
        assert len(held) <= 2
    finally:
        gc.enable()


def test_more_epochs_need_no_other_program(fitted):
    model, x = fitted
    history = model.fit((x, x[:, :1]), epochs=3, batch_size=10, verbose=0)
    assert (len(history["loss"]), history.compile_seconds) == (3, 0.0)


def test_convolutions_are_found_at_any_depth():
    def plain(x):
        return jax.lax.conv_general_dilated(x, jnp.ones((8, 8, 2, 2)), (1, 1), "SAME")

    layer = nn.Conv2d(8, 8, 3, padding=1, rngs=nnx.Rngs(0))
    for one in (plain, layer):
        looped = lambda x, one=one: jax.lax.scan(  # noqa: E731
            lambda c, _: (jax.lax.cond(c.sum() > 0, jax.jit(one), jnp.sin, c), None), x, length=2
        )[0]
        assert has_convolution(jax.make_jaxpr(looped)(jnp.ones((1, 8, 4, 4))))
    assert not has_convolution(
        jax.make_jaxpr(lambda x: jax.lax.scan(lambda c, _: (c @ c, None), x, length=2))(jnp.eye(2))
    )
