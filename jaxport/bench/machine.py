"""What a benchmark ran on: processor, memory, GPU, system, load and versions; without loading a framework."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from jaxport import large_pages

from .cores import available_cores

_LARGE_PAGES = ", memory of every process in large pages"
# Of the many that a processor names, those that decide how fast products and convolutions are.
_FEATURES = (
    *("avx", "avx2", "fma", "f16c", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni"),
    *("amx_tile", "amx_bf16", "amx_int8", "asimd", "asimdhp", "sve", "sve2", "bf16", "i8mm"),
)
_PACKAGES = ("jaxport", "jax", "jaxlib", "flax", "optax", "numpy", "torch", "keras")


# Above this load average other work is measured, too.
BUSY = 1.0


@dataclass(frozen=True)
class Machine:
    """A computer, and how busy it was.

    Attributes:
        cpu: the processor's name.
        cores: that this process may use.
        features: of the processor, those that matter to arithmetic: "avx512f", …
        memory_gb: of main memory, 2³⁰ bytes each; None where the system does not tell.
        system: name and release of the operating system, and whether every process has memory in large pages.
        gpu: the GPUs' names, memory and driver; None without one.
        load: average number of running processes over the last minute, before the run; None where nobody tells.
    """

    cpu: str
    cores: int
    features: tuple[str, ...] = ()
    memory_gb: float | None = None
    system: str = ""
    gpu: str | None = None
    load: float | None = None

    def text(self) -> str:
        """Return it in one line."""
        memory = None if self.memory_gb is None else f"{self.memory_gb:.0f} GB of memory"
        features = ", ".join(self.features) or None
        load = None if self.load is None else f"load average {self.load:.1f} before the run"
        gpu = self.gpu or "no GPU"
        cores = f"{self.cores} core{'s'[: self.cores != 1]}"
        return "; ".join(part for part in (self.cpu, cores, features, memory, gpu, self.system, load) if part)


def this_machine() -> Machine:
    """Return what the benchmark runs on now."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    flags = (_value(lines, "flags") or _value(lines, "Features")).split()
    return Machine(
        cpu=_value(lines, "model name") or platform.processor() or platform.machine(),
        cores=available_cores(),
        features=tuple(name for name in _FEATURES if name in flags),
        memory_gb=_memory_gb(),
        system=f"{platform.system()} {platform.release().partition('-')[0]}" + _LARGE_PAGES * large_pages.in_workers(),
        gpu=_gpu(),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are installed of those that matter."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _value(lines: list[str], name: str) -> str:
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == name), "")


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # not on every system
        return None


def _gpu() -> str | None:
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return " + ".join(line.strip() for line in answer.splitlines() if line.strip()) or None
