"""What measures a machine's limits: ``python -m jaxport.bench.limits_work SIDE``, driven by JSON lines on its input."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from .worker import private_output

# A sample takes at least this long, so that one call's cost is little of it.
_SAMPLE_S = 2e-3

Run = Callable[[int], None]
"""Does the same work so many times, and waits until it is done."""


def best_seconds(run: Run, seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the least time of one piece of work, over samples that take `seconds` together."""

    def sample(count: int) -> float:
        start = clock()
        run(count)
        return clock() - start

    run(1)
    count = 1
    # The least of three: one that other work held up would end the search where a call's own cost still counts.
    while (taken := min(sample(count) for _ in range(3))) < _SAMPLE_S and count < 1 << 20:
        count *= 2
    samples = [taken]
    while sum(samples) < seconds or len(samples) < 3:
        samples.append(sample(count))
    return min(samples) / count


class JaxWork:
    """Products and triads in compiled JAX."""

    def __init__(self) -> None:
        import jax

        self.platform = "cpu" if jax.default_backend() == "cpu" else "gpu"

    def matmul(self, n: int, dtype: str) -> Run:
        """Return a product of two n × n matrices, in the dtype's full precision."""
        import jax
        import jax.numpy as jnp

        a = jnp.ones((n, n), dtype)
        product = jax.jit(functools.partial(jnp.matmul, precision="highest" if dtype == "float32" else None))

        def run(count: int) -> None:
            results = [product(a, a) for _ in range(count)]
            jax.block_until_ready(results[-1])

        return run

    def triad(self, n: int) -> Run:
        """Return b ← b/2 + c over n numbers, in a compiled loop."""
        import jax
        import jax.numpy as jnp
        from jax import lax

        arrays = [jnp.ones(n, jnp.float32), jnp.ones(n, jnp.float32)]
        loop = jax.jit(lambda b, c, n: lax.fori_loop(0, n, lambda _, b: 0.5 * b + c, b), donate_argnums=0)

        def run(count: int) -> None:
            arrays[0] = jax.block_until_ready(loop(*arrays, count))

        return run


class TorchWork:
    """Products and triads in PyTorch, which has the number of threads that is faster."""

    def __init__(self) -> None:
        import torch

        self.platform = "gpu" if torch.cuda.is_available() else "cpu"
        self._threads = sorted({1, torch.get_num_threads()})

    def matmul(self, n: int, dtype: str) -> Run:
        """Return a product of two n × n matrices, in the dtype's full precision."""
        import torch

        a = torch.ones(n, n, dtype=getattr(torch, dtype), device=self._device())
        out = torch.empty_like(a)
        return self._repeated(lambda: torch.mm(a, a, out=out))

    def triad(self, n: int) -> Run:
        """Return b ← b/2 + c over n numbers."""
        import torch

        b, c = (torch.ones(n, device=self._device()) for _ in range(2))
        return self._repeated(lambda: torch.add(c, b, alpha=0.5, out=b))

    def _device(self) -> str:
        return "cuda" if self.platform == "gpu" else "cpu"

    def _repeated(self, once: Callable[[], Any]) -> Run:
        import torch

        def run(count: int) -> None:
            for _ in range(count):
                once()
            if self.platform == "gpu":
                torch.cuda.synchronize()

        times = {}
        for threads in self._threads:
            torch.set_num_threads(threads)
            times[threads] = best_seconds(run, 0.0)
        torch.set_num_threads(min(times, key=lambda threads: times[threads]))
        return run


class NumpyWork:
    """Products and triads in NumPy."""

    platform = "cpu"

    def matmul(self, n: int, dtype: str) -> Run | None:
        """Return a product of two n × n matrices; None where NumPy has no fast one."""
        import numpy as np

        if dtype != "float32":
            return None
        a, out = np.ones((n, n), np.float32), np.empty((n, n), np.float32)

        def run(count: int) -> None:
            for _ in range(count):
                np.matmul(a, a, out=out)

        return run

    def triad(self, n: int) -> Run:
        """Return b ← b/2 + c over n numbers, in two passes."""
        import numpy as np

        b, c = np.ones((2, n), np.float32)

        def run(count: int) -> None:
            for _ in range(count):
                np.multiply(b, np.float32(0.5), out=b)
                np.add(b, c, out=b)

        return run


_WORK = {"jax": JaxWork, "torch": TorchWork, "numpy": NumpyWork}


def rate_of(work: Any, request: Mapping[str, Any]) -> float | None:
    """Return FLOP/s of {"dtype", "size"}, bytes/s of {"size"}; None where the side cannot do it.

    A product of n × n matrices has 2n³ operations. A triad reads both arrays and writes one: 3/2 of their bytes.
    """
    size, seconds = request["size"], request["seconds"]
    run = work.matmul(size, request["dtype"]) if "dtype" in request else work.triad(size // 8)
    amount = 2.0 * size**3 if "dtype" in request else 1.5 * size
    return None if run is None else amount / best_seconds(run, seconds)


def serve(side: str) -> None:
    """Answer each request until they end."""
    answer, work = private_output(), None
    for line in sys.stdin:
        try:
            work = work or _WORK[side]()
            request = json.loads(line)
            answer({"rate": rate_of(work, request)} if "size" in request else {"platform": work.platform})
        except Exception as error:
            answer({"error": f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"})


if __name__ == "__main__":
    serve(sys.argv[1])
