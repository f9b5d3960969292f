"""One row of a parity table, and how it is judged: the same arrays through both frameworks, values and gradients.

float64 decides meaning and float32 is judged against PyTorch's own rounding, with the tolerances of
``jaxport.parity.tolerances``. Every check returns findings (one line each, none if all is well), so that a test can
also assert that a planted mistake is found.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import nn_report
import numpy as np
import pytest

from jaxport.parity.tolerances import FLOAT32_FACTOR, FLOAT32_FLOOR, FLOAT64_RTOL, ZERO_GRADIENT

torch = pytest.importorskip("torch")

# The arrays are tiny: threads would only wait for each other.
torch.set_num_threads(1)

Arrays = tuple[np.ndarray, ...]
# How often a case is drawn; float32 is judged over all draws together, so that no lucky rounding decides.
DRAWS = {"float64": 2, "float32": 12}


@dataclass(frozen=True)
class Case:
    """The same function in both frameworks: `draw` gives the arguments, the first `differentiable` get gradients.

    Floating arguments come in the dtype under test, integers as int64 for PyTorch and JAX's own integer for JAX.
    `differentiable` None means all floating arguments.
    """

    id: str
    jax_fn: Callable[..., Any]
    torch_fn: Callable[..., Any]
    draw: Callable[[np.random.Generator], Arrays]
    differentiable: int | None = None

    def arguments(self, number: int) -> Arrays:
        """Return the `number`-th draw; floats are float32 values, so that both precisions start from the same."""
        return tuple(rounded(array) for array in self.draw(generator(self.id, number)))


def generator(name: str, number: int = 0) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(name.encode()), number])


def rounded(array: Any) -> np.ndarray:
    array = np.asarray(array)
    return array.astype(np.float32).astype(np.float64) if array.dtype.kind == "f" else array


def normal(*shapes: tuple[int, ...]) -> Callable[[np.random.Generator], Arrays]:
    """Draw normal arrays of these shapes, off centre."""
    return lambda rng: tuple(0.3 + rng.standard_normal(shape) for shape in shapes)


def all_pairs(options: Mapping[str, Sequence[Any]], valid: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Return valid combinations, chosen greedily, in which every two values that can stand together do."""
    names = list(options)
    rows = [dict(zip(names, values, strict=True)) for values in itertools.product(*options.values())]
    rows = [row for row in rows if valid(row)]

    def pairs(row: dict[str, Any]) -> set[tuple[str, str, str, str]]:
        return {(a, repr(row[a]), b, repr(row[b])) for a, b in itertools.combinations(names, 2)}

    covered = [pairs(row) for row in rows]
    wanted, chosen = set().union(*covered), []
    while wanted:
        best = max(range(len(rows)), key=lambda i: len(covered[i] & wanted))
        chosen.append(rows[best])
        wanted -= covered[best]
    return chosen


def label(row: Mapping[str, Any]) -> str:
    """Name a combination in a test id."""
    return "-".join(f"{name}={value}".replace(" ", "") for name, value in row.items())


# ------------------------------------------------------------------------------------------------------- judging


def layout_findings(name: str, found: np.ndarray, wanted: np.ndarray) -> list[str]:
    """Compare shape and dtype; integers need only be integers (int64 in PyTorch, JAX's default in JAX)."""
    if found.shape != wanted.shape:
        return [f"{name}: shape {found.shape}, PyTorch's is {wanted.shape}"]
    same = found.dtype == wanted.dtype or (found.dtype.kind in "iu" and wanted.dtype.kind in "iu")
    return [] if same else [f"{name}: dtype {found.dtype}, PyTorch's is {wanted.dtype}"]


def _same_special(name: str, found: np.ndarray, wanted: np.ndarray) -> list[str]:
    for kind, test in (("NaN", np.isnan), ("+inf", np.isposinf), ("-inf", np.isneginf)):
        if (test(found) != test(wanted)).any():
            return [f"{name}: {kind} at other places than PyTorch's"]
    return []


# The largest relative error that findings64 has seen since it was last cleared: what the documentation reports.
WORST: list[float] = [0.0]


def findings64(name: str, found: Any, wanted: Any) -> list[str]:
    """Judge float64 (and integers, which must be equal)."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    if problems := layout_findings(name, found, wanted):
        return problems
    if wanted.dtype.kind != "f":
        return [] if (found == wanted).all() else [f"{name}: {found.tolist()}, PyTorch's is {wanted.tolist()}"]
    if problems := _same_special(name, found, wanted):
        return problems
    finite = np.isfinite(wanted)
    error = np.abs(found[finite] - wanted[finite]).max(initial=0.0)
    scale = np.abs(wanted[finite]).max(initial=0.0)
    WORST[0] = max(WORST[0], float(error / scale) if scale else float(error > 0.0))
    return [] if error <= FLOAT64_RTOL * scale else [f"{name}: off by {error:.3g} at scale {scale:.3g}"]


def findings32(name: str, found: Any, torch32: Any, torch64: Any) -> list[str]:
    """Judge float32 against what PyTorch's own rounding does."""
    found, torch32, torch64 = np.asarray(found), np.asarray(torch32), np.asarray(torch64)
    if problems := layout_findings(name, found, torch32):
        return problems
    if torch32.dtype.kind != "f":
        return [] if (found == torch32).all() else [f"{name}: {found.tolist()}, PyTorch's is {torch32.tolist()}"]
    if problems := _same_special(name, found, torch32):
        return problems
    finite = np.isfinite(torch32) & np.isfinite(torch64)
    ours, theirs = (np.abs(a[finite] - torch64[finite]).max(initial=0.0) for a in (found, torch32))
    scale = np.abs(torch64[finite]).max(initial=0.0)
    if ours <= FLOAT32_FACTOR * theirs + FLOAT32_FLOOR * scale:
        return []
    return [f"{name}: rounding {ours:.3g}, PyTorch's own is {theirs:.3g} at scale {scale:.3g}"]


def largest(arrays: Any) -> float:
    """Return the largest finite magnitude in floating arrays."""
    return max((float(np.abs(a[np.isfinite(a)]).max(initial=0.0)) for a in arrays if a.dtype.kind == "f"), default=0.0)


def zero_but_for_rounding(truth: np.ndarray, outputs: Sequence[np.ndarray]) -> bool:
    """Whether PyTorch's gradient is nothing but rounding: next to what is differentiated it is zero."""
    return 0.0 < largest([truth]) <= ZERO_GRADIENT * largest(outputs)


def zero_findings(name: str, found: Any, truth: np.ndarray, outputs: Sequence[np.ndarray]) -> list[str]:
    """Judge a gradient that is truly zero by its absolute size: its digits mean nothing on either side."""
    found = np.asarray(found)
    if problems := layout_findings(name, found, truth) or _same_special(name, found, truth):
        return problems
    size, limit = largest([found]), ZERO_GRADIENT * largest(outputs)
    return [] if size <= limit else [f"{name}: {size:.3g} where the true gradient is zero"]


# ------------------------------------------------------------------------------------------------- running both sides


def _as_tuple(outputs: Any) -> tuple[Any, ...]:
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)


def _count(case: Case, arguments: Arrays) -> int:
    if case.differentiable is not None:
        return case.differentiable
    kinds = [array.dtype.kind for array in arguments]
    return next((i for i, kind in enumerate(kinds) if kind != "f"), len(kinds))


def to_torch(array: np.ndarray, dtype: Any) -> Any:
    tensor = torch.from_numpy(array.copy())
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def to_jax(array: np.ndarray, dtype: Any) -> jax.Array:
    if array.dtype.kind == "f":
        array = array.astype(dtype)
    elif array.dtype.kind == "i" and not jax.config.jax_enable_x64:
        array = array.astype(np.int32)
    return jax.numpy.asarray(array)


def torch_side(case: Case, number: int, dtype: Any) -> tuple[Arrays, Arrays, Arrays]:
    """Return outputs, gradients and the cotangents that gave them."""
    arguments = case.arguments(number)
    tensors = [to_torch(array, dtype) for array in arguments]
    leaves = [tensor.requires_grad_() for tensor in tensors[: _count(case, arguments)]]
    outputs = _as_tuple(case.torch_fn(*tensors))
    floating = [output for output in outputs if output.is_floating_point()]
    rng = generator(case.id + " cotangents", number)
    cotangents = tuple(rounded(0.3 + rng.standard_normal(tuple(output.shape))) for output in floating)
    grads: tuple[Any, ...] = ()
    if leaves:
        grads = torch.autograd.grad(floating, leaves, [torch.from_numpy(c).to(dtype) for c in cotangents])
    return tuple(o.detach().numpy() for o in outputs), tuple(g.numpy() for g in grads), cotangents


def jax_runner(case: Case, dtype: Any) -> Callable[[int, Arrays], tuple[Arrays, Arrays]]:
    """Return a function of draw and cotangents that gives outputs and gradients; it compiles once."""
    count = _count(case, case.arguments(0))

    def run(leaves: tuple[Any, ...], others: tuple[Any, ...], cotangents: tuple[Any, ...]) -> tuple[Any, Any]:
        def function(*leaves: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            outputs = _as_tuple(case.jax_fn(*leaves, *others))
            floating = tuple(o for o in outputs if jax.numpy.issubdtype(o.dtype, jax.numpy.floating))
            return floating, outputs

        if not leaves:
            return function()[1], ()
        _, pullback, outputs = jax.vjp(function, *leaves, has_aux=True)
        return outputs, pullback(cotangents)

    # In float64 rounding is far below what is judged: compile quickly.
    quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    compiled = jax.jit(run, compiler_options=quick if jax.config.jax_enable_x64 else None)

    def call(number: int, cotangents: Arrays) -> tuple[Arrays, Arrays]:
        arrays = tuple(to_jax(array, dtype) for array in case.arguments(number))
        outputs, grads = compiled(arrays[:count], arrays[count:], tuple(to_jax(c, dtype) for c in cotangents))
        return tuple(map(np.asarray, outputs)), tuple(map(np.asarray, grads))

    return call


def _shape_findings(case: Case, dtype: Any, outputs: Arrays) -> list[str]:
    """Compare the outputs' shapes before anything is run: a wrong one has no cotangents."""
    arrays = [to_jax(array, dtype) for array in case.arguments(0)]
    shapes = [o.shape for o in _as_tuple(jax.eval_shape(lambda *a: case.jax_fn(*a), *arrays))]
    wanted = [o.shape for o in outputs]
    return [] if shapes == wanted else [f"{case.id}: shapes {shapes}, PyTorch's are {wanted}"]


def case_findings(case: Case, dtype: str) -> list[str]:
    """Return everything in which JAX differs from PyTorch: shapes, dtypes, values, gradients."""
    if dtype != "float64":
        return _case_findings(case, dtype)
    WORST[0] = 0.0
    nn_report.OUTERMOST.clear()
    findings = _case_findings(case, dtype)
    nn_report.count_case(findings, WORST[0])
    return findings


def _case_findings(case: Case, dtype: str) -> list[str]:
    single = dtype == "float32"
    numbers = range(DRAWS[dtype])
    with jax.enable_x64(not single):
        exact = [torch_side(case, number, torch.float64) for number in numbers]
        if problems := _shape_findings(case, dtype, exact[0][0]):
            return problems
        run = jax_runner(case, dtype)
        found = [run(number, exact[number][2]) for number in numbers]
        rough = [torch_side(case, number, torch.float32) for number in numbers] if single else exact
    problems = []
    for part, word in enumerate(("output", "gradient")):
        for index in range(len(exact[0][part])):
            name = f"{case.id}: {word} {index}"
            ours, theirs, truth = (np.stack([draw[part][index] for draw in side]) for side in (found, rough, exact))
            if single:
                problems += findings32(name, ours, theirs, truth)
            elif part == 1 and zero_but_for_rounding(truth, outputs_of(exact)):
                problems += zero_findings(name, ours, truth, outputs_of(exact))
            else:
                problems += findings64(name, ours, truth)
    return problems


def outputs_of(runs: Sequence[tuple[Arrays, Arrays, Arrays]]) -> list[np.ndarray]:
    return [output for outputs, _, _ in runs for output in outputs]


def assert_same(case: Case, dtype: str) -> None:
    if findings := case_findings(case, dtype):
        pytest.fail("\n".join(findings), pytrace=False)


def table(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """Parametrise a test over cases."""
    return pytest.mark.parametrize("case", cases, ids=[case.id for case in cases])


both_dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])
