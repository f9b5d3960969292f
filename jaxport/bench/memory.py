"""The most memory that a process, or a GPU for it, has had."""

from __future__ import annotations

import sys
from pathlib import Path


def high_water_mb() -> float | None:
    """Return the process's largest resident memory, in units of 2²⁰ bytes; None where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def jax_peak_mb() -> float | None:
    """Return the peak of JAX's device; of the process, where that is the CPU."""
    import jax

    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return high_water_mb()
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use")
    return None if peak is None else peak / 2**20


def torch_peak_mb() -> float | None:
    """Return the peak of PyTorch's GPU; of the process, where there is none."""
    import torch

    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else high_water_mb()
