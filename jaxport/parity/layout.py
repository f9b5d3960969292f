"""How the JAX model wants its inputs, and in which order it flattens, found by trying."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxport.errors import UsageError

from . import tolerances, views
from .weights import plan

if TYPE_CHECKING:
    from .seen import Store
    from .setup import Setup


def lay_out(setup: Setup, given: list[np.ndarray] | None, kept: Store | None = None) -> None:
    """Find how the JAX model wants the inputs: as they are, or with the channels last.

    With a store, what PyTorch's layers give on the way is kept for the comparison.
    """
    spatial = any(array.ndim > 2 and array.dtype.kind == "f" for array in setup.inputs)
    convolves = any(
        layer.kind.startswith("flax.") and ("Conv" in layer.name or "BatchNorm" in layer.name)
        for layer in setup.jax_layers.values()
    )
    setup.last = convolves
    shapes = _torch_shapes(setup, kept)
    if given is not None:
        setup.jax_inputs = given
        setup.input_axes = _axes_of(setup.inputs, given)
        setup.last = convolves or any(axes[-1:] == (1,) and len(axes) > 2 for axes in setup.input_axes or ())
        return
    same = [tuple(range(array.ndim)) for array in setup.inputs]
    moved = [
        views.channels_last(array.ndim) if array.dtype.kind == "f" else tuple(range(array.ndim))
        for array in setup.inputs
    ]
    orders = ([moved, same] if convolves else [same, moved]) if spatial else [same]
    failures: list[str] = []
    accepted: list[list[views.Axes]] = []
    fitting: list[list[views.Axes]] = []
    for axes in orders:
        xs = [views.to_jax(array, order) for array, order in zip(setup.inputs, axes, strict=True)]
        try:
            outputs = setup.jax_models[0].trace(xs, False, ())
        except Exception as error:  # whatever a stranger's model raises on arguments of another layout
            failures.append(f"{[x.shape for x in xs]}: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
            continue
        accepted.append(axes)
        if len(outputs) == len(shapes) and all(map(views.candidates, [out.shape for out in outputs], shapes)):
            fitting.append(axes)
            if convolves:
                break
    chosen = _by_values(setup, fitting) if len(fitting) > 1 else next(iter(fitting or accepted), None)
    if chosen is None:
        raise UsageError("jax_model: it takes the inputs in no layout: " + "; ".join(failures))
    setup.input_axes = chosen
    setup.last = setup.last or (spatial and chosen is not same)
    setup.jax_inputs = [views.to_jax(a, order) for a, order in zip(setup.inputs, chosen, strict=True)]


def _by_values(setup: Setup, orders: Sequence[list[views.Axes]]) -> list[views.Axes]:
    """Return the layout in which the outputs agree, of those that a model takes; the first if none does."""
    theirs = setup.torch64.run(setup.inputs, False).outputs

    def apart(axes: list[views.Axes]) -> float:
        xs = [views.to_jax(array, order) for array, order in zip(setup.inputs, axes, strict=True)]
        ours = setup.jax_models[0].run(xs, False).outputs
        gaps = []
        for our, their in zip(ours, theirs, strict=False):
            order = views.best_axes(our, their)
            gaps.append(np.abs(views.to_torch(our, order) - their).max(initial=0.0) if order else np.inf)
        return float(max(gaps, default=0.0))

    first, *others = orders
    best = min(others, key=apart)
    return best if apart(best) < tolerances.CLEARLY * apart(first) else first


def _axes_of(theirs: Sequence[np.ndarray], ours: Sequence[np.ndarray]) -> list[views.Axes] | None:
    """Return how arguments of the JAX model lie beside PyTorch's, if they are the same numbers; None if not."""
    found: list[views.Axes] = []
    for their, our in zip(theirs, ours, strict=False):
        fits = views.candidates(our.shape, their.shape)
        same = [axes for axes in fits if np.array_equal(views.to_jax(their, axes), our)]
        if not same:
            return None
        found.append(same[0])
    return found if len(ours) == len(theirs) else None


def _torch_shapes(setup: Setup, kept: Store | None) -> list[tuple[int, ...]]:
    try:
        return setup.torch32.output_shapes(setup.inputs, () if kept is None else set(setup.pairs), kept)
    except UsageError:
        raise
    except Exception as error:
        shapes = [array.shape for array in setup.inputs]
        raise UsageError(f"torch_model: it does not take inputs of {shapes}: {type(error).__name__}: {error}") from None


def find_flattened(setup: Setup, refill: Callable[[], None]) -> None:
    """Find which Linears behind a flatten get (*spatial, C) in JAX, by what arrives there; one after the other."""
    if not setup.last:
        return
    found = {
        path: shape
        for path, shape in setup.torch32.flattened(setup.inputs).items()
        if path in setup.pairs and shape[0] > 1 and np.prod(shape[1:]) > 1
    }
    for path, shape in found.items():
        jax_path = setup.pairs[path].jax_path
        theirs = setup.torch64.run(setup.inputs, False, watch={path}).calls[path, 0].inputs[0]
        calls = setup.jax_models[0].run(setup.jax_inputs, False, watch={jax_path}).calls
        ours = calls[jax_path, 0].inputs[0] if (jax_path, 0) in calls else theirs
        if ours.shape != theirs.shape:
            continue
        apart = [float(np.abs(array - theirs).mean()) for array in (ours, views.unflattened(ours, shape))]
        if apart[1] < apart[0]:
            setup.flatten[path] = shape
            setup.plan = plan(setup.jax_layers, setup.torch_layers, setup.alignment, setup.flatten)
            refill()
