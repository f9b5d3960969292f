"""An optimiser with its schedule in one compiled loop, against PyTorch's loop with ``scheduler.step()``."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import both_dtypes, findings32, findings64, generator, rounded
from scheduler_cases import COMPOSED
from scheduler_runs import Spec, build_jax, build_torch, fail_on

from jaxport import optim
from jaxport.optim.scheduling import scheduled

torch = pytest.importorskip("torch")

STEPS = 60
SGD: Spec = ("SGD", {"lr": 0.1, "momentum": 0.9})
ADAM: Spec = ("Adam", {"lr": 0.01})
CYCLE: Spec = ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 7, "mode": "triangular2"})
ONE_CYCLE: Spec = ("OneCycleLR", {"max_lr": 0.1, "total_steps": STEPS + 1})
PLATEAU: Spec = ("ReduceLROnPlateau", {"factor": 0.5, "patience": 1, "threshold": 0.05})
# Optimiser, scheduler, updates for one step of the scheduler.
ROWS: list[tuple[Spec, Spec, int]] = [
    (SGD, ("LinearLR", {"start_factor": 0.25, "total_iters": 20}), 1),
    (SGD, ("StepLR", {"step_size": 3, "gamma": 0.5}), 8),
    (SGD, CYCLE, 1),
    (SGD, ONE_CYCLE, 1),
    (ADAM, CYCLE, 3),
    (ADAM, ONE_CYCLE, 1),
    (ADAM, COMPOSED["warm-up, then cosine"], 1),
    (SGD, COMPOSED["warm-up * steps"], 2),
    (SGD, PLATEAU, 1),
    (ADAM, PLATEAU, 4),
]


def problem(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the first parameters, the gradient and the metric of each step."""
    rng = generator(name)
    metric = 1.0 + 0.3 * rng.random(STEPS) - np.linspace(0, 0.5, STEPS)
    return tuple(map(rounded, (rng.standard_normal(5), 0.1 + rng.standard_normal((STEPS, 5)), metric)))


def torch_training(optimizer: Spec, spec: Spec, every: int, dtype: Any) -> np.ndarray:
    first, grads, metric = problem(f"{optimizer} {spec}")
    weight = torch.nn.Parameter(torch.tensor(first, dtype=dtype))
    sgd = getattr(torch.optim, optimizer[0])([weight], **optimizer[1])
    scheduler, rows = build_torch(spec, sgd), []
    for step in range(STEPS):
        weight.grad = torch.tensor(grads[step], dtype=dtype)
        sgd.step()
        if (step + 1) % every == 0:
            watched = metric[step + 1 - every : step + 1].mean()
            scheduler.step(*([watched] if spec is PLATEAU else []))
        rows.append(weight.detach().numpy().copy())
    return np.stack(rows)


def jax_training(optimizer: Spec, spec: Spec, every: int, dtype: str) -> np.ndarray:
    first, grads, metric = problem(f"{optimizer} {spec}")
    with jax.enable_x64(dtype == "float64"):
        both = scheduled(getattr(optim, optimizer[0])(**optimizer[1]), build_jax(spec), every)

        def body(carry: Any, inputs: Any) -> Any:
            weight, state = carry
            updates, state = both.update(inputs[0], state, weight, value=inputs[1])
            weight = optax.apply_updates(weight, updates)
            return (weight, state), weight

        data = jnp.asarray(grads, dtype), jnp.asarray(metric, dtype)
        run = jax.jit(lambda weight: jax.lax.scan(body, (weight, both.init(weight)), data)[1])
        return np.asarray(run(jnp.asarray(first, dtype)))


def training_findings(row: tuple[Spec, Spec, int], dtype: str = "float64") -> list[str]:
    exact, found = torch_training(*row, torch.float64), jax_training(*row, dtype)
    if dtype == "float64":
        return [line for step in range(STEPS) for line in findings64(f"step {step}", found[step], exact[step])]
    return findings32("parameters", found, torch_training(*row, torch.float32), exact)


@both_dtypes
@pytest.mark.parametrize("row", ROWS, ids=[f"{row[0][0]}-{row[1][0]}-{row[2]}" for row in ROWS])
def test_same_training(row, dtype):
    fail_on(training_findings(row, dtype))


def test_a_schedule_one_update_late_is_found(monkeypatch):
    right = scheduled
    monkeypatch.setitem(globals(), "scheduled", lambda inner, scheduler, every: right(inner, scheduler, every + 1))
    assert training_findings(ROWS[0])


def test_a_momentum_that_stays_is_found(monkeypatch):
    from jaxport.optim import scheduling as module

    monkeypatch.setattr(module, "set_momentum", lambda state, values: optim.track_momentum(state))
    assert training_findings(ROWS[2])
    assert training_findings(ROWS[5])
