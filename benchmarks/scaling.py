"""Measure how training scales with batch size, depth, data and devices, beside this machine's limits.

    python benchmarks/scaling.py [--quick] [--only batch depth ...] [--rounds 3] [--again] [--page]

Writes docs/scaling.json after every point, and from it docs/scaling.md and its pictures: interrupted, it goes on where
it was. JAX and PyTorch have a process each, warm for a series, and take turns; PyTorch is the fastest of eager with
each optimiser, one thread and all, channels_last, and torch.compile of that (not with --quick). Both must compute the
same losses. Every device count has a process of its own. --page only writes the page.
Axes that are measured one after the other (--only) come together in one page; --quick's figures mix with no others.

It takes about ten minutes on two cores. Nothing else should run on the machine meanwhile; the page says what the load
was.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from ends import exit_status
from rich.console import Console
from rich.progress import Progress
from scaling_page import page
from scaling_pictures import draw
from scaling_points import AXES, Point, points

from jaxport.bench import limits
from jaxport.bench.process import Worker, WorkerError, environment
from jaxport.bench.rows import Reference, disagreement
from jaxport.errors import UsageError
from jaxport.viz.table import write_atomic

ROOT = Path(__file__).parents[1]
SIDES = Path(__file__).parent / "scaling_sides.py"
ROUND_S, PAUSE_S, QUICK_S = 0.3, 0.05, 0.05
PREPARE_TIMEOUT_S, ROUND_TIMEOUT_S = 600.0, 300.0
# Losses of a first epoch may differ by this part: rounding, and no more.
LOSS_RTOL = 1e-3


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    packages = {name: version(name) for name in ("jax", "numpy", "torch") if importlib.util.find_spec(name)}
    processor = names[0] if names else platform.processor() or platform.machine()
    return {"processor": processor, "cores": str(os.cpu_count()), "python": platform.python_version(), **packages}


def load_average() -> float | None:
    """Return how many processes wanted to run in the last minute, where the system tells it."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def stored(path: Path, again: bool, quick: bool) -> dict[str, Any]:
    """Return what was measured before; nothing where there is nothing or it is to be forgotten.

    Raises:
        UsageError: it was measured on another machine, with other versions, or the other of quick and not.
    """
    if again or not path.exists():
        return {"machine": machine(), "quick": quick, "limits": None, "points": {}}
    state = json.loads(path.read_text(encoding="utf-8"))
    if state["machine"] != machine():
        raise UsageError(f"{path} is of another machine or other versions; measure all anew with --again")
    if state["quick"] != quick:
        how = "with" if state["quick"] else "without"
        raise UsageError(f"{path} was measured {how} --quick; give another --out, or --again")
    return state


def save(state: Mapping[str, Any], folder: Path) -> None:
    """Write the results."""
    write_atomic(folder / "scaling.json", (json.dumps(state, indent=1) + "\n").encode())


# ------------------------------------------------------------------------------------------------------- the measuring


@contextmanager
def workers(names: Mapping[Any, tuple[str, dict[str, str]]]) -> Iterator[tuple[dict[Any, Worker], str]]:
    """Start a process for each name's (framework, variables), and give them a common folder."""
    with (
        tempfile.TemporaryDirectory(prefix="jaxport-scaling-", ignore_cleanup_errors=True) as folder,
        ExitStack() as stack,
    ):
        # Fits of one program follow each other, and only the first need wait for the compiler, which is not timed.
        cache = {
            "JAX_ENABLE_COMPILATION_CACHE": "true",
            "JAX_COMPILATION_CACHE_DIR": str(Path(folder, "xla")),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        started = {}
        for name, (framework, extra) in names.items():
            command = [sys.executable, str(SIDES), framework]
            started[name] = stack.enter_context(Worker(command, environment(folder, **cache, **extra)))
        yield started, folder


def take_turns(sides: Mapping[Any, Worker], rounds: int) -> dict[Any, dict[str, Any]]:
    """Let the workers that are prepared be timed in turns; return {"ms": of each round, "losses": of the last}."""
    results: dict[Any, dict[str, Any]] = {name: {"ms": []} for name in sides}
    for _ in range(rounds):
        for name, worker in sides.items():
            time.sleep(PAUSE_S)
            answer = worker.ask({"round": ROUND_S}, ROUND_TIMEOUT_S)
            results[name]["ms"].append(answer["ms"])
            results[name]["losses"] = answer.get("losses")
    return results


def same_losses(losses: Sequence[float] | None, facts: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Say why JAX's training is not the same as the other's, or return None where it is."""
    if losses is not None:
        return disagreement(losses, Reference(**other["reference"]))
    ours, theirs = facts["loss"], other["loss"]
    return None if abs(ours - theirs) <= LOSS_RTOL * abs(theirs) else f"the first epoch's losses are {ours}, {theirs}"


def one_point(point: Point, sides: Mapping[str, Worker], folder: str, rounds: int, compiled: bool) -> dict[str, Any]:
    """Measure a point in all frameworks."""
    with tempfile.TemporaryDirectory(dir=folder) as inputs:
        request = {"point": point, "folder": inputs, "compiled": compiled}
        facts = {name: worker.ask(request, PREPARE_TIMEOUT_S) for name, worker in sides.items()}
        if not point.timed:
            return result_of(facts["jax"], {}, None)
        timed = take_turns(sides, rounds)
    reason = same_losses(timed["jax"].pop("losses"), facts["jax"], facts["torch"]) if "torch" in sides else None
    return result_of(facts["jax"], {name: [timed[name]["ms"], facts[name].get("variant")] for name in sides}, reason)


def result_of(facts: Mapping[str, Any], sides: Mapping[str, list[Any]], reason: str | None) -> dict[str, Any]:
    """Return a point as it is stored."""
    kept = {key: facts[key] for key in ("batch", "steps", "examples", "cost")}
    found = {name: {"ms": ms, "variant": variant} for name, (ms, variant) in sides.items()}
    return {**kept, "sides": found, "load": load_average(), "reason": reason}


def series(chosen: list[Point], rounds: int, compiled: bool) -> Iterator[tuple[Point, dict[str, Any]]]:
    """Measure a series, one point after the other."""
    names = ["jax", *(["torch"] if importlib.util.find_spec("torch") and chosen[0].axis != "ports" else [])]
    with workers({name: (name, {}) for name in names}) as (sides, folder):
        for point in chosen:
            try:
                yield point, one_point(point, sides, folder, rounds, compiled)
            except WorkerError as error:
                raise WorkerError(f"{point.key}: {error}") from error


def devices(chosen: list[Point], rounds: int) -> Iterator[tuple[Point, dict[str, Any]]]:
    """Measure a series over device counts: a process for each, in turns."""
    split = {point: {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(point.n)} for point in chosen}
    with workers({point: ("jax", extra) for point, extra in split.items()}) as (sides, folder):
        facts = {p: worker.ask({"point": p, "folder": folder}, PREPARE_TIMEOUT_S) for p, worker in sides.items()}
        timed = take_turns(sides, rounds)
        for point in chosen:
            reason = same_losses(None, facts[point], facts[chosen[0]])
            yield point, result_of(facts[point], {"jax": [timed[point]["ms"], None]}, reason)


def measured(chosen: list[Point], rounds: int, compiled: bool) -> Iterator[tuple[Point, dict[str, Any]]]:
    """Measure points of one series."""
    if chosen[0].axis == "devices":
        yield from devices(chosen, rounds)
    else:
        yield from series(chosen, rounds, compiled)


def missing_points(wanted: list[Point], kept: Mapping[str, Any]) -> list[Point]:
    """Return the points that are not there; device counts are compared with each other, so one takes all."""
    missing = [point for point in wanted if point.key not in kept]
    again = {point.series for point in missing if point.axis == "devices"}
    return [point for point in wanted if point in missing or (point.axis == "devices" and point.series in again)]


def run(state: dict[str, Any], axes: tuple[str, ...], quick: bool, rounds: int, folder: Path, console: Console) -> None:
    """Measure what is not there, and keep it point by point."""
    missing = missing_points(points(axes, quick), state["points"])
    with Progress(console=console) as bar:
        task = bar.add_task("limits", total=len(missing) + 1)
        if state["limits"] is None:
            state["limits"] = {**limits.measure(QUICK_S if quick else limits.SECONDS).to_json(), "load": load_average()}
            save(state, folder)
        bar.advance(task)
        # The ports share a process.
        for name, group in groupby(missing, lambda point: "ports" if point.axis == "ports" else "/".join(point[:2])):
            bar.update(task, description=name)
            for point, result in measured(list(group), rounds, not quick):
                bar.update(task, advance=1, description=point.key)
                state["points"][point.key] = result
                save(state, folder)


def work(options: argparse.Namespace) -> None:
    """Run what is asked for and is not there, and write the page."""
    store, unknown = options.out / "scaling.json", [axis for axis in options.only if axis not in AXES]
    if unknown or options.rounds < 1:
        wrong = f"--only has {unknown[0]!r}; the axes are {', '.join(AXES)}" if unknown else ""
        raise UsageError(wrong or f"--rounds must be at least 1, got {options.rounds}")
    if options.page and not store.exists():
        raise UsageError(f"{store} is not there; run without --page first")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("pictures need matplotlib: pip install 'jaxport[viz]'")
    options.out.mkdir(parents=True, exist_ok=True)
    if options.page:
        state = json.loads(store.read_text(encoding="utf-8"))
    else:
        state = stored(store, options.again, options.quick)
        console = Console(stderr=True, quiet=not sys.stderr.isatty())
        run(state, tuple(options.only), options.quick, options.rounds, options.out, console)
    draw(state, options.out / "images")
    write_atomic(options.out / "scaling.md", page(state).encode())


def main() -> int:
    """Read the options and do the work."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few points, no torch.compile: about 3 minutes")
    parser.add_argument("--only", nargs="+", default=AXES, metavar="AXIS", help=f"of {', '.join(AXES)}")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns of each framework (%(default)s)")
    parser.add_argument("--again", action="store_true", help="forget what was measured before")
    parser.add_argument("--page", action="store_true", help="only write the page and its pictures")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", metavar="DIR", help="where results are (docs)")
    options = parser.parse_args()
    return exit_status(lambda: work(options), "scaling.json")


if __name__ == "__main__":
    sys.exit(main())
