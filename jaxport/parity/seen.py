"""What was seen of one pass through either model, as arrays, and where large ones are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

Key = tuple[str, int]
"""A call: the module's path, and how many calls of it came before."""


@dataclass
class Call:
    """One call of a module: its array arguments and its array results, in their order."""

    inputs: list[np.ndarray] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)


@dataclass
class Pass:
    """One pass forward, and backward where gradients were asked for.

    Attributes:
        calls: call → its arrays, in the order in which the calls began; ("", 0) is the model's.
        gradients: parameter → gradient of Σ cotangent · output; None where the output does not depend on it.
        input_gradients: the same of the model's inputs, None for those without (integers).
        activation_gradients: the same of the modules' outputs.
        buffers: buffer → value after the pass.
        ended: the calls in the order in which they ended.
        trail: the modules without modules of their own, in the order of their calls, watched or not.
        inputs: which arrays the model got (their ids), where that is remembered.
        watch: which modules were watched, likewise.
    """

    calls: dict[Key, Call] = field(default_factory=dict)
    gradients: dict[str, np.ndarray | None] = field(default_factory=dict)
    input_gradients: list[np.ndarray | None] = field(default_factory=list)
    activation_gradients: dict[Key, list[np.ndarray | None]] = field(default_factory=dict)
    buffers: dict[str, np.ndarray] = field(default_factory=dict)
    ended: list[Key] = field(default_factory=list)
    trail: list[Key] = field(default_factory=list)
    inputs: tuple[int, ...] = ()
    watch: frozenset[str] = frozenset()

    @property
    def outputs(self) -> list[np.ndarray]:
        """The model's results."""
        return self.calls["", 0].outputs


def named_arrays(seen: Pass) -> dict[tuple[str, str], np.ndarray]:
    """Return what a PyTorch pass gave by kind and name, as the tensors of a comparison are called."""
    found: dict[tuple[str, str], np.ndarray] = {}
    for (path, n), call in seen.calls.items():
        for kind, arrays in (("input", call.inputs), ("output", call.outputs)):
            found |= {(kind, name_of((path, n), i)): array for i, array in enumerate(arrays)}
    for key, grads in seen.activation_gradients.items():
        found |= {("activation_gradient", name_of(key, i)): g for i, g in enumerate(grads) if g is not None}
    found |= {("gradient", key): grad for key, grad in seen.gradients.items() if grad is not None}
    inputs = enumerate(seen.input_gradients)
    found |= {("input_gradient", f"input {i}"): grad for i, grad in inputs if grad is not None}
    return found | {("buffer", key): value for key, value in seen.buffers.items()}


def name_of(key: Key, i: int) -> str:
    """Return what a result of a call is called: ``path``, ``path call 2``, ``path[1]``."""
    return key[0] + (f" call {key[1] + 1}" if key[1] else "") + (f"[{i}]" if i else "")


def default_limit() -> int:
    """Return half of the memory that is free now, 2 GiB where the system does not tell, in bytes."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return 2 << 30
    return free // 2


class Store:
    """Keeps arrays in memory up to a size, and the rest in a temporary folder, mapped into memory.

    Args:
        limit: bytes that stay in memory; default: half of what is free.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = default_limit() if limit is None else limit
        self.used, self.count = 0, 0
        self._folder: TemporaryDirectory[str] | None = None

    def keep(self, array: np.ndarray) -> np.ndarray:
        """Return the array, or a read-only copy of it on disk."""
        if self.used + array.nbytes <= self.limit or array.nbytes < 1 << 16:
            self.used += array.nbytes
            return array
        self._folder = self._folder or TemporaryDirectory(prefix="jaxport-")
        self.count += 1
        path = Path(self._folder.name) / f"{self.count}.npy"
        np.save(path, array)
        return np.load(path, mmap_mode="r")

    def close(self) -> None:
        """Remove what is on disk."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def parts(value: Any) -> Iterator[Any]:
    """Return the leaves of nested tuples, lists, dictionaries and objects such as a model's output, in their order."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from parts(part)
    elif value is not None:
        yield value
