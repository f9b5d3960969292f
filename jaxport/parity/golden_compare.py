"""What a JAX model gave, compared with a golden, by the rules of every comparison; needs no PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxport.errors import UsageError

from .golden import Golden, output_name
from .judge import Sides, judge
from .result import Finding, Report, Tensor, Verdict
from .seen import Pass


@dataclass(frozen=True)
class Run:
    """What a JAX model gave, by PyTorch's names: those of `Golden.outputs` and the keys of the state dict.

    Attributes:
        outputs: of layers and, under "", of the model; layers may be left out, the model may not.
        gradients: of Σ cotangent · output by key of the state dict, in PyTorch's layout; None: not to be compared.
        input_gradients: the same of the inputs, by their positions; None: not to be compared.
        buffers: after the pass, by key; None: not to be compared.
    """

    outputs: Mapping[str, Any]
    gradients: Mapping[str, Any] | None = None
    input_gradients: Sequence[Any] | None = None
    buffers: Mapping[str, Any] | None = None


def compare(
    golden: Golden,
    runs: Mapping[str, Run],
    *,
    mode: str = "eval",
    axes: Mapping[str, Sequence[int]] | None = None,
    jax_paths: Mapping[str, str] | None = None,
    channels_last: bool = True,
    title: str = "",
) -> Report:
    """Compare what a JAX model gave with what PyTorch gave, by the rules of `judge`.

    Args:
        golden: what PyTorch gave.
        runs: "float64", "float32" or both → what JAX gave in that precision.
        mode: "eval" or "train".
        axes: for outputs and gradients whose axes lie in another order, by name: JAX's axis i is PyTorch's axis
            ``axes[name][i]``. Without one, channels last and other orders are found where the shapes tell.
        jax_paths: what the tensors are called in the JAX model, by PyTorch's name, for the report.
        channels_last: whether the JAX model has its channels last, which is tried first where several orders fit.
        title: what the report is called; the golden's title if not given.

    Returns:
        The `Report`: an output or gradient that PyTorch has and JAX has not is different, but for outputs of layers,
        which may be left out; names that PyTorch does not have are findings.

    Raises:
        UsageError: no run, another precision than recorded, or a name in `axes` that nothing has.
    """
    if not runs:
        raise UsageError("runs={}: one of float64 and float32 is needed")
    truth = golden.seen(mode, "float64")
    theirs = {dtype: golden.seen(mode, dtype) for dtype in runs}
    work = _Work(golden, runs, truth, theirs.get("float32"), mode, axes or {}, jax_paths or {}, channels_last)
    tensors = [*work.outputs(), *work.gradients(), *work.input_gradients(), *work.buffers()]
    if unknown := (axes or {}).keys() - {tensor.torch_path for tensor in tensors}:
        raise UsageError(f"axes: nothing that is compared is called {', '.join(sorted(map(repr, unknown)))}")
    settings = {"golden": golden.title, "mode": mode, "dtypes": list(runs), "seed": golden.manifest["seed"]}
    environment = dict(golden.manifest["environment"])
    return Report(title or golden.title, tuple(tensors), tuple(work.findings()), (), (), environment, {}, settings)


@dataclass
class _Work:
    """One comparison: what it looks at."""

    golden: Golden
    runs: Mapping[str, Run]
    truth: Pass
    rounded: Pass | None
    mode: str
    axes: Mapping[str, Sequence[int]]
    jax_paths: Mapping[str, str]
    last: bool

    def outputs(self) -> Iterator[Tensor]:
        """Compare the outputs, in PyTorch's order of execution."""
        for key in self.truth.ended:
            for i, theirs in enumerate(self.truth.calls[key].outputs):
                name = output_name(key, i)
                ours = [run.outputs.get(name) for run in self.runs.values()]
                if key[0] and all(value is None for value in ours):
                    continue
                rounded = self.rounded.calls[key].outputs[i] if self.rounded else None
                yield self._one("output", name, ours, theirs, rounded)

    def gradients(self) -> Iterator[Tensor]:
        """Compare the gradients of the parameters, the last first."""
        if all(run.gradients is None for run in self.runs.values()):
            return
        for key, theirs in reversed(self.truth.gradients.items()):
            ours = [(run.gradients or {}).get(key) for run in self.runs.values()]
            rounded = self.rounded.gradients[key] if self.rounded else None
            yield from self._gradient("gradient", key, ours, theirs, rounded)

    def input_gradients(self) -> Iterator[Tensor]:
        """Compare the gradients of the inputs."""
        if all(run.input_gradients is None for run in self.runs.values()):
            return
        for i, theirs in enumerate(self.truth.input_gradients):
            ours = [dict(enumerate(run.input_gradients or ())).get(i) for run in self.runs.values()]
            rounded = self.rounded.input_gradients[i] if self.rounded else None
            if self.golden.inputs[i].dtype.kind == "f":
                yield from self._gradient("input_gradient", f"input {i}", ours, theirs, rounded)

    def buffers(self) -> Iterator[Tensor]:
        """Compare the buffers after the pass."""
        if all(run.buffers is None for run in self.runs.values()):
            return
        for key, theirs in self.truth.buffers.items():
            ours = [(run.buffers or {}).get(key) for run in self.runs.values()]
            if key.endswith("num_batches_tracked") and all(value is None for value in ours):
                continue  # JAX's norms do not count
            yield self._one("buffer", key, ours, theirs, self.rounded.buffers[key] if self.rounded else None)

    def findings(self) -> Iterator[Finding]:
        """Say what JAX has and PyTorch has not, and how many layers were left out."""
        known = {output_name(k, i) for k in self.truth.ended for i in range(len(self.truth.calls[k].outputs))}
        given = {name for run in self.runs.values() for name in run.outputs}
        for name in sorted(given - known):
            yield Finding("golden/unknown", "error", f"PyTorch recorded no output {name!r}", torch_path=name)
        keys = {key for run in self.runs.values() for key in run.gradients or ()}
        for key in sorted(keys - self.truth.gradients.keys()):
            yield Finding("golden/unknown", "error", f"PyTorch recorded no gradient of {key!r}", torch_path=key)
        if left := sorted(known - given - {""}):
            text = f"{len(left)} of {len(known)} recorded outputs were not compared, the first is {left[0]}"
            yield Finding("golden/left-out", "info", text)

    def _gradient(
        self, kind: str, name: str, ours: list[Any], theirs: np.ndarray | None, rounded: np.ndarray | None
    ) -> Iterator[Tensor]:
        if theirs is not None:
            yield self._one(kind, name, ours, theirs, rounded, self._size())
        elif any(value is not None and np.any(value) for value in ours):
            note = "PyTorch's output does not depend on it, JAX's does"
            yield replace(self._blank(kind, name), required=float("inf"), note=note)

    def _size(self) -> float:
        """Return Σ |cotangent · output|, the size of what was differentiated."""
        outputs = self.truth.calls["", 0].outputs
        pairs = zip(self.golden.cotangents(self.mode), outputs, strict=True)
        return sum(float(np.abs(c * out).sum()) for c, out in pairs if out.dtype.kind == "f")

    def _one(
        self,
        kind: str,
        name: str,
        ours: list[Any],
        theirs: np.ndarray,
        rounded: np.ndarray | None,
        scale: float | None = None,
    ) -> Tensor:
        tensor = replace(self._blank(kind, name), torch_shape=theirs.shape, torch_dtype=str(theirs.dtype))
        if any(value is None for value in ours):
            return replace(tensor, required=float("inf"), note=f"no {kind.replace('_', ' ')} in JAX")
        arrays = dict(zip(self.runs, map(np.asarray, ours), strict=True))
        last = self.last and kind != "gradient"
        shown = arrays.get("float32", next(iter(arrays.values())))
        tensor = replace(tensor, jax_shape=shown.shape, jax_dtype=str(shown.dtype))
        if rounded is not None:
            tensor = replace(tensor, torch_dtype=str(rounded.dtype))
        draws = [] if rounded is None else [rounded]
        return judge(tensor, Sides(arrays.get("float64"), arrays.get("float32"), theirs, draws), last=last, scale=scale)

    def _blank(self, kind: str, name: str) -> Tensor:
        axes = tuple(self.axes.get(name, ()))
        path = self.jax_paths.get(name, name)
        return Tensor(kind, path, name, (), (), "", "", Verdict.DIFFERENT, axes=axes, mode=self.mode)
