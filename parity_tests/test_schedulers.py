"""Every scheduler against PyTorch's: rates and momenta of each group after each of 200 steps."""

import pytest
from cases import both_dtypes
from scheduler_cases import COMPOSED, PLATEAU, SCHEDULES, metrics, name_of
from scheduler_runs import fail_on, schedule_findings

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


def test_a_polynomial_of_no_epochs():
    fail_on(schedule_findings(("PolynomialLR", {"total_iters": 0})))


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


@both_dtypes
@pytest.mark.parametrize("options", PLATEAU, ids=range(len(PLATEAU)))
def test_plateau(options, dtype):
    for number in range(3):
        fail_on(schedule_findings(("ReduceLROnPlateau", options), dtype, metrics=metrics(f"{options} {number}")))
