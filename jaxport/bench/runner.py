"""The benchmark: one process for each framework, one at a time, in turns."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from jaxport.errors import UsageError

from .process import Worker, WorkerError, environment, worker_command
from .rows import Measurement, Reference, Row, judge
from .tasks import DTYPES, FRAMEWORKS, TASKS

# Nothing waits longer than this: for imports, compiling and trying alternatives; and for one round.
PREPARE_TIMEOUT_S = 900.0
ROUND_TIMEOUT_S = 300.0
# A round lasts at least this long, after a pause in which the last framework's threads fall asleep.
ROUND_S = 0.3
PAUSE_S = 0.05


class Progress(NamedTuple):
    """Where a benchmark is: `done` of `total` pieces of work, and what comes next."""

    done: int
    total: int
    text: str


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class _Plan:
    frameworks: Sequence[str]
    steps: int | None
    rounds: int
    say: Callable[[str], None]


def run(
    names: Sequence[str] = (),
    frameworks: Sequence[str] | None = None,
    *,
    tasks: Sequence[str] = ("step",),
    dtypes: Sequence[str] = ("float32",),
    steps: int | None = None,
    rounds: int = 7,
    on_progress: OnProgress | None = None,
) -> list[Row]:
    """Train ports in several frameworks, from the same weights on the same batches, and return one row for each pair.

    Every framework runs in a process of its own; all of them stay warm, one at a time works, and they take turns over
    the rounds. A ratio is given only where the losses of the timed steps are PyTorch's.

    Args:
        names: of ports; empty means all.
        frameworks: of `FRAMEWORKS`; None takes those that mean something for the tasks, Keras where it is installed.
        tasks: of `TASKS`: a training step, a whole epoch, inference.
        dtypes: of `DTYPES`: what is computed in.
        steps: in a timed pass; None takes each port's own number.
        rounds: how many turns; the row has their median.
        on_progress: called before each piece of work.

    Raises:
        UsageError: an unknown port or framework, a number below 1, or PyTorch is wanted and not installed.
    """
    from jaxport import ports

    frameworks = _default_frameworks(tasks) if frameworks is None else frameworks
    for name, values, known in (
        ("frameworks", frameworks, FRAMEWORKS), ("tasks", tasks, TASKS), ("dtypes", dtypes, DTYPES)
    ):  # fmt: skip
        _check_names(name, values, known)
    _check(frameworks, steps, rounds)
    chosen = [ports.get(name).name for name in names or ports.names()]
    told = _counted(on_progress, len(chosen) * (2 + len(frameworks) * (1 + rounds)))
    plan = _Plan(tuple(dict.fromkeys(frameworks)), steps, rounds, told)
    return [row for name in chosen for row in _measure_port(name, plan)]


def _default_frameworks(tasks: Sequence[str]) -> list[str]:
    """Return what is compared where nobody says: the tutorial's loop has whole epochs alone, and Keras may be absent."""
    absent = set() if "epoch" in tasks else {"torch-dataloader"}
    absent |= set() if importlib.util.find_spec("keras") else {"keras"}
    return [name for name in FRAMEWORKS if name not in absent]


def _check_names(argument: str, names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise UsageError(
            f"{argument} has {', '.join(map(repr, unknown)) or 'nothing'}; those that exist are {', '.join(known)}"
        )


def _check(frameworks: Sequence[str], steps: int | None, rounds: int) -> None:
    for name, value in (("steps", steps), ("rounds", rounds)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")
    if any(name.startswith("torch") for name in frameworks) and importlib.util.find_spec("torch") is None:
        raise UsageError("PyTorch is not installed: pip install 'jaxport[bench]', or ask for frameworks=['jax'] alone")


def _counted(on_progress: OnProgress | None, total: int) -> Callable[[str], None]:
    done = -1

    def say(text: str) -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(Progress(done, total, text))

    return say


def _measure_port(port: str, plan: _Plan) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="jaxport-bench-", ignore_cleanup_errors=True) as folder:
        plan.say(f"{port}: weights and batches")
        with Worker(worker_command("setup", port, folder), environment(folder, JAX_PLATFORMS="cpu")) as worker:
            size = worker.ask({"do": "prepare", "steps": plan.steps}, PREPARE_TIMEOUT_S)
        reference, problem = _reference(port, folder, plan)
        with ExitStack() as stack:
            measurements = list(_measure(port, folder, plan, stack))
    if problem is not None:
        measurements = [Measurement(m.framework, m.ms, (), m.facts, m.error or problem) for m in measurements]
    return judge(port, size["steps"], size["batch"], measurements, reference)


def _reference(port: str, folder: str, plan: _Plan) -> tuple[Reference | None, str | None]:
    """Return PyTorch's losses, or why there are none; (None, None) when no PyTorch was asked for."""
    plan.say(f"{port}: PyTorch's losses in float64")
    if plan.frameworks == ("jax",):
        return None, None
    try:
        with Worker(worker_command("reference", port, folder), environment(folder)) as worker:
            return Reference(**worker.ask({"do": "prepare"}, PREPARE_TIMEOUT_S)), None
    except WorkerError as error:
        return None, f"PyTorch's own losses are missing: {error}"


@dataclass
class _Contestant:
    framework: str
    worker: Worker
    ms: list[float]
    losses: list[list[float]]
    facts: dict[str, object]
    error: str | None = None

    def take_turn(self, request: dict[str, object], timeout: float) -> None:
        try:
            answer = self.worker.ask(request, timeout)
        except WorkerError as error:
            self.error = str(error)
            return
        if request["do"] == "prepare":
            self.facts = answer
        else:
            self.ms.append(answer["ms"])
            self.losses.append(answer["losses"])


def _measure(port: str, folder: str, plan: _Plan, stack: ExitStack) -> Iterator[Measurement]:
    """Warm the frameworks one after the other, then let them take turns."""
    contestants = []
    for name in plan.frameworks:
        plan.say(f"{port}: {name} warms up")
        worker = stack.enter_context(Worker(worker_command(name, port, folder), environment(folder)))
        contestants.append(_Contestant(name, worker, [], [], {}))
        contestants[-1].take_turn({"do": "prepare"}, PREPARE_TIMEOUT_S)
    for number in range(plan.rounds):
        for contestant in contestants:
            plan.say(f"{port}: {contestant.framework}, round {number + 1} of {plan.rounds}")
            if contestant.error is None:
                time.sleep(PAUSE_S)
                contestant.take_turn({"do": "round", "seconds": ROUND_S}, ROUND_TIMEOUT_S)
    for c in contestants:
        yield Measurement(c.framework, c.ms, c.losses, c.facts, c.error)
