"""Time training: `Model.fit` against a loop by hand, Keras 3 on JAX, torchkeras and PyTorch, on three networks.

    python benchmarks/training.py [--data DIR] [--rounds 3] [--only MLP] [--markdown | --json]

All start from the same weights, take the same batches in the same order, and must agree on the loss of the first epoch
to 0.1 %; who does not is left out. Each has a process of its own for each network; they take turns. An epoch's time is
what another epoch adds to a call of `fit`; the first epoch's is all of the first call, compilation included. Memory is
the process's high-water mark above what it had before the model was made, with the examples loaded. "by hand" is the
same pure step in `lax.scan`, or called in a Python loop where there are convolutions. Keras gets the better of 1 and 64
steps in an execution, PyTorch the better of its own number of threads and one. Frameworks that are not installed
(``pip install keras torchkeras accelerate ipython``) are left out. Without --data (or JAXPORT_DATA) examples are made
up. "Second start" is jaxport's first call, on two batches, again in a new process: programs come from JAX's compilation
cache then.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import resource
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from training_sides import CASES, PACKAGES, SIDES, Fit, Inputs, make_inputs

from jaxport.bench.process import Worker, WorkerError, environment
from jaxport.bench.worker import private_output

ROUND_S = 0.6
TIMEOUT_S = 300.0
STARTS = 3
MOST_EPOCHS = 200
COLUMNS = ("network", "framework", "epoch, ms", "µs a step", "first epoch, s", "memory, MB", "time ÷ jaxport")


@dataclass
class Result:
    """What was measured of a framework on a network: medians. `error` says why there is nothing."""

    case: str
    framework: str
    loss: float = float("nan")
    first_s: float = float("nan")
    epoch_s: float = float("nan")
    call_s: float = float("nan")
    memory_mb: float = float("nan")
    epochs: list[float] = field(default_factory=list)
    error: str | None = None


# ------------------------------------------------------------------------------------------------- inside a process


def high_water() -> float:
    """Return the most memory that the process has had, in MB."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def begin_memory() -> float:
    """Forget the high-water mark where Linux lets us, and return the present one."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return high_water()


def load(folder: str) -> Inputs:
    """Read what `make` wrote."""
    with np.load(Path(folder, "inputs.npz")) as file:
        weights = [file[f"weight{i}"] for i in range(len(file.files) - 2)]
        return Inputs(file["x"], file["y"], weights)


def make(case: str, folder: str, data: str | None, steps: int | None) -> int:
    """Write a network's examples and weights into `folder`; return the steps of an epoch."""
    count = steps or CASES[case].steps
    inputs = make_inputs(CASES[case], data, count)
    weights = {f"weight{i}": array for i, array in enumerate(inputs.weights)}
    np.savez(Path(folder, "inputs.npz"), x=inputs.x, y=inputs.y, **weights)  # pyright: ignore[reportArgumentType]
    return len(inputs.x) // CASES[case].batch


def timed(fit: Fit, epochs: int) -> float:
    """Return the seconds of a call of `fit`."""
    start = time.perf_counter()
    fit(epochs)
    return time.perf_counter() - start


def round_of(fit: Fit) -> dict[str, float]:
    """Return the seconds that an epoch adds to a call, and those of a call beside its epochs."""
    one = timed(fit, 1)
    epochs = max(1, min(MOST_EPOCHS, round(ROUND_S / one)))
    seconds = (timed(fit, 1 + epochs) - timed(fit, 1)) / epochs
    if seconds < 0.5 * one:  # the call costs more than its epoch: more epochs fit into the time
        epochs = max(1, min(MOST_EPOCHS, round(ROUND_S / max(seconds, ROUND_S / MOST_EPOCHS))))
        one = timed(fit, 1)
        seconds = (timed(fit, 1 + epochs) - one) / epochs
    return {"epoch_s": seconds, "call_s": one - seconds}


def choose_threads(fit: Fit) -> None:
    """Leave PyTorch with the number of threads, its own or one, that is faster on an epoch."""
    import torch

    counts = sorted({1, torch.get_num_threads()})
    times = {}
    for count in counts:
        torch.set_num_threads(count)
        times[count] = timed(fit, 1)
    torch.set_num_threads(min(times, key=lambda count: times[count]))


def serve(framework: str) -> None:
    """Answer each request until they end."""
    answer, fit, before = private_output(), None, 0.0
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "make" in request:
                answer({"steps": make(request["make"], request["folder"], request["data"], request["steps"])})
            elif "case" in request:
                os.chdir(request["folder"])
                for name in PACKAGES[framework]:
                    importlib.import_module(name)
                inputs = load(request["folder"])
                if "start" in request:
                    rows = 2 * CASES[request["case"]].batch
                    inputs = Inputs(inputs.x[:rows], inputs.y[:rows], inputs.weights)
                before = begin_memory()
                fit = SIDES[framework](CASES[request["case"]], inputs)
                start = time.perf_counter()
                loss = fit(1)[0]
                answer({"loss": loss, "first_s": time.perf_counter() - start})
            elif "warm" in request:
                assert fit is not None
                if "torch" in framework:
                    choose_threads(fit)
                answer(round_of(fit))
            elif "round" in request:
                assert fit is not None
                answer(round_of(fit))
            else:
                answer({"memory_mb": high_water() - before})
        except Exception as error:
            answer({"error": f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"})


# ----------------------------------------------------------------------------------------------------- the comparison


def present() -> tuple[list[str], list[str]]:
    """Return the frameworks that can run here, and the packages that are missing."""
    missing = {package for names in PACKAGES.values() for package in names if not importlib.util.find_spec(package)}
    return [name for name in SIDES if not missing & set(PACKAGES[name])], sorted(missing)


def worker(framework: str, folder: str, **extra: str) -> Worker:
    """Start a framework's process."""
    return Worker([sys.executable, __file__, "--serve", framework], environment(folder, KERAS_BACKEND="jax", **extra))


def compare(case: str, names: list[str], rounds: int, folder: str) -> list[Result]:
    """Return what each framework takes; those that fail or compute something else have an error."""
    results = {name: Result(case, name) for name in names}
    workers: dict[str, Worker] = {}

    def ask(name: str, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return workers[name].ask(request, TIMEOUT_S) if results[name].error is None else {}
        except WorkerError as error:
            results[name].error = str(error)
            return {}

    calls: dict[str, list[float]] = {name: [] for name in names}
    try:
        for name in names:
            workers[name] = worker(name, folder)
            for key, value in ask(name, {"case": case, "folder": folder}).items():
                setattr(results[name], key, value)
            expected, result = results[names[0]].loss, results[name]
            if result.error is None and not np.isclose(result.loss, expected, rtol=1e-3):
                result.error = f"its loss is {result.loss:.6g}, jaxport's {expected:.6g}"
            ask(name, {"warm": True})
        for _ in range(rounds):
            for name in names:
                found = ask(name, {"round": True})
                if found:
                    results[name].epochs.append(found["epoch_s"])
                    calls[name].append(found["call_s"])
        for name in names:
            result = results[name]
            result.memory_mb = ask(name, {"memory": True}).get("memory_mb", result.memory_mb)
            if result.epochs:
                result.epoch_s, result.call_s = median(result.epochs), median(calls[name])
    finally:
        for each in workers.values():
            each.kill()
    return best_keras(list(results.values()))


def best_keras(results: list[Result]) -> list[Result]:
    """Return the results with the slower of Keras' two ways left out."""
    keras = [result for result in results if result.framework.startswith("keras")]
    good = [result for result in keras if result.error is None]
    kept = min(good, key=lambda result: result.epoch_s) if good else next(iter(keras), None)
    return [result for result in results if result not in keras or result is kept]


def starts(case: str, folder: str) -> dict[str, float]:
    """Return seconds of jaxport's first call in a first and in a second process, and of those whole processes."""
    found: dict[str, list[float]] = {"first": [], "second": [], "first process": [], "second process": []}
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
            extra = {
                "JAX_ENABLE_COMPILATION_CACHE": "true",
                "JAX_COMPILATION_CACHE_DIR": cache,
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            }
            for which in ("first", "second"):
                begun = time.perf_counter()
                with worker("jaxport", folder, **extra) as process:
                    request = {"case": case, "folder": folder, "start": True}
                    found[which].append(process.ask(request, TIMEOUT_S)["first_s"])
                    found[f"{which} process"].append(time.perf_counter() - begun)
    return {name: median(values) for name, values in found.items()}


# ---------------------------------------------------------------------------------------------------------- the tables


def rows_of(results: list[Result], steps: int) -> list[list[str]]:
    """Return the lines of a network's table."""
    ours = results[0].epoch_s
    rows = []
    for result in results:
        cells = [result.case, result.framework]
        if result.error is None:
            times = [1000 * result.epoch_s, 1e6 * result.epoch_s / steps, result.first_s, result.memory_mb]
            cells += [*(f"{value:.4g}" for value in times), f"{result.epoch_s / ours:.2f}"]
        rows.append(cells if result.error is None else [*cells, result.error, "", "", "", ""])
    return rows


def overhead(results: list[Result], again: dict[str, float]) -> list[str]:
    """Return a network's line of the second table: fit over the loop by hand, and the second start over the first."""
    ours, hand = results[:2]
    whole = again["second process"] / again["first process"]
    return [
        ours.case,
        f"{ours.epoch_s / hand.epoch_s:.3f}",
        f"{ours.memory_mb / hand.memory_mb:.2f}",
        f"{1000 * ours.call_s:.0f}",
        f"{again['first']:.2f}",
        f"{again['second']:.2f}",
        f"{again['second'] / again['first']:.2f}",
        f"{whole:.2f}",
    ]


OVERHEAD = (
    *("network", "fit ÷ by hand", "memory ÷ by hand", "a call beside its epochs, ms"),
    *("first start, s", "second start, s", "second ÷ first", "whole process: second ÷ first"),
)


def show(header: tuple[str, ...], rows: list[list[str]], markdown: bool) -> None:
    """Print a table."""
    if markdown:
        lines = (header, ["---"] * 2 + ["---:"] * (len(header) - 2), *rows)
        print(*("| " + " | ".join(line) + " |" for line in lines), "", sep="\n")
        return
    table = Table(*header)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("JAXPORT_DATA"), help="folder of the real data sets")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="steps of an epoch (default: each network's own)")
    parser.add_argument("--only", default="", help="networks whose name contains this text")
    parser.add_argument("--frameworks", default="", help="comma-separated; jaxport and 'by hand' are always there")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--serve", choices=[*SIDES, "make"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve)
    chosen = [name for name in CASES if options.only in name]
    if not chosen:
        parser.error(f"--only: no network's name contains {options.only!r}; there are {', '.join(CASES)}")
    names, missing = present()
    wanted = {"jaxport", "by hand", *options.frameworks.split(",")}
    names = [name for name in names if not options.frameworks or name in wanted]
    if missing:
        print(f"not installed, left out: {', '.join(missing)}", file=sys.stderr)
    rows, lines, record = [], [], []
    for case in chosen:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            with worker("make", folder) as maker:
                request = {"make": case, "folder": folder, "data": options.data, "steps": options.steps}
                steps = maker.ask(request, TIMEOUT_S)["steps"]
            results = compare(case, names, max(1, options.rounds), folder)
            again = starts(case, folder)
        rows += rows_of(results, steps)
        lines.append(overhead(results, again))
        record.append({"steps": steps, "results": [asdict(result) for result in results], "starts": again})
    if options.json:
        print(json.dumps(record))
        return None
    show(COLUMNS, rows, options.markdown)
    show(OVERHEAD, lines, options.markdown)
    return None


if __name__ == "__main__":
    main()
