"""The gradients of one pass of both models, compared in reverse order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .judge import Sides, judge
from .result import Tensor, Verdict
from .seen import Key, Pass

if TYPE_CHECKING:
    from .passes import ModePass


def of_gradients(run: ModePass) -> Iterator[Tensor]:
    """Yield activations' gradients, parameters' and inputs', in the reverse order of execution."""
    if run.cotangents is None or not all(seen.gradients for seen in run.ours.values()):
        return
    size = differentiated(run)
    yield from _of_activations(run, size)
    mine = {name: run.gradients_of(name) for name in run.ours}
    order = {path: n for n, (path, _) in enumerate(run.theirs64.ended)}
    keys = sorted(run.theirs64.gradients, key=lambda k: -order.get(k.rpartition(".")[0], -1))
    sources = run.setup.sources
    for key in keys:
        theirs = run.theirs64.gradients[key]
        found = {name: grads.get(key) for name, grads in mine.items()}
        yield from _one_gradient(run, "gradient", sources.get(key, ""), key, found, theirs, size)
    for i, theirs in enumerate(run.theirs64.input_gradients):
        found = {name: _at(seen.input_gradients, i) for name, seen in run.ours.items()}
        axes = run.setup.input_axes[i] if run.setup.input_axes else ()
        if theirs is not None:
            yield from _one_gradient(
                run, "input_gradient", f"input {i}", f"input {i}", found, theirs, size, i, axes=axes
            )


def differentiated(run: ModePass) -> float:
    """Return the size of what was differentiated: Σ |cotangent · output|."""
    pairs = zip(run.cotangents or (), run.theirs64.outputs, strict=run.cotangents is not None)
    return sum(float(np.abs(c * out).sum()) for c, out in pairs if out.dtype.kind == "f")


def _at(values: Sequence[Any], i: int) -> Any:
    return values[i] if i < len(values) else None


def _of_activations(run: ModePass, size: float) -> Iterator[Tensor]:
    for key in reversed(run.theirs64.ended):
        jax_key = run.key_of_jax(key)
        if key not in run.theirs64.activation_gradients or jax_key is None or not run.setup.decides(key[0]):
            continue
        for i, theirs in enumerate(run.theirs64.activation_gradients[key]):
            found = {n: _at(s.activation_gradients.get(jax_key, []), i) for n, s in run.ours.items()}
            if theirs is not None and all(g is not None for g in found.values()):
                suffix = (f" call {key[1] + 1}" if key[1] else "") + (f"[{i}]" if i else "")
                names = jax_key[0] + suffix, key[0] + suffix
                yield from _one_gradient(run, "activation_gradient", *names, found, theirs, size, i, key)


def _one_gradient(
    run: ModePass,
    kind: str,
    jax_path: str,
    torch_path: str,
    ours: Mapping[str, np.ndarray | None],
    theirs: np.ndarray | None,
    size: float,
    i: int = 0,
    key: Key | None = None,
    axes: Sequence[int] = (),
) -> Iterator[Tensor]:
    present = [g for g in ours.values() if g is not None]
    if theirs is None and all(not np.any(g) for g in present):
        return  # PyTorch does not use it, and here nothing depends on it; see `findings`
    blank = Tensor(kind, jax_path, torch_path, (), (), "", "", Verdict.DIFFERENT, mode=run.mode)
    if theirs is None or len(present) < len(ours):
        shape = tuple(present[0].shape) if present else ()
        note = "PyTorch's output does not depend on it, JAX's does" if theirs is None else "no gradient in JAX"
        inf = float("inf")
        yield replace(blank, jax_shape=shape, torch_shape=shape, required=inf, note=note)
        return
    draws = [_drawn(seen, kind, torch_path, key, i) for seen in run.theirs32]
    sides = Sides(ours.get("64"), ours.get("32"), theirs, [d for d in draws if d is not None])
    dtypes = {"jax_dtype": str(present[-1].dtype), "torch_dtype": str(draws[0].dtype)}
    shapes = {"jax_shape": tuple(present[-1].shape), "torch_shape": tuple(theirs.shape)}
    identity = tuple(axes) == tuple(range(len(axes)))
    tensor = replace(blank, **dtypes, **shapes, axes=() if identity else tuple(axes))
    # Parameters are in PyTorch's layout by now.
    last = kind != "gradient" and run.setup.prefers_last(key[0] if key else "", theirs.ndim)
    yield judge(tensor, sides, last=last, scale=size)


def _drawn(seen: Pass, kind: str, path: str, key: Key | None, i: int) -> Any:
    if kind == "gradient":
        return seen.gradients[path]
    if kind == "input_gradient":
        return seen.input_gradients[i]
    return seen.activation_gradients[key][i] if key is not None else None
