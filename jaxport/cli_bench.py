"""`jaxport bench`: measure or read a result, and show it: table, JSON, Markdown, picture, what changed."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .errors import UsageError

if TYPE_CHECKING:
    from .bench import Row
    from .bench.store import Result

# As in jaxport.bench.tasks, which the parser does not import: that would load JAX.
FRAMEWORKS = ("jax", "torch", "torch-channels-last", "torch-compile", "torch-dataloader", "keras")
TASKS = ("step", "epoch", "infer-1", "infer-256")
DTYPES = ("float32", "bfloat16")

# For each size of the machine's limits, of each framework.
_LIMITS_S = 0.1


def _choice(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a reader of a list with commas in which everything is known, "all" meaning all."""

    def read(text: str) -> list[str]:
        names = list(known) if text == "all" else list(dict.fromkeys(text.split(",")))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown {unknown[0]!r}; choose from {','.join(known)}, or all")
        return names

    return read


def add_arguments(command: argparse.ArgumentParser, positive: Callable[[str], int]) -> None:
    """Add what `jaxport bench` takes."""
    command.add_argument("names", nargs="*", metavar="NAME", help="ports (default: all)")
    command.add_argument(
        "--frameworks", type=_choice(FRAMEWORKS), metavar="LIST",
        help=f"{','.join(FRAMEWORKS)} (default: those that mean something, Keras where it is installed)",
    )  # fmt: skip
    command.add_argument("--task", type=_choice(TASKS), metavar="LIST", help=f"{','.join(TASKS)}; all (default: step)")
    command.add_argument("--dtype", type=_choice(DTYPES), metavar="LIST", help="float32,bfloat16 (default: float32)")
    command.add_argument("--rounds", type=positive, metavar="N", help="turns of each; the median counts (7)")
    command.add_argument("--steps", type=positive, metavar="N", help="in a timed pass (default: the port's number)")
    command.add_argument("--out", metavar="FILE.json", help="keep the result, after every port and task")
    command.add_argument("--resume", action="store_true", help="go on with what --out holds already")
    command.add_argument("--from", dest="source", metavar="FILE.json", help="show a kept result; measure nothing")
    command.add_argument("--compare", metavar="FILE.json", help="show what changed since a kept result")
    shown = command.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print the result as JSON, in the form of --out")
    shown.add_argument("--markdown", action="store_true", help="print Markdown")
    command.add_argument("--picture", metavar="FILE.png", help="draw the ratios to PyTorch")


def run(options: argparse.Namespace, needs_torch: Callable[[str], None]) -> int:
    """Measure or read, then show; what can be known to be wrong is said before anything is measured."""
    from . import ports

    names = [ports.get(name).name for name in options.names] or ports.names()
    if not options.source and (options.frameworks is None or any(f.startswith("torch") for f in options.frameworks)):
        needs_torch("bench")
    from .bench import picture, store

    if options.picture:
        picture.check(options.picture)
    old = store.read(options.compare) if options.compare else None
    result = _selected(store.read(options.source), options) if options.source else _measured(names, options)
    show(result, old, options)
    if options.picture:
        picture.save(result.rows, options.picture)
    return 0


def _selected(result: Result, options: argparse.Namespace) -> Result:
    """Return a stored result, of what is named alone."""
    import dataclasses

    if given := [name for name in ("out", "resume", "rounds", "steps") if getattr(options, name)]:
        raise UsageError(f"--{given[0]} with --from means nothing: --from measures nothing and shows what is kept")
    rows = result.rows
    wanted = {"port": options.names, "framework": options.frameworks, "task": options.task, "dtype": options.dtype}
    for name, values in wanted.items():
        has = {getattr(row, name) for row in result.rows}
        if missing := [value for value in values or () if value not in has]:
            raise UsageError(f"{options.source} has no {missing[0]}; it has {', '.join(sorted(has)) or 'no rows'}")
        rows = tuple(row for row in rows if not values or getattr(row, name) in values)
    return dataclasses.replace(result, rows=rows)


def _measured(names: Sequence[str], options: argparse.Namespace) -> Result:
    from rich.console import Console

    from .bench import Progress, store

    settings = {
        "frameworks": options.frameworks,
        "tasks": options.task or ["step"],
        "dtypes": options.dtype or ["float32"],
        "steps": options.steps,
        "rounds": options.rounds or 7,
    }
    result = store.begin(command_line(names, options), settings)
    if options.out:
        result = store.continued(result, options.out, options.resume)
    result = _with_limits(result, settings)
    done = {(row.port, row.task, row.dtype) for row in result.rows}
    wanted = [(name, task, dtype) for name in names for task in settings["tasks"] for dtype in settings["dtypes"]]
    left = [piece for piece in wanted if piece not in done]
    with Console(stderr=True, quiet=not sys.stderr.isatty()).status("starting") as status:

        def tell(number: int) -> Callable[[Progress], None]:
            where = f"{number} of {len(left)}"
            return lambda progress: status.update(f"{where}: {progress.text} ({progress.done + 1}/{progress.total})")

        for number, piece in enumerate(left, 1):
            result = result.with_rows(_measure(*piece, settings, result, tell(number)))
            if options.out:
                store.write(result, options.out)
    return result


def _with_limits(result: Result, settings: dict[str, Any]) -> Result:
    """Return the result with the machine's limits, where something measured has a floor: some ten seconds."""
    import dataclasses

    from .bench import limits

    wanted = "step" in settings["tasks"] and "float32" in settings["dtypes"]
    if result.limits is not None or not wanted or "jax" not in (settings["frameworks"] or ["jax"]):
        return result
    return dataclasses.replace(result, limits=limits.measure(_LIMITS_S).to_json())


def _measure(
    name: str, task: str, dtype: str, settings: dict[str, Any], result: Result, tell: Callable[[Any], None]
) -> list[Row]:
    from . import bench
    from .bench.limits import Limits

    choices = {"tasks": [task], "dtypes": [dtype], "steps": settings["steps"], "rounds": settings["rounds"]}
    known = None if result.limits is None else Limits.from_json(result.limits)
    return bench.run([name], settings["frameworks"], **choices, limits=known, on_progress=tell)


def command_line(names: Sequence[str], options: argparse.Namespace) -> str:
    """Return the command that measures this again."""
    from . import ports

    words = ["jaxport", "bench", *([] if list(names) == ports.names() else names)]
    for name in ("frameworks", "task", "dtype", "rounds", "steps", "out"):
        if (value := getattr(options, name)) is not None:
            words += [f"--{name}", ",".join(value) if isinstance(value, list) else str(value)]
    return shlex.join(words)


def show(result: Result, old: Result | None, options: argparse.Namespace) -> None:
    """Print a result, and what changed since `old`."""
    import dataclasses

    from .bench import compare, report
    from .viz.table import to_json

    changes = compare.compare(old, result) if old else []
    if options.json:
        more = {"changes": [dataclasses.asdict(change) for change in changes]} if old else {}
        print(to_json({**result.as_dict(), **more}))
    elif options.markdown:
        print(report.to_markdown(result.rows), end="")
        if old:
            print("\n" + compare.to_markdown(changes), end="")
    else:
        console = _console()
        console.print(report.table(result.rows))
        if old:
            console.print(compare.table(changes))
    if old:
        _say(old, result, options)


def _say(old: Result, new: Result, options: argparse.Namespace) -> None:
    """Say beside what was printed what else is not as it was then; on standard error where the output is data."""
    from .bench import compare

    target = sys.stderr if options.json or options.markdown else sys.stdout
    print(f"compared with {options.compare} of {old.date}", file=target)
    for line in compare.differences(old, new):
        print(f"  differs: {line}", file=target)
    if rest := compare.unmeasured(old, new):
        print(f"  not measured now: {', '.join(rest)}", file=target)


def _console() -> Any:
    from rich.console import Console

    # Written to a file or a pipe, a table is as wide as it needs to be.
    return Console() if sys.stdout.isatty() else Console(width=200)
