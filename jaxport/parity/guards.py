"""guards: states and inputs on which two different models give the same numbers, so that comparing proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from jaxport.errors import UsageError

from .layer import Layer, Layers
from .result import Finding, Report

_STATISTICS = ("running_mean", "running_var")
_COUNTERS = ("num_batches_tracked",)
_RANDOMISE = "compare with randomise=True (both sides get the same random numbers there), or name the rule in allow="


class _Rule(NamedTuple):
    """What a rule says of all arrays that break it; `{}` is their names."""

    level: str
    message: str
    fix: str


_RULES = {
    "guard/not-finite": _Rule("error", "NaN or infinite: {}", "take finite weights and inputs"),
    "guard/zero-bias": _Rule("error", "biases that are all zero, as if there were none: {}", _RANDOMISE),
    "guard/unit-scale": _Rule("error", "scales that are all one, as if there were none: {}", _RANDOMISE),
    "guard/zero-running-mean": _Rule("error", "running means that are all zero, as before training: {}", _RANDOMISE),
    "guard/unit-running-var": _Rule("error", "running variances that are all one, as before training: {}", _RANDOMISE),
    "guard/equal-weights": _Rule("error", "weights whose elements are all the same: {}", _RANDOMISE),
    "guard/constant-buffer": _Rule(
        "warning", "buffers whose elements are all the same: {}", "give them other values, if they are not constants"
    ),
    "guard/square-weight": _Rule(
        "warning",
        "as many inputs as outputs, so that a transposed weight fits: {}",
        "compare a model of other sizes too, if the widths can be chosen",
    ),
    "guard/empty-input": _Rule("error", "inputs without elements: {}", "give at least two examples"),
    "guard/batch-one": _Rule(
        "error", "one example, so that mistakes over the batch are hidden: {}", "give two or more"
    ),
    "guard/constant-input": _Rule("error", "inputs whose elements are all the same: {}", "give random inputs"),
    "guard/equal-dims": _Rule(
        "error",
        "axes of the same length, so that exchanging them is hidden: {}",
        "give inputs whose axes all differ, such as (2, 3, 11, 13), or allow it where the model needs them alike",
    ),
    "guard/zero-mean-input": _Rule(
        "info", "inputs whose mean is about zero, which hides mistakes in means: {}", "add a number such as 0.3"
    ),
}


def degenerate(
    torch_layers: Layers,
    inputs: Mapping[str, Any] | Sequence[Any],
    training: bool,
    allow: Collection[str] = (),
) -> list[Finding]:
    """Return what in the state of a PyTorch model or in its inputs would hide a difference.

    Args:
        torch_layers: the modules of the model, with their parameters and buffers.
        inputs: arrays or tensors, by name or in their order; the first axis is the batch.
        training: whether the models are compared in training mode; there running statistics do not enter the output.
        allow: rules that are only to be mentioned: ``"guard/batch-one"``, or of one array
            ``"guard/zero-bias@encoder.norm.bias"``. Findings of theirs have the level "info".

    Returns:
        One finding a rule, naming the arrays: level "error", but "warning" for what is usual in good models (square
        weights, constant buffers) and "info" for inputs whose mean is about zero.
    """
    if unknown := [rule for rule in allow if rule.partition("@")[0] not in _RULES]:
        raise UsageError(f"allow: no guard is called {unknown[0]!r}; there are {', '.join(_RULES)}")
    named = inputs if isinstance(inputs, Mapping) else {f"input {i}": value for i, value in enumerate(inputs)}
    found: dict[tuple[str, bool], list[tuple[str, str]]] = {}
    for rule, name, what in (*_of_state(torch_layers, training), *_of_inputs(named)):
        allowed = rule in allow or f"{rule}@{name}" in allow
        found.setdefault((rule, allowed), []).append((name, what))
    return [_finding(rule, allowed, places) for (rule, allowed), places in found.items()]


def nothing_compared(report: Report) -> list[Finding]:
    """Return a finding if a report compared nothing that decides: without one its `ok` is False and says not why."""
    if report.steps or any(tensor.decides for tensor in report.tensors):
        return []
    count = len(report.tensors)
    message = f"nothing was compared: {count} tensors are shown, none of them decides" if count else (
        "nothing was compared: there is no pair of tensors"
    )  # fmt: skip
    return [Finding("guard/nothing-compared", "error", message, fix="pair the models' layers with a map")]


def randomise(
    arrays: Mapping[str, np.ndarray], layers: Layers, seed: int, *, keep: bool = True
) -> dict[str, np.ndarray]:
    """Return a PyTorch state in which nothing is degenerate, to fill both sides from.

    Biases are drawn from N(0, 0.3²), scales from 1 ± 0.3, running means from N(0, 0.5²), running variances from
    [0.5, 2]; weights whose elements are all the same from N(0, 1/fan_in). Every number is one of float32, so that runs
    in float32 and float64 start alike. Tied arrays stay tied; counters and other buffers stay as they are.

    Args:
        arrays: the state by PyTorch's keys.
        layers: the modules of the PyTorch model, which say what an array is.
        seed: the same seed gives the same numbers, for each key whatever the others are.
        keep: leave biases, scales and statistics alone where their elements differ already (a trained model's). False
            draws all of them.
    """
    owners = {layer.key(name): (layer, name) for layer in layers.values() for name in layer.arrays}
    first: dict[Any, str] = {}
    state: dict[str, np.ndarray] = {}
    for key, value in arrays.items():
        layer, name = owners.get(key, (Layer("", ""), key.rsplit(".", 1)[-1]))
        tied = first.setdefault(_identity(layer.arrays.get(name, value)), key)
        if tied in state:
            state[key] = state[tied]
            continue
        rng = np.random.default_rng([seed, crc32(key.encode())])
        draw = _draw(layer, name, value, keep)
        state[key] = value if draw is None else draw(rng).astype(np.float32).astype(value.dtype)
    return state


def to_numpy(value: Any) -> np.ndarray:
    """Return anyone's array as NumPy's; PyTorch's floats as float64, because NumPy lacks some of its dtypes."""
    if not hasattr(value, "detach"):
        return np.asarray(value)
    value = value.detach().cpu()
    return (value.double() if value.is_floating_point() else value).numpy()


def _finding(rule: str, allowed: bool, places: list[tuple[str, str]]) -> Finding:
    shown = [f"{name} {what}".rstrip() for name, what in places]
    names = ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
    level, message, fix = _RULES[rule]
    path = "" if rule.endswith(("input", "dims", "one")) else places[0][0]
    return Finding(rule, "info" if allowed else level, message.format(names), torch_path=path, fix=fix)


def _of_state(layers: Layers, training: bool) -> Iterator[tuple[str, str, str]]:
    for layer in layers.values():
        for name, value in layer.arrays.items():
            array = to_numpy(value)
            if rule := _state_rule(layer, name, array, training):
                yield rule, layer.key(name), str(array.shape)


def _state_rule(layer: Layer, name: str, array: np.ndarray, training: bool) -> str | None:
    if array.dtype.kind != "f" or array.size == 0:
        return None
    if not np.isfinite(array).all():
        return None if _is_buffer(layer, name) else "guard/not-finite"  # a causal mask is full of -inf
    if name in _STATISTICS:
        neutral = 0.0 if name == "running_mean" else 1.0
        rule = "guard/zero-running-mean" if name == "running_mean" else "guard/unit-running-var"
        return rule if (array == neutral).all() and not training else None
    if "bias" in name and not array.any():
        return "guard/zero-bias"
    if "Norm" in layer.name and "weight" in name and (array == 1.0).all():
        return "guard/unit-scale"
    if array.size > 1 and (array == array.flat[0]).all():
        return "guard/constant-buffer" if _is_buffer(layer, name) else "guard/equal-weights"
    square = layer.name == "Linear" and array.ndim == 2 and array.shape[0] == array.shape[1]
    return "guard/square-weight" if square else None


def _of_inputs(inputs: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, value in inputs.items():
        array = to_numpy(value)
        for rule, what in _input_rules(array):
            yield rule, name, what


def _input_rules(array: np.ndarray) -> Iterator[tuple[str, str]]:
    if array.size == 0:
        yield "guard/empty-input", str(array.shape)
        return
    if array.ndim and array.shape[0] == 1:
        yield "guard/batch-one", str(array.shape)
    same = [f"{i} and {j}" for i, j in combinations(range(array.ndim), 2) if 1 < array.shape[i] == array.shape[j]]
    if same:
        yield "guard/equal-dims", f"{array.shape} (axes {', '.join(same)})"
    if array.size > 1 and (array == array.flat[0]).all():
        yield "guard/constant-input", f"(all {array.flat[0]})"
    elif array.dtype.kind == "f" and not np.isfinite(array).all():
        yield "guard/not-finite", str(array.shape)
    elif array.dtype.kind == "f" and abs(array.mean()) <= 3.0 * array.std() / np.sqrt(array.size):
        yield "guard/zero-mean-input", f"(mean {array.mean():.1e})"


def _is_buffer(layer: Layer, name: str) -> bool:
    return name in getattr(layer.module, "_buffers", ())


def _identity(value: Any) -> Any:
    """Return what two names of one and the same array share: its memory."""
    if isinstance(value, np.ndarray):
        return value.__array_interface__["data"][0], value.shape, value.strides
    return id(value)


def _draw(layer: Layer, name: str, value: np.ndarray, keep: bool) -> Callable[[np.random.Generator], np.ndarray] | None:
    """Return how an array is to be drawn, None for one that stays."""
    shape = value.shape
    if value.dtype.kind != "f" or value.size == 0 or name in _COUNTERS:
        return None
    constant = bool((value == value.flat[0]).all())
    if name in _STATISTICS and (constant or not keep):
        mean = name == "running_mean"
        return lambda rng: rng.normal(0.0, 0.5, shape) if mean else rng.uniform(0.5, 2.0, shape)
    if name in _STATISTICS or _is_buffer(layer, name):
        return None
    if "bias" in name:
        zero = not value.any()
        return (lambda rng: rng.normal(0.0, 0.3, shape)) if zero or (constant and value.size > 1) or not keep else None
    scale = "Norm" in layer.name and "weight" in name
    if scale and ((value == 1.0).all() or (constant and value.size > 1) or not keep):
        return lambda rng: rng.uniform(0.7, 1.3, shape)
    return _draw_weight(layer, value) if constant and value.size > 1 else None


def _draw_weight(layer: Layer, value: np.ndarray) -> Callable[[np.random.Generator], np.ndarray]:
    """Return how a weight is drawn whose elements are all the same; a factor stays near what it was."""
    level, shape = float(value.flat[0]), value.shape
    if value.ndim == 1:
        return lambda rng: level * rng.uniform(0.7, 1.3, shape) if level else rng.normal(0.0, 0.3, shape)

    def matrix(rng: np.random.Generator) -> np.ndarray:
        drawn = rng.normal(0.0, 1.0 / np.sqrt(np.prod(shape[1:])), shape)
        if (row := layer.settings.get("padding_idx")) is not None:
            drawn[row] = 0.0
        return drawn

    return matrix
