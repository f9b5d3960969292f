"""golden: what PyTorch computed, in one file, so that a JAX model is checked on machines without PyTorch.

`golden_record.record` writes it (with PyTorch), this file reads it, `golden_compare.compare` compares.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxport.errors import UsageError

from . import golden_file
from .layer import Layer, Layers
from .seen import Call, Key, Pass

if TYPE_CHECKING:
    from .result import Report

DTYPES = ("float64", "float32")
MODES = ("eval", "train")


@dataclass(frozen=True)
class Golden:
    """What PyTorch computed.

    Attributes:
        manifest: all that is not an array: title, versions, seed, modules, calls, hashes.
        arrays: by the names of the file; read-only.
    """

    manifest: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray] = field(repr=False)

    @property
    def title(self) -> str:
        """What was recorded."""
        return self.manifest["title"]

    @property
    def modes(self) -> tuple[str, ...]:
        """Which of "eval" and "train" were recorded."""
        return tuple(self.manifest["modes"])

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The precisions: float64, and float32 if PyTorch's own rounding is known."""
        return tuple(self.manifest["dtypes"])

    @property
    def inputs(self) -> list[np.ndarray]:
        """The model's arguments; floats are exact in float32."""
        return self._numbered("input")

    @property
    def state(self) -> dict[str, np.ndarray]:
        """The state dict, exact in float32."""
        return {key: self.arrays[f"state/{key}"] for key in self.manifest["state"]}

    @property
    def layers(self) -> Layers:
        """The modules of the PyTorch model, as `describe_torch` gives them but without the modules themselves."""
        return {row["path"]: self._layer(row) for row in self.manifest["modules"]}

    def masks(self, mode: str) -> list[np.ndarray]:
        """Return what the dropouts kept, in the order of their calls; none in eval mode."""
        return self._numbered(f"{mode}/mask")

    def cotangents(self, mode: str) -> list[np.ndarray]:
        """Return what the outputs were multiplied by for the gradients; none if gradients were not recorded."""
        return self._numbered(f"{mode}/cotangent")

    def outputs(self, mode: str = "eval", dtype: str = "float64") -> dict[str, np.ndarray]:
        """Return the outputs by name, in the order of execution: path, ``path call 2``, ``path[1]`` of a tuple."""
        seen = self.seen(mode, dtype)
        return {output_name(key, i): array for key in seen.ended for i, array in enumerate(seen.calls[key].outputs)}

    def seen(self, mode: str = "eval", dtype: str = "float64") -> Pass:
        """Return a recorded pass, in the form in which a comparison observes one.

        In float32 it is, for each array, the run that is furthest from float64: PyTorch's own rounding.

        Raises:
            UsageError: the mode or the dtype was not recorded.
        """
        for name, given, there in (("mode", mode, self.modes), ("dtype", dtype, self.dtypes)):
            if given not in there:
                raise UsageError(f"{name}={given!r} was not recorded, only {' and '.join(there)}")
        rows, place = self.manifest["passes"][mode], f"{mode}/{dtype}"

        def arrays(kind: str, key: Key, count: int) -> list[Any]:
            return [self.arrays.get(f"{place}/{kind}/{output_name(key, i)}") for i in range(count)]

        calls = {
            (path, n): Call(arrays("argument", (path, n), inputs), arrays("output", (path, n), outputs))
            for path, n, inputs, outputs in rows["calls"]
        }
        activations = {
            (path, n): arrays("activation_gradient", (path, n), count)
            for path, n, count in rows["activation_gradients"]
        }
        return Pass(
            calls,
            {key: self.arrays.get(f"{place}/gradient/{key}") for key in rows["gradients"]},
            [self.arrays.get(f"{place}/input_gradient/{i}") for i in range(rows["input_gradients"])],
            activations,
            {key: self.arrays[f"{place}/buffer/{key}"] for key in rows["buffers"]},
            [(path, number) for path, number in rows["ended"]],
        )

    def compare(
        self,
        outputs: Mapping[str, Any],
        gradients: Mapping[str, Any] | None = None,
        dtype: str = "float64",
        **options: Any,
    ) -> Report:
        """Compare one run in one precision; `golden_compare.compare` takes both, and says what the options are."""
        from .golden_compare import Run, compare

        return compare(self, {dtype: Run(outputs, gradients)}, **options)

    def _numbered(self, prefix: str) -> list[np.ndarray]:
        count = sum(name.rpartition("/")[0] == prefix for name in self.arrays)
        return [self.arrays[f"{prefix}/{i}"] for i in range(count)]

    def _layer(self, row: Mapping[str, Any]) -> Layer:
        path = row["path"]
        arrays = {name: self.arrays[f"state/{path}.{name}" if path else f"state/{name}"] for name in row["arrays"]}
        return Layer(path, row["kind"], _tuples(row["settings"]), arrays, None, row["children"])


def _tuples(value: Any) -> Any:
    """Return settings as PyTorch has them: JSON made lists of tuples."""
    if isinstance(value, dict):
        return {key: _tuples(part) for key, part in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def output_name(key: Key, i: int) -> str:
    """Return what a result of a call is called: ``path``, ``path call 2``, ``path[1]``."""
    return key[0] + (f" call {key[1] + 1}" if key[1] else "") + (f"[{i}]" if i else "")


def read(path: str | os.PathLike[str]) -> Golden:
    """Read a golden; needs no PyTorch.

    Raises:
        DataError: the file is missing, cut short, damaged, no golden, or one of another version.
    """
    return Golden(*golden_file.read(path))
