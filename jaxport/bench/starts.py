"""What only a new process shows: the first epoch, its memory, and a second start with everything compiled before."""

from __future__ import annotations

import time
from typing import Any

from .process import Worker, WorkerError, keeping, worker_command


def measure_starts(framework: str, port: str, folder: str, choice: Any, timeout: float) -> dict[str, Any]:
    """Return the row's fields first_epoch_s, peak_memory_mb and second_start_s, as far as they can be had.

    - First epoch, and the memory that it takes: in a process that finds nothing compiled, from the start of the first
      call of training; it leaves what it compiles. (JAX's is measured in its first process, which has tried nothing
      else.)
    - Second start: from the start of a process, imports included, to the end of its first step, on the examples of one
      batch, where an earlier process has left what it compiled for them. An eager PyTorch has nothing to leave.

    Args:
        framework: which.
        port: which.
        folder: of inputs and recipe; what is compiled is kept in it.
        choice: PyTorch's fastest variant.
        timeout: seconds for each process.
    """

    def started(what: str, env: dict[str, str]) -> dict[str, Any]:
        spawned = time.time()
        with Worker(worker_command(framework, port, folder), env) as worker:
            answer = worker.ask({"do": "start", "what": what, "choice": choice}, timeout)
        return answer | {"since_start": answer["at"] - spawned}

    facts: dict[str, Any] = {}
    try:
        if framework.startswith("torch"):
            first = started("epoch", keeping(folder))
            facts |= {"first_epoch_s": first["seconds"], "peak_memory_mb": first["peak_memory_mb"]}
        else:
            started("step", keeping(folder))
        facts["second_start_s"] = started("step", keeping(folder))["since_start"]
    except WorkerError:  # no time is better than none at all for the row
        pass
    return facts
