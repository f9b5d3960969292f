"""Nothing of torch.optim.lr_scheduler is left out, and what PyTorch refuses is refused."""

import inspect

import jax
import numpy as np
import pytest
from scheduler_cases import COMPOSED, COSINE, EXPONENTIAL, SCHEDULES, WARM_UP, chain
from scheduler_runs import (
    LRS,
    Spec,
    build_jax,
    build_torch,
    find,
    torch_optimizer,
)

from jaxport.optim import lr_scheduler, swa_utils

torch = pytest.importorskip("torch")
THEIRS = torch.optim.lr_scheduler


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
