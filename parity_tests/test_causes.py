"""The cause finder: each mistake is named from the numbers, and nothing is named where nothing differs."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import cause_cases_more
import cause_cases_steps
import numpy as np
import pytest
from cause_cases import CASES, Builder

import jaxport.parity.causes as causes
from jaxport.parity import traps
from jaxport.parity.causes import Case

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
    for size in (1e-7, 1e-3, 0.5):
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
