"""Benchmark results that were never measured, for the tests of what is made of them."""

from __future__ import annotations

from typing import Any

from jaxport.bench import Row
from jaxport.bench.limits import Limits, Rate
from jaxport.bench.machine import Machine
from jaxport.bench.store import Result

MACHINE = Machine("AMD EPYC", 2, ("avx2", "avx512f"), 23.5, "Linux 6.1", None, 0.4)
LIMITS = Limits({"float32": Rate(2e11, 1024, "jax")}, (Rate(6e10, 1 << 14, "numpy"), Rate(2e10, 1 << 28, "torch")))
LONG = {"examples_per_s": 39_400.0, "first_epoch_s": 1.25, "second_start_s": 2.5, "peak_memory_mb": 512.4}


def row(port: str, framework: str, ms: float | None, ratio: float | None = None, **more: Any) -> Row:
    """Return a row of seven rounds whose fastest is 10 % below the median."""
    least = None if ms is None else 0.9 * ms
    usual: dict[str, Any] = {"device": "cpu, 2 threads", "min_ms": least, "rounds": 0 if ms is None else 7}
    return Row(port, framework, ms, 0.5, ratio, 30, 32, **{**usual, **more})


def rows(**more: Any) -> list[Row]:
    """Return digits, where jaxport is behind, titanic, where it is ahead, and resnet, where it was refused."""
    none = "the model is not written in Keras here"
    return [
        row("digits", "jax", 4.0, 0.5, variant="step by step", **more),
        row("digits", "torch", 2.5, 0.8, variant="eager, plain optimiser", **more),
        row("digits", "torch-compile", 2.0, 1.0, variant="torch.compile, fused | optimiser", **more),
        row("digits", "keras", 8.0, 0.25, variant="fit", **more),
        row("titanic", "jax", 0.01, 16.0, variant="scan over the steps", **more),
        row("titanic", "torch", 0.16, 1.0, variant="eager, fused optimiser", **more),
        row("resnet", "jax", 90.0, reason="the losses differ: 2.1 and PyTorch's 2 at step 1", **more),
        row("resnet", "torch", 100.0, 1.0, **more),
        row("resnet", "keras", None, reason=none, **{**more, **dict.fromkeys(LONG)}),
    ]


def result(*found: Row, **more: Any) -> Result:
    """Return a result of these rows, or of `rows()`."""
    settings = {"frameworks": None, "tasks": ["step"], "dtypes": ["float32"], "steps": None, "rounds": 7}
    versions = {"python": "3.11.7", "jax": "0.10.2", "torch": "2.13.0"}
    usual = {"date": "2026-01-02T03:04:05+00:00", "command": "jaxport bench", "settings": settings}
    return Result(**{**usual, "machine": MACHINE, "versions": versions, "rows": found or tuple(rows()), **more})
