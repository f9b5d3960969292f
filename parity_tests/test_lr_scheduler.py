"""Every scheduler against PyTorch's: rates and momenta of each group after each of 200 steps."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import all_pairs, both_dtypes, generator
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_cases import COMPOSED, COSINE, EXPONENTIAL, SCHEDULES, WARM_UP, chain, name_of
from scheduler_runs import (
    LRS,
    Spec,
    build_jax,
    build_torch,
    fail_on,
    find,
    run_findings,
    schedule_findings,
    torch_optimizer,
)

from jaxport.optim import lr_scheduler, swa_utils

torch = pytest.importorskip("torch")
THEIRS = torch.optim.lr_scheduler


@pytest.mark.parametrize("spec", SCHEDULES, ids=map(name_of, SCHEDULES))
def test_same_rates(spec):
    fail_on(schedule_findings(spec))


@pytest.mark.parametrize("name", COMPOSED)
def test_same_rates_composed(name):
    fail_on(schedule_findings(COMPOSED[name]))


# The arithmetic is the same in both precisions: some of each. scheduler_report.py runs all.
SINGLE = SCHEDULES[::3] + list(COMPOSED.values())[::3]


@pytest.mark.parametrize("spec", SINGLE, ids=range(len(SINGLE)))
def test_same_rates_in_float32(spec):
    fail_on(schedule_findings(spec, "float32"))


# A power of two, so that the change itself is not rounded.
CHANGED = [spec for spec in SCHEDULES if spec[0] not in ("CyclicLR", "OneCycleLR")][::4] + list(COMPOSED.values())[::8]


@pytest.mark.parametrize("spec", CHANGED, ids=range(len(CHANGED)))
def test_a_rate_changed_in_between_means_the_same(spec):
    fail_on(schedule_findings(spec, changes={11: 0.5, 90: 4.0}))


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_momentum_or_beta1(kind):
    for spec in (
        ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 20}),
        ("OneCycleLR", {"max_lr": 0.1, "total_steps": 200}),
    ):
        fail_on(schedule_findings(spec, kind=kind))


# ---------------------------------------------------------------------------------------------------------- plateau

PLATEAU_GRID: dict[str, list[Any]] = {
    "mode": ["min", "max"],
    "factor": [0.1, 0.7],
    "patience": [0, 3, 10],
    "threshold": [1e-4, 0.05],
    "threshold_mode": ["rel", "abs"],
    "cooldown": [0, 4],
    "min_lr": [0, 0.02, [0.05, 0.0, 1.0]],
    "eps": [1e-8, 0.01],
}


def metrics(name: str) -> list[float]:
    """Return a noisy descent that stalls now and then, with NaN and infinities among it, in float32 numbers."""
    rng = generator(name)
    falls = np.where(rng.random(200) < 0.5, rng.random(200), 0.0).cumsum()
    values = 3.0 - 0.05 * falls + 0.05 * rng.standard_normal(200)
    values[rng.random(200) < 0.02] = rng.choice([np.nan, np.inf, -0.5])
    return values.astype(np.float32).astype(np.float64).tolist()


PLATEAU = [{}, *all_pairs(PLATEAU_GRID, lambda row: True)]


@both_dtypes
@pytest.mark.parametrize("options", PLATEAU, ids=range(len(PLATEAU)))
def test_plateau(options, dtype):
    for number in range(3):
        fail_on(schedule_findings(("ReduceLROnPlateau", options), dtype, metrics=metrics(f"{options} {number}")))


# ------------------------------------------------------------------------------------------------------- random cases

GAMMA = st.floats(0.05, 1.05)
COUNT = st.integers(1, 250)
FACTOR = st.floats(0.01, 1.0)
SIMPLE = {
    "StepLR": {"step_size": COUNT, "gamma": GAMMA},
    "MultiStepLR": {"milestones": st.lists(st.integers(0, 220), max_size=6), "gamma": GAMMA},
    "ConstantLR": {"factor": FACTOR, "total_iters": COUNT},
    "LinearLR": {"start_factor": FACTOR, "end_factor": st.floats(0.0, 1.0), "total_iters": COUNT},
    "ExponentialLR": {"gamma": GAMMA},
    "PolynomialLR": {"total_iters": COUNT, "power": st.floats(0.1, 4.0)},
    "CosineAnnealingLR": {"T_max": COUNT, "eta_min": st.floats(0.0, 0.05)},
    "CosineAnnealingWarmRestarts": {"T_0": COUNT, "T_mult": st.integers(1, 3), "eta_min": st.floats(0.0, 0.05)},
    "SWALR": {
        "swa_lr": FACTOR,
        "anneal_epochs": st.integers(0, 250),
        "anneal_strategy": st.sampled_from(["cos", "linear"]),
    },
}
OTHERS = {
    "CyclicLR": {
        "base_lr": st.floats(1e-4, 0.1),
        "max_lr": st.floats(0.1, 1.0),
        "step_size_up": COUNT,
        "step_size_down": COUNT,
        "mode": st.sampled_from(["triangular", "triangular2", "exp_range"]),
        "gamma": st.floats(0.9, 1.0),
        "cycle_momentum": st.booleans(),
    },
    "OneCycleLR": {
        "max_lr": FACTOR,
        "total_steps": st.integers(200, 400),
        "pct_start": st.floats(0.05, 0.95),
        "anneal_strategy": st.sampled_from(["cos", "linear"]),
        "div_factor": st.floats(1.0, 100.0),
        "final_div_factor": st.floats(1.0, 1e4),
        "three_phase": st.booleans(),
    },
}
LR = st.floats(1e-4, 1.0)


def specs(table: dict[str, Any]) -> st.SearchStrategy[Spec]:
    return st.one_of([st.tuples(st.just(name), st.fixed_dictionaries(options)) for name, options in table.items()])


@pytest.mark.parametrize("name", [*SIMPLE, *OTHERS])
def test_any_numbers(name):
    @settings(max_examples=8, deadline=None, derandomize=True, database=None)
    @given(specs({name: {**SIMPLE, **OTHERS}[name]}), LR, LR)
    def check(spec, first, second):
        fail_on(schedule_findings(spec, lrs=(first, second)))

    check()


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(st.lists(specs(SIMPLE), min_size=1, max_size=3), LR)
def test_any_chain(parts, lr):
    fail_on(schedule_findings(chain(*parts), lrs=(lr,)))


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(st.lists(specs(SIMPLE), min_size=2, max_size=3), st.lists(st.integers(1, 150), min_size=2, max_size=2), LR)
def test_any_sequence(parts, milestones, lr):
    at = sorted(milestones)[: len(parts) - 1]
    fail_on(schedule_findings(("SequentialLR", {"schedulers": parts, "milestones": at}), lrs=(lr,)))


# ------------------------------------------------------------------------------------- warm restarts at any epoch


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


# ------------------------------------------------------------------------------------------------ going on, transfer


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


# ------------------------------------------------------------------------------------------ what PyTorch has, refuses

# `optimizer` is not an argument here; it is what `scheduled` takes.
LEFT_OUT = {"optimizer"}


def torch_schedulers() -> set[str]:
    return set(THEIRS.__all__) - {"LRScheduler"}


def test_every_scheduler_is_there():
    assert len(torch_schedulers()) == 15
    ours = {n for n, v in vars(lr_scheduler).items() if inspect.isclass(v) and issubclass(v, lr_scheduler.LRScheduler)}
    assert ours == torch_schedulers() | {"LRScheduler"}
    tested = {name for name, _ in SCHEDULES} | {spec[0] for spec in COMPOSED.values()} | {"ReduceLROnPlateau"}
    assert tested == torch_schedulers() | {"SWALR"}


@pytest.mark.parametrize("name", [*sorted(torch_schedulers()), "SWALR"])
def test_arguments_and_defaults(name):
    theirs = find((THEIRS, torch.optim.swa_utils), name)
    wanted = [p for p in inspect.signature(theirs).parameters.values() if p.name not in LEFT_OUT]
    found = list(inspect.signature(find((lr_scheduler, swa_utils), name)).parameters.values())
    # `total` is what a function that cannot be compiled needs.
    extra = ["total"] if name in ("LambdaLR", "MultiplicativeLR") else []
    assert [p.name for p in found] == [p.name for p in wanted] + extra
    assert [p.default for p in found][: len(wanted)] == [p.default for p in wanted]


BAD: list[tuple[Spec, str]] = [
    (("ConstantLR", {"factor": 1.5}), r"ConstantLR: factor must lie in \[0, 1\], got 1.5"),
    (("ConstantLR", {"factor": -0.5}), "factor must lie"),
    (("LinearLR", {"start_factor": 0.0}), "start_factor must lie"),
    (("LinearLR", {"start_factor": 1.5}), "start_factor must lie"),
    (("LinearLR", {"end_factor": -0.1}), "end_factor must lie"),
    (("LinearLR", {"end_factor": 1.1}), "end_factor must lie"),
    (("CosineAnnealingWarmRestarts", {"T_0": 0}), "T_0 must be an integer >= 1"),
    (("CosineAnnealingWarmRestarts", {"T_0": 1.5}), "T_0 must be an integer >= 1"),
    (("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 0}), "T_mult must be"),
    (("CosineAnnealingWarmRestarts", {"T_0": 1, "eta_min": "0"}), "eta_min must be a number"),
    (("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "mode": "square"}), "mode must be"),
    (("CyclicLR", {"base_lr": [0.1], "max_lr": 1.0}), "base_lr must be one value"),
    (("CyclicLR", {"base_lr": 0.1, "max_lr": [1.0, 2.0]}), "max_lr must be one value"),
    (("OneCycleLR", {"max_lr": 0.1}), "give total_steps, or both"),
    (("OneCycleLR", {"max_lr": 0.1, "epochs": 3}), "give total_steps, or both"),
    (("OneCycleLR", {"max_lr": 0.1, "total_steps": 0}), "total_steps must be a positive integer"),
    (("OneCycleLR", {"max_lr": 0.1, "total_steps": 2.5}), "total_steps must be a positive integer"),
    (("OneCycleLR", {"max_lr": 0.1, "epochs": 0, "steps_per_epoch": 2}), "epochs must be a positive integer"),
    (("OneCycleLR", {"max_lr": 0.1, "epochs": 2, "steps_per_epoch": -1}), "steps_per_epoch must be a positive"),
    (("OneCycleLR", {"max_lr": 0.1, "total_steps": 9, "pct_start": 1.5}), "pct_start must be a float in"),
    (("OneCycleLR", {"max_lr": 0.1, "total_steps": 9, "pct_start": 1}), "pct_start must be a float in"),
    (("OneCycleLR", {"max_lr": 0.1, "total_steps": 9, "anneal_strategy": "step"}), "anneal_strategy must be"),
    (("OneCycleLR", {"max_lr": [0.1], "total_steps": 9}), "max_lr must be one value"),
    (("OneCycleLR", {"max_lr": 0.1, "total_steps": 10, "pct_start": 0.1}), "the rise has no length"),
    (("LambdaLR", {"lr_lambda": [lambda epoch: 1.0]}), "one function for each of the 3 groups, got 1"),
    (("MultiplicativeLR", {"lr_lambda": [lambda epoch: 1.0]}), "one function for each of the 3 groups, got 1"),
    (("MultiplicativeLR", {"lr_lambda": 0.5}), "lr_lambda must be a function"),
    (("ReduceLROnPlateau", {"factor": 1.0}), "factor must be < 1"),
    (("ReduceLROnPlateau", {"mode": "best"}), "mode must be 'min' or 'max', got 'best'"),
    (("ReduceLROnPlateau", {"threshold_mode": "all"}), "threshold_mode must be"),
    (("ReduceLROnPlateau", {"min_lr": [0.1]}), "min_lr must be one value"),
    (chain(), "at least one scheduler"),
    (chain(("ReduceLROnPlateau", {})), "must not be a ReduceLROnPlateau"),
    (("SequentialLR", {"schedulers": [], "milestones": []}), "at least one scheduler"),
    (("SequentialLR", {"schedulers": [WARM_UP, COSINE], "milestones": []}), "one fewer than the 2 schedulers, got 0"),
    (
        ("SequentialLR", {"schedulers": [("ReduceLROnPlateau", {})], "milestones": []}),
        "must not be a ReduceLROnPlateau",
    ),
    (("SequentialLR", {"schedulers": [WARM_UP, chain(EXPONENTIAL)], "milestones": [3]}), "cannot begin at a milestone"),
    (("SWALR", {"swa_lr": 0.1, "anneal_strategy": "step"}), "anneal_strategy must be"),
    (("SWALR", {"swa_lr": 0.1, "anneal_epochs": -1}), "anneal_epochs must be"),
    (("SWALR", {"swa_lr": 0.1, "anneal_epochs": 1.5}), "anneal_epochs must be"),
    (("SWALR", {"swa_lr": [0.1]}), "swa_lr must be one value"),
    (("StepLR", {"step_size": 3, "last_epoch": 4}), "needs the rates that it started from"),
    (("CosineAnnealingLR", {"T_max": 0}), "T_max must not be 0"),
    (("StepLR", {"step_size": 0}), "step_size must be > 0"),
]


@pytest.mark.parametrize(("spec", "match"), BAD, ids=[f"{spec[0]}-{match}" for spec, match in BAD])
def test_what_pytorch_refuses_is_refused(spec, match):
    def torch_steps() -> None:
        optimizer = torch_optimizer(LRS)
        scheduler = build_torch(spec, optimizer)
        for _ in range(5):  # some are refused when they get there
            optimizer.step()
            scheduler.step()

    errors = (ValueError, TypeError, KeyError, ZeroDivisionError, NotImplementedError, IndexError)
    with pytest.raises(errors):
        torch_steps()
    with pytest.raises((ValueError, TypeError, KeyError), match=match):
        build_jax(spec).init(list(LRS))


def test_a_step_too_many_is_refused_or_not_a_number():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    theirs, ours = THEIRS.OneCycleLR(optimizer, 0.1, total_steps=5), lr_scheduler.OneCycleLR(0.1, total_steps=5)
    state = ours.init(0.1)
    for _ in range(5):
        optimizer.step()
        theirs.step()
        state = ours.step(state)
    with pytest.raises(ValueError, match="Tried to step 6 times"):
        theirs.step()
    with pytest.raises(ValueError, match="OneCycleLR: step 6 is beyond the schedule's 5 steps"):
        ours.step(state)
    assert np.isnan(jax.jit(ours.step)(state).lr).all()
