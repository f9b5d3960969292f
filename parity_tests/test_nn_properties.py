"""Layers, options and shapes drawn at random: each draw is a case, judged in float64 like every other.

``JAXPORT_DRAWS=100`` in the environment gives each function a hundred draws, of a new seed every time;
without it they are few and always the same.
"""

import importlib
import os
from pathlib import Path

import pytest
from cases import case_findings
from database_runs import quiet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FILES = sorted(Path(__file__).parent.glob("strategies_*.py"))
STRATEGIES = {
    f"{file.stem.removeprefix('strategies_')}-{name}": strategy
    for file in FILES
    for name, strategy in importlib.import_module(file.stem).STRATEGIES.items()
}
DRAWS = os.environ.get("JAXPORT_DRAWS")
SETTINGS = settings(
    max_examples=int(DRAWS or 2),
    derandomize=DRAWS is None,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", STRATEGIES)
def test_any_options(name):
    strategy = STRATEGIES[name]
    drawn = strategy() if callable(strategy) and not isinstance(strategy, st.SearchStrategy) else strategy

    @SETTINGS
    @given(drawn)
    def agrees(case):
        with quiet():
            findings = case_findings(case, "float64")
        assert not findings, "\n".join(findings)

    agrees()
