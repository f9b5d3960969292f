"""The benchmark: one process for each framework, one at a time, in turns."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from jaxport.errors import UsageError

from .limits import Limits
from .process import Worker, WorkerError, environment, worker_command
from .rows import Measurement, Reference, Row, judge
from .starts import measure_starts
from .tasks import DTYPES, FRAMEWORKS, TASKS, does_not_apply
from .values import load_reference, unpacked

# Nothing waits longer than this: for imports, compiling and trying alternatives; and for one round.
PREPARE_TIMEOUT_S = 900.0
ROUND_TIMEOUT_S = 300.0
# A round lasts at least this long, after a pause in which the last framework's threads fall asleep.
ROUND_S = 0.3
PAUSE_S = 0.05
_EAGER = ("torch", "torch-channels-last")


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
    task: str = "step"
    dtype: str = "float32"
    limits: Limits | None = None

    def pieces(self) -> int:
        """Return how often something is said of a port."""
        return 2 + len(self.frameworks) * (1 + self.rounds + (self.task == "epoch"))


def run(
    names: Sequence[str] = (),
    frameworks: Sequence[str] | None = None,
    *,
    tasks: Sequence[str] = ("step",),
    dtypes: Sequence[str] = ("float32",),
    steps: int | None = None,
    rounds: int = 7,
    limits: Limits | None = None,
    on_progress: OnProgress | None = None,
) -> list[Row]:
    """Run ports in several frameworks, from the same weights on the same examples; return a row for each combination.

    Every framework runs in a process of its own; all of them stay warm, one at a time works, and they take turns over
    the rounds. A ratio is given only where both compute the same, judged by PyTorch's own rounding:

    - "step": the losses of the timed steps themselves, dropout masks replayed. Batches are on the device already.
    - "epoch": from the data set's examples in memory to new weights, loss and metrics: shuffled, prepared, batched,
      with the last short batch. Orders and dropout are each framework's own there; what is compared are the losses
      of a short run of the same call on fewer examples, from the same weights in the same order, without dropout.
    - "infer-1", "infer-256": the outputs of the timed calls.

    "bfloat16" has parameters and optimiser in float32, computes the model in bfloat16, and losses in float32.

    Args:
        names: of ports; empty means all.
        frameworks: of `FRAMEWORKS`; None takes those that mean something for the tasks, Keras where it is installed.
        tasks: of `TASKS`: a training step, a whole epoch, inference.
        dtypes: of `DTYPES`: what is computed in.
        steps: in a timed pass (of "epoch": of an epoch, at most); None takes each port's own number.
        rounds: how many turns; the row has their median.
        limits: of this machine, as ``jaxport.bench.limits.measure()`` returns them: jaxport's training steps in float32
            then have their floor beside them. None leaves it out.
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
    quiet = _Plan(tuple(dict.fromkeys(frameworks)), steps, rounds, lambda text: None, limits=limits)
    plans = [replace(quiet, task=task, dtype=dtype) for task in dict.fromkeys(tasks) for dtype in dict.fromkeys(dtypes)]
    say = _counted(on_progress, len(chosen) * sum(plan.pieces() for plan in plans))
    return [row for name in chosen for plan in plans for row in _measure_port(name, replace(plan, say=say))]


def _default_frameworks(tasks: Sequence[str]) -> list[str]:
    """Return what is compared where nobody says: the tutorials' loop has whole epochs alone, Keras may be absent."""
    return [name for name in FRAMEWORKS if not all(does_not_apply(name, task) for task in tasks)]


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
    fields: dict[str, Any] = {"task": plan.task, "dtype": plan.dtype}
    with tempfile.TemporaryDirectory(prefix="jaxport-bench-", ignore_cleanup_errors=True) as folder:
        plan.say(f"{port}, {plan.task}, {plan.dtype}: weights and batches")
        try:
            fields |= _set_up(port, folder, plan)
            reference, problem = _reference(port, folder, plan)
        except WorkerError as error:
            for _ in range(plan.pieces() - 1):
                plan.say(f"{port}: left out")
            nothing = [Measurement(name, error=f"there are no inputs: {error}") for name in plan.frameworks]
            return judge(port, 0, 0, nothing, None, **fields)
        with ExitStack() as stack:
            measurements = list(_measure(port, folder, plan, stack))
        measurements = [_with_starts(m, port, folder, plan) for m in measurements]
    if (cost := fields.pop("cost", None)) is not None and plan.limits is not None:
        from .floor import with_floor  # loads JAX

        measurements = [with_floor(m, cost, plan.limits) for m in measurements]
    if problem is not None:
        measurements = [replace(m, losses=(), error=m.error or problem) for m in measurements]
    return judge(port, fields.pop("steps"), fields.pop("batch"), measurements, reference, **fields)


def _set_up(port: str, folder: str, plan: _Plan) -> dict[str, Any]:
    cost = plan.limits is not None and (plan.task, plan.dtype) == ("step", "float32")
    request = {"do": "prepare", "steps": plan.steps, "task": plan.task, "dtype": plan.dtype, "cost": cost}
    with Worker(worker_command("setup", port, folder), environment(folder, JAX_PLATFORMS="cpu")) as worker:
        return worker.ask(request, PREPARE_TIMEOUT_S)


def _reference(port: str, folder: str, plan: _Plan) -> tuple[Reference | None, str | None]:
    """Return PyTorch's values, or why there are none; (None, None) when no PyTorch was asked for."""
    plan.say(f"{port}: PyTorch's {'outputs' if plan.task.startswith('infer') else 'losses'} in float64")
    if not any(name.startswith("torch") for name in plan.frameworks):
        return None, None
    try:
        with Worker(worker_command("reference", port, folder), environment(folder)) as worker:
            worker.ask({"do": "prepare"}, PREPARE_TIMEOUT_S)
        return load_reference(folder, plan.dtype, plan.task), None
    except WorkerError as error:
        return None, f"PyTorch's own values are missing: {error}"


def _with_starts(measurement: Measurement, port: str, folder: str, plan: _Plan) -> Measurement:
    """Add what is measured in new processes, and leave out what only these need."""
    facts = dict(measurement.facts)
    choice, _ = facts.pop("choice", None), facts.pop("hint", None)
    if plan.task == "epoch":
        plan.say(f"{port}: {measurement.framework} starts anew")
        if measurement.error is None:
            facts |= measure_starts(measurement.framework, port, folder, choice, PREPARE_TIMEOUT_S)
    return replace(measurement, facts=facts)


@dataclass
class _Contestant:
    framework: str
    worker: Worker | None
    ms: list[float]
    losses: list[Any]
    facts: dict[str, Any]
    error: str | None = None

    def take_turn(self, request: dict[str, object], timeout: float) -> None:
        assert self.worker is not None
        try:
            answer = self.worker.ask(request, timeout)
        except WorkerError as error:
            self.error = str(error)
            return
        if request["do"] == "prepare":
            self.facts = answer
        else:
            self.ms.append(answer["ms"])
            self.losses.append(unpacked(answer["losses"]))


def _hint(contestants: Sequence[_Contestant]) -> dict[str, Any] | None:
    """Return what the fastest eager PyTorch before has found; None where there was none."""
    eager = [c.facts["hint"] for c in contestants if c.framework in _EAGER and "hint" in c.facts]
    if not eager:
        return None
    best, *other = sorted(eager, key=lambda each: each["ms"])
    layout = {"channels_last": other[0]["ms"] / best["ms"]} if other else {}
    return {**best, "margins": best["margins"] | layout}


def _measure(port: str, folder: str, plan: _Plan, stack: ExitStack) -> Iterator[Measurement]:
    """Warm the frameworks one after the other, then let them take turns."""
    contestants = []
    for name in plan.frameworks:
        plan.say(f"{port}: {name} warms up")
        reason = does_not_apply(name, plan.task)
        contestants.append(_Contestant(name, None, [], [], {}, reason))
        if reason is None:
            worker = stack.enter_context(Worker(worker_command(name, port, folder), environment(folder)))
            contestants[-1].worker = worker
            contestants[-1].take_turn({"do": "prepare", "hint": _hint(contestants)}, PREPARE_TIMEOUT_S)
    for number in range(plan.rounds):
        for contestant in contestants:
            plan.say(f"{port}: {contestant.framework}, round {number + 1} of {plan.rounds}")
            if contestant.error is None:
                time.sleep(PAUSE_S)
                contestant.take_turn({"do": "round", "seconds": ROUND_S}, ROUND_TIMEOUT_S)
    for c in contestants:
        yield Measurement(c.framework, c.ms, c.losses, c.facts, c.error)
