"""Forms that a difference may have by itself, whatever made it: other axes, a factor, an offset, a shift, rounding."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np

from .case import Case, Hit
from .fit import differs, error, explains, ratio, rounding, scale, wide


def order_hits(case: Case) -> list[Hit]:
    """The same numbers elsewhere: transposed, reversed, one place further."""
    ours, theirs = wide(case.ours), wide(case.theirs)
    if case.kind == "loss" or theirs.size < 4:
        return []
    present, found = error(ours, theirs), []
    for axes in list(permutations(range(theirs.ndim)))[1:] if theirs.ndim <= 5 else []:
        moved = np.transpose(theirs, axes)
        if moved.shape == ours.shape and (left := explains(ours, moved, present)) is not None:
            text = f"JAX has PyTorch's axes in the order {axes}"
            found.append(Hit("cause/axes", text, f"transpose({tuple(int(i) for i in np.argsort(axes))})", left, 1))
    if ours.shape != theirs.shape:
        return found
    for axis in range(theirs.ndim):
        if (left := explains(ours, np.flip(theirs, axis), present)) is not None and theirs.shape[axis] > 1:
            found.append(Hit("cause/reversed", f"JAX's axis {axis} runs the other way", "", left, 1))
        found += _shifts(ours, theirs, axis, present)
    return found


def _shifts(ours: np.ndarray, theirs: np.ndarray, axis: int, present: float) -> list[Hit]:
    n, found = theirs.shape[axis], []
    for step in (1, -1):
        if n < 4:
            break
        a = np.take(ours, range(step, n) if step > 0 else range(n + step), axis)
        b = np.take(theirs, range(n - step) if step > 0 else range(-step, n), axis)
        if (left := explains(a, b, present)) is not None and scale(b - b.mean(axis, keepdims=True)):
            word = "later" if step > 0 else "earlier"
            found.append(Hit("cause/shift", f"JAX has PyTorch's numbers one place {word} on axis {axis}", "", left, 1))
    return found


_FACTORS = {"2": 2.0, "1/2": 0.5, "sqrt(2)": math.sqrt(2.0), "1/sqrt(2)": math.sqrt(0.5), "3": 3.0, "1/3": 1 / 3}


def factor_hits(case: Case) -> list[Hit]:
    """A constant factor, the sign, or a constant offset."""
    if case.kind in ("loss", "parameter", "buffer") or case.ours.shape != case.theirs.shape:
        return []
    factor = ratio(case.ours, case.theirs)
    if factor is not None and abs(factor - 1.0) > rounding(case.ours, case.theirs):
        if abs(factor + 1.0) < 1e-6:
            return [Hit("cause/sign", "JAX has the opposite sign", "", abs(factor + 1.0), 1)]
        name = _named(factor, case)
        return [Hit("cause/factor", f"JAX is {factor:.9g} times PyTorch{name}", "", 0.0, 1)]
    return _offset(case)


def _named(factor: float, case: Case) -> str:
    names = dict(_FACTORS)
    for axis, n in enumerate(case.theirs.shape):
        names |= {f"{n}, the length of axis {axis}": float(n), f"sqrt({n}), {n} the length of axis {axis}": n**0.5}
    names |= {f"{case.batch}, the batch": float(case.batch)} if case.batch else {}
    names |= {f"1/({text})": 1.0 / value for text, value in names.items() if "/" not in text and value}
    return next((f": {text}" for text, value in names.items() if abs(factor / value - 1.0) < 1e-6), "")


def _offset(case: Case) -> list[Hit]:
    """A constant along all but the channel axis: a bias that is not added."""
    ours, theirs = wide(case.ours), wide(case.theirs)
    gap, present = ours - theirs, error(ours, theirs)
    bias = case.arrays.get("bias")
    for axis in dict.fromkeys((1, theirs.ndim - 1)) if theirs.ndim > 1 else ():
        others = tuple(i for i in range(theirs.ndim) if i != axis)
        level = gap.mean(others, keepdims=True)
        left = explains(theirs + level, ours, present)
        if left is None or math.prod(theirs.shape[i] for i in others) < 2:
            continue
        if bias is not None and error(-level.ravel(), bias) < 1e-5:
            return [Hit("cause/missing-bias", "JAX does not add the bias: the difference is −bias", "", left, 1)]
        return [Hit("cause/offset", f"the difference is constant along all axes but {axis}", "", left, 1)]
    return []


def dtype_hits(case: Case) -> list[Hit]:
    """The same values in another dtype; integers that wrapped around."""
    ours, theirs = case.ours, case.theirs
    if ours.shape != theirs.shape or ours.dtype.kind not in "iu" or theirs.dtype.kind not in "iu":
        return []
    bits = 8 * ours.dtype.itemsize
    if bits < 8 * theirs.dtype.itemsize and differs(ours, theirs):
        wrapped = theirs.astype(ours.dtype)
        if np.array_equal(wrapped, ours) and np.abs(wide(theirs)).max() >= 2.0 ** (bits - 1):
            text = (
                f"JAX's {ours.dtype} wrapped around where PyTorch's {theirs.dtype} did not: modulo 2^{bits} they agree"
            )
            return [Hit("cause/integer-width", text, "", 0.0, 0)]
    if bits != 8 * theirs.dtype.itemsize and np.array_equal(ours, theirs):
        text = f"the values agree, JAX has {ours.dtype}, PyTorch {theirs.dtype}"
        return [Hit("cause/integer-width", text, "", 0.0, 0)]
    return []


def dropout_hits(case: Case) -> list[Hit]:
    """Zeros here and there, and the rest a constant multiple: dropout that is on, or another rate."""
    ours, theirs = wide(case.ours), wide(case.theirs)
    if case.kind not in ("output", "input") or ours.shape != theirs.shape or theirs.size < 8:
        return []
    alive = theirs != 0.0
    kept, dropped = alive & (ours != 0.0), alive & (ours == 0.0)
    if dropped.sum() < 2 or kept.sum() < 2:
        return []
    factor = float(np.median(ours[kept] / theirs[kept]))
    left = error(ours[kept], factor * theirs[kept])
    if left > 1e-5 or factor < 1.0 + 1e-5:  # without a scale, zeros may be anything: a mask, padding, a ReLU
        return []
    rate = 1.0 - 1.0 / factor
    share = dropped.sum() / alive.sum()
    text = f"JAX drops {share:.0%} of the elements and scales the rest by {factor:.4g}: dropout with p = {rate:.3g}"
    fix = "call `model.eval()`, or pass `deterministic=True`; in training replay the masks"
    return [Hit("cause/dropout", text, fix, left, 1)]


def _bits(array: np.ndarray, bits: int) -> np.ndarray:
    """Round to that many bits of mantissa after the leading one, ties to even: 7 is bfloat16, 10 is TF32."""
    mantissa, exponent = np.frexp(wide(array))
    return np.ldexp(np.rint(np.ldexp(mantissa, bits + 1)), exponent - bits - 1)


_WIDTHS = {"bfloat16": 7, "TF32 or float16": 10, "float32": 23}


def precision_hits(case: Case) -> list[Hit]:
    """Values or products that were rounded to bfloat16, TF32 or float16."""
    if case.kind not in ("output", "input", "activation_gradient", "input_gradient", "gradient", "parameter"):
        return []
    ours, theirs = wide(case.ours), wide(case.theirs)
    if ours.shape != theirs.shape or not np.isfinite(ours).all() or ours.size < 4:
        return []
    for name, bits in _WIDTHS.items():
        step = 2.0 ** -(bits + 1)
        near = bool((np.abs(ours - theirs) <= 8.0 * step * scale(theirs)).all())
        if near and np.array_equal(_bits(ours, bits), ours) and not np.array_equal(_bits(theirs, bits), theirs):
            if bits == 23 and case.ours.dtype == np.float32:
                continue  # float32 numbers are what they are
            text = f"JAX's numbers have no more digits than {name}: they were rounded to it (2^-{bits + 1})"
            return [Hit("cause/low-precision", text, "", 0.0, 0)]
    return _rounded_product(case)


def _rounded_product(case: Case) -> list[Hit]:
    x, weight = case.first_input, case.arrays.get("weight")
    if case.kind != "output" or x is None or weight is None or weight.ndim != 2 or x.shape[-1:] != weight.shape[1:]:
        return []
    present = error(case.ours, case.theirs)
    for name, bits in list(_WIDTHS.items())[:2]:
        product = _bits(x, bits) @ _bits(weight, bits).T + wide(case.arrays.get("bias", np.zeros(())))
        left = explains(product, case.ours, present)
        if left is not None:
            text = f"JAX's product has factors rounded to {name}"
            return [Hit("cause/low-precision", text, 'precision="highest", and dtype=None', left, 0)]
    return []


def sum_hits(case: Case) -> list[Hit]:
    """One running total in float32: the recorded numbers added one after the other give JAX's last bits."""
    before = case.first_input if case.first_input is not None else case.before
    if case.ours.dtype != np.float32 or before is None or before.ndim < 1 or before.dtype.kind != "f":
        return []
    for axis in range(before.ndim):
        n = before.shape[axis]
        if n < 256:
            continue
        total = np.take(np.cumsum(before.astype(np.float32), axis, dtype=np.float32), -1, axis)
        for candidate, word in ((total, "sum"), ((total / np.float32(n)).astype(np.float32), "mean")):
            if candidate.size == case.ours.size and np.array_equal(candidate.ravel(), case.ours.ravel()):
                text = f"JAX's {word} over {n} numbers is one running total in float32, bit for bit"
                return [Hit("cause/summation", text, "", 0.0, 0)]
    return []
