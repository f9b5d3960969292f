"""The marker `parity` with models: the guide's page as a project of its own, and what is said of mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = "pytester"
PAGE = Path(__file__).parents[1] / "docs" / "parity_pytest.md"
USED = """
import pytest
from test_port import Block, TorchBlock


@pytest.mark.parity(jax="test_port:Block", torch=TorchBlock(), inputs="7,6", randomise=True, gradients=False)
def test_names(parity):
    assert parity.report.ok


@pytest.mark.parity(jax=lambda rngs: Block(rngs), torch=lambda: TorchBlock(), inputs=("7,6",))
def test_state_that_hides_mistakes():
    raise AssertionError("the body is not reached")


@pytest.mark.parity(jax=Block, torch=TorchBlock)
def test_no_inputs():
    pass


@pytest.mark.parity(jax=Block, torch=TorchBlock, inputs="7,6", randomize=True)
def test_unknown_option():
    pass


@pytest.mark.parity
def test_selected_only():
    pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a project that has the page's files."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    snippets = re.findall(r"```python\n(# (test_\w+)\.py\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    pytester.makepyfile(**{name: text for text, name in snippets})
    return pytester


def run(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run pytest in the project."""
    return project.runpytest_subprocess("-p", "jaxport.parity.plugin", "-p", "no:cacheprovider", *options)


def test_a_marked_test_compares(project: pytest.Pytester) -> None:
    project.makepyfile(test_used=USED)
    result = run(project, "-m", "parity")
    result.assert_outcomes(passed=4, failed=3)
    lines = result.stdout
    lines.fnmatch_lines(["*guard/*zero*"])
    lines.fnmatch_lines(["*pytest.mark.parity: jax=…, torch=… and inputs=… are needed; inputs missing*"])
    lines.fnmatch_lines(["*pytest.mark.parity: it got an unexpected keyword argument 'randomize'*"])
    lines.no_fnmatch_line("*the body is not reached*AssertionError*")
    lines.fnmatch_lines(["*3 of 4 comparisons pass*"])
