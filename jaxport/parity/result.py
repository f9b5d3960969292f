"""Report: what a comparison of two models found, as data. Everything that is shown or stored is made from it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

SCHEMA = 1
"""Version of the JSON form, in its key "schema"."""


class Verdict(StrEnum):
    """What is to be thought of one tensor, from best to worst.

    equal: float64 agrees to 1e-10, and float32 to one rounding.
    rounding: float64 agrees, and float32 is no further from the float64 truth than PyTorch's own rounding allows.
    suspicious: float64 agrees and float32 is worse than rounding explains (an unstable formula, products of low
        precision, a kink), or float64 does not agree although every layer alone does (rounding that is amplified).
    different: shapes, dtypes, NaN, or values in float64 differ: the two do not compute the same.
    """

    EQUAL = "equal"
    ROUNDING = "rounding"
    SUSPICIOUS = "suspicious"
    DIFFERENT = "different"

    @property
    def ok(self) -> bool:
        """Whether it passes."""
        return self in (Verdict.EQUAL, Verdict.ROUNDING)


@dataclass(frozen=True)
class Error:
    """How far two arrays are apart.

    Attributes:
        max_abs: largest difference of two elements.
        max_rel: `max_abs` over the largest magnitude of the reference.
        index: where it is largest, in PyTorch's axes.
        ours: JAX's value there.
        theirs: PyTorch's value there.
    """

    max_abs: float
    max_rel: float
    index: tuple[int, ...] = ()
    ours: float = math.nan
    theirs: float = math.nan


@dataclass(frozen=True)
class Tensor:
    """One pair of tensors, compared.

    Attributes:
        kind: "output", "input" (of a layer), "loss", "gradient" (of a parameter), "input_gradient",
            "activation_gradient", "parameter", "buffer" or "optimizer".
        jax_path: where it is in the JAX model: the layer's path, or the array's (``conv.kernel``).
        torch_path: where in PyTorch's; for arrays the key of the state dict.
        jax_shape: its shape there, before axes are brought to PyTorch's order.
        torch_shape: its shape in PyTorch.
        jax_dtype: its dtype, of the float32 run where there was one.
        torch_dtype: the same in PyTorch.
        axes: how JAX's axes are ordered against PyTorch's: ``(0, 2, 3, 1)`` is NHWC for NCHW; () if they are alike,
            or if no order fits.
        verdict: what is to be thought of it.
        float64: JAX against PyTorch, both in float64; None if not run.
        float32: JAX in float32 against PyTorch in float64; None if not run.
        floor: PyTorch in float32 against PyTorch in float64: its own rounding.
        limit: what `float32.max_abs` may be.
        local64: the same as `float64` of the layer alone, on PyTorch's recorded input; None if not run.
        local32: the same as `float32`, of the layer alone.
        required: the smallest relative tolerance in float64 that would pass (float32 where float64 was not run).
        decides: whether it counts (an output of a container is shown, but may be cut at another place).
        magnitudes: pairs (log10 of the magnitude, log10 of the largest error there), for a picture of error against
            magnitude.
        note: what is noteworthy: the shapes that differ, the zero gradient, the kink.
        mode: "eval" or "train": the mode of the pass, or "" where it has none.
    """

    kind: str
    jax_path: str
    torch_path: str
    jax_shape: tuple[int, ...]
    torch_shape: tuple[int, ...]
    jax_dtype: str
    torch_dtype: str
    verdict: Verdict
    axes: tuple[int, ...] = ()
    float64: Error | None = None
    float32: Error | None = None
    floor: float | None = None
    limit: float | None = None
    local64: Error | None = None
    local32: Error | None = None
    required: float = 0.0
    decides: bool = True
    magnitudes: tuple[tuple[float, float], ...] = ()
    note: str = ""
    mode: str = ""

    @property
    def ok(self) -> bool:
        """Whether it passes, or does not count."""
        return self.verdict.ok or not self.decides

    @property
    def name(self) -> str:
        """What it is called: kind and PyTorch's path."""
        return f"{self.kind} {self.torch_path or 'model'}"


@dataclass(frozen=True)
class Finding:
    """Something to know that is not a tensor's error.

    Attributes:
        rule: its id, stable between versions: "lint/eps", "cause/gelu-tanh", "guard/zero-bias", "unused-key"…
        level: "error" (the comparison fails), "warning" or "info".
        message: one sentence: what was found, with both values.
        jax_path: where, "" for the model.
        torch_path: where in PyTorch's model.
        trap: number of the trap in docs/traps.md, or None.
        fix: what to write instead.
    """

    rule: str
    level: str
    message: str
    jax_path: str = ""
    torch_path: str = ""
    trap: int | None = None
    fix: str = ""


@dataclass(frozen=True)
class Step:
    """One training step in lockstep.

    Attributes:
        number: from 1.
        mode: "free" or "resync".
        kind: "loss", "gradient", "parameter", "optimizer" or "buffer".
        max_rel: the kind's largest relative error after the step, in float64.
        worst: path of the tensor that has it.
        limit: what it may be.
        jax_loss: the loss before the step; NaN for other kinds.
        torch_loss: PyTorch's.
    """

    number: int
    mode: str
    kind: str
    max_rel: float
    worst: str
    limit: float
    jax_loss: float = math.nan
    torch_loss: float = math.nan

    @property
    def ok(self) -> bool:
        """Whether it passes."""
        return self.max_rel <= self.limit


@dataclass(frozen=True)
class Module:
    """A module of PyTorch's model in the tree that a report shows.

    Attributes:
        torch_path: its path.
        torch_kind: its class, ``torch.nn.Conv2d``.
        jax_path: the one it is paired with, None if there is none.
        jax_kind: that one's class.
        order: position in PyTorch's execution, -1 if it was not called.
    """

    torch_path: str
    torch_kind: str
    jax_path: str | None = None
    jax_kind: str = ""
    order: int = -1


@dataclass(frozen=True)
class Report:
    """Everything that a comparison found.

    Attributes:
        title: what was compared.
        tensors: the tensors, in PyTorch's order of execution; gradients after, in reverse order.
        findings: of linter, guards, alignment and cause finder.
        modules: the tree of PyTorch's modules, in the order of their definition.
        steps: training in lockstep, if any.
        environment: versions, devices, precision, x64, seeds: what the numbers depend on.
        seconds: how long its parts took, by name.
        settings: the arguments that it was made with.
    """

    title: str
    tensors: tuple[Tensor, ...] = ()
    findings: tuple[Finding, ...] = ()
    modules: tuple[Module, ...] = ()
    steps: tuple[Step, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the two are the same: something was compared, all of it passes, and no finding is an error."""
        compared = any(tensor.decides for tensor in self.tensors) or bool(self.steps)
        return (
            compared
            and all(tensor.ok for tensor in self.tensors)
            and all(step.ok for step in self.steps)
            and not any(finding.level == "error" for finding in self.findings)
        )

    @property
    def first_divergence(self) -> Tensor | None:
        """The first tensor in PyTorch's order of execution that does not pass; None if all do."""
        return next((tensor for tensor in self.tensors if not tensor.ok), None)

    def of(self, kind: str) -> tuple[Tensor, ...]:
        """Return the tensors of a kind."""
        return tuple(tensor for tensor in self.tensors if tensor.kind == kind)

    def with_findings(self, findings: Iterable[Finding]) -> Report:
        """Return the report with further findings."""
        return replace(self, findings=(*self.findings, *findings))

    def to_json(self) -> str:
        """Return it as JSON, see docs/parity_report.schema.json; infinite and missing numbers are strings and null."""
        return json.dumps(_plain({"schema": SCHEMA, "ok": self.ok} | asdict(self)), indent=1, allow_nan=False)


def from_json(text: str) -> Report:
    """Return the report that `to_json` wrote.

    Raises:
        ValueError: it is not a report, or one of another schema.
    """
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ValueError(f"not a report of schema {SCHEMA}")
    try:
        tensors = tuple(Tensor(**{k: _tensor_field(k, v) for k, v in row.items()}) for row in data["tensors"])
        findings = tuple(Finding(**row) for row in data["findings"])
        modules = tuple(Module(**row) for row in data["modules"])
        steps = tuple(Step(**_numbers(row, _STEP_NUMBERS)) for row in data["steps"])
        rest = (data[key] for key in ("environment", "seconds", "settings"))
        return Report(data["title"], tensors, findings, modules, steps, *rest)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a report of schema {SCHEMA}: {error}") from error


_ERROR_NUMBERS = ("max_abs", "max_rel", "ours", "theirs")
_STEP_NUMBERS = ("max_rel", "limit", "jax_loss", "torch_loss")
_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def _tensor_field(key: str, value: Any) -> Any:
    match key, value:
        case _, None:
            return None
        case "verdict", _:
            return Verdict(value)
        case (("float64" | "float32" | "local64" | "local32"), _):
            row: dict[str, Any] = _numbers(value, _ERROR_NUMBERS) | {"index": tuple(value["index"])}
            return Error(**row)
        case "magnitudes", _:
            return tuple((_number(a), _number(b)) for a, b in value)
        case (("jax_shape" | "torch_shape" | "axes"), _):
            return tuple(value)
        case (("floor" | "limit" | "required"), _):
            return _number(value)
    return value


def _numbers(row: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Return the row with the numbers at the keys; other strings are names, one of which may be "inf"."""
    return row | {key: _number(row[key]) for key in keys if key in row}


def _number(value: Any) -> Any:
    return _NUMBERS.get(value, value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """Return a JSON-able copy; NaN and infinities become "nan", "inf", "-inf"."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
