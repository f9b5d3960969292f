"""The limits of this machine, measured: the fastest matrix product, and how fast memory of each size can be used.

``measure()`` → `Limits`. JAX, PyTorch and NumPy each run in a process of their own, in turns, and the best counts: a
limit is what somebody reaches. Every figure is what was reached here, not what the processor's makers promise.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

from .process import Worker, WorkerError, environment

SIDES = ("jax", "torch", "numpy")
DTYPES = ("float32", "bfloat16")
# Rows of the square matrices, and bytes of the two arrays of the triad: for processors, and for what is faster.
MATRICES = {"cpu": (256, 512, 1024, 2048), "gpu": (2048, 4096, 8192)}
WORKING_SETS = {"cpu": tuple(1 << k for k in range(14, 29, 2)), "gpu": tuple(1 << k for k in range(20, 33, 3))}
SECONDS, TIMEOUT_S, PAUSE_S = 0.2, 120.0, 0.02


class Rate(NamedTuple):
    """What was reached: FLOP/s or bytes/s, at a size (rows of a matrix; bytes of the arrays), and by whom."""

    value: float
    size: int
    by: str


@dataclass(frozen=True)
class Limits:
    """The measured limits of a machine.

    Attributes:
        flops: dtype → the fastest matrix product, FLOP/s.
        bandwidth: of memory, bytes/s, for each size of the arrays together, ascending: small ones stay in caches.
    """

    flops: Mapping[str, Rate]
    bandwidth: tuple[Rate, ...]

    def bytes_per_s(self, working_set: float) -> float:
        """Return how fast arrays of so many bytes together can be read and written.

        It is the rate of the next smaller size that was measured, or of a larger one where that was faster: rather too
        fast than too slow, since the rate is a limit.
        """
        smaller = [rate.size for rate in self.bandwidth if rate.size <= working_set]
        least = max(smaller, default=0)
        return max(rate.value for rate in self.bandwidth if rate.size >= least)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the limits that `to_json` gave."""
        flops = {dtype: Rate(*rate) for dtype, rate in content["flops"].items()}
        return cls(flops, tuple(Rate(*rate) for rate in content["bandwidth"]))


def measure(seconds: float = SECONDS, on_progress: Callable[[str], None] = lambda text: None) -> Limits:
    """Measure this machine's limits, in about 20 seconds.

    Args:
        seconds: that each side has for each size.
        on_progress: told what comes next.

    Raises:
        WorkerError: no side could run.
    """
    with (
        tempfile.TemporaryDirectory(prefix="jaxport-limits-", ignore_cleanup_errors=True) as folder,
        ExitStack() as stack,
    ):
        sides = dict(_start(folder, stack))
        if not sides:
            raise WorkerError(f"none of {', '.join(SIDES)} could run")
        kind = "gpu" if any(platform == "gpu" for _, platform in sides.values()) else "cpu"
        workers = {side: worker for side, (worker, platform) in sides.items() if platform == kind}

        def best(**request: Any) -> Rate | None:
            on_progress(" ".join(map(str, request.values())))
            rates = [
                Rate(value, request["size"], side) for side, value in _ask(workers, {**request, "seconds": seconds})
            ]
            return max(rates, default=None)

        products = {dtype: [best(dtype=dtype, size=n) for n in MATRICES[kind]] for dtype in DTYPES}
        triads = [best(size=size) for size in WORKING_SETS[kind]]
    flops = {dtype: max(filter(None, rates), default=None) for dtype, rates in products.items()}
    return Limits({dtype: rate for dtype, rate in flops.items() if rate}, tuple(filter(None, triads)))


def _start(folder: str, stack: ExitStack) -> Iterator[tuple[str, tuple[Worker, str]]]:
    for side in SIDES:
        if importlib.util.find_spec(side) is None:
            continue
        worker = stack.enter_context(
            Worker([sys.executable, "-m", "jaxport.bench.limits_work", side], environment(folder))
        )
        try:
            yield side, (worker, worker.ask({}, TIMEOUT_S)["platform"])
        except WorkerError:
            continue


def _ask(workers: Mapping[str, Worker], request: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield each side's rate; a side that fails (a size that does not fit) has none."""
    for side, worker in workers.items():
        time.sleep(PAUSE_S)
        try:
            value = worker.ask(request, TIMEOUT_S)["rate"]
        except WorkerError:
            continue
        if value is not None:
            yield side, value


@functools.cache
def this_machine() -> Limits:
    """Return this machine's limits, measured once in a process."""
    return measure()
