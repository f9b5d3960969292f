"""Schedules of random numbers, chains and sequences of them, against PyTorch."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_cases import chain
from scheduler_runs import Spec, fail_on, schedule_findings

torch = pytest.importorskip("torch")
THEIRS = torch.optim.lr_scheduler


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
