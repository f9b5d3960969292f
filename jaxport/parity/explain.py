"""Where a difference arises, handed to the tests of likely causes with everything that was recorded around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from . import tolerances, views
from .causes import Case, find_causes
from .layer import Layer
from .passes import ModePass
from .result import Finding, Tensor, Verdict
from .seen import Key
from .weights.plan import as_numpy

_MOST = 6
"""Tensors that are looked into in one pass, from the first that differs on."""


def explain(run: ModePass, tensors: Iterable[Tensor]) -> list[Finding]:
    """Return the likely causes of the differences that arise in a pass, not of those that only pass through.

    Args:
        run: the pass, with each layer run alone.
        tensors: what was compared in it.
    """
    tensors = [tensor for tensor in tensors if not tensor.ok]
    forward = [t for t in tensors if t.kind in ("input", "output") and arises(t)]
    # Gradients and buffers of a pass that differs are wrong for its reasons.
    other = [t for t in tensors if t.kind not in ("input", "output")] if not forward else []
    found: list[Finding] = []
    for tensor in [*forward, *other][:_MOST]:
        if (case := case_of(run, tensor)) is not None:
            found += [_placed(finding, tensor) for finding in find_causes(case)]
    return list(dict.fromkeys(found))


def arises(tensor: Tensor) -> bool:
    """Whether a difference is made here: on PyTorch's recorded input it is there too."""
    if tensor.local64 is None:
        local, whole = tensor.local32, tensor.float32
        return local is None or whole is None or local.max_rel > whole.max_rel * tolerances.OWN_SHARE
    return tensor.local64.max_rel > tolerances.FLOAT64_RTOL or tensor.verdict is Verdict.SUSPICIOUS


def _placed(finding: Finding, tensor: Tensor) -> Finding:
    where = {
        "jax_path": finding.jax_path or tensor.jax_path,
        "torch_path": finding.torch_path or tensor.torch_path,
    }
    return replace(finding, **where)


def case_of(run: ModePass, tensor: Tensor) -> Case | None:
    """Return what is known of a tensor that differs; None if its arrays were not kept."""
    if tensor.kind in ("input", "output"):
        return _of_call(run, tensor)
    if tensor.kind == "buffer":
        return _of_buffer(run, tensor)
    return _of_gradient(run, tensor)


def key_of_name(path: str) -> tuple[Key, int]:
    """Return the call and the number of the array that a tensor's name means: ``attn call 2[1]``."""
    name, _, rest = path.partition("[")
    name, _, number = name.partition(" call ")
    return (name, int(number or 1) - 1), int(rest.rstrip("]") or 0)


def _layers(run: ModePass, path: str) -> tuple[Layer | None, Layer | None]:
    pair = run.setup.pairs.get(path)
    jax = run.setup.jax_layers.get(pair.jax_path) if pair else None
    return jax, run.torch_layers.get(path)


def _of_call(run: ModePass, tensor: Tensor) -> Case | None:
    key, i = key_of_name(tensor.torch_path)
    part = "inputs" if tensor.kind == "input" else "outputs"
    jax_key = run.key_of_jax(key)
    if jax_key is None:
        return None
    narrow = tensor.verdict is Verdict.SUSPICIOUS and "32" in run.ours
    name = "32" if narrow else next(iter(run.ours))
    call = run.ours[name].calls[jax_key] if narrow else run.alone.get(jax_key, run.ours[name].calls[jax_key])
    ours = getattr(call, part)
    theirs = getattr((run.theirs32[0] if narrow else run.theirs64).calls[key], part)
    if i >= len(ours) or i >= len(theirs):
        return None
    jax, torch = _layers(run, key[0])
    whole = bool(key[0]) or (torch is not None and not torch.children)  # a model that is one layer, such as a loss
    inputs = run.theirs64.calls[key].inputs if whole else []
    before, between = _gap(run, key, part)
    mine = run.viewed(key[0], part, ours[i])
    if tensor.axes or tensor.jax_shape == tensor.torch_shape:
        mine = views.to_torch(mine, tensor.axes or tuple(range(mine.ndim)))
    return Case(
        "output" if part == "outputs" else "input",
        mine,
        theirs[i],
        jax=jax if part == "outputs" and whole else None,
        torch=torch if part == "outputs" and whole else None,
        input=tuple(inputs) if len(inputs) > 1 else inputs[0] if inputs and part == "outputs" else None,
        arrays=_arrays(torch),
        ours_arrays=_ours_arrays(run, torch),
        before=before,
        between=between,
        training=run.training,
        batch=int(run.setup.inputs[0].shape[0]) if run.setup.inputs[0].ndim else None,
    )


def _arrays(layer: Layer | None) -> dict[str, np.ndarray]:
    return {} if layer is None else {n: as_numpy(a) for n, a in layer.arrays.items() if a is not None}


def _ours_arrays(run: ModePass, layer: Layer | None) -> dict[str, np.ndarray]:
    """Return JAX's weights of a layer by PyTorch's names."""
    if layer is None:
        return {}
    model = run.setup.jax_models[0]
    state = run.setup.plan.to_torch({path: np.asarray(array) for path, array in model.arrays.items()})
    return {name: state[layer.key(name)] for name in layer.arrays if layer.key(name) in state}


def _gap(run: ModePass, key: Key, part: str) -> tuple[np.ndarray | None, tuple[Layer, ...]]:
    """Return the result of the last compared layer before a call, and the modules without parameters between them."""
    trail = run.theirs64.trail
    end = trail.index(key) if key in trail else len(trail)
    between: list[Layer] = []
    for path, number in reversed(trail[:end]):
        paired = path in run.setup.pairs and run.setup.decides(path) and (path, number) in run.theirs64.calls
        if paired:
            outputs = run.theirs64.calls[path, number].outputs
            return (outputs[0] if outputs else None), tuple(reversed(between))
        between.append(run.torch_layers[path])
    inputs = run.theirs64.calls["", 0].inputs
    return (inputs[0] if inputs and part == "inputs" else None), tuple(reversed(between))


def _of_buffer(run: ModePass, tensor: Tensor) -> Case | None:
    path, _, name = tensor.torch_path.rpartition(".")
    jax, torch = _layers(run, path)
    narrow = next(iter(run.ours))
    calls = run.theirs64.calls.get((path, 0))
    ours = run.buffers_of(narrow).get(tensor.torch_path)
    if ours is None:
        return None
    return Case(
        "buffer",
        ours,
        run.theirs64.buffers[tensor.torch_path],
        jax=jax,
        torch=torch,
        name=name,
        input=calls.inputs[0] if calls and calls.inputs else None,
        arrays=_arrays(torch),
        previous=_arrays(torch).get(name),
        training=True,
        batch=int(run.setup.inputs[0].shape[0]),
    )


def _of_gradient(run: ModePass, tensor: Tensor) -> Case | None:
    name = next(iter(run.ours))
    if tensor.kind == "gradient":
        ours: Any = run.gradients_of(name).get(tensor.torch_path)
        theirs: Any = run.theirs64.gradients.get(tensor.torch_path)
        path, _, array = tensor.torch_path.rpartition(".")
        return _gradient_case(run, tensor, ours, theirs, path, array, None)
    if tensor.kind == "input_gradient":
        i = int(tensor.torch_path.split()[-1])
        ours, theirs = run.ours[name].input_gradients[i], run.theirs64.input_gradients[i]
        value: Any = run.setup.inputs[i]
        return _gradient_case(run, tensor, ours, theirs, "", "", value)
    key, i = key_of_name(tensor.torch_path)
    jax_key = run.key_of_jax(key)
    if jax_key is None:
        return None
    ours = run.ours[name].activation_gradients[jax_key][i]
    theirs = run.theirs64.activation_gradients[key][i]
    return _gradient_case(run, tensor, ours, theirs, key[0], "", run.theirs64.calls[key].outputs[i])


def _gradient_case(
    run: ModePass, tensor: Tensor, ours: Any, theirs: Any, path: str, array: str, value: Any
) -> Case | None:
    if ours is None or theirs is None:
        return None
    if tensor.kind != "gradient" and tensor.axes:
        ours = views.to_torch(ours, tensor.axes)
    jax, torch = _layers(run, path)
    calls = run.theirs64.calls.get((path, 0))
    inputs = calls.inputs if calls and path else []
    return Case(
        tensor.kind,
        ours,
        theirs,
        jax=jax,
        torch=torch,
        name=array,
        input=value if value is not None else (inputs[0] if inputs else None),
        arrays=_arrays(torch),
        between=tuple(_after(run, path)),
        training=run.training,
    )


def _after(run: ModePass, path: str) -> Iterator[Layer]:
    """Yield the modules without parameters that follow a layer."""
    trail = [name for name, _ in run.theirs64.trail]
    start = trail.index(path) + 1 if path in trail else 0
    for name in trail[start:]:
        if name in run.setup.pairs and run.setup.decides(name):
            return
        yield run.torch_layers[name]
