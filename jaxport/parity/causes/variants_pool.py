"""What ports do otherwise in pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Case
from .fit import wide
from .run import Runner, Variant, tensor

NAMES = tuple(f"{kind}Pool{n}d" for kind in ("Avg", "Max") for n in (1, 2, 3))


def variants(layer: Runner, case: Case) -> list[Variant]:
    """Return other borders, divisors, strides and rounding of the output's size."""
    module, n = layer.module, int(type(layer.module).__name__[-2])
    average = "Avg" in type(module).__name__
    found = _toggles(layer, average)
    size, stride = _tuple(module.kernel_size, n), _tuple(module.stride, n)
    if stride != (1,) * n:
        text = f"JAX pools with stride 1, PyTorch with {stride} (its default is the window's size)"
        fix = f"strides={stride}: Flax's default is 1"
        found.append(Variant("cause/pool-stride", text, layer.changed(stride=(1,) * n), fix))
    if case.ours.ndim == n + 2:
        found += _borders(layer, case, size, stride, average)
    return found


def _toggles(layer: Runner, average: bool) -> list[Variant]:
    module, found = layer.module, []
    if average:
        other = not module.count_include_pad
        text = f"JAX's average {'counts' if other else 'leaves out'} the padding, PyTorch's does the opposite"
        run = layer.changed(count_include_pad=other)
        found.append(Variant("cause/count-include-pad", text, run, f"count_include_pad={module.count_include_pad}"))
    text = (
        f"JAX's output size is rounded {'down' if module.ceil_mode else 'up'}, PyTorch's ceil_mode={module.ceil_mode}"
    )
    return [*found, Variant("cause/ceil-mode", text, layer.changed(ceil_mode=not module.ceil_mode))]


def _borders(layer: Runner, case: Case, size: tuple[int, ...], stride: tuple[int, ...], average: bool) -> list[Variant]:
    module, n, found = layer.module, len(size), []
    x = case.first_input if case.first_input is not None else case.before
    if x is None or x.ndim != n + 2:
        return []
    theirs = _tuple(module.padding, n)
    same = [(o - 1) * s + k - i for o, s, k, i in zip(case.ours.shape[2:], stride, size, x.shape[2:], strict=True)]
    options = {"PyTorch's padding": [(p, p + max(0, m - 2 * p)) for p, m in zip(theirs, same, strict=True)]}
    options["SAME"] = [(max(m, 0) // 2, max(m, 0) - max(m, 0) // 2) for m in same]
    for word, pads in options.items():
        if average and word != "SAME" and all(low == high for low, high in pads):
            continue  # that is count_include_pad
        if all(pad == (0, 0) for pad in pads):
            continue
        fills = ((0.0, True), (0.0, False)) if average else ((0.0, True), (-np.inf, True))
        for fill, counted in fills:
            rule = "cause/padding" if word == "SAME" or average else "cause/max-pool-padding"
            if not average and fill == 0.0:
                rule = "cause/max-pool-padding"
            what = "" if average else f" with {fill}"
            text = f"JAX pads by {tuple(pads)}{what}, PyTorch by {theirs}{'' if average else ' with -inf'}"
            run = _pooled(n, size, stride, _tuple(getattr(module, "dilation", 1), n), pads, fill, average, counted)
            found.append(Variant(rule, text, run))
    return found


def _pooled(
    n: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    pads: list[tuple[int, int]],
    fill: float,
    average: bool,
    counted: bool,
) -> Any:
    def run(x: np.ndarray) -> np.ndarray:
        from torch.nn import functional

        edges = [(0, 0), (0, 0), *pads]
        padded = tensor(np.pad(wide(x), edges, constant_values=fill))
        if not average:
            return getattr(functional, f"max_pool{n}d")(padded, size, stride, 0, dilation).numpy()
        pool = getattr(functional, f"avg_pool{n}d")
        total = pool(padded, size, stride).numpy()
        return total if counted else total / pool(tensor(np.pad(np.ones_like(wide(x)), edges)), size, stride).numpy()

    return run


def _tuple(value: Any, n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else tuple(value)
