"""Schedules inside compiled loops: values by hand, no new compilation, both precisions, around an optimiser."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxport import optim
from jaxport.errors import WeightsError
from jaxport.optim import lr_scheduler as schedulers
from jaxport.optim import swa_utils
from jaxport.optim.accumulation import accumulate
from jaxport.optim.clip import clip_grad_norm
from jaxport.optim.lr_scheduler import LRScheduler
from jaxport.optim.scheduling import scheduled

pytestmark = pytest.mark.usefixtures("strict_jax")

CONSTANT, LINEAR = schedulers.ConstantLR(0.5, total_iters=2), schedulers.LinearLR(0.5, total_iters=4)
BY_HAND: list[tuple[LRScheduler, list[float]]] = [
    (schedulers.StepLR(2, gamma=0.5), [1.0, 1.0, 0.5, 0.5, 0.25]),
    (schedulers.MultiStepLR([3, 1, 3], gamma=0.5), [1.0, 0.5, 0.5, 0.125, 0.125]),
    (CONSTANT, [0.5, 0.5, 1.0, 1.0]),
    (LINEAR, [0.5, 0.625, 0.75, 0.875, 1.0, 1.0]),
    (schedulers.ExponentialLR(0.5), [1.0, 0.5, 0.25, 0.125]),
    (schedulers.PolynomialLR(4, power=2.0), [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]),
    (schedulers.CosineAnnealingLR(2, eta_min=0.5), [1.0, 0.75, 0.5, 0.75, 1.0, 0.75]),
    (
        schedulers.CosineAnnealingWarmRestarts(2, T_mult=2),
        [1.0, 0.5, 1.0, 0.5 + 0.125**0.5, 0.5, 0.5 - 0.125**0.5, 1.0],
    ),
    (schedulers.LambdaLR(lambda epoch: 1.0 / (1.0 + epoch)), [1.0, 0.5, 1 / 3, 0.25]),
    (schedulers.MultiplicativeLR(lambda epoch: 0.5 * epoch), [1.0, 0.5, 0.5, 0.75]),
    (schedulers.CyclicLR(0.25, 0.75, step_size_up=2, step_size_down=1), [0.25, 0.5, 0.75, 0.25, 0.5]),
    (
        schedulers.OneCycleLR(1.0, 5, pct_start=0.6, anneal_strategy="linear", div_factor=4.0),
        [0.25, 0.625, 1.0, 0.5000125, 2.5e-5],
    ),
    (schedulers.ChainedScheduler([CONSTANT, LINEAR]), [0.25, 0.3125, 0.75, 0.875, 1.0]),
    (schedulers.SequentialLR([LINEAR, schedulers.ExponentialLR(0.5)], [2]), [0.5, 0.625, 1.0, 0.5, 0.25]),
    (swa_utils.SWALR(0.5, anneal_epochs=2, anneal_strategy="linear"), [1.0, 0.75, 0.5, 0.5]),
]


def rates(scheduler: LRScheduler, steps: int, lr: Any = 1.0) -> np.ndarray:
    """Return the rates from one compiled loop, (steps + 1, groups)."""

    @jax.jit
    def run() -> Any:
        state = scheduler.init(lr)
        later = jax.lax.scan(lambda s, _: (scheduler.step(s), scheduler.step(s).lr), state, length=steps)[1]
        return jnp.concatenate([state.lr[None], later])

    return np.asarray(run())


@pytest.mark.parametrize("x64", [True, False])
@pytest.mark.parametrize(("scheduler", "wanted"), BY_HAND, ids=[type(row[0]).__name__ for row in BY_HAND])
def test_by_hand(scheduler, wanted, x64):
    with jax.enable_x64(x64):
        found = rates(scheduler, len(wanted) - 1)
        assert found.dtype == (np.float64 if x64 else np.float32)
        np.testing.assert_allclose(found[:, 0], wanted, rtol=1e-15 if x64 else 6e-8, atol=1e-16)
        eager = [scheduler.init(1.0)]
        for _ in wanted[1:]:
            eager.append(scheduler.step(eager[-1]))
        np.testing.assert_array_equal(np.stack([s.lr for s in eager]), found)


def test_each_group_has_its_own_rate():
    found = rates(schedulers.LambdaLR([lambda epoch: 0.5**epoch, lambda epoch: 1.0 + epoch]), 2, [1.0, 3.0])
    assert found.tolist() == [[1.0, 3.0], [0.5, 6.0], [0.25, 9.0]]


def test_float32_rates_carry_no_rounding_along():
    """10,000 steps: a rate kept in float32 would be off by 1e-5."""
    scheduler = schedulers.ExponentialLR(0.9993)
    state, _ = jax.jit(lambda s: jax.lax.scan(lambda s, _: (scheduler.step(s), None), s, length=10_000))(
        scheduler.init(0.1)
    )
    assert state.lr.dtype == jnp.float32
    assert float(state.lr[0]) == pytest.approx(0.1 * 0.9993**10_000, rel=6e-8)


def test_plateau_by_hand():
    scheduler = schedulers.ReduceLROnPlateau(factor=0.5, patience=1, cooldown=1, min_lr=[0.25, 0.0])
    metrics = jnp.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, jnp.nan, 0.6])
    _, found = jax.lax.scan(
        lambda s, m: (scheduler.step(s, m), scheduler.step(s, m).lr), scheduler.init([0.5, 1.0]), metrics
    )
    wanted = [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]
    assert found[:, 1].tolist() == wanted
    assert found[:, 0].tolist() == [max(0.25, rate / 2) for rate in wanted]


def test_a_function_that_cannot_be_compiled_needs_a_table():
    def branching(epoch: Any) -> float:
        return 1.0 if epoch < 2 else 0.5

    with pytest.raises(TypeError, match=r"LambdaLR: lr_lambda cannot be compiled; .* give total="):
        rates(schedulers.LambdaLR(branching), 3)
    found = rates(schedulers.LambdaLR(branching, total=3), 4)[:, 0]
    assert found[:4].tolist() == [1.0, 1.0, 0.5, 0.5]
    assert np.isnan(found[4])
    assert float(schedulers.LambdaLR(branching).init(1.0).lr[0]) == 1.0


# ------------------------------------------------------------------------------------------------ around an optimiser

PARAMS = {"w": np.array([1.0, -2.0], np.float32)}


def train(optimizer: Any, steps: int, **extra: Any) -> tuple[Any, list[float]]:
    """Return the last state and the rate of each step, which the gradient 1 shows."""
    params = jax.tree.map(jnp.asarray, PARAMS)

    def body(state: Any, _: Any) -> Any:
        updates, state = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params, **extra)
        return state, -updates["w"][0]

    state, moved = jax.jit(lambda s: jax.lax.scan(body, s, length=steps))(optimizer.init(params))
    return state, moved.tolist()


def test_per_batch_and_per_epoch():
    halving = schedulers.ExponentialLR(0.5)
    assert train(scheduled(optim.SGD(lr=1.0), halving), 4)[1] == [1.0, 0.5, 0.25, 0.125]
    assert train(scheduled(optim.SGD(lr=1.0), halving, every=3), 7)[1] == [1.0] * 3 + [0.5] * 3 + [0.25]
    inner = optax.chain(clip_grad_norm(100.0), accumulate(optim.SGD(lr=1.0), 2))
    assert train(scheduled(inner, halving, every=2), 6)[1] == [0.0, 1.0, 0.0, 0.5, 0.0, 0.25]


def test_the_first_step_has_the_scheduler_s_first_rate():
    state, moved = train(scheduled(optim.SGD(lr=1.0), schedulers.ConstantLR(0.5, total_iters=2)), 3)
    assert moved == [0.5, 0.5, 1.0]
    assert [float(rate) for rate in optim.get_lr(state)] == [1.0]


def test_momentum_moves_against_the_rate():
    for inner in (optim.SGD(lr=1.0, momentum=0.5), optim.Adam(lr=1.0)):
        optimizer = scheduled(inner, schedulers.CyclicLR(0.25, 0.75, step_size_up=2))
        momenta = [float(optim.get_momentum(train(optimizer, steps)[0])[0]) for steps in range(4)]
        np.testing.assert_allclose(momenta, [0.9, 0.85, 0.8, 0.85], rtol=1e-7)
    with pytest.raises(ValueError, match="momentum"):
        scheduled(optim.SGD(lr=1.0), schedulers.CyclicLR(0.25, 0.75)).init(PARAMS)


def test_nothing_is_compiled_again():
    traces = []
    optimizer = scheduled(optim.SGD(lr=1.0, momentum=0.9), schedulers.OneCycleLR(0.5, total_steps=30))
    params = jax.tree.map(jnp.asarray, PARAMS)

    @jax.jit
    def update(state: Any) -> Any:
        traces.append(1)
        return optimizer.update(params, state, params)[1]

    state = optimizer.init(params)
    seen = set()
    for step in range(20):
        state = update(state if step != 10 else optim.set_lr(state, 0.125))
        seen.add(float(optim.get_lr(state)[0]))
    assert len(traces) == 1
    assert len(seen) == 20


def test_a_rate_that_was_set_counts():
    optimizer = scheduled(optim.SGD(lr=1.0), schedulers.ExponentialLR(0.5))
    params = jax.tree.map(jnp.asarray, PARAMS)
    state = optim.set_lr(optimizer.init(params), 8.0)
    for wanted in (4.0, 2.0):
        _, state = optimizer.update(params, state, params)
        assert float(optim.get_lr(state)[0]) == wanted


def test_parameter_groups_have_their_own_rates():
    inner = optim.groups([{"params": "w"}, {"params": ..., "lr": 0.5}], partial(optim.SGD, lr=1.0))
    optimizer = scheduled(inner, schedulers.LambdaLR([lambda epoch: 0.5**epoch, lambda epoch: 1.0 + epoch]))
    params = {"w": jnp.zeros(2), "b": jnp.zeros(())}
    state = optimizer.init(params)
    for first, second in ((1.0, 0.5), (0.5, 1.0), (0.25, 1.5)):
        assert [float(rate) for rate in optim.get_lr(state)] == [first, second]
        updates, state = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params)
        assert updates["w"].tolist() == [-first, -first]
        assert float(updates["b"]) == -second


def test_plateau_inside_the_step():
    plateau = schedulers.ReduceLROnPlateau(factor=0.5, patience=0)
    moved = train(scheduled(optim.SGD(lr=1.0), plateau, every=2), 8, value=jnp.asarray(3.0))[1]
    assert moved == [1.0] * 4 + [0.5] * 2 + [0.25] * 2
    with pytest.raises(ValueError, match=r"ReduceLROnPlateau needs update\(…, value=metric\), got value=None"):
        train(scheduled(optim.SGD(lr=1.0), plateau), 1)


def test_outside_the_step():
    plateau = schedulers.ReduceLROnPlateau(factor=0.5, patience=0)
    optimizer, params = optim.SGD(lr=1.0), jax.tree.map(jnp.asarray, PARAMS)
    opt_state = optimizer.init(params)
    state = plateau.init(optim.get_lr(opt_state))
    for metric in (1.0, 1.0, 1.0):
        state = plateau.step(state, metric)
        opt_state = optim.set_lr(opt_state, list(state.lr))
    assert float(opt_state.lr) == 0.25


# --------------------------------------------------------------------------------------------------- optax schedules


@pytest.mark.parametrize(("scheduler", "wanted"), BY_HAND, ids=[type(row[0]).__name__ for row in BY_HAND])
def test_as_an_optax_schedule(scheduler, wanted):
    last = len(wanted) - 1
    table = schedulers.as_schedule(scheduler, 1.0, total=last)
    np.testing.assert_allclose([float(table(step)) for step in range(last + 1)], wanted, rtol=6e-8, atol=1e-16)
    assert float(table(last + 7)) == float(table(last))
    if isinstance(scheduler, (schedulers.MultiplicativeLR, schedulers.ChainedScheduler)):
        with pytest.raises(TypeError, match=f"{type(scheduler).__name__} is no function of the step alone"):
            schedulers.as_schedule(scheduler, 1.0)
        return
    closed = jax.jit(schedulers.as_schedule(scheduler, 1.0))
    np.testing.assert_allclose([float(closed(step)) for step in range(last + 1)], wanted, rtol=6e-8, atol=1e-8)


def test_any_optax_optimiser_takes_it():
    optimizer = optax.sgd(schedulers.as_schedule(schedulers.ExponentialLR(0.5), lr=1.0))
    assert train(optimizer, 3)[1] == [1.0, 0.5, 0.25]
    with pytest.raises(TypeError, match="must not be a ReduceLROnPlateau"):
        schedulers.as_schedule(schedulers.ReduceLROnPlateau(), 1.0)


# ------------------------------------------------------------------------------------------------------------ errors

ERRORS: list[tuple[Any, type[Exception], str]] = [
    (lambda: scheduled(optim.SGD(), CONSTANT, every=0), ValueError, "every must be an integer >= 1, got 0"),
    (lambda: scheduled(optim.SGD(), CONSTANT, every=True), ValueError, "every must be an integer >= 1, got True"),
    (
        lambda: schedulers.ReduceLROnPlateau().step(schedulers.ReduceLROnPlateau().init(1.0)),
        ValueError,
        "needs a metric",
    ),
    (lambda: CONSTANT.init([0.1, 0.2]).replace_lr([0.1, 0.2, 0.3]), ValueError, "one for each of the 2 groups"),
    (lambda: LRScheduler().init(0.1), NotImplementedError, "define get_lr"),
    (lambda: schedulers.load_state_dict(CONSTANT, {}, [{}]), WeightsError, "missing: param_groups/lr"),
    (
        lambda: schedulers.load_state_dict(CONSTANT, {}, [{"lr": 1.0}]),
        WeightsError,
        "last_epoch.*base_lrs|base_lrs.*last_epoch",
    ),
    (lambda: schedulers.OneCycleLR(0.1, 9, last_epoch=3).init(0.1, initial_lr=0.1), KeyError, "max_lr"),
]


@pytest.mark.parametrize(("call", "error", "match"), ERRORS, ids=[row[2] for row in ERRORS])
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()
