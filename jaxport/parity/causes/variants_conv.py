"""What ports do otherwise in convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Case
from .fit import wide
from .run import Runner, Variant

NAMES = tuple(f"Conv{part}{n}d" for part in ("", "Transpose") for n in (1, 2, 3))


def variants(layer: Runner, case: Case) -> list[Variant]:
    """Return flipped or transposed kernels, other padding, stride, dilation, group order, and a missing bias."""
    transposed = "Transpose" in type(layer.module).__name__
    found = _kernels(layer, transposed)
    found += _transposed_padding(layer, case) if transposed else _padding(layer, case)
    if not transposed:
        found += _settings(layer, case)
    if layer.has("bias"):
        plain = layer.changed(bias=np.zeros_like(layer.array("bias")))
        found.append(Variant("cause/missing-bias", "JAX does not add the bias, or it was not carried over", plain))
    return found


def _kernels(layer: Runner, transposed: bool) -> list[Variant]:
    weight = layer.array("weight")
    space = tuple(range(2, weight.ndim))
    flip = "JAX's kernel is the mirror image of PyTorch's, in all spatial axes"
    changes = [("cause/kernel-flip", flip, np.flip(weight, space), "flip the kernel's spatial axes once")]
    swaps = [(a, b) for a in range(weight.ndim) for b in range(a + 1, weight.ndim) if (a < 2) == (b < 2)]
    for a, b in swaps:
        if weight.shape[a] == weight.shape[b]:
            swapped = np.swapaxes(weight, a, b)
            text = f"JAX's kernel has PyTorch's axes {a} and {b} swapped"
            changes.append(("cause/matrix-transposed", text, swapped, "transpose the kernel when it is carried over"))
            if transposed and (a, b) == (0, 1):
                both = np.flip(swapped, space)
                changes.append(("cause/kernel-flip", f"{flip}, with axes 0 and 1 swapped", both, ""))
    return [Variant(rule, text, layer.changed(weight=np.array(w)), fix) for rule, text, w, fix in changes]


def _pads(case: Case, layer: Runner, size: tuple[int, ...]) -> list[list[tuple[int, int]]]:
    """Return paddings that give JAX's shape: SAME's, and each split of the least padding that is possible."""
    module, n = layer.module, len(layer.module.kernel_size)
    reach = [(k - 1) * d + 1 for k, d in zip(module.kernel_size, module.dilation, strict=True)]
    found = []
    for shift in range(max(reach)):
        for more in (0, 1):
            pads = []
            for i in range(n):
                need = (case.ours.shape[2 + i] - 1) * module.stride[i] + reach[i] - size[i]
                need = max(need, 0) + more * (module.stride[i] - 1)
                low = need // 2 if shift == 0 else min(shift - 1, need)
                pads.append((low, need - low))
            found.append(pads)
    return [pads for i, pads in enumerate(found) if pads not in found[:i]]


def _padding(layer: Runner, case: Case) -> list[Variant]:
    x, n = case.first_input, len(layer.module.kernel_size)
    if x is None or case.ours.ndim != n + 2 or x.ndim != n + 2:
        return []
    found = []
    for pads in _pads(case, layer, x.shape[2:]):
        bare = layer.changed(padding=(0,) * n, padding_mode="zeros", _reversed_padding_repeated_twice=[0] * (2 * n))
        run = _padded(bare, pads)
        text = f"JAX pads by {tuple(pads)}, PyTorch by {layer.module.padding} on both sides"
        fix = f"padding={tuple((p, p) for p in _integers(layer.module))}"
        found.append(Variant("cause/padding", text, run, fix))
    return found


def _integers(module: Any) -> tuple[int, ...]:
    if isinstance(module.padding, str):
        return (0,) * len(module.kernel_size)
    return tuple(module.padding)


def _padded(layer: Runner, pads: list[tuple[int, int]]) -> Any:
    def run(x: np.ndarray) -> np.ndarray:
        return layer(np.pad(wide(x), [(0, 0), (0, 0), *pads]))

    return run


def _settings(layer: Runner, case: Case) -> list[Variant]:
    module, found = layer.module, []
    n = len(module.kernel_size)
    for rule, theirs, names in (
        ("cause/stride", module.stride, ("strides", "stride")),
        ("cause/dilation", module.dilation, ("kernel_dilation", "dilation")),
    ):
        name = names[-1]
        told = case.setting(*names)
        told = (told,) * n if isinstance(told, int) else tuple(told) if told is not None else (1,) * n
        for ours in dict.fromkeys((told, (1,) * n, (2,) * n)):
            if ours != tuple(theirs):
                text = f"JAX's {name} is {ours}, PyTorch's {tuple(theirs)}"
                found.append(Variant(rule, text, layer.changed(**{name: ours}), f"{names[0]}={theirs}"))
    if module.groups > 1:
        weight = layer.array("weight")
        split = weight.reshape(module.groups, -1, *weight.shape[1:])
        mixed = np.swapaxes(split, 0, 1).reshape(weight.shape)
        text = "JAX's output channels are ordered within groups first, PyTorch's by groups"
        found.append(Variant("cause/groups", text, layer.changed(weight=np.array(mixed))))
    return found


def _transposed_padding(layer: Runner, case: Case) -> list[Variant]:
    """Return crops of the whole result at other places, with the kernel as it is and flipped."""
    module, n = layer.module, len(layer.module.kernel_size)
    if case.ours.ndim != n + 2:
        return []
    zero = (0,) * n
    whole = layer.changed(padding=zero, output_padding=zero)
    if layer.has("bias"):
        whole = whole.changed(bias=np.zeros_like(layer.array("bias")))
    flipped = whole.changed(weight=np.array(np.flip(layer.array("weight"), tuple(range(2, n + 2)))))
    reach = max((k - 1) * d for k, d in zip(module.kernel_size, module.dilation, strict=True))
    found = []
    for run, rule, word in ((whole, "cause/transposed-padding", ""), (flipped, "cause/kernel-flip", " and flipped")):
        for low in range(-reach - 1, reach + 1):
            text = f"JAX's result is cropped by {low} in front{word}, PyTorch's by {tuple(module.padding)}"
            found.append(Variant(rule, text, _cropped(run, low, case.ours.shape[2:], layer)))
    return found


def _cropped(whole: Runner, low: int, size: tuple[int, ...], layer: Runner) -> Any:
    def run(x: np.ndarray) -> np.ndarray:
        full = whole(x)
        out = np.zeros((*full.shape[:2], *size))
        source = tuple(slice(max(low, 0), max(low, 0) + s - max(-low, 0)) for s in size)
        part = full[(slice(None), slice(None), *source)]
        place = tuple(slice(max(-low, 0), max(-low, 0) + p) for p in part.shape[2:])
        out[(slice(None), slice(None), *place)] = part
        return out + (layer.array("bias").reshape(-1, *(1,) * len(size)) if layer.has("bias") else 0.0)

    return run
