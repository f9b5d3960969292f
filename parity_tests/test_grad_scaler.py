"""Loss scaling against torch.amp.GradScaler on the CPU: scale, counter and parameters after every step."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import findings64, generator
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_runs import fail_on

from jaxport import optim
from jaxport.optim import grad_scaler
from jaxport.optim.grad_scaler import GradScaler, scaled

torch = pytest.importorskip("torch")

INF, NAN = float("inf"), float("nan")
STEPS = 40
Rows = list[dict[str, np.ndarray]]


def factors(seed: str, share: float, bad: tuple[float, ...] = (INF, -INF, NAN)) -> np.ndarray:
    """Return what each step's loss is multiplied by (STEPS, 5): numbers, with infinities and NaN planted."""
    rng = generator(seed)
    values = 0.1 + rng.standard_normal((STEPS, 5))
    rows = np.flatnonzero(rng.random(STEPS) < share)
    values[rows, rng.integers(0, 5, rows.size)] = rng.choice(bad, rows.size)
    return values


def torch_run(options: dict[str, Any], values: np.ndarray, dtype: Any) -> Rows:
    weight = torch.nn.Parameter(torch.ones(5, dtype=dtype))
    optimizer = torch.optim.SGD([weight], lr=0.05, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", **options)
    rows = []
    for value in values:
        optimizer.zero_grad()
        scaler.scale((weight * torch.tensor(value, dtype=dtype)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        rows.append(
            {
                "weight": weight.detach().numpy().copy(),
                "scale": np.float64(scaler.get_scale()),
                "tracker": np.asarray(scaler._get_growth_tracker()),
            }
        )
    return rows


def jax_run(options: dict[str, Any], values: np.ndarray, dtype: str) -> Rows:
    with jax.enable_x64(dtype == "float64"):
        scaler = GradScaler(**options)
        optimizer = scaled(optim.SGD(lr=0.05, momentum=0.9), scaler)
        first = jnp.ones(5, dtype)

        def body(carry: Any, value: Any) -> Any:
            weight, state = carry
            grads = jax.grad(lambda w: scaler.scale(state.scaler, (w * value).sum()))(weight)
            updates, state = optimizer.update(grads, state, weight)
            weight = optax.apply_updates(weight, updates)
            return (weight, state), (weight, state.scaler)

        run = jax.jit(lambda w, v: jax.lax.scan(body, (w, optimizer.init(w)), v)[1])
        weights, states = run(first, jnp.asarray(values, dtype))
        return [
            {
                "weight": np.asarray(weights[i]),
                "scale": np.float64(states.scale[i]),
                "tracker": np.asarray(states.growth_tracker[i]),
            }
            for i in range(len(values))
        ]


def scaler_findings(options: dict[str, Any], values: np.ndarray) -> list[str]:
    wanted, found = torch_run(options, values, torch.float64), jax_run(options, values, "float64")
    lines = []
    for step, row in enumerate(wanted):
        exact = ("scale", "tracker")  # to the bit
        lines += [f"step {step} {key}: {found[step][key]}" for key in exact if found[step][key] != row[key]]
        lines += findings64(f"step {step} weight", found[step]["weight"], row["weight"])
    return lines


OPTIONS: list[dict[str, Any]] = [
    {},
    {"growth_interval": 3},
    {"init_scale": 3.0, "growth_factor": 1.7, "backoff_factor": 0.3, "growth_interval": 2},
    {"growth_interval": 1, "init_scale": 2.0**120},
    {"init_scale": 1.0, "growth_interval": 5, "growth_factor": 1.1},
    {"enabled": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_same_steps(options, share):
    if options.get("enabled") is False and share:
        return  # without a scaler every parameter is NaN from there
    fail_on(scaler_findings(options, factors(f"{options} {share}", share)))


def test_overflow_of_float32_in_the_scaled_loss():
    """The gradient is finite; times the scale it is not."""
    values = factors("overflow", 0.3, (1e36, -3e35))
    options = {"growth_interval": 4}
    wanted, found = torch_run(options, values, torch.float32), jax_run(options, values, "float32")
    for step, row in enumerate(wanted):
        assert found[step]["scale"] == row["scale"], step
        assert found[step]["tracker"] == row["tracker"], step
        stayed = [step > 0 and (rows[step]["weight"] == rows[step - 1]["weight"]).all() for rows in (found, wanted)]
        assert stayed[0] == stayed[1], step
    assert any(row["scale"] < 65536.0 for row in wanted)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    st.floats(1.0, 2.0**20),
    st.floats(1.01, 4.0),
    st.floats(0.1, 0.99),
    st.integers(1, 6),
    st.floats(0.0, 0.6),
    st.integers(0, 9),
)
def test_any_numbers(init, growth, backoff, interval, share, seed):
    options = {"init_scale": init, "growth_factor": growth, "backoff_factor": backoff, "growth_interval": interval}
    fail_on(scaler_findings(options, factors(f"any {seed}", share)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_scaled_losses_have_pytorch_s_dtype(dtype):
    theirs = torch.amp.GradScaler("cpu", init_scale=8.0)
    ours = GradScaler(init_scale=8.0)
    for shape in ((), (3,)):
        wanted = theirs.scale(torch.ones(shape, dtype=getattr(torch, dtype)))
        found = ours.scale(ours.init(), jnp.ones(shape, dtype))
        assert str(found.dtype) == str(wanted.dtype).removeprefix("torch.")
        np.testing.assert_array_equal(np.asarray(found, np.float32), wanted.float().numpy())


def test_state_dict_both_ways():
    theirs = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=7)
    ours = GradScaler(init_scale=8.0, growth_interval=7)
    state = ours.init()
    for bad in (False, False, True, False, False):
        weight = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        theirs.scale(weight.sum() * (INF if bad else 1.0)).backward()
        theirs.step(optimizer)
        theirs.update()
        state = ours.update(state, jnp.asarray(bad))
    assert ours.state_dict(state) == theirs.state_dict()
    scaler, read = GradScaler.from_state_dict(theirs.state_dict())
    assert scaler.state_dict(read) == theirs.state_dict()
    fresh = torch.amp.GradScaler("cpu")
    fresh.load_state_dict(ours.state_dict(state))
    assert fresh.state_dict() == theirs.state_dict()
    disabled = torch.amp.GradScaler("cpu", enabled=False)
    assert disabled.state_dict() == GradScaler(enabled=False).state_dict(state) == {}


BAD: list[dict[str, Any]] = [
    {"growth_factor": 1.0},
    {"growth_factor": 0.5},
    {"backoff_factor": 1.0},
    {"backoff_factor": 2.0},
]


@pytest.mark.parametrize("options", BAD, ids=str)
def test_what_pytorch_refuses_is_refused(options):
    with pytest.raises(AssertionError):
        torch.amp.GradScaler("cpu", **options)
    with pytest.raises(ValueError, match=f"GradScaler: {next(iter(options))} must be"):
        GradScaler(**options)


def test_float16_gradients_are_refused():
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float16))
    theirs = torch.amp.GradScaler("cpu")
    theirs.scale(weight.sum()).backward()
    with pytest.raises(ValueError, match="FP16 gradients"):
        theirs.unscale_(torch.optim.SGD([weight], lr=0.1))
    with pytest.raises(ValueError, match="grads must not be float16"):
        GradScaler().unscale(GradScaler().init(), [jnp.ones(1, jnp.float16)])
    with pytest.raises(RuntimeError, match="empty"):
        theirs.load_state_dict({})
    with pytest.raises(ValueError, match="must not be empty"):
        GradScaler.from_state_dict({})


def test_arguments_and_defaults():
    theirs = [p for p in inspect.signature(torch.amp.GradScaler).parameters.values() if p.name != "device"]
    ours = list(inspect.signature(GradScaler).parameters.values())
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


# ------------------------------------------------------------------------------- deliberate mistakes must be found


def _counter_kept(self: Any, state: Any, found_inf: Any, new_scale: Any = None) -> Any:
    new = RIGHT(self, state, found_inf)
    return new._replace(growth_tracker=jnp.where(found_inf, state.growth_tracker, new.growth_tracker))


def _counter_not_reset_by_growth(self: Any, state: Any, found_inf: Any, new_scale: Any = None) -> Any:
    new = RIGHT(self, state, found_inf)
    return new._replace(growth_tracker=jnp.where(found_inf, 0, state.growth_tracker + 1))


def _one_step_late(self: Any, state: Any, found_inf: Any, new_scale: Any = None) -> Any:
    return RIGHT(
        GradScaler(self.init_scale, self.growth_factor, self.backoff_factor, self.growth_interval + 1), state, found_inf
    )


RIGHT = GradScaler.update
WRONG = [_counter_kept, _counter_not_reset_by_growth, _one_step_late]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_counter_is_found(monkeypatch, wrong):
    monkeypatch.setattr(GradScaler, "update", wrong)
    assert any("scale" in line for line in scaler_findings({"growth_interval": 3}, factors("mistakes", 0.2)))


def test_a_step_that_is_not_skipped_is_found(monkeypatch):
    right = GradScaler.unscale

    def blind(self: Any, state: Any, grads: Any) -> Any:
        grads, found = right(self, state, grads)
        return grads, jnp.zeros_like(found)

    monkeypatch.setattr(GradScaler, "unscale", blind)
    assert any("weight" in line for line in scaler_findings({}, factors("mistakes", 0.2)))


def test_a_factor_in_single_precision_is_found(monkeypatch):
    monkeypatch.setattr(grad_scaler, "_times", lambda scale, factor: scale * jnp.float32(factor))
    options = {"init_scale": 3.0, "growth_factor": 1.7, "backoff_factor": 0.3, "growth_interval": 2}
    assert scaler_findings(options, factors("mistakes", 0.2))
