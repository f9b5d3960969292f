"""check: anyone's JAX model against a golden, where PyTorch is not installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from jaxport.errors import UsageError

from . import guards, preflight, views
from .align import Alignment, align
from .describe_jax import describe_jax
from .golden import Golden, output_name
from .golden_compare import Run, compare
from .layer import Layers, Pair
from .observe_jax import JaxModel
from .result import Module, Report, Tensor
from .seen import Pass
from .weights import Plan, cast, plan

_WIDTHS = {"float64": np.float64, "float32": np.float32}


def check(
    jax_model: Any,
    golden: Golden,
    *,
    mapping: Mapping[str, Any] | None = None,
    modes: Sequence[str] | None = None,
    dtypes: Sequence[str] | None = None,
    jax_inputs: Sequence[Any] | None = None,
    flatten: Mapping[str, tuple[int, ...]] | None = None,
    title: str = "",
) -> Report:
    """Give a JAX model the weights and inputs of a golden, and compare what it gives with what PyTorch gave.

    Layers are aligned and weights transferred as by `compare`, from what the golden says of PyTorch's modules; dropouts
    keep what was recorded. The outputs of the model and of its layers, gradients and, in training mode, buffers are
    compared.

    Args:
        jax_model: a `flax.nnx.Module`, an `equinox.Module`, `parity.Linen` or `parity.Function`; it is not changed.
        golden: what PyTorch computed, from `golden.read`.
        mapping: JAX's path → PyTorch's, for layers that are not aligned by name, class, shape and order.
        modes: "eval", "train" or both; default: those that were recorded.
        dtypes: "float64", "float32" or both; default: those that were recorded.
        jax_inputs: arguments of the JAX model, if they are not PyTorch's with the channels first or last.
        flatten: path of a Linear → (C, *spatial) that JAX flattens as (*spatial, C); default: found out.
        title: what the report is called.

    Raises:
        UsageError: an argument is wrong, or the model does not take the inputs or the weights.
    """
    chosen, widths = tuple(modes or golden.modes), tuple(dtypes or golden.dtypes)
    for mode in chosen:
        for dtype in widths:
            golden.seen(mode, dtype)  # says what was not recorded before anything is run
    with preflight.pinned():
        side = _Side.of(jax_model, golden, mapping, widths, jax_inputs, flatten)
        reports = [side.compare(mode) for mode in chosen]
        environment = {**preflight.environment(), "recorded": reports[0].environment}
    tensors = [tensor for report in reports for tensor in report.tensors]
    late = ("gradient", "input_gradient", "buffer")
    findings = [*preflight.check(x64="float64" in widths), *side.alignment.findings, *side.plan.findings]
    findings += [finding for report in reports for finding in report.findings if finding.rule != "golden/left-out"]
    report = Report(
        title=title or f"{type(jax_model).__name__} against {golden.title}",
        tensors=tuple(sorted(tensors, key=lambda tensor: tensor.kind in late)),
        findings=tuple(dict.fromkeys(findings)),
        modules=tuple(side.modules()),
        environment=environment,
        settings={**reports[0].settings, "mode": None, "modes": list(chosen), "flatten": dict(side.flatten)},
    )
    return report.with_findings(guards.nothing_compared(report))


@dataclass
class _Side:
    """The JAX model with a golden's weights, in each precision, and how it lies beside PyTorch's."""

    golden: Golden
    models: dict[str, JaxModel]
    jax_layers: Layers
    torch_layers: Layers
    alignment: Alignment
    plan: Plan
    inputs: list[np.ndarray]
    input_axes: list[views.Axes] | None = None
    last: bool = False
    flatten: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, jax_model: Any, golden: Golden, mapping: Any, dtypes: Sequence[str], given: Any, flatten: Any) -> _Side:
        """Fill the model and find how it wants its inputs, and where it flattens."""
        with jax.enable_x64(True):
            wide = {"float64": JaxModel(cast(jax_model, np.float64), np.float64)} if "float64" in dtypes else {}
        narrow = {"float32": JaxModel(jax_model, np.float32)} if "float32" in dtypes else {}
        own = None if given is None else [np.asarray(array) for array in given]
        ours, theirs = describe_jax(jax_model, own or golden.inputs), golden.layers
        found = align(ours, theirs, mapping)
        transfer = plan(ours, theirs, found, flatten)
        side = cls(golden, wide | narrow, ours, theirs, found, transfer, own or [], flatten=dict(flatten or {}))
        side.fill()
        if own is None:
            side.lay_out()
        if flatten is None and side.last:
            side.find_flatten()
        return side

    @property
    def pairs(self) -> dict[str, Pair]:
        """PyTorch's path → pair, of those that stand for one module each."""
        found: dict[str, list[Pair]] = {}
        for pair in self.alignment.pairs:
            if pair.torch_path and pair.jax_path:
                found.setdefault(pair.torch_path, []).append(pair)
        return {path: pairs[0] for path, pairs in found.items() if len(pairs) == 1}

    def fill(self) -> None:
        """Give the model the golden's weights."""
        for model in self.models.values():
            model.load(self.plan.to_jax(self.golden.state))

    def lay_out(self) -> None:
        """Find the layout of the inputs that the model takes: channels last, or as PyTorch's."""
        arrays, first = self.golden.inputs, next(iter(self.models.values()))
        kinds = [layer.name for layer in self.jax_layers.values() if layer.kind.startswith("flax.")]
        self.last = any("Conv" in name or "BatchNorm" in name for name in kinds)
        same = [tuple(range(array.ndim)) for array in arrays]
        moved = [views.channels_last(a.ndim) if a.dtype.kind == "f" else tuple(range(a.ndim)) for a in arrays]
        shapes = [out.shape for out in self.golden.seen(self.golden.modes[0]).outputs]
        failures: list[str] = []
        for axes in (moved, same) if self.last else (same, moved):
            inputs = [views.to_jax(array, order) for array, order in zip(arrays, axes, strict=True)]
            try:
                outputs = first.trace(inputs, False, ())
            except Exception as error:  # whatever a stranger's model raises on arguments of another layout
                failures.append(f"{[x.shape for x in inputs]}: {type(error).__name__}: {str(error)[:200]}")
                continue
            fits = all(views.candidates(out.shape, shape) for out, shape in zip(outputs, shapes, strict=False))
            if fits or self.input_axes is None:
                self.inputs, self.input_axes = inputs, axes
            if fits:
                break
        if self.input_axes is None:
            raise UsageError("jax_model: it takes the golden's inputs in no layout: " + "; ".join(failures))
        self.last = self.last or self.input_axes is not same

    def find_flatten(self) -> None:
        """Find which Linears behind a flatten get (*spatial, C) here, by what arrives there; one after the other."""
        mode = self.golden.modes[0]
        truth, first = self.golden.seen(mode), next(iter(self.models.values()))
        for path, shape in self.golden.manifest["flatten"].items():
            pair = self.pairs.get(path)
            if pair is None or (path, 0) not in truth.calls:
                continue
            options: dict[str, Any] = {"watch": {pair.jax_path}, "masks": self.golden.masks(mode)}
            calls = first.run(self.inputs, mode == "train", **options).calls
            ours, theirs = (calls[pair.jax_path, 0].inputs[0], truth.calls[path, 0].inputs[0])
            if ours.shape != theirs.shape:
                continue
            apart = [float(np.abs(a - theirs).mean()) for a in (ours, views.unflattened(ours, shape))]
            if apart[1] < apart[0]:
                self.flatten[path] = tuple(shape)
                self.plan = plan(self.jax_layers, self.torch_layers, self.alignment, self.flatten)
                self.fill()

    def compare(self, mode: str) -> Report:
        """Run the model in a mode, and compare."""
        seen = {dtype: self._run(model, mode) for dtype, model in self.models.items()}
        runs = {dtype: self._named(self.models[dtype], one, mode) for dtype, one in seen.items()}
        axes = {f"input {i}": order for i, order in enumerate(self.input_axes or ())}
        floats = {f"input {i}" for i, array in enumerate(self.golden.inputs) if array.dtype.kind == "f"}
        given = {name: order for name, order in axes.items() if name in floats and self._gradients(mode)}
        names = {path: pair.jax_path for path, pair in self.pairs.items()} | self._sources()
        report = compare(self.golden, runs, mode=mode, axes=given, jax_paths=names, channels_last=self.last)
        return replace(report, tensors=tuple(map(self._decided, report.tensors)))

    def modules(self) -> Iterator[Module]:
        """Yield PyTorch's modules, in the order of their definition."""
        order = {path: n for n, (path, _) in reversed(list(enumerate(self.golden.seen(self.golden.modes[0]).ended)))}
        for path, layer in self.torch_layers.items():
            pair = self.pairs.get(path)
            kind = self.jax_layers[pair.jax_path].kind if pair and pair.jax_path in self.jax_layers else ""
            yield Module(path, layer.kind, pair.jax_path if pair else None, kind, order.get(path, -1))

    def _gradients(self, mode: str) -> bool:
        return bool(self.golden.cotangents(mode))

    def _run(self, model: JaxModel, mode: str) -> Pass:
        masks, training = self.golden.masks(mode), mode == "train"
        shapes = model.trace(self.inputs, training, (), masks)
        truth = self.golden.seen(mode).outputs
        orders = [views.find_axes(o.shape, t.shape, self.last) for o, t in zip(shapes, truth, strict=False)]
        seeds = None
        if self._gradients(mode) and len(shapes) == len(truth) and None not in orders:
            cotangents = self.golden.cotangents(mode)
            seeds = [views.to_jax(c, order or ()) for c, order in zip(cotangents, orders, strict=True)]
        watch = {pair.jax_path for pair in self.pairs.values()}
        return model.run(self.inputs, training, watch=watch, masks=masks, cotangents=seeds)

    def _named(self, model: JaxModel, seen: Pass, mode: str) -> Run:
        """Return a run by PyTorch's names."""
        truth = self.golden.seen(mode)
        outputs: dict[str, np.ndarray] = {}
        for path, number in truth.ended:
            pair = self.pairs.get(path)
            call = seen.calls.get((pair.jax_path if pair else "", number)) if pair or not path else None
            arrays = call.outputs[: len(truth.calls[path, number].outputs)] if call else []
            outputs |= {output_name((path, number), i): array for i, array in enumerate(arrays)}
        if not self._gradients(mode):
            return Run(outputs, buffers=self._buffers(model, seen, mode))
        gradients = self.plan.gradients_to_torch({k: g for k, g in seen.gradients.items() if g is not None})
        own = {key: gradients[key] for key in truth.gradients if key in gradients}
        return Run(outputs, own, seen.input_gradients, self._buffers(model, seen, mode))

    def _buffers(self, model: JaxModel, seen: Pass, mode: str) -> dict[str, np.ndarray] | None:
        if mode != "train":
            return None
        arrays = {path: np.asarray(array) for path, array in model.arrays.items()}
        return self.plan.to_torch(arrays | seen.buffers)

    def _sources(self) -> dict[str, str]:
        return {key: entry.jax[0] for entry in self.plan.entries for key in entry.torch}

    def _decided(self, tensor: Tensor) -> Tensor:
        """Say of outputs of containers, and of layers without parameters, that they are shown and do not count."""
        path = tensor.torch_path.split(" call ")[0].split("[")[0]
        if tensor.kind != "output" or not path:
            return tensor
        layer = self.torch_layers[path]
        whole = layer.kind.startswith("torch.nn.") and layer.name not in ("Sequential", "ModuleList", "ModuleDict")
        return replace(tensor, decides=bool(layer.arrays) and (whole or not layer.children))
