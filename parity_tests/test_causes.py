"""The cause finder: each mistake is named from the numbers, and nothing is named where nothing differs."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import cause_cases_more
import cause_cases_steps
import ml_dtypes
import numpy as np
import pytest
import torch
from cause_cases import CASES, Builder
from torch import nn

import jaxport.parity.causes as causes
from jaxport.parity import traps
from jaxport.parity.causes import Case
from jaxport.parity.describe_torch import describe_torch

assert cause_cases_more.__doc__  # the two add their cases to the table
assert cause_cases_steps.__doc__

UNTRIED: set[str] = set()

ALL = [build for _, _, build in CASES]
IDS = [name for _, name, _ in CASES]


@cache
def made(build: Builder) -> Case:
    return build(np.random.default_rng(0))


@pytest.mark.parametrize(("rule", "build"), [(rule, build) for rule, _, build in CASES], ids=IDS)
def test_the_mistake_is_named(rule: str, build: Builder) -> None:
    found = causes.find_causes(made(build))
    assert found, "no cause is named"
    assert found[0].rule == rule, [f"{finding.rule}: {finding.message}" for finding in found]
    assert len(found) <= 3
    assert found[0].message
    assert found[0].trap == traps.trap_of(rule)


@pytest.mark.parametrize("build", ALL, ids=IDS)
def test_nothing_is_named_where_nothing_differs(build: Builder) -> None:
    case = made(build)
    rounded = case.theirs * (1.0 + 1e-15) if case.theirs.dtype.kind == "f" else case.theirs
    assert causes.find_causes(replace(case, ours=rounded)) == []


# Adam of a gradient that is zero is a fact, whatever the difference looks like; a single number has no form.
FORMLESS = ("adam_of_noise", "narrow_integers", "wrapped_around")


@pytest.mark.parametrize("build", [b for b in ALL if b.__name__ not in FORMLESS], ids=lambda b: b.__name__)
def test_no_cause_is_named_for_noise(build: Builder) -> None:
    case, rng = made(build), np.random.default_rng(3)
    scale = np.abs(case.theirs[np.isfinite(case.theirs)]).max()
    for size in (1e-7, 0.1):
        noisy = case.theirs + size * scale * rng.standard_normal(case.theirs.shape)
        found = causes.find_causes(replace(case, ours=noisy, jax=None))
        assert found == [], [f"{size}: {finding.rule}: {finding.message}" for finding in found]


@pytest.mark.parametrize(("folder", "start"), [("causes", "cause"), ("lint", "lint")])
def test_rules_and_documentation_name_the_same(folder: str, start: str) -> None:
    source = "".join(path.read_text() for path in (Path(traps.__file__).parent / folder).glob("*.py"))
    known = {rule for trap in traps.TRAPS for rule in trap.rules} | set(traps.OTHER_RULES)
    assert set(re.findall(rf'"({start}/[a-z0-9-]+)"', source)) == {r for r in known if r.startswith(f"{start}/")}


def test_every_cause_has_a_case() -> None:
    known = {rule for trap in traps.TRAPS for rule in trap.rules} | set(traps.OTHER_RULES)
    assert {rule for rule in known if rule.startswith("cause/")} - {rule for rule, _, _ in CASES} == UNTRIED


def test_the_page_is_up_to_date() -> None:
    page = Path(__file__).parents[1] / "docs" / "traps.md"
    assert page.read_text() == traps.to_markdown(), "run python -m jaxport.parity.traps > docs/traps.md"
    assert [trap.number for trap in traps.TRAPS] == list(range(1, 34))


ODD = [
    np.zeros(()),
    np.zeros((0, 3)),
    np.full((2, 3), np.nan),
    np.array([[np.inf, 1.0, -1.0], [0.0, 2.0, np.nan]]),
    np.array([[True, False], [False, True]]),
    np.arange(6, dtype=np.int32).reshape(2, 3),
    np.arange(6, dtype=np.uint8),
    np.ones((2, 3), np.float16),
    np.ones((2, 3), ml_dtypes.bfloat16),
    np.ones((1, 2, 3, 1, 2, 1)),
    np.linspace(0, 1, 24).reshape(2, 3, 4),
    np.array([1 + 2j, 3.0]),
]
KINDS = ("output", "input", "loss", "gradient", "input_gradient", "activation_gradient", "parameter", "buffer")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_odd_arrays_raise_nothing(kind: str) -> None:
    for ours in ODD:
        for theirs in ODD:
            case = Case(kind, ours, theirs, input=theirs, before=ours, arrays={"weight": ours}, previous=theirs)
            assert isinstance(causes.find_causes(replace(case, gradient=ours, target=theirs, name="running_var")), list)


LAYERS = (nn.Linear(3, 3), nn.BatchNorm1d(3), nn.LayerNorm(3), nn.Conv1d(3, 3, 2), nn.LSTM(3, 3), nn.MaxPool1d(2))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("module", LAYERS, ids=lambda module: type(module).__name__)
def test_odd_arrays_at_a_layer_raise_nothing(module: nn.Module) -> None:
    described = describe_torch(module)[""]
    for ours in ODD:
        for value in ODD:
            case = Case("output", ours, ODD[-2], torch=described, input=value, training=True)
            assert isinstance(causes.find_causes(case), list)


def test_a_large_batch_is_looked_at_in_part() -> None:
    module = nn.Linear(3, 4).double()
    x = np.random.default_rng(0).normal(size=(400_000, 3))
    theirs = module(torch.from_numpy(x)).detach().numpy()
    weight, bias = (p.detach().numpy() for p in (module.weight, module.bias))
    case = Case("output", x @ weight.T, theirs, torch=describe_torch(module)[""], input=x, arrays={"bias": bias})
    assert [finding.rule for finding in causes.find_causes(case)] == ["cause/missing-bias"]


def test_hooks_of_the_comparison_do_not_run() -> None:
    def hook(*_: object) -> None:
        raise AssertionError("the hook ran")

    case = made(next(build for build in ALL if build.__name__ == "square_linear"))
    assert case.torch is not None
    handle = case.torch.module.register_forward_hook(hook)
    try:
        assert [finding.rule for finding in causes.find_causes(case)] == ["cause/matrix-transposed"]
    finally:
        handle.remove()


def _noisy(array: np.ndarray, size: float) -> np.ndarray:
    return array + size * np.abs(array).max() * np.random.default_rng(5).standard_normal(array.shape)


@pytest.mark.parametrize(
    "name", ["conv_flipped", "gelu_guessed", "square_linear", "lstm_gates", "root_of_the_features"]
)
def test_a_hypothesis_that_fits_roughly_is_not_named(name: str) -> None:
    case = made(next(build for build in ALL if build.__name__ == name))
    assert causes.find_causes(replace(case, ours=_noisy(case.ours, 1e-5))) == []


def test_a_chain_that_is_not_pytorchs_proves_nothing() -> None:
    case = made(next(build for build in ALL if build.__name__ == "gelu_guessed"))
    gelu = describe_torch(nn.GELU())[""]
    other = replace(case, theirs=np.sin(3.0 * case.theirs), between=(gelu,))
    assert causes.find_causes(other) == []


def test_gradients_that_differ_elsewhere_too_are_no_ties_and_no_kinks() -> None:
    for name in ("ties_of_a_maximum", "relu_at_zero", "norm_of_a_zero_vector"):
        case = made(next(build for build in ALL if build.__name__ == name))
        ours = case.ours.copy()
        assert isinstance(case.input, np.ndarray)
        untouched = np.argwhere((case.ours == case.theirs) & (case.input != 0.0))
        for a, b in (untouched[0], untouched[-1]):
            ours[a, b] += 0.37
        assert causes.find_causes(replace(case, ours=ours)) == [], name


def test_single_wrong_rows_are_no_index_out_of_range() -> None:
    case = made(next(build for build in ALL if build.__name__ == "table_is_too_short"))
    ours = case.theirs.copy()
    ours[0, 2] = case.arrays["weight"][5]  # one of the two places of index 6
    assert causes.find_causes(replace(case, ours=ours)) == []


def test_zeros_alone_are_no_dropout() -> None:
    theirs = np.random.default_rng(0).normal(0.3, 1.0, (5, 40))
    ours = np.where(np.random.default_rng(1).random(theirs.shape) < 0.3, 0.0, theirs)
    assert causes.find_causes(Case("output", ours, theirs)) == []


def test_a_transposed_weight_is_not_another_initialisation() -> None:
    case = made(next(build for build in ALL if build.__name__ == "square_linear"))
    own = {"weight": case.arrays["weight"].T, "bias": case.arrays["bias"]}
    found = causes.find_causes(replace(case, ours_arrays=own))
    assert [finding.rule for finding in found] == ["cause/matrix-transposed"]
