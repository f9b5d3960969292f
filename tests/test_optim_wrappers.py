"""Clipping, accumulation, loss scaling and weight averages inside compiled steps: values by hand, errors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.experimental import checkify

from jaxport import nn, optim
from jaxport.interop import state_dict
from jaxport.nn.utils import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from jaxport.optim import swa_utils
from jaxport.optim.accumulation import accumulate
from jaxport.optim.clip import clip_grad_norm, clip_grad_value
from jaxport.optim.grad_scaler import GradScaler, scaled

pytestmark = pytest.mark.usefixtures("strict_jax")
INF = float("inf")


def grads() -> dict[str, jax.Array]:
    return {"w": jnp.array([3.0, 0.0, -4.0]), "b": jnp.array(12.0)}


NORMS = [(2.0, 13.0), (1.0, 19.0), (INF, 12.0), (-INF, 0.0), (0.0, 2.0), (3.0, (27 + 64 + 1728) ** (1 / 3))]


@pytest.mark.parametrize(("order", "wanted"), NORMS)
def test_norms_by_hand(order, wanted):
    assert float(jax.jit(lambda g: get_total_norm(g, order))(grads())) == pytest.approx(wanted, rel=1e-6)


def test_clipping_by_hand():
    clipped, norm = jax.jit(lambda g: clip_grad_norm_(g, 6.5))(grads())
    assert float(norm) == 13.0
    np.testing.assert_allclose(clipped["w"], [1.5, 0.0, -2.0], rtol=1e-6)
    same = clip_grads_with_norm_(grads(), 100.0, norm)
    assert same["w"].tolist() == [3.0, 0.0, -4.0]
    assert clip_grad_value_(grads(), 3.5)["w"].tolist() == [3.0, 0.0, -3.5]


def test_the_1e_6_is_there():
    clipped = clip_grads_with_norm_([jnp.array(1e-6)], 1e-6, jnp.array(1e-6))
    assert float(clipped[0]) == pytest.approx(5e-7, rel=1e-6)


def test_clipping_in_front_of_an_optimiser():
    optimizer = optax.chain(clip_grad_value(3.0), clip_grad_norm(1.0), optim.SGD(lr=1.0))
    params = jax.tree.map(jnp.zeros_like, grads())
    updates, state = jax.jit(optimizer.update)(grads(), optimizer.init(params), params)
    norm = 27.0**0.5
    assert float(state[1].total_norm) == pytest.approx(norm, rel=1e-6)
    np.testing.assert_allclose(updates["w"], np.array([-3.0, 0.0, 3.0]) / norm, rtol=1e-6)
    again = jax.tree.map(lambda a: (a.shape, a.dtype), state)
    assert again == jax.tree.map(lambda a: (a.shape, a.dtype), optimizer.init(params))


def test_a_norm_that_is_not_finite():
    bad = {**grads(), "b": jnp.array(jnp.nan)}
    with pytest.raises(RuntimeError, match=r"the total norm of order 2.0 .* set error_if_nonfinite=False"):
        clip_grad_norm_(bad, 1.0, error_if_nonfinite=True)
    checked = jax.jit(checkify.checkify(lambda g: clip_grad_norm_(g, 1.0, error_if_nonfinite=True)))
    assert "is not finite" in checked(bad)[0].get()
    assert checked(grads())[0].get() is None


# ----------------------------------------------------------------------------------------------------- accumulation


@pytest.mark.parametrize(("reduction", "moved"), [("mean", 2.0), ("sum", 6.0)])
def test_accumulation_by_hand(reduction, moved):
    optimizer = accumulate(optim.SGD(lr=1.0), 3, reduction)

    def body(carry: Any, grad: Any) -> Any:
        weight, state = carry
        updates, state = optimizer.update(grad, state, weight)
        weight = optax.apply_updates(weight, updates)
        return (weight, state), weight

    weight = jnp.zeros(())
    (_, state), found = jax.lax.scan(body, (weight, optimizer.init(weight)), jnp.array([1.0, 2.0, 3.0] * 2 + [5.0]))
    assert found.tolist() == [0.0, 0.0, -moved, -moved, -moved, -2 * moved, -2 * moved]
    assert int(state.batches) == 1
    assert int(state.optimizer.step) == 2
    assert [float(rate) for rate in optim.get_lr(state)] == [1.0]


ACCUMULATE_ERRORS = [
    ({"steps": 0}, "steps must be an integer >= 1, got 0"),
    ({"steps": True}, "steps must be an integer >= 1, got True"),
    ({"steps": 2, "reduction": "max"}, "reduction must be 'mean' or 'sum', got 'max'"),
]


@pytest.mark.parametrize(("options", "match"), ACCUMULATE_ERRORS)
def test_accumulation_errors(options, match):
    with pytest.raises(ValueError, match=match):
        accumulate(optim.SGD(), **options)


# ------------------------------------------------------------------------------------------------------- loss scaling


def test_loss_scaling_by_hand():
    scaler = GradScaler(init_scale=8.0, growth_interval=2)
    optimizer = scaled(optim.SGD(lr=1.0), scaler)

    def body(carry: Any, slope: Any) -> Any:
        weight, state = carry
        grad = jax.grad(lambda w: scaler.scale(state.scaler, w * slope))(weight)
        updates, state = optimizer.update(grad, state, weight)
        weight = optax.apply_updates(weight, updates)
        return (weight, state), (weight, state.scaler.scale, state.scaler.growth_tracker, state.found_inf)

    slopes, weight = jnp.array([1.0, 1.0, jnp.inf, 1.0, jnp.nan, 1.0, 1.0]), jnp.zeros(())
    (_, state), found = jax.lax.scan(body, (weight, optimizer.init(weight)), slopes)
    assert found[0].tolist() == [-1.0, -2.0, -2.0, -3.0, -3.0, -4.0, -5.0]
    assert found[1].tolist() == [8.0, 16.0, 8.0, 8.0, 4.0, 4.0, 8.0]
    assert found[2].tolist() == [1, 0, 0, 1, 0, 1, 0]
    assert found[3].tolist() == [False, False, True, False, True, False, False]
    assert int(state.optimizer.step) == 5


def test_skipping_compiles_nothing_again():
    traces = []
    optimizer = scaled(optim.Adam(lr=1.0))

    @jax.jit
    def update(grad: Any, state: Any, weight: Any) -> Any:
        traces.append(1)
        return optimizer.update(grad, state, weight)

    weight = jnp.zeros(3)
    state = optimizer.init(weight)
    for grad in (jnp.ones(3), jnp.array([1.0, jnp.inf, 0.0]), jnp.ones(3)):
        updates, state = update(grad, state, weight)
        assert jnp.isfinite(updates).all()
    assert len(traces) == 1
    assert float(state.scaler.scale) == 2.0**15
    assert float(GradScaler().update(state.scaler, jnp.asarray(False), new_scale=3.0).scale) == 3.0


# ---------------------------------------------------------------------------------------------------- weight averages


def model(value: float) -> nn.Linear:
    linear = nn.Linear(1, 1, rngs=0)
    for parameter in linear.parameters():
        parameter.set_value(jnp.full(parameter.shape, value))
    return linear


def test_averages_by_hand():
    plain = swa_utils.AveragedModel(model(7.0))
    moving = swa_utils.AveragedModel(model(7.0), avg_fn=swa_utils.get_ema_avg_fn(0.5))
    for value in (1.0, 2.0, 6.0):
        for averaged in (plain, moving):
            averaged.update_parameters(model(value))
    assert float(plain.module.weight[0, 0]) == 3.0
    assert float(moving.module.weight[0, 0]) == 3.75
    assert list(state_dict(plain)) == ["n_averaged", "module.weight", "module.bias"]
    assert int(plain.n_averaged[...]) == 3
    assert float(plain(jnp.ones((1, 1)))[0, 0]) == 6.0


def test_an_average_in_a_compiled_loop():
    rule = swa_utils.get_ema_multi_avg_fn(0.5)

    def body(carry: Any, value: Any) -> Any:
        average, count = carry
        average = swa_utils.update_average(average, {"w": value}, count, multi_avg_fn=rule)
        return (average, count + 1), average["w"]

    _, found = jax.lax.scan(body, ({"w": jnp.array(7.0)}, jnp.array(0)), jnp.array([1.0, 2.0, 6.0]))
    assert found.tolist() == [1.0, 1.5, 3.75]
    averaged = swa_utils.AveragedModel(model(7.0))
    graph, arrays = nnx.split(averaged)

    @jax.jit
    def update(arrays: Any, value: Any) -> Any:
        module = nnx.merge(graph, arrays, copy=True)
        current = nn.Linear(1, 1, rngs=0)
        for parameter in current.parameters():
            parameter.set_value(jnp.full(parameter.shape, value))
        module.update_parameters(current)
        return nnx.split(module)[1]

    for value in (1.0, 2.0, 6.0):
        arrays = update(arrays, value)
    assert float(nnx.merge(graph, arrays).module.weight[0, 0]) == 3.0


def test_statistics_by_hand():
    layer = nn.Sequential(nn.BatchNorm1d(1, momentum=0.3)).eval()
    batches = [jnp.array([[1.0], [3.0]]), (jnp.array([[2.0], [6.0]]), "labels")]
    swa_utils.update_bn(batches, layer)
    assert state_dict(layer)["0.running_mean"].tolist() == [3.0]
    assert state_dict(layer)["0.running_var"].tolist() == [5.0]  # of 2 and 8, unbiased
    assert not layer.training
    assert layer[0].momentum == 0.3


def test_average_errors():
    rules = swa_utils.get_swa_avg_fn(), swa_utils.get_swa_multi_avg_fn()
    with pytest.raises(ValueError, match="only one of avg_fn and multi_avg_fn may be given, got both"):
        swa_utils.update_average([jnp.ones(1)], [jnp.ones(1)], jnp.array(0), *rules)
