"""Schedules that go on: at an epoch, from PyTorch's state, into PyTorch's state."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scheduler_cases import COMPOSED, SCHEDULES, metrics, name_of
from scheduler_runs import LRS, build_jax, build_torch, fail_on, run_findings, torch_optimizer

from jaxport.optim import lr_scheduler

torch = pytest.importorskip("torch")
THEIRS = torch.optim.lr_scheduler


@pytest.mark.parametrize(
    "options", [{"T_0": 3}, {"T_0": 3, "T_mult": 2}, {"T_0": 1, "T_mult": 10}, {"T_0": 5, "T_mult": 3, "eta_min": 0.01}]
)
def test_warm_restarts_step_to_an_epoch(options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    theirs = THEIRS.CosineAnnealingWarmRestarts(optimizer, **options)
    with jax.enable_x64(True):
        ours = lr_scheduler.CosineAnnealingWarmRestarts(**options)
        state, jump = ours.init(0.1), jax.jit(lambda state, epoch: ours.step(state, epoch=epoch))
        found, wanted = [], []
        for epoch in [*np.arange(0.0, 40.0, 0.375), 111.0, 1111.0, 7.0, 0.5, *[None] * 30]:
            optimizer.step()
            theirs.step(epoch)
            state = ours.step(state) if epoch is None else jump(state, jnp.asarray(epoch))
            found.append([*state.lr, state.last_epoch])
            wanted.append([optimizer.param_groups[0]["lr"], theirs.last_epoch])
    fail_on(run_findings({"lr": np.array(found, np.float64)}, {"lr": np.array(wanted)}, "float64"))


RESUMED = [spec for spec in SCHEDULES if spec[0] not in ("OneCycleLR", "CyclicLR")][::6]


@pytest.mark.parametrize("spec", RESUMED, ids=map(name_of, RESUMED))
def test_last_epoch(spec):
    """A schedule that goes on at an epoch, from the rates that the optimiser has."""
    spec = (spec[0], {**spec[1], "last_epoch": 30})
    optimizer = torch_optimizer((0.05, 0.02, 0.3))
    for group, lr in zip(optimizer.param_groups, LRS, strict=True):
        group["initial_lr"] = lr
    theirs = build_torch(spec, optimizer)
    with jax.enable_x64(True):
        ours = build_jax(spec)
        state, step = ours.init([0.05, 0.02, 0.3], initial_lr=list(LRS)), jax.jit(ours.step)
        found, wanted = [], []
        for _ in range(60):
            found.append(np.asarray(state.lr))
            wanted.append([group["lr"] for group in optimizer.param_groups])
            optimizer.step()
            theirs.step()
            state = step(state)
    fail_on(run_findings({"lr": np.stack(found)}, {"lr": np.array(wanted)}, "float64"))


TRANSFERRED = (
    SCHEDULES[::9]
    + list(COMPOSED.values())[::5]
    + [("ReduceLROnPlateau", {"patience": 2, "cooldown": 3, "factor": 0.5})]
)


@pytest.mark.parametrize("spec", TRANSFERRED, ids=range(len(TRANSFERRED)))
@pytest.mark.parametrize("to", ["jax", "torch"])
def test_transfer_in_the_middle(spec, to):
    watched = metrics("transfer")

    def arguments(step: int) -> list[float]:
        return [watched[step]] if spec[0] == "ReduceLROnPlateau" else []

    def advance(optimizer: Any, scheduler: Any, steps: range) -> list[list[float]]:
        rows = []
        for number in steps:
            optimizer.step()
            scheduler.step(*arguments(number))
            rows.append([group["lr"] for group in optimizer.param_groups])
        return rows

    optimizer = torch_optimizer(LRS)
    theirs = build_torch(spec, optimizer)
    with jax.enable_x64(True):
        ours = build_jax(spec)
        step = jax.jit(ours.step)
        if to == "jax":
            advance(optimizer, theirs, range(57))
            state = lr_scheduler.load_state_dict(ours, theirs.state_dict(), optimizer.param_groups)
            assert jax.tree.structure(state) == jax.tree.structure(ours.init(list(LRS), **_extra(state)))
            wanted = advance(optimizer, theirs, range(57, 120))
        else:
            state = ours.init(list(LRS))
            for number in range(57):
                state = step(state, *map(jnp.asarray, arguments(number)))
            theirs.load_state_dict(lr_scheduler.state_dict(ours, state))
            for group, mine in zip(optimizer.param_groups, lr_scheduler.param_groups(state), strict=True):
                group.update(mine)
            wanted = advance(optimizer, theirs, range(57, 120))
        found = []
        for number in range(57, 120):
            state = step(state, *map(jnp.asarray, arguments(number)))
            found.append(np.asarray(state.lr).tolist())
    fail_on(run_findings({"lr": np.array(found)}, {"lr": np.array(wanted)}, "float64"))


def _extra(state: Any) -> dict[str, Any]:
    return {name: list(value.value) for name, value in state.groups.items() if name not in ("lr", "momentum")}
