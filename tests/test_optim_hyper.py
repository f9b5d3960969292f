"""Learning rates and momenta read and set in a state, wherever the optimiser stands."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxport import optim

pytestmark = pytest.mark.usefixtures("strict_jax")
PARAMS = {"w": np.array([1.0, -2.0, 3.0], np.float32), "b": np.array(0.5, np.float32)}


def params() -> Any:
    return jax.tree.map(jnp.asarray, PARAMS)


WRAPPED = {
    "alone": lambda inner: inner,
    "chain": lambda inner: optax.chain(optax.clip_by_global_norm(1.0), inner),
    "wrapper": lambda inner: optax.apply_if_finite(optax.chain(inner, optax.identity()), 3),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED.keys())
def test_found_and_set_inside_jit(wrap):
    optimizer = wrap(optim.SGD(lr=0.5, momentum=0.75))
    state = optim.track_momentum(optimizer.init(params()))
    changed = jax.jit(lambda s: optim.set_momentum(optim.set_lr(s, 0.25), jnp.asarray(0.5)))(state)
    assert [float(lr) for lr in optim.get_lr(state)] == [0.5]
    assert [float(lr) for lr in optim.get_lr(changed)] == [0.25]
    assert [float(beta) for beta in optim.get_momentum(state)] == [0.75]
    assert [float(beta) for beta in optim.get_momentum(changed)] == [0.5]
    assert jax.tree.structure(changed) == jax.tree.structure(state)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), changed) == jax.tree.map(lambda a: (a.shape, a.dtype), state)


def test_setting_compiles_nothing_again():
    traces = []
    optimizer = optim.Adam(lr=0.1)

    @jax.jit
    def update(state: Any) -> Any:
        traces.append(1)
        return optimizer.update(params(), state, params())[0]

    state = optim.track_momentum(optimizer.init(params()))
    for lr, beta in ((0.1, 0.9), (0.2, 0.8), (jnp.asarray(0.3), jnp.asarray(0.7))):
        update(optim.set_momentum(optim.set_lr(state, lr), beta))
    assert len(traces) == 1


def test_one_for_each_group():
    state = (optim.SGD(lr=0.5).init(params()), optim.SGD(lr=0.25).init(params()))
    assert [float(lr) for lr in optim.get_lr(state)] == [0.5, 0.25]
    assert [float(lr) for lr in optim.get_lr(optim.set_lr(state, [1.0, 2.0]))] == [1.0, 2.0]
    assert [float(lr) for lr in optim.get_lr(optim.set_lr(state, 3.0))] == [3.0, 3.0]
    with pytest.raises(ValueError, match="lrs must be one number or one for each of 2 parameter groups, got 3"):
        optim.set_lr(state, (1.0, 2.0, 3.0))


def test_a_constant_and_the_same_number_as_state_take_the_same_steps():
    optimizer = optim.Adam(lr=0.1, betas=(0.999, 0.9999))
    fixed = optimizer.init(params())
    tracked = optim.track_momentum(fixed)
    for _ in range(3):
        first, fixed = optimizer.update(params(), fixed, params())
        second, tracked = optimizer.update(params(), tracked, params())
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=5e-7), first, second)
    assert float(tracked.momentum.complement) == np.float32(1 - 0.999)


ERRORS = [
    (lambda: optim.get_lr(optax.adam(0.1).init(params())), "must hold the state of an optimiser of jaxport.optim"),
    (lambda: optim.set_momentum(optim.SGD().init(params()), 0.9), "SGD was made with momentum=0"),
    (lambda: optim.track_momentum((1, 2)), "got tuple without one"),
]


@pytest.mark.parametrize(("call", "match"), ERRORS)
def test_errors(call, match):
    with pytest.raises(ValueError, match=match):
        call()
