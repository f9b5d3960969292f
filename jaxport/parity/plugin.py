"""plugin: parity with PyTorch as pytest tests, through the fixture `parity`. See docs/parity_pytest.md.

pytest loads this file in every run where jaxport is installed, so nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from jaxport.errors import DataError

from . import deviations, plugin_marker, ratchet
from .deviations import Accepted, Deviation, Problem
from .plugin_summary import Collector, Entry, entry_of, write_files
from .result import Report

DEFAULT_DEVIATIONS = "parity_deviations.toml"


@dataclass
class Settings:
    """What the options of a run say.

    Attributes:
        reports: folder for the reports' files, None for none.
        deviations: the accepted deviations.
        ratchet: the stored tolerances by test, None without the option.
        update: whether the tolerances are written at the end, not held against.
        strict: whether an accepted deviation that nothing needs is an error.
        ratchet_file: where the tolerances are.
        json_file: where all results go.
    """

    reports: Path | None = None
    deviations: tuple[Deviation, ...] = ()
    ratchet: dict[str, ratchet.Required] | None = None
    update: bool = False
    strict: bool = False
    ratchet_file: Path | None = None
    json_file: Path | None = None


_SETTINGS = pytest.StashKey[Settings]()
_ENTRIES = pytest.StashKey[list[Entry]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("parity", "parity with PyTorch (jaxport)")
    group.addoption("--parity-report", metavar="DIR", help="write each comparison's report there, as JSON and HTML")
    group.addoption("--parity-json", metavar="FILE", help="write all results of the run there")
    group.addoption(
        "--parity-deviations",
        metavar="FILE",
        help=f"accepted deviations (default: {DEFAULT_DEVIATIONS} in pytest's root folder, if there is one)",
    )
    group.addoption("--parity-strict", action="store_true", help="fail if an accepted deviation is not needed")
    group.addoption("--parity-ratchet", metavar="FILE", help="fail if a tensor requires more tolerance than stored")
    group.addoption("--parity-ratchet-update", action="store_true", help="store what the tensors require now")


def pytest_configure(config: pytest.Config) -> None:
    """Read the files that the options name, so that a mistake in them stops the run before any test."""
    config.addinivalue_line(
        "markers", "parity(jax, torch, inputs, …): compares the two; alone: every test with the fixture `parity` has it"
    )
    try:
        settings = _settings(config)
    except DataError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[_SETTINGS] = settings
    if not hasattr(config, "workerinput"):  # the workers of pytest-xdist send their results to its controller
        collector = Collector(settings.deviations, settings.strict, settings.json_file, _ratchet_target(settings))
        config.pluginmanager.register(collector, "jaxport-parity-results")


def _settings(config: pytest.Config) -> Settings:
    def path(option: str) -> Path | None:
        value = config.getoption(option)
        return config.invocation_params.dir / value if value else None

    accepted, stored = path("parity_deviations"), path("parity_ratchet")
    if accepted is None and (config.rootpath / DEFAULT_DEVIATIONS).is_file():
        accepted = config.rootpath / DEFAULT_DEVIATIONS
    update = bool(config.getoption("parity_ratchet_update"))
    if update and stored is None:
        raise pytest.UsageError("--parity-ratchet-update needs --parity-ratchet FILE, the file to write")
    reports = path("parity_report")
    if reports and reports.exists() and not reports.is_dir():
        raise pytest.UsageError(f"--parity-report={reports} is a file; a folder is needed")
    tolerances = None if stored is None or (update and not stored.exists()) else ratchet.load(stored)
    return Settings(
        reports=reports,
        deviations=deviations.load(accepted) if accepted else (),
        ratchet=tolerances,
        update=update,
        strict=bool(config.getoption("parity_strict")),
        ratchet_file=stored,
        json_file=path("parity_json"),
    )


def _ratchet_target(settings: Settings) -> Path | None:
    return settings.ratchet_file if settings.update else None


@dataclass
class Parity:
    """What the fixture `parity` gives a test: it judges reports, writes them, and keeps their results.

    Attributes:
        item: the running test.
        settings: what the options say.
        today: the date against which accepted deviations expire.
        names: of the comparisons so far.
        report: the last one, None before it.
    """

    item: pytest.Item
    settings: Settings
    today: date
    names: list[str] = field(default_factory=list)
    report: Report | None = None

    def check(self, report: Report, name: str = "") -> Report:
        """Fail the test unless the two models of a report are the same, but for accepted deviations.

        Args:
            report: what `jaxport.parity.compare` or `train` returned.
            name: of this comparison; needed for all but one where a test makes several.

        Returns:
            The report.

        Raises:
            pytest.fail.Exception: something differs that is not accepted, or requires more tolerance than the ratchet
                has stored, or nothing was compared.
            pytest.UsageError: `report` is no report, or the name is taken.
        """
        if not isinstance(report, Report):
            raise pytest.UsageError(f"parity.check: report={report!r:.80} is a {type(report).__name__}, not a Report")
        if name in self.names:
            raise pytest.UsageError(f"parity.check: name={name!r} was used in this test; give each comparison its own")
        self.names.append(name)
        self.report = report
        test = f"{self.item.nodeid} [{name}]" if name else self.item.nodeid
        accepted, problems = deviations.judge(report, self.settings.deviations, test, self.today)
        problems += [Problem("ratchet", line) for line in self._worsened(report, test)]
        self._keep(report, test, name, accepted, problems)
        if problems:
            pytest.fail(failure_text(report, test, problems), pytrace=False)
        return report

    def _worsened(self, report: Report, test: str) -> list[str]:
        if self.settings.update or self.settings.ratchet is None:
            return []
        return ratchet.worsened(self.settings.ratchet.get(test, {}), ratchet.measure(report))

    def _keep(self, report: Report, test: str, name: str, accepted: list[Accepted], problems: list[Problem]) -> None:
        entry = entry_of(report, test, accepted, problems)
        entry["covering"] = [one.id for one in self.settings.deviations if deviations.matches(one.test, test)]
        entry["stored"] = self.settings.ratchet is None or test in self.settings.ratchet
        if self.settings.reports:
            entry["files"] = write_files(report, test, self.settings.reports)
        self.item.stash[_ENTRIES].append(entry)
        prefix = f"parity.{name}." if name else "parity."
        for key in ("verdict", "worst_float64", "first_divergence"):
            self.item.user_properties.append((prefix + key, str(entry[key])))


def failure_text(report: Report, test: str, problems: list[Problem], most: int = 5) -> str:
    """Return what a failed test says: the first that differs, the causes, and how much else there is."""
    lines = [f"{report.title}: JAX and PyTorch are not the same"]
    lines += [f"  {problem.text}" for problem in problems[:most]]
    if len(problems) > most:
        lines.append(f"  and {len(problems) - most} more")
    causes = [finding for finding in report.findings if finding.rule.startswith("cause/") and finding.level != "error"]
    lines += [f"  probably {deviations.finding_text(cause)}" for cause in causes[:most]]
    return "\n".join(lines)


@pytest.fixture(scope="session")
def parity_today() -> date:
    """Return the date against which accepted deviations expire; a project may define its own, for tests."""
    return date.today()


@pytest.fixture
def parity(request: pytest.FixtureRequest, parity_today: date) -> Parity:
    """Give the test what judges its reports: ``parity.check(report)``."""
    request.node.stash[_ENTRIES] = []
    return Parity(request.node, request.config.stash[_SETTINGS], parity_today)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use the fixture, so that ``-m parity`` selects them; a marker with models has the fixture."""
    for item in items:
        if plugin_marker.asked(item.get_closest_marker("parity")) and isinstance(item, pytest.Function):
            if "parity" not in item.fixturenames:
                item.fixturenames.append("parity")
        elif "parity" in getattr(item, "fixturenames", ()):
            item.add_marker("parity")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Compare what the test's marker names; fail a test that has the fixture and passes without a comparison."""
    marker = pyfuncitem.get_closest_marker("parity")
    if plugin_marker.asked(marker):
        judge: Any = pyfuncitem.funcargs["parity"]
        report, problem = plugin_marker.tried(marker)
        if report is None:
            pytest.fail(problem, pytrace=False)
        judge.check(report)
    result = yield
    if pyfuncitem.stash.get(_ENTRIES, None) == []:
        pytest.fail("nothing was compared: the test has the fixture parity and made no parity.check", pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Give a test's results to its last report, which pytest-xdist carries to the controller."""
    report = yield
    if call.when == "teardown" and (entries := item.stash.get(_ENTRIES, None)):
        report.jaxport_parity = entries
    return report


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what results are held against."""
    settings = config.stash[_SETTINGS]
    parts = [f"{len(settings.deviations)} accepted deviations"] if settings.deviations else []
    if settings.ratchet_file:
        parts.append(f"{'writes' if settings.update else 'held against'} {settings.ratchet_file.name}")
    return f"parity: {', '.join(parts)}" if parts else None
