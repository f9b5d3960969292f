"""Optimisers as optax transformations: first steps by hand, the learning rate as state, and bad arguments."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from close import assert_close

from jaxport import optim

pytestmark = pytest.mark.usefixtures("strict_jax")
PARAMS = {"w": np.array([1.0, -2.0, 3.0]), "b": np.array(0.5)}
GRADS = {"w": np.array([0.5, 0.25, -1.0]), "b": np.array(2.0)}


def arrays() -> tuple[Any, Any]:
    """Return parameters and gradients in the precision in force."""
    return jax.tree.map(jnp.asarray, (PARAMS, GRADS))


def steps(optimizer: optax.GradientTransformation, count: int) -> tuple[Any, Any]:
    params, grads = arrays()
    state = optimizer.init(params)
    for _ in range(count):
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def test_sgd_by_hand():
    params, state = steps(optim.SGD(lr=0.5), 2)
    assert np.asarray(params["w"]).tolist() == [0.5, -2.25, 4.0]
    assert float(params["b"]) == -1.5
    assert state.momentum_buffer is None
    assert int(state.step) == 2


def test_sgd_with_momentum_by_hand():
    params, state = steps(optim.SGD(lr=0.5, momentum=0.5, dampening=0.25), 2)
    # First buffer g, then 0.5 g + 0.75 g.
    assert float(state.momentum_buffer["b"]) == 2.5
    assert float(params["b"]) == 0.5 - 0.5 * (2.0 + 2.5)


def test_adam_s_first_step_is_the_learning_rate_times_the_sign():
    with jax.enable_x64(True):
        params, state = steps(optim.Adam(lr=0.125, eps=0.0), 1)
        assert_close(params["w"], np.array([0.875, -2.125, 3.125]))
    assert state.max_exp_avg_sq is None
    assert int(state.step) == 1


def test_maximize_climbs():
    down, up = steps(optim.SGD(lr=0.5), 1)[0], steps(optim.SGD(lr=0.5, maximize=True), 1)[0]
    np.testing.assert_array_equal(np.asarray(up["w"]) - PARAMS["w"], PARAMS["w"] - np.asarray(down["w"]))


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
def test_learning_rate_is_state_and_changing_it_does_not_compile_again(make):
    traces = []
    optimizer, (params, grads) = make(lr=0.1), arrays()

    @jax.jit
    def update(state: Any) -> Any:
        traces.append(1)
        return optimizer.update(grads, state, params)[0]

    state = optimizer.init(params)
    first = update(state)
    second = update(state._replace(lr=2 * state.lr))
    np.testing.assert_array_equal(np.asarray(second["w"]), np.asarray(2 * first["w"]))
    assert len(traces) == 1
    assert float(make(lr=jnp.asarray(0.25)).init(params).lr) == 0.25


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
def test_updates_keep_each_leaf_s_dtype(make):
    params = {"half": jnp.ones(2, jnp.bfloat16), "single": jnp.ones(3)}
    grads = jax.tree.map(jnp.ones_like, params)
    optimizer = make(lr=0.1, weight_decay=0.1)
    state = optimizer.init(params)
    updates, new = optimizer.update(grads, state, params)
    assert jax.tree.map(lambda u: u.dtype, updates) == jax.tree.map(lambda p: p.dtype, params)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), new) == jax.tree.map(lambda a: (a.shape, a.dtype), state)


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
def test_runs_in_a_chain_and_under_scan(make):
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), make(lr=0.1))

    with jax.enable_x64(True):
        params, grads = arrays()

        def body(carry: Any, _: Any) -> Any:
            params, state = carry
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(body, (params, optimizer.init(params)), length=3)
        jax.tree.map(assert_close, params, steps(optimizer, 3)[0])


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
def test_an_optimiser_may_be_used_again_after_its_state_was_donated(make):
    params, grads = arrays()
    for lr in (0.1, jnp.asarray(0.1)):
        optimizer = make(lr=lr)
        step = jax.jit(lambda state, o=optimizer: o.update(grads, state, params), donate_argnums=0)
        first, second = (step(optimizer.init(params))[0] for _ in range(2))
        np.testing.assert_array_equal(np.asarray(first["w"]), np.asarray(second["w"]))


def test_learning_rate_has_the_precision_in_force_when_the_state_is_made():
    for make in (optim.SGD, optim.Adam):
        optimizer = make(lr=0.1)
        with jax.enable_x64(True):
            assert float(optimizer.init(arrays()[0]).lr) == 0.1


ERRORS = [
    (optim.SGD, {"lr": -1.0}, r"SGD: lr must be a number >= 0, got -1.0"),
    (optim.SGD, {"lr": float("nan")}, r"SGD: lr must be a number >= 0, got nan"),
    (optim.SGD, {"lr": "0.1"}, r"SGD: lr must be a number >= 0, got '0.1'"),
    (optim.SGD, {"lr": True}, r"SGD: lr must be a number >= 0, got True"),
    (optim.SGD, {"momentum": -0.1}, r"SGD: momentum must be a number >= 0"),
    (optim.SGD, {"weight_decay": -0.1}, r"SGD: weight_decay must be a number >= 0"),
    (optim.SGD, {"nesterov": True}, r"SGD: nesterov needs momentum > 0 and dampening 0, got momentum=0.0"),
    (optim.SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, r"nesterov needs .* dampening=0.1"),
    (optim.Adam, {"lr": -1.0}, r"Adam: lr must be a number >= 0"),
    (optim.Adam, {"eps": -1e-8}, r"Adam: eps must be a number >= 0"),
    (optim.Adam, {"weight_decay": -0.1}, r"Adam: weight_decay must be a number >= 0"),
    (optim.Adam, {"betas": (1.0, 0.9)}, r"Adam: betas\[0\] must lie in \[0, 1\), got 1.0"),
    (optim.Adam, {"betas": (0.9, -0.1)}, r"Adam: betas\[1\] must lie in \[0, 1\), got -0.1"),
]


@pytest.mark.parametrize(("make", "options", "match"), ERRORS)
def test_bad_arguments(make, options, match):
    with pytest.raises(ValueError, match=match):
        make(**options)


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
def test_weight_decay_needs_the_parameters(make):
    optimizer, (params, grads) = make(lr=0.1, weight_decay=0.5), arrays()
    with pytest.raises(ValueError, match=r"weight_decay=0.5 needs update\(grads, state, params\), got params=None"):
        optimizer.update(grads, optimizer.init(params))
    make(lr=0.1).update(grads, make(lr=0.1).init(params))
