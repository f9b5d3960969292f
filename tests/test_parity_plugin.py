"""The pytest plugin: runs of pytest inside pytest, on reports made by hand."""

import json
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from jaxport.errors import DataError
from jaxport.parity import deviations, ratchet
from jaxport.parity.plugin_summary import write_files
from jaxport.parity.result import Error, Finding, Report, Step, Tensor, Verdict, from_json

pytest_plugins = "pytester"

REPORTS = """
import numpy as np
from jaxport.parity.result import Error, Finding, Report, Step, Tensor, Verdict


def tensor(path, max_rel=2e-16, verdict=None, kind="output"):
    verdict = verdict or (Verdict.EQUAL if max_rel <= 1e-10 else Verdict.DIFFERENT)
    error = Error(np.float64(max_rel), np.float64(max_rel), (0, 1), 1.5, 1.25)
    return Tensor(kind, path, path, (2, 3), (2, 3), "float32", "float32", verdict, float64=error, required=max_rel)


def report(*tensors, **parts):
    return Report("a model", tensors, **parts)


cause = Finding("cause/gelu-tanh", "warning", "the residual is the tanh curve", "", "encoder.1", 6, "approximate=False")
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a project whose tests import `made`; no plugin is loaded there but those that `run` names."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(made=REPORTS)
    pytester.syspathinsert()
    return pytester


def run(project: pytest.Pytester, *options: str, workers: bool = False) -> pytest.RunResult:
    """Run pytest in the project, in two processes of pytest-xdist or in this one."""
    plugin = ("-p", "jaxport.parity.plugin", "-p", "no:cacheprovider")
    arguments = (*plugin, "-W", "error", "--strict-markers", *options)
    if workers:
        return project.runpytest_subprocess("-p", "xdist", "-n", "2", *arguments)
    return project.runpytest_inprocess(*arguments)


def test_pytest_finds_the_plugin() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text)["project"]["entry-points"]["pytest11"] == {"jaxport": "jaxport.parity.plugin"}


def test_the_plugin_loads_nothing_heavy() -> None:
    code = (
        "import sys, jaxport.parity.plugin; "
        "print([name for name in ('jax', 'torch', 'flax', 'numpy', 'optax', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_says_what_is_the_same_and_what_is_not(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
import pytest
from made import *

def test_same(parity):
    good = report(tensor("encoder.0"), tensor("encoder.1", 3e-15))
    assert parity.check(good) is good

def test_other(parity):
    parity.check(report(tensor("encoder.0"), tensor("encoder.1", 3e-3), tensor("", 0.1), findings=(cause,)))

def test_two(parity):
    parity.check(report(tensor("a")), name="float32")
    parity.check(report(tensor("b"), steps=(Step(3, "free", "loss", 1e-3, "loss", 1e-10),)), name="train")

def test_empty(parity):
    parity.check(report())

def test_finding(parity):
    zero = Finding("guard/zero-bias", "error", "zero", "", "a.bias", None, "mend")
    parity.check(report(tensor("a"), findings=(zero,)))

def test_forgets(parity):
    pass

def test_skips(parity):
    pytest.skip("no model")

def test_wrong(parity):
    parity.check([report(tensor("a"))])

def test_twice(parity):
    parity.check(report(tensor("a")))
    parity.check(report(tensor("a")))

def test_without():
    pass
"""
    )
    result = run(project, "--junitxml=junit.xml", "--parity-report=out", "--parity-json=all.json")
    result.assert_outcomes(passed=2, failed=7, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "a model: JAX and PyTorch are not the same",
            "  output encoder.1 is different: float64 3.0e-03 at [[]0, 1[]]: 1.5 for 1.25",
            "  output model is different: *1.0e-01*",
            "  probably cause/gelu-tanh at encoder.1: the residual is the tanh curve; approximate=False",
            "  loss after step 3 (free): 1.0e-03, may be 1.0e-10, worst loss",
            "  nothing was compared",
            "  guard/zero-bias at a.bias: zero; mend",
            "nothing was compared: the test has the fixture parity and made no parity.check",
            "*parity.check: report=* is a list, not a Report",
            "*parity.check: name='' was used in this test; give each comparison its own",
            "*= parity with PyTorch =*",
            "different        -  test_it.py::test_empty",
            "different  2.0e-16  test_it.py::test_finding",
            "different  1.0e-01  test_it.py::test_other  first: output encoder.1",
            "equal      3.0e-15  test_it.py::test_same",
            "equal      2.0e-16  test_it.py::test_two [[]float32[]]",
            "3 of 7 comparisons pass; *",
        ]
    )
    cases = {case.get("name"): case for case in ET.parse(project.path / "junit.xml").iter("testcase")}
    properties = {p.get("name"): p.get("value") for p in cases["test_other"].iter("property")}
    assert properties == {
        "parity.verdict": "different",
        "parity.worst_float64": "0.1",
        "parity.first_divergence": "output encoder.1",
    }
    assert {p.get("name") for p in cases["test_two"].iter("property")} >= {"parity.float32.verdict"}
    assert not list(cases["test_without"].iter("property"))
    data = json.loads((project.path / "all.json").read_text())
    assert data["ok"] is False
    rows = {row["test"]: row for row in data["comparisons"]}
    assert len(rows) == 7
    (file,) = (name for name in rows["test_it.py::test_other"]["files"] if name.endswith(".json"))
    kept = from_json((project.path / "out" / file).read_text())
    assert kept.tensors[1].float64 == Error(3e-3, 3e-3, (0, 1), 1.5, 1.25)
    selected = run(project, "-m", "parity", "--collect-only", "-q")
    assert "test_same" in selected.stdout.str()
    assert "test_without" not in selected.stdout.str()


ACCEPTED = """
[[deviation]]
id = "approximate"
test = "test_it.py::test_layer[[]*"
tensor = "output encoder.*"
reason = "the checkpoint was trained with the tanh form"
max_rel = 1e-2
expires = 2030-06-30

[[deviation]]
id = "bare"
test = "test_it.py::test_find*"
finding = "guard/zero-*"
reason = "as published"
expires = 2030-06-30

[[deviation]]
id = "curve"
test = "*"
tensor = "step free loss"
max_rel = 1e-2
reason = "chaotic"
expires = 2030-06-30

[[deviation]]
id = "needless"
test = "test_it.py::test_layer*"
tensor = "output decoder"
max_rel = 1e-2
reason = "was once so"
expires = 2030-06-30

[[deviation]]
id = "gone"
test = "test_it.py::test_gone"
tensor = "*"
max_rel = 1e-2
reason = "test was renamed"
expires = 2030-06-30
""".replace("[[]*", "[*")

USES = """
import pytest
from made import *

@pytest.mark.parametrize("size", [3e-3, 2e-2])
def test_layer(parity, size):
    parity.check(report(tensor("encoder.1", size)))

def test_find(parity):
    found = Finding("guard/zero-bias", "error", "zero")
    parity.check(report(tensor("a"), findings=(found,), steps=(Step(3, "free", "loss", 1e-3, "", 1e-10),)))

def test_empty(parity):
    parity.check(report())
"""

TODAY = """
import datetime, pytest

@pytest.fixture(scope="session")
def parity_today():
    return datetime.date({})
"""


def test_accepted_deviations_pass_within_their_limit(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=USES, conftest=TODAY.format("2030, 6, 30"))
    (project.path / "parity_deviations.toml").write_text(ACCEPTED)
    result = run(project, "--parity-json=all.json")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            "parity: 5 accepted deviations",
            "  output encoder.1 is different: *; the accepted deviation 'approximate' (the checkpoint was trained with"
            " the tanh form) allows 1.0e-02, and this is 2.0e-02",
            "accepted   2.0e-16  test_it.py::test_find",
            "accepted   3.0e-03  test_it.py::test_layer[[]0.003[]]  first: output encoder.1",
            "accepted until 2030-06-30: approximate (the checkpoint was trained with the tanh form), 1 times",
            "accepted until 2030-06-30: curve (chaotic), 1 times",
            "accepted deviation 'needless' was not used: the tests that it covers do not need it",
            "accepted deviation 'gone' was not used: no test that it covers was run",
        ]
    )
    assert json.loads((project.path / "all.json").read_text())["unused_deviations"] == ["needless", "gone"]


def test_accepted_deviations_expire(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=USES, conftest=TODAY.format("2030, 7, 1"))
    (project.path / "other.toml").write_text(ACCEPTED)
    result = run(project, "--parity-deviations=other.toml", "-k", "find")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(
        ["*guard/zero-bias: zero; the accepted deviation 'bare' (as published) expired on 2030-06-30"]
    )


def test_strict_runs_need_every_accepted_deviation(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=USES, conftest=TODAY.format("2030, 6, 1"))
    (project.path / "parity_deviations.toml").write_text(ACCEPTED)
    assert run(project, "-k", "0.003").ret == pytest.ExitCode.OK
    result = run(project, "-k", "0.003", "--parity-strict")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, deselected=3)
    result.stdout.fnmatch_lines(["parity error: accepted deviation 'needless' was not used: *"])


RATCHET = """
import os
from made import *

def test_a(parity):
    parity.check(report(tensor("x", float(os.environ["SIZE"])), tensor("y", 0.0)))

def test_b(parity):
    parity.check(report(tensor("x", 1e-3)))
"""


def test_the_ratchet_holds_what_was_stored(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    project.makepyfile(test_it=RATCHET)
    monkeypatch.setenv("SIZE", "1.2345e-13")
    file, option = project.path / "held.json", "--parity-ratchet=held.json"
    run(project, option, "--parity-ratchet-update").assert_outcomes(passed=1, failed=1)
    stored = file.read_text()
    row = {"required": 1.23e-13, "dtype": "float64"}
    assert json.loads(stored) == {
        "format": 1,
        "tests": {"test_it.py::test_a": {"output x": row, "output y": row | {"required": 0.0}}},
    }
    run(project, option, "-k", "test_a", "--parity-strict").assert_outcomes(passed=1, deselected=1)
    result = run(project, option)
    result.stdout.fnmatch_lines(["1 comparisons are not in the ratchet, the first is test_it.py::test_b"])
    for size, outcome in (("4.9e-13", "passed"), ("5e-13", "failed"), ("1e-16", "passed")):
        monkeypatch.setenv("SIZE", size)
        result = run(project, option, "-k", "test_a")
        result.assert_outcomes(**{outcome: 1, "deselected": 1})
        assert file.read_text() == stored
        if outcome == "failed":
            result.stdout.fnmatch_lines(
                [
                    "*output x requires a tolerance of 5.0e-13 (float64), stored are 1.2e-13 (float64),"
                    " which allows 4.9e-13",
                    "FAILED     5.0e-13  test_it.py::test_a",
                ]
            )
    run(project, option, "-k", "test_a", "--parity-ratchet-update").assert_outcomes(passed=1, deselected=1)
    assert json.loads(file.read_text())["tests"]["test_it.py::test_a"]["output x"]["required"] == 1e-16
    monkeypatch.setenv("SIZE", "1e-11")  # an update stores what is worse, too, and keeps other tests
    ratchet.save(file, {**ratchet.load(file), "test_other.py::test_c": {"output x": row}})
    run(project, option, "-k", "test_a", "--parity-ratchet-update").assert_outcomes(passed=1, deselected=1)
    assert json.loads(file.read_text())["tests"]["test_it.py::test_a"]["output x"]["required"] == 1e-11
    assert ratchet.load(file)["test_other.py::test_c"] == {"output x": row}


def test_workers_send_their_results(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
import pytest
from made import *

@pytest.mark.parametrize("number", range(6))
def test_many(parity, number):
    parity.check(report(tensor("encoder.1", 1e-3 if number == 5 else number * 1e-14)), name="one")
""",
        conftest=TODAY.format("2030, 6, 1"),
    )
    (project.path / "parity_deviations.toml").write_text(ACCEPTED.replace("test_it.py::test_layer[*", "*many[5]*"))
    options = ("--parity-ratchet=held.json", "--parity-ratchet-update", "--parity-json=all.json", "--parity-report=out")
    result = run(project, *options, "--junitxml=junit.xml", workers=True)
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(
        [
            "equal      0.0e+00  test_it.py::test_many[[]0[]] [[]one[]]",
            "accepted   1.0e-03  test_it.py::test_many[[]5[]] [[]one[]]  first: output encoder.1",
            "6 of 6 comparisons pass; *",
            "accepted until 2030-06-30: approximate *, 1 times",
        ]
    )
    data = json.loads((project.path / "all.json").read_text())
    assert [row["ok"] for row in data["comparisons"]] == [True] * 6
    assert len(json.loads((project.path / "held.json").read_text())["tests"]) == 6
    assert len(list((project.path / "out").glob("*.json"))) == 6
    assert (project.path / "junit.xml").read_text().count('name="parity.one.verdict"') == 6


WRONG = {
    "[[deviation]": "is not TOML",
    "deviations = 3": "unknown key 'deviations'",
    "deviation = 3": "deviation is no list of tables",
    "[[deviation]]\nid = 'a'": "deviation 'a': reason is missing; deviation 'a': expires is missing",
    ACCEPTED.replace("expires = 2030-06-30", "expires = '2030-06-30'"): "expires = '2030-06-30' is no date",
    ACCEPTED.replace("2030-06-30", "2030-06-30T00:00:00"): "expires = datetime.datetime(2030, 6, 30, 0, 0) is no date",
    ACCEPTED.replace("1e-2", "0"): "max_rel = 0; a positive number is needed",
    ACCEPTED.replace("1e-2", "nan"): "max_rel = nan; a positive number",
    ACCEPTED.replace("1e-2", "true"): "max_rel = True; a positive number",
    ACCEPTED.replace("reason", "because"): "unknown key 'because', known are id, test, reason",
    ACCEPTED.replace('"as published"', '" "'): "reason = ' ' is no text",
    ACCEPTED.replace("finding =", "max_rel = 1\nfinding ="): "max_rel says nothing of a finding",
    ACCEPTED.replace("finding =", "tensor = 'x'\nmax_rel = 1\nfinding ="): "one of tensor and finding",
    ACCEPTED + ACCEPTED: "'gone': more than one has this id",
}


@pytest.mark.parametrize("text", WRONG)
def test_mistakes_in_the_deviations_are_listed(tmp_path: Path, text: str) -> None:
    file = tmp_path / "deviations.toml"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        deviations.load(file)
    assert WRONG[text] in str(caught.value)
    assert str(file) in str(caught.value)


def test_wrong_options_stop_the_run(project: pytest.Pytester) -> None:
    project.makepyfile(test_it="def test_a(): pass")
    project.makefile(".json", held="{}", broken="[")
    project.makefile(".toml", bad="[[deviation]]\nid = 'a'")
    cases = {
        ("--parity-deviations=bad.toml",): "*bad.toml: deviation 'a': test is missing*",
        ("--parity-deviations=absent.toml",): "*absent.toml cannot be read: No such file*",
        ("--parity-ratchet=absent.json",): "*absent.json cannot be read: *--parity-ratchet-update writes it",
        ("--parity-ratchet=held.json",): "*held.json is no tolerance ratchet of format 1",
        ("--parity-ratchet=broken.json", "--parity-ratchet-update"): "*broken.json is not JSON*",
        ("--parity-ratchet-update",): "*needs --parity-ratchet FILE*",
        ("--parity-report=held.json",): "*held.json is a file; a folder is needed",
    }
    for options, message in cases.items():
        result = run(project, *options)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_what_cannot_be_written_fails_the_run(project: pytest.Pytester) -> None:
    project.makepyfile(test_it="from made import *\ndef test_a(parity): parity.check(report(tensor('x')))")
    (project.path / "file").write_text("")
    result = run(project, "--parity-json=file/all.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["parity error: *file/all.json cannot be written: *"])


@pytest.mark.parametrize(
    "row",
    [
        {"required": -1.0, "dtype": "float64"},
        {"required": True, "dtype": "float64"},
        {"required": 1.0, "dtype": "float16"},
        {"required": 1.0},
        3,
    ],
)
def test_damaged_tolerances_are_named(tmp_path: Path, row: object) -> None:
    (tmp_path / "held.json").write_text(json.dumps({"format": 1, "tests": {"test_a": {"output x": row}}}))
    with pytest.raises(DataError, match="the tolerances of 'test_a' are damaged"):
        ratchet.load(tmp_path / "held.json")


def made(verdict: Verdict, wide: float | None, narrow: float | None, limit: float | None) -> Tensor:
    errors = [None if value is None else Error(value, value) for value in (wide, narrow)]
    return Tensor("output", "a", "a", (2,), (2,), "f", "f", verdict, (), *errors, limit=limit, required=wide or 0.0)


NAN = float("nan")


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (made(Verdict.DIFFERENT, 1e-3, 2e-3, 3e-3), 1e-3),
        (made(Verdict.DIFFERENT, 1e-3, 2e-3, 1e-7), 2e-3),
        (made(Verdict.SUSPICIOUS, 1e-15, 2e-3, 1e-7), 2e-3),
        (made(Verdict.SUSPICIOUS, 1e-11, None, None), 1e-11),
        (made(Verdict.DIFFERENT, None, None, None), float("inf")),
        (made(Verdict.DIFFERENT, NAN, 1e-3, 1.0), float("inf")),
    ],
)
def test_the_amount_is_of_what_fails(tensor: Tensor, expected: float) -> None:
    assert deviations.amount(tensor) == expected


def test_a_tensor_that_is_no_longer_compared_is_said() -> None:
    stored = ratchet.measure(Report("", (made(Verdict.EQUAL, 1e-14, None, None),)))
    assert ratchet.worsened(stored, stored) == []
    assert "output a is in the ratchet and was not compared" in ratchet.worsened(stored, {})[0]


def test_files_are_replaced_when_they_are_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "held.json"
    ratchet.save(file, {})
    before = file.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(DataError, match=r"held\.json cannot be written: No space left on device"):
        ratchet.save(file, {"test_a": {}})
    assert file.read_text() == before
    assert list(tmp_path.iterdir()) == [file]


def test_tests_of_like_names_have_files_of_their_own(tmp_path: Path) -> None:
    report = Report("", (made(Verdict.EQUAL, 0.0, None, None),))
    names = [name for test in ("test_a[b/c]", "test_a[b_c]") for name in write_files(report, test, tmp_path)]
    assert len(set(names)) == 4
    assert {Path(name).suffix for name in names} == {".json", ".html"}
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())


def test_the_ratchet_allows_a_few_roundings() -> None:
    wide, narrow = made(Verdict.EQUAL, 0.0, None, None), made(Verdict.ROUNDING, None, 0.0, 1e-5)
    for tensor, fine, worse in ((wide, 0.9e-15, 1.1e-15), (narrow, 0.9e-7, 1.1e-7)):
        stored = ratchet.measure(Report("", (tensor,)))
        now = [{"output a": {**stored["output a"], "required": required}} for required in (fine, worse)]
        assert ratchet.worsened(stored, now[0]) == []
        assert len(ratchet.worsened(stored, now[1])) == 1
    assert stored["output a"]["dtype"] == "float32"


def test_the_ratchet_holds_the_worst_of_one_name_that_counts() -> None:
    sizes = (1e-15, 3e-14, 1e-15)
    tensors = [made(Verdict.EQUAL, size, None, None) for size in sizes]
    shown = replace(tensors[0], required=1e-3, decides=False)
    assert ratchet.measure(Report("", (*tensors, shown)))["output a"]["required"] == 3e-14


def test_steps_and_findings_are_problems() -> None:
    report = Report("", (made(Verdict.EQUAL, 0.0, None, None),), (Finding("a/b", "warning", "no"),))
    assert list(deviations.problems_of(report)) == []
    bad = Step(1, "resync", "gradient", NAN, "w", 1e-10)
    (problem,) = deviations.problems_of(Report("", steps=(bad,)))
    assert problem.name == "step resync gradient"


def test_the_page_names_every_option_and_its_file_is_read(project: pytest.Pytester, tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "parity_pytest.md").read_text(encoding="utf-8")
    option = re.compile(r"--parity-[a-z-]+")
    assert set(option.findall(page)) == set(option.findall(run(project, "--help").stdout.str()))
    (table,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "page.toml").write_text(table)
    assert [one.id for one in deviations.load(tmp_path / "page.toml")] == ["gelu-tanh", "no-bias"]
