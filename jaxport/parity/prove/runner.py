"""The runner: a suite without a mistake, which must pass, and then once with each."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jaxport.errors import UsageError

from .mistakes import APPLIED, MISTAKE, MISTAKES, find, inject
from .patching import Mistake

Done = Callable[["Outcome"], None]
_HOOK = "jaxport.parity.prove.hook"


@dataclass(frozen=True)
class Outcome:
    """What a suite said to a mistake.

    Attributes:
        mistake: its name.
        trap: number of the trap in docs/traps.md, None if it has none.
        what: what was done wrong.
        applied: how often it made a difference in what the suite ran.
        caught: whether the suite failed.
        seconds: how long the suite ran.
    """

    mistake: str
    trap: int | None
    what: str
    applied: int
    caught: bool
    seconds: float

    @property
    def verdict(self) -> str:
        """ "caught", "NOT CAUGHT", or "not applicable" where the suite uses nothing that the mistake changes."""
        return "not applicable" if not self.applied else "caught" if self.caught else "NOT CAUGHT"

    @property
    def ok(self) -> bool:
        """Whether it was caught or has no place."""
        return self.caught or not self.applied


def chosen(names: Iterable[str] | None) -> list[Mistake]:
    """Return the mistakes of these names, all without.

    Raises:
        UsageError: there is none of a name.
    """
    return list(MISTAKES.values()) if names is None else [find(name) for name in names]


def prove(suite: Callable[[], Any], names: Iterable[str] | None = None, done: Done | None = None) -> list[Outcome]:
    """Run a suite that is a Python function with each mistake, in this process.

    Args:
        suite: returns a `Report` (or anything with ``ok``) or a truth value; raising counts as finding something.
            PyTorch's model must be run inside of it.
        names: of the mistakes, all without.
        done: gets each outcome as soon as it is there.

    Raises:
        UsageError: without a mistake the suite does not pass, so that nothing can be proved; or a name is unknown.
    """
    mistakes = chosen(names)
    try:
        right = _passes(suite())
    except Exception as error:
        raise UsageError(f"suite: it raises without any mistake: {type(error).__name__}: {error}") from error
    if not right:
        raise UsageError("suite: it must pass without any mistake, and it does not")
    return list(_collected((_one(suite, mistake) for mistake in mistakes), done))


def _passes(result: Any) -> bool:
    return bool(getattr(result, "ok", result))


def _one(suite: Callable[[], Any], mistake: Mistake) -> Outcome:
    start = time.perf_counter()
    with inject(mistake.name) as planted:
        try:
            caught = not _passes(suite())
        except Exception:
            caught = True
    return _outcome(mistake, planted.applied, caught, time.perf_counter() - start)


def _outcome(mistake: Mistake, applied: int, caught: bool, seconds: float) -> Outcome:
    return Outcome(mistake.name, mistake.trap, mistake.what, applied, caught, round(seconds, 2))


def _collected(outcomes: Iterator[Outcome], done: Done | None) -> Iterator[Outcome]:
    """Hand each outcome on as soon as it is there."""
    for outcome in outcomes:
        if done is not None:
            done(outcome)
        yield outcome


def pytest_command(*paths: str) -> list[str]:
    """Return the command that runs these tests until the first fails."""
    return [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *paths]


def prove_command(
    command: Sequence[str],
    names: Iterable[str] | None = None,
    done: Done | None = None,
    *,
    timeout: float = 1800.0,
    cwd: str | Path | None = None,
) -> list[Outcome]:
    """Run a suite that is a command with each mistake, each time in a process of its own.

    The process gets the mistake's name in JAXPORT_MISTAKE and loads `jaxport.parity.prove.hook` as a pytest plugin; a
    command that is not pytest calls ``jaxport.parity.prove.apply_from_environment()`` before it uses PyTorch.

    Args:
        command: with its arguments; exit status 0 means that it passes. `pytest_command` makes one of paths.
        names: of the mistakes, all without.
        done: gets each outcome as soon as it is there.
        timeout: seconds after which a run counts as failed.
        cwd: where it is run.

    Raises:
        UsageError: without a mistake it does not pass; or a name is unknown.
    """
    mistakes = chosen(names)
    status, output = _run(command, None, None, timeout, cwd)
    if status != 0:
        tail = " / ".join(output.strip().splitlines()[-3:])
        raise UsageError(f"suite: it must pass without any mistake, and {command[-1]} ends with {status}: {tail}")

    def one(mistake: Mistake) -> Outcome:
        start = time.perf_counter()
        with TemporaryDirectory(prefix="jaxport-") as folder:
            counts = Path(folder) / "applied"
            code, _ = _run(command, mistake.name, counts, timeout, cwd)
            applied = sum(map(int, counts.read_text().split())) if counts.exists() else 0
        return _outcome(mistake, applied, code != 0, time.perf_counter() - start)

    return list(_collected(map(one, mistakes), done))


def _run(
    command: Sequence[str], mistake: str | None, counts: Path | None, timeout: float, cwd: str | Path | None
) -> tuple[int, str]:
    """Return exit status and output of the command under a mistake."""
    environment = {name: value for name, value in os.environ.items() if name not in (MISTAKE, APPLIED)}
    if mistake is not None:
        plugins = [part for part in (environment.get("PYTEST_PLUGINS"), _HOOK) if part]
        environment |= {MISTAKE: mistake, APPLIED: str(counts), "PYTEST_PLUGINS": ",".join(plugins)}
    try:
        run = subprocess.run(
            command,
            env=environment,
            cwd=cwd,
            timeout=timeout,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except FileNotFoundError as error:
        raise UsageError(f"suite: the command {command[0]!r} was not found") from error
    except subprocess.TimeoutExpired:
        return -1, f"it did not end within {timeout:.0f} s"
    return run.returncode, run.stdout
