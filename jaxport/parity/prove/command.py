"""The command ``jaxport parity prove``: arguments, progress and table."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jaxport.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from .runner import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of the command; nothing heavy is imported."""
    parser.add_argument(
        "suite", nargs="*", metavar="SUITE", help="test files or folders, a function pkg.mod:name, or -- COMMAND…"
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="this mistake alone; it may be given again")
    parser.add_argument("--list", action="store_true", help="list the mistakes")
    parser.add_argument("--timeout", type=float, default=1800.0, metavar="S", help="seconds for one run (1800)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Run the command; return 0 if every mistake that has a place is caught, 1 if not.

    Args:
        options: of `add_arguments`, and ``command``: what stood behind ``--``, a list.

    Raises:
        UsageError: an argument cannot be used, or the suite does not pass without a mistake.
    """
    from rich.console import Console

    from .mistakes import MISTAKES

    if options.list:
        return _print(
            Console(),
            options.json,
            [{"mistake": m.name, "trap": m.trap, "what": m.what} for m in MISTAKES.values()],
            _listing(),
        )
    if not (options.suite or options.command):
        raise UsageError("suite: test files, a function pkg.mod:name or -- COMMAND is needed")
    outcomes: list[Outcome] = []
    try:
        _prove(options, outcomes)
    finally:  # what is known is shown after Ctrl-C, too
        if outcomes:
            rows = [asdict(outcome) | {"verdict": outcome.verdict} for outcome in outcomes]
            _print(Console(), options.json, rows, table(outcomes))
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def _prove(options: argparse.Namespace, outcomes: list[Outcome]) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from .runner import chosen, prove, prove_command, pytest_command

    names = [mistake.name for mistake in chosen(options.only)]
    suite = None if options.command else _function(options.suite)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("without a mistake", total=len(names))

        def done(outcome: Outcome) -> None:
            outcomes.append(outcome)
            progress.update(task, advance=1, description=f"{outcome.mistake}: {outcome.verdict}")

        if suite is not None:
            prove(suite, names, done)
        else:
            command = options.command or pytest_command(*options.suite)
            prove_command(command, names, done, timeout=options.timeout)


def _function(suite: Sequence[str]) -> Callable[[], Any] | None:
    """Return the function that ``pkg.mod:name`` means, None for anything else."""
    module, colon, name = suite[0].partition(":")
    if len(suite) != 1 or not colon or "/" in module or "::" in suite[0] or module.endswith(".py"):
        return None
    sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"suite: {suite[0]!r} is no function: {error}") from error


def table(outcomes: Sequence[Outcome]) -> Table:
    """Return the outcomes as a table, what was not caught first."""
    from rich.table import Table

    caught = sum(outcome.caught for outcome in outcomes if outcome.applied)
    places = sum(bool(outcome.applied) for outcome in outcomes)
    found = Table(title=f"{caught} of {places} mistakes caught, {len(outcomes) - places} not applicable")
    for column in ("mistake", "trap", "what", "applied", "verdict"):
        found.add_column(column, justify="right" if column in ("trap", "applied") else "left")
    order = {"NOT CAUGHT": 0, "caught": 1, "not applicable": 2}
    style = {"NOT CAUGHT": "red", "caught": "green", "not applicable": "dim"}
    for o in sorted(outcomes, key=lambda outcome: order[outcome.verdict]):
        row = (o.mistake, str(o.trap or ""), o.what, str(o.applied), f"[{style[o.verdict]}]{o.verdict}")
        found.add_row(*row)
    return found


def _listing() -> Table:
    from rich.table import Table

    from .mistakes import MISTAKES

    found = Table("mistake", "trap", "what is done wrong")
    for mistake in MISTAKES.values():
        found.add_row(mistake.name, str(mistake.trap or ""), mistake.what)
    return found


def _print(console: Console, as_json: bool, rows: list[dict[str, Any]], shown: Table) -> int:
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        console.print(shown)
    return 0
