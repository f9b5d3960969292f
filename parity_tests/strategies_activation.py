"""Random cases of the activations, dropout, padding, shuffles, bilinear, linear, normalize and one_hot."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from cases import Arrays, Case, label
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from test_nn_layers import Draw, twin
from test_nn_shape import dropout_case

sizes = st.integers(1, 4)
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
numbers = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 3.0])
positive = st.sampled_from([0.25, 0.5, 1.0, 2.5])


def drawn(shape: tuple[int, ...], *kinks: float) -> Draw:
    """Draw numbers of which about a third stand exactly on a kink."""

    def draw(rng: np.random.Generator) -> Arrays:
        x = 3.0 * rng.standard_normal(shape)
        return (np.where(rng.random(shape) < 0.3, rng.choice([0.0, *kinks], shape), x),)

    return draw


def elementwise(
    function: str, options: dict[str, SearchStrategy[Any]], kinks: Callable[[dict[str, Any]], tuple[float, ...]]
) -> SearchStrategy[Case]:
    def case(shape: tuple[int, ...], options: dict[str, Any]) -> Case:
        return twin(f"{function}-{shape}-{label(options)}", function, drawn(shape, *kinks(options)), **options)

    return st.builds(case, shapes, st.fixed_dictionaries({}, optional=options))


def ends(options: dict[str, Any]) -> tuple[float, ...]:
    return options.get("min_val", -1.0), options.get("max_val", 1.0)


def shrinks(options: dict[str, Any]) -> tuple[float, ...]:
    return options.get("lambd", 0.5), -options.get("lambd", 0.5)


def none(options: dict[str, Any]) -> tuple[float, ...]:
    return (1.0, -1.0)


def threes(options: dict[str, Any]) -> tuple[float, ...]:
    return 3.0, -3.0


STRATEGIES: dict[str, SearchStrategy[Case]] = {
    name: elementwise(name, {}, none)
    for name in ("relu", "sigmoid", "tanh", "silu", "mish", "selu", "logsigmoid", "softsign", "tanhshrink")
}
STRATEGIES |= {
    "relu6": elementwise("relu6", {}, lambda _: (6.0,)),
    "hardsigmoid": elementwise("hardsigmoid", {}, threes),
    "hardswish": elementwise("hardswish", {}, threes),
    "hardtanh": elementwise(
        "hardtanh", {"min_val": st.sampled_from([-2.0, -0.5]), "max_val": st.sampled_from([-0.5, 0.5, 2.0])}, ends
    ),
    "hardshrink": elementwise("hardshrink", {"lambd": numbers}, shrinks),
    "softshrink": elementwise("softshrink", {"lambd": st.sampled_from([0.0, 0.5, 2.0])}, shrinks),
    "leaky_relu": elementwise("leaky_relu", {"negative_slope": numbers}, none),
    "elu": elementwise("elu", {"alpha": numbers}, none),
    "celu": elementwise("celu", {"alpha": numbers.filter(bool)}, none),
    "gelu": elementwise("gelu", {"approximate": st.sampled_from(["none", "tanh"])}, none),
    "softplus": elementwise(
        "softplus", {"beta": numbers.filter(bool), "threshold": positive}, lambda o: (o.get("threshold", 20.0),)
    ),
}


def _threshold(shape: tuple[int, ...], threshold: float, value: float) -> Case:
    return twin(f"threshold-{shape}-{threshold}-{value}", "threshold", drawn(shape, threshold), threshold, value)


def _rrelu(shape: tuple[int, ...], lower: float, more: float, training: bool) -> Case:
    upper = lower if training else lower + more
    return twin(f"rrelu-{shape}-{lower}-{upper}-{training}", "rrelu", drawn(shape), lower, upper, training)


@st.composite
def _prelu(draw: st.DrawFn) -> Case:
    shape = draw(st.lists(sizes, min_size=2, max_size=4).map(tuple))
    weight = draw(st.sampled_from([(), (1,), shape[1:2]]))

    def arrays(rng: np.random.Generator) -> Arrays:
        return (*drawn(shape)(rng), rng.standard_normal(weight))

    return twin(f"prelu-{shape}-{weight}", "prelu", arrays)


@st.composite
def _glu(draw: st.DrawFn) -> Case:
    shape = draw(st.lists(sizes, min_size=1, max_size=3))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    shape[dim] *= 2
    return twin(f"glu-{shape}-{dim}", "glu", drawn(tuple(shape)), dim)


@st.composite
def _soft(draw: st.DrawFn, function: str) -> Case:
    shape = draw(st.lists(sizes, min_size=1, max_size=3).map(tuple))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    scale = draw(st.sampled_from([1.0, 3.0]))  # farther apart, the gradient is but rounding
    return twin(
        f"{function}-{shape}-{dim}-{scale}", function, lambda rng: (scale * rng.standard_normal(shape),), dim=dim
    )


@st.composite
def _normalize(draw: st.DrawFn) -> Case:
    """Draw axes of two elements or more: of a single one, the gradient is 0 but for PyTorch's rounding."""
    shape = draw(st.lists(st.integers(2, 4), min_size=1, max_size=3).map(tuple))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    p = draw(st.sampled_from([0.0, 0.5, 1.0, 1.3, 2.0, 3.0, math.inf]))
    eps = draw(st.sampled_from([1e-12, 0.5, 4.0]))
    return twin(f"normalize-{shape}-p={p}-dim={dim}-eps={eps}", "normalize", drawn(shape, 1.0), p=p, dim=dim, eps=eps)


@st.composite
def _one_hot(draw: st.DrawFn) -> Case:
    shape = draw(shapes)
    classes = draw(st.integers(1, 5))
    return twin(
        f"one_hot-{shape}-{classes}", "one_hot", lambda rng: (np.asarray(rng.integers(0, classes, shape)),), classes
    )


@st.composite
def _pad(draw: st.DrawFn) -> Case:
    """Draw any mode that PyTorch takes for the shape, growing and cropping."""
    mode = draw(st.sampled_from(["constant", "reflect", "replicate", "circular"]))
    count = draw(st.integers(1, 3))
    lead = draw(st.integers(0 if mode == "constant" else 1, 2))
    shape = draw(st.lists(st.integers(1, 4), min_size=lead + count, max_size=lead + count).map(tuple))
    pad: list[int] = []
    for size in shape[::-1][:count]:
        before = draw(st.integers(1 - size, size + 1))
        after = draw(st.integers(1 - size - min(before, 0), size + 1))
        most = {"reflect": size - 1, "circular": size + min(before, 0) + min(after, 0)}.get(mode, size + 1)
        pad += [min(before, most), min(after, most)]
    value = draw(st.sampled_from([None, 0.5, -2.0])) if mode == "constant" else None
    return twin(f"pad-{shape}-{pad}-{mode}-{value}", "pad", drawn(shape), tuple(pad), mode, value)


@st.composite
def _shuffle(draw: st.DrawFn, function: str) -> Case:
    factor = draw(st.integers(1, 3))
    lead = draw(st.lists(sizes, max_size=2).map(tuple))
    channels, height, width = draw(sizes), draw(sizes), draw(sizes)
    if function == "channel_shuffle":
        shape = (draw(sizes), channels * factor, height, *lead)
    elif function == "pixel_shuffle":
        shape = (*lead, channels * factor**2, height, width)
    else:
        shape = (*lead, channels, height * factor, width * factor)
    return twin(f"{function}-{shape}-{factor}", function, drawn(shape), factor)


@st.composite
def _products(draw: st.DrawFn, function: str) -> Case:
    lead = draw(st.lists(st.integers(0, 4), max_size=3).map(tuple))
    one, two, out = draw(sizes), draw(sizes), draw(sizes)
    bias = [(out,)] if draw(st.booleans()) else []
    both = [(*lead, one), (*lead, two), (out, one, two)]
    wanted = [*(both if function == "bilinear" else [(*lead, one), (out, one)]), *bias]
    return twin(f"{function}-{wanted}", function, lambda rng: tuple(rng.standard_normal(shape) for shape in wanted))


@st.composite
def _dropout(draw: st.DrawFn, function: str, least: int, most: int) -> Case:
    shape = draw(st.lists(sizes, min_size=least, max_size=most).map(tuple))
    return dropout_case(function, shape, draw(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0])))


STRATEGIES |= {
    "threshold": st.builds(_threshold, shapes, numbers, numbers),
    "rrelu": st.builds(_rrelu, shapes, positive, positive, st.booleans()),
    "prelu": _prelu(),
    "glu": _glu(),
    "softmax": _soft("softmax"),
    "softmin": _soft("softmin"),
    "log_softmax": _soft("log_softmax"),
    "normalize": _normalize(),
    "one_hot": _one_hot(),
    "pad": _pad(),
    "pixel_shuffle": _shuffle("pixel_shuffle"),
    "pixel_unshuffle": _shuffle("pixel_unshuffle"),
    "channel_shuffle": _shuffle("channel_shuffle"),
    "bilinear": _products("bilinear"),
    "linear": _products("linear"),
    "dropout": _dropout("dropout", 0, 3),
    "dropout1d": _dropout("dropout1d", 2, 3),
    "dropout3d": _dropout("dropout3d", 4, 5),
    "alpha_dropout": _dropout("alpha_dropout", 0, 3),
    "feature_alpha_dropout": _dropout("feature_alpha_dropout", 2, 4),
}
