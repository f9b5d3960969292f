"""One mode of a comparison after the other: passes, verdicts, and what belongs to all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from . import tolerances
from .pass_gradients import differentiated
from .passes import ModePass
from .result import Module, Tensor, Verdict
from .seen import Store
from .setup import Setup

DTYPES = ("float64", "float32")
MODES = ("eval", "train")


def one_mode(
    setup: Setup, mode: str, gradients: bool, seed: int, local: bool | None, store: Store
) -> tuple[ModePass, list[Tensor]]:
    """Return the pass of one mode, and its tensors."""
    run = ModePass(setup, mode == "train", gradients, np.random.default_rng(seed), store)
    tensors = list(run.tensors())
    if any(t.verdict is Verdict.SUSPICIOUS for t in tensors) and setup.jax32 is not None:
        run.more_draws()
        tensors = list(run.tensors())
    scale = differentiated(run)
    if any(is_close(t, scale) for t in tensors) and setup.jax64 is not None and setup.torch64.draws:
        drift = run.own_drift()
        tensors = [within_drift(t, drift, scale) for t in tensors]
    tensors = cut_elsewhere(tensors)
    if local or (local is None and not all(t.ok for t in tensors)):
        run.run_alone()
        found = {(t.kind, t.torch_path): t for t in run.tensors()}
        alone = [found[t.kind, t.torch_path] for t in tensors]
        tensors = [replace(t, local64=a.local64, local32=a.local32) for t, a in zip(tensors, alone, strict=True)]
        tensors = amplified(tensors)
    return run, tensors


def is_close(tensor: Tensor, scale: float) -> bool:
    """Whether float64 differs by so little that it may be PyTorch's own float64 rounding.

    It is little beside the tensor or, of a gradient, beside what was differentiated, in terms of which it may cancel.
    A tie or a kink, which changed bits break, is no rounding: it makes differences of the size of the tensor.
    """
    error = tensor.float64
    if error is None:
        return False
    zero = "gradient" in tensor.kind and error.max_abs <= tolerances.ZERO_GRADIENT * scale
    small = error.max_rel <= tolerances.CANCELLED or zero
    return small and tensor.verdict is Verdict.DIFFERENT and not tensor.note


def within_drift(tensor: Tensor, drift: Mapping[tuple[str, str], float], scale: float) -> Tensor:
    """Call a small difference in float64 rounding, if PyTorch is as far from itself when last bits change.

    It is where terms cancel: the gradient of a bias in front of BatchNorm behind a residual, say.
    """
    own = drift.get((tensor.kind, tensor.torch_path), 0.0)
    if not is_close(tensor, scale) or tensor.float64 is None or own == 0.0:
        return tensor
    if tensor.float64.max_abs > tolerances.FLOAT32_FACTOR * own:
        return tensor
    # What cancels in the one cancels in the other.
    limit = max(tensor.limit or 0.0, tolerances.FLOAT32_FACTOR * own * tolerances.FLOAT32_COARSER)
    fits = tensor.float32 is None or tensor.limit is None or tensor.float32.max_abs <= limit
    note = f"terms cancel: PyTorch's own float64 is off by {own:.1e} when last bits change"
    return replace(tensor, verdict=Verdict.ROUNDING if fits else Verdict.SUSPICIOUS, note=note)


def cut_elsewhere(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Let gradients of activations not decide, if those of all parameters and inputs agree.

    A mask or a copy without gradient may stand on either side of a layer's output; what flows on is the same.
    """
    decisive = [t for t in tensors if t.kind in ("gradient", "input_gradient")]
    if not decisive or not all(t.ok for t in tensors if t.kind != "activation_gradient"):
        return list(tensors)
    note = "the gradients of all parameters and inputs agree: it is cut at another place"
    return [
        replace(t, decides=False, note=t.note or note) if t.kind == "activation_gradient" and not t.ok else t
        for t in tensors
    ]


def amplified(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Call differences suspicious, not different, if no layer and nothing between layers makes one by itself.

    Then float64 is apart by rounding that grows on the way: every layer, fed PyTorch's recorded input, agrees.
    """
    tensors = list(tensors)
    passed = [t for t in tensors if t.decides and t.kind in ("input", "output")]
    if not passed or any(t.local64 is None or t.local64.max_rel > tolerances.FLOAT64_RTOL for t in passed):
        return tensors
    if all(t.verdict is not Verdict.DIFFERENT for t in passed):
        return tensors  # the passes agree: a gradient or a buffer that does not is wrong by itself
    note = "every layer alone agrees: rounding, amplified on the way"
    return [
        replace(t, verdict=Verdict.SUSPICIOUS, note=t.note or note)
        if t.verdict is Verdict.DIFFERENT and t.float64 is not None and np.isfinite(t.float64.max_abs)
        else t
        for t in tensors
    ]


def in_order(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return forward tensors of all modes first, so that the first that differs is where the models part."""
    late = ("gradient", "input_gradient", "activation_gradient", "buffer")
    return tuple(sorted(tensors, key=lambda tensor: tensor.kind in late))


def modes_of(setup: Setup) -> tuple[str, ...]:
    """Return the modes that differ for this model."""
    changing = ("Dropout", "BatchNorm", "InstanceNorm", "AlphaDropout")
    both = [*setup.torch_layers.values(), *setup.jax_layers.values()]
    return MODES if any(part in layer.name for layer in both for part in changing) else ("eval",)


def modules(setup: Setup) -> Iterable[Module]:
    """Yield PyTorch's modules with the ones that they are paired with."""
    for number, (path, layer) in enumerate(setup.torch_layers.items()):
        pair = setup.pairs.get(path)
        kind = setup.jax_layers[pair.jax_path].kind if pair and pair.jax_path in setup.jax_layers else ""
        yield Module(path, layer.kind, pair.jax_path if pair else None, kind, number)


def spent(clock: Mapping[str, float]) -> dict[str, float]:
    """Return how long each part took, of the times at which they ended."""
    names, times = list(clock), list(clock.values())
    return {name: round(end - start, 3) for name, start, end in zip(names[1:], times, times[1:], strict=False)}


@contextmanager
def store(memory: int | None) -> Iterator[Store]:
    """Keep arrays up to a size in memory and the rest in a folder, which is removed at the end."""
    kept = Store(memory)
    try:
        yield kept
    finally:
        kept.close()
