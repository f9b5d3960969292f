"""Random options and shapes for every pooling function, all valid for PyTorch: one strategy per function."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from cases import Arrays, Case
from hypothesis import strategies as st
from test_nn_layers import twin

import jaxport.nn.functional as F

try:
    import torch.nn.functional as TF
except ImportError:  # pragma: no cover
    TF = None

Draw = Callable[[np.random.Generator], Arrays]


def _values(kind: str, shape: tuple[int, ...]) -> Draw:
    def draw(rng: np.random.Generator) -> Arrays:
        x = rng.standard_normal(shape)
        if kind == "ties":
            x = np.round(x)
        if kind == "special":
            x = np.where(rng.random(shape) < 0.2, rng.choice([np.nan, np.inf, -np.inf], shape), x)
        return (np.abs(x) + 0.1 if kind == "positive" else x,)

    return draw


def _shape(draw: Any, dims: int, least: int = 2) -> tuple[int, ...]:
    lead = draw(st.sampled_from([(2, 3), (1, 2), (3,)]))
    return (*lead, *(draw(st.integers(least, 9 if dims < 3 else 6)) for _ in range(dims)))


def _each(draw: Any, dims: int, low: int, high: Callable[[int], int]) -> tuple[int, ...]:
    return tuple(draw(st.integers(low, high(axis))) for axis in range(dims))


def _geometry(draw: Any, shape: tuple[int, ...], dims: int, dilated: bool) -> dict[str, Any]:
    """Draw a kernel, padding and dilation of which every window meets the input, and a stride."""
    lengths = shape[-dims:]
    kernel = _each(draw, dims, 1, lambda axis: min(4, lengths[axis]))
    padding = _each(draw, dims, 0, lambda axis: kernel[axis] // 2)
    options: dict[str, Any] = {"kernel_size": kernel, "padding": padding}
    options["stride"] = draw(st.none() | st.just(_each(draw, dims, 1, lambda axis: 4)))
    if dilated:
        reach = [(n + 2 * p - 1) // max(1, k - 1) for n, p, k in zip(lengths, padding, kernel, strict=True)]
        # No window lies in the padding alone: PyTorch's index there would be outside of the input.
        bound = [min(3, r, n) for r, n in zip(reach, lengths, strict=True)]
        options["dilation"] = _each(draw, dims, 1, lambda axis: max(1, bound[axis]))
    options["ceil_mode"] = draw(st.booleans())
    return options


def _named(function: str, shape: tuple[int, ...], kind: str, *args: Any, **options: Any) -> Case:
    words = [str(shape), kind, *map(str, args), *(f"{key}={value}" for key, value in options.items())]
    return twin(f"{function} {' '.join(words)}", function, _values(kind, shape), *args, **options)


@st.composite
def max_pool(draw: Any, dims: int, suffix: str = "") -> Case:
    shape = _shape(draw, dims)
    options = _geometry(draw, shape, dims, dilated=True)
    kind = draw(st.sampled_from(["normal", "ties", "special"]))
    indices = {} if suffix else {"return_indices": draw(st.booleans())}
    return _named(f"max_pool{dims}d{suffix}", shape, kind, **options, **indices)


@st.composite
def avg_pool(draw: Any, dims: int) -> Case:
    shape = _shape(draw, dims)
    options = _geometry(draw, shape, dims, dilated=False) | {"count_include_pad": draw(st.booleans())}
    if dims > 1:
        options["divisor_override"] = draw(st.sampled_from([None, 1, 3, -2]))
    return _named(f"avg_pool{dims}d", shape, draw(st.sampled_from(["normal", "special"])), **options)


@st.composite
def lp_pool(draw: Any, dims: int) -> Case:
    shape = _shape(draw, dims)
    options = _geometry(draw, shape, dims, dilated=False)
    del options["padding"]
    if dims == 1:
        options["kernel_size"] = options["kernel_size"][0]
    norm = draw(st.sampled_from([1, 2, 2.0, 3.0, 1.5, 0.7, 4, -1, float("inf"), -float("inf")]))
    kind = "positive" if norm in (3.0, 1.5, 0.7, -1) else draw(st.sampled_from(["normal", "ties"]))
    return _named(f"lp_pool{dims}d", shape, kind, norm, **options)


@st.composite
def adaptive(draw: Any, dims: int, which: str, suffix: str = "") -> Case:
    shape = _shape(draw, dims, least=1)
    size = st.integers(1, 8) if dims == 1 else st.none() | st.integers(1, 8)
    wanted = draw(st.integers(1, 5) | st.tuples(*[size] * dims))
    kind = draw(st.sampled_from(["normal", "ties", "special"]))
    args = (wanted, draw(st.booleans())) if which == "max" and not suffix else (wanted,)
    return _named(f"adaptive_{which}_pool{dims}d{suffix}", shape, kind, *args)


@st.composite
def max_unpool(draw: Any, dims: int) -> Case:
    shape = _shape(draw, dims, least=1)
    kernel = _each(draw, dims, 1, lambda axis: 3)
    stride = _each(draw, dims, 1, lambda axis: 3)
    size = [(n - 1) * s + k for n, s, k in zip(shape[-dims:], stride, kernel, strict=True)]
    size = tuple(n + draw(st.integers(max(1 - n, 1 - s), s - 1)) for n, s in zip(size, stride, strict=True))

    def both(rng: np.random.Generator) -> Arrays:
        return rng.standard_normal(shape), rng.integers(0, np.prod(size), shape)

    id = f"max_unpool{dims}d {shape} {kernel} {stride} {size}"
    return twin(id, f"max_unpool{dims}d", both, kernel, stride, output_size=size)


@st.composite
def fractional(draw: Any, dims: int, suffix: str = "") -> Case:
    shape = _shape(draw, dims, least=3)
    spare = 0 if dims == 2 else 1
    kernel = _each(draw, dims, 1, lambda axis: min(3, shape[-dims:][axis] - spare))
    size = _each(draw, dims, 1, lambda axis: shape[-dims:][axis] - kernel[axis] + 1 - spare)
    kind, name = draw(st.sampled_from(["normal", "ties", "special"])), f"fractional_max_pool{dims}d{suffix}"
    indices = draw(st.booleans())

    def with_samples(rng: np.random.Generator) -> Arrays:
        batch = shape[0] if len(shape) == dims + 2 else 1
        return *_values(kind, shape)(rng), rng.random((batch, shape[-dims - 1], dims))

    def call(functions: Any, x: Any, u: Any) -> Any:
        return getattr(functions, name)(x, kernel, size, return_indices=indices, _random_samples=u)

    id = f"{name} {shape} {kind} {kernel} {size} {indices}"
    return Case(id, partial(call, F), partial(call, TF), with_samples, differentiable=1)


STRATEGIES: dict[str, st.SearchStrategy[Case]] = {
    **{f"max_pool{d}d{s}": max_pool(d, s) for d in (1, 2, 3) for s in ("", "_with_indices")},
    **{f"avg_pool{d}d": avg_pool(d) for d in (1, 2, 3)},
    **{f"lp_pool{d}d": lp_pool(d) for d in (1, 2, 3)},
    **{f"adaptive_avg_pool{d}d": adaptive(d, "avg") for d in (1, 2, 3)},
    **{f"adaptive_max_pool{d}d{s}": adaptive(d, "max", s) for d in (1, 2, 3) for s in ("", "_with_indices")},
    **{f"max_unpool{d}d": max_unpool(d) for d in (1, 2, 3)},
    **{f"fractional_max_pool{d}d{s}": fractional(d, s) for d in (2, 3) for s in ("", "_with_indices")},
}
