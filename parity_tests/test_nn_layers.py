"""The functions under the layers against PyTorch's: values, gradients, in float64 and float32."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Arrays, Case, all_pairs, assert_same, both_dtypes, label, normal, table

import jaxport.nn.functional as F
from jaxport import nn
from jaxport.nn.linear import flatten

torch = pytest.importorskip("torch")
TF = torch.nn.functional
Draw = Callable[[np.random.Generator], Arrays]


def twin(id: str, function: str, draw: Draw, *args: Any, differentiable: int | None = None, **kwargs: Any) -> Case:
    """Make a case of the functions called `function` on both sides, with these options."""
    return Case(
        id,
        lambda *arrays: getattr(F, function)(*arrays, *args, **kwargs),
        lambda *arrays: getattr(TF, function)(*arrays, *args, **kwargs),
        draw,
        differentiable,
    )


# ---------------------------------------------------------------------------------------------------------- linear

LINEAR = [
    twin("matrix", "linear", normal((5, 3), (4, 3), (4,))),
    twin("no-bias", "linear", normal((5, 3), (4, 3))),
    twin("vector-input", "linear", normal((3,), (4, 3), (4,))),
    twin("vector-input-no-bias", "linear", normal((3,), (4, 3))),
    twin("4-d-input", "linear", normal((2, 5, 7, 3), (4, 3), (4,))),
    twin("one-output", "linear", normal((5, 3), (1, 3), (1,))),
    twin("vector-weight", "linear", normal((5, 3), (3,))),
    # PyTorch's linear refuses a bias beside a vector weight when the input is a matrix, and takes it otherwise.
    Case("vector-weight-scalar-bias", F.linear, lambda x, w, b: TF.linear(x, w) + b, normal((5, 3), (3,), ())),
    twin("vector-weight-3-d-input", "linear", normal((2, 5, 3), (3,), ())),
    twin("vectors", "linear", normal((3,), (3,), ())),
    twin("long-sums", "linear", normal((3, 1031), (5, 1031), (5,))),
    twin("empty-batch", "linear", normal((0, 3), (4, 3), (4,))),
]


@both_dtypes
@table(LINEAR)
def test_linear(case, dtype):
    assert_same(case, dtype)


# ----------------------------------------------------------------------------------------------------- convolution

CONV_OPTIONS = {
    "stride": [1, 2, (3, 2)],
    "padding": [0, 1, (2, 1), "same", "valid"],
    "dilation": [1, (1, 2)],
    "bias": [True, False],
    "kernel": [(3, 3), (1, 1), (2, 3), (4, 1), (3, 2)],
    "batched": [True, False],
}


def conv_case(id: str, *, image: tuple[int, ...], weight: tuple[int, ...], bias: bool = True, **options: Any) -> Case:
    shapes = [image, weight, *([weight[:1]] if bias else [])]
    return twin(id, "conv2d", normal(*shapes), *(() if bias else (None,)), **options)


def _grid_case(row: dict[str, Any]) -> Case:
    options = {name: row[name] for name in ("stride", "padding", "dilation", "groups")}
    channels = row["channels"]
    image = (2, channels, 5, 7) if row["batched"] else (channels, 5, 7)
    weight = (8, channels // row["groups"], *row["kernel"])
    return conv_case(label(row), image=image, weight=weight, bias=row["bias"], **options)


def _same_fits(row: dict[str, Any]) -> bool:
    return row["padding"] != "same" or row["stride"] == 1


# Groups, few channels and many are grids of their own: each may take another formulation.
KINDS: list[dict[str, list[Any]]] = [
    {"channels": [4], "groups": [2, 4]},
    {"channels": [4], "groups": [1]},
    {"channels": [12], "groups": [1], "batched": [True]},
]
CONV_GRID = [_grid_case(row) for kind in KINDS for row in all_pairs(CONV_OPTIONS | kind, _same_fits)]
CONV = [
    conv_case("one-channel", image=(5, 1, 8, 7), weight=(3, 1, 3, 3)),
    conv_case("one-output-channel", image=(2, 3, 8, 7), weight=(1, 3, 3, 3), padding=1),
    conv_case("many-channels", image=(2, 37, 6, 7), weight=(41, 37, 3, 3), padding=1),
    conv_case("large-kernel", image=(2, 3, 11, 13), weight=(5, 3, 5, 7), padding=(2, 3)),
    conv_case("kernel-as-large-as-input", image=(2, 3, 5, 4), weight=(6, 3, 5, 4)),
    conv_case("kernel-larger-than-input", image=(2, 3, 3, 4), weight=(6, 3, 5, 6), padding=(1, 2)),
    conv_case("padding-as-large-as-kernel", image=(2, 3, 4, 5), weight=(4, 3, 2, 3), padding=(2, 4)),
    conv_case("padding-as-large-many-channels", image=(2, 12, 4, 5), weight=(4, 12, 2, 3), padding=(2, 4)),
    conv_case("stride-2-odd-size", image=(2, 3, 7, 9), weight=(4, 3, 3, 3), stride=2, padding=1),
    conv_case("stride-2-even-size", image=(2, 3, 8, 10), weight=(4, 3, 3, 3), stride=2, padding=1),
    conv_case("stride-leaves-a-rest", image=(2, 3, 11, 10), weight=(4, 3, 3, 2), stride=(3, 4)),
    conv_case("stride-larger-than-kernel", image=(2, 3, 11, 10), weight=(4, 3, 2, 1), stride=(3, 2)),
    conv_case("depthwise", image=(2, 6, 7, 9), weight=(6, 1, 3, 3), groups=6, padding=1),
    conv_case("depthwise-multiplied", image=(2, 3, 7, 9), weight=(6, 1, 3, 3), groups=3, stride=2),
    conv_case("batch-of-one", image=(1, 3, 6, 7), weight=(4, 3, 3, 3)),
    conv_case("same-even-kernel", image=(2, 12, 5, 7), weight=(4, 12, 4, 2), padding="same"),
    conv_case("grouped", image=(2, 6, 5, 7), weight=(4, 3, 3, 2), groups=2, padding=1),
    conv_case("dilated", image=(2, 12, 7, 9), weight=(4, 12, 3, 2), dilation=(2, 3)),
    conv_case("1x1-kernel", image=(2, 5, 4, 3), weight=(3, 5, 1, 1)),
    conv_case("single-image", image=(5, 6, 7), weight=(3, 5, 3, 3), padding=1),
    conv_case("1x1-image", image=(3, 5, 1, 1), weight=(4, 5, 1, 1)),
]


# PyTorch warns that an even total of 'same' padding is copied; the numbers are the same.
@pytest.mark.filterwarnings("ignore:Using padding='same'")
@table(CONV_GRID)
def test_conv2d_over_its_options(case):
    assert_same(case, "float64")


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@both_dtypes
@table(CONV)
def test_conv2d(case, dtype):
    assert_same(case, dtype)


# ----------------------------------------------------------------------------------------------- second derivatives


def curvature(id: str, function: str, draw: Draw, *args: Any, by: int = 0, **kwargs: Any) -> Case:
    """Return H v of f = Σ y³ in argument `by`, forward over reverse in JAX, reverse twice in PyTorch; v comes last.

    The case takes gradients of that again: third derivatives.
    """

    def jax_fn(*arrays: jax.Array) -> jax.Array:
        *given, v = arrays

        def value(x: jax.Array) -> jax.Array:
            return jnp.sum(getattr(F, function)(*given[:by], x, *given[by + 1 :], *args, **kwargs) ** 3)

        return jax.jvp(jax.grad(value), (given[by],), (v,))[1]

    def torch_fn(*tensors: Any) -> Any:
        *given, v = tensors
        value = (getattr(TF, function)(*given, *args, **kwargs) ** 3).sum()
        (slope,) = torch.autograd.grad(value, given[by], create_graph=True)
        return torch.autograd.grad((slope * v).sum(), given[by], create_graph=True)[0]

    return Case(id, jax_fn, torch_fn, draw)


IMAGES, FEW, MANY_CHANNELS, WEIGHT = (2, 4, 5, 7), (3, 4, 2, 3), (2, 12, 5, 7), (3, 12, 3, 2)
CURVATURE = [
    curvature("linear", "linear", normal((5, 3), (4, 3), (4,), (5, 3))),
    curvature("conv-few", "conv2d", normal(IMAGES, FEW, (3,), IMAGES), stride=2, padding=1),
    curvature("conv-many", "conv2d", normal(MANY_CHANNELS, WEIGHT, (3,), MANY_CHANNELS), padding=1),
    curvature("conv-strided", "conv2d", normal(MANY_CHANNELS, WEIGHT, (3,), MANY_CHANNELS), stride=(2, 3)),
    curvature("conv-weight-few", "conv2d", normal(IMAGES, FEW, (3,), FEW), by=1, padding=1),
    curvature("conv-weight-many", "conv2d", normal(MANY_CHANNELS, WEIGHT, (3,), WEIGHT), by=1, stride=(2, 1)),
    curvature("max-pool", "max_pool2d", normal(IMAGES, IMAGES), 3, 2, 1),
    curvature("max-pool-tiled", "max_pool2d", normal(IMAGES, IMAGES), 2),
    curvature("adaptive", "adaptive_max_pool2d", normal(IMAGES, IMAGES), (2, 3)),
    curvature("relu", "relu", normal((5, 3), (5, 3))),
    curvature("log-softmax", "log_softmax", normal((5, 3), (5, 3)), dim=1),
]


@table(CURVATURE)
def test_second_derivatives(case):
    assert_same(case, "float64")


# ----------------------------------------------------------------------------------------------------- max pooling


def ties(*shape: int) -> Draw:
    """Draw whole numbers, so that most windows have several equal maxima."""
    return lambda rng: (rng.integers(0, 3, shape).astype(np.float64) - 1.0,)


def special(shape: tuple[int, ...], *values: float, share: float = 0.3) -> Draw:
    """Draw normal numbers with `values` strewn in."""

    def draw(rng: np.random.Generator) -> Arrays:
        array = rng.standard_normal(shape)
        chosen = rng.random(shape) < share
        return (np.where(chosen, rng.choice(values, shape), array),)

    return draw


POOL_OPTIONS = {
    "kernel_size": [2, 3, (3, 2), (1, 4)],
    "stride": [None, 1, 2, (2, 3)],
    "padding": [0, 1, (1, 0)],
    "dilation": [1, 2, (1, 3)],
    "ceil_mode": [False, True],
    "return_indices": [False, True],
    "batched": [True, False],
}


def _half(row: dict[str, Any]) -> bool:
    kernel, padding = np.broadcast_to(row["kernel_size"], 2), np.broadcast_to(row["padding"], 2)
    return bool((2 * padding <= kernel).all())


def _pool_case(row: dict[str, Any], tied: bool) -> Case:
    options = {name: value for name, value in row.items() if name != "batched"}
    shape = (2, 3, 9, 11) if row["batched"] else (3, 9, 11)
    return twin(label(row), "max_pool2d", ties(*shape) if tied else normal(shape), **options)


POOL_ROWS = all_pairs(POOL_OPTIONS, _half)
POOL = [_pool_case(row, tied=False) for row in POOL_ROWS]
POOL_TIES = [_pool_case(row, tied=True) for row in POOL_ROWS]
POOL += [
    twin("whole-image", "max_pool2d", normal((2, 3, 5, 4)), (5, 4), return_indices=True),
    twin("stride-skips-elements", "max_pool2d", normal((2, 3, 11, 10)), 2, 4),
    twin("ceil-drops-window-in-padding", "max_pool2d", normal((2, 3, 5, 7)), 2, 2, 1, ceil_mode=True),
    twin("ceil-dilation-padding", "max_pool2d", ties(2, 3, 10, 8), 3, 2, 1, 2, ceil_mode=True, return_indices=True),
    twin("all-equal", "max_pool2d", lambda rng: (np.full((2, 3, 7, 6), rng.random()),), 3, 2, 1, return_indices=True),
    twin("below-zero", "max_pool2d", lambda rng: (-1.0 - rng.random((2, 3, 7, 6)),), 3, 2, 1),
]
POOL_SPECIAL = [
    twin(f"{name}-{part}", "max_pool2d", special((2, 3, 8, 7), *values), *geometry, differentiable=0)
    for name, values in {
        "nan": (np.nan,),
        "-inf": (-np.inf,),
        "inf": (np.inf,),
        "all": (np.nan, np.inf, -np.inf),
    }.items()
    for part, geometry in {"2": (2,), "3-2-1": (3, 2, 1), "overlapping": (3, 1), "dilated": (2, 2, 1, 2)}.items()
]
POOL_SPECIAL += [
    twin(
        f"all-minus-inf-{padding}",
        "max_pool2d",
        lambda rng: (np.full((2, 3, 7, 6), -np.inf),),
        3,
        2,
        padding,
        return_indices=True,
    )
    for padding in (0, 1)
]


@both_dtypes
@table(POOL)
def test_max_pool2d(case, dtype):
    assert_same(case, dtype)


# A maximum is exact in every dtype: one is enough for the choice among equals, and for what is no number.
@table(POOL_TIES)
def test_max_pool2d_gives_the_gradient_to_the_first_maximum(case):
    assert_same(case, "float64")


@table(POOL_SPECIAL)
def test_max_pool2d_of_special_values(case):
    assert_same(case, "float32")


# On 5 × 7 images: one window, all, a few that overlap, and more windows than elements.
SIZES = [(1, 1), 1, (None, None), (None, 2), (3, None), (3, 4), 4, (2, 1), (6, 2)]
ADAPTIVE = [twin(str(size), "adaptive_max_pool2d", normal((2, 3, 5, 7)), size) for size in SIZES]
ADAPTIVE_EXACT = [twin(f"ties-{size}", "adaptive_max_pool2d", ties(2, 3, 5, 7), size, True) for size in SIZES]
ADAPTIVE_EXACT += [
    twin("unbatched", "adaptive_max_pool2d", normal((3, 7, 6)), (4, 3), True),
    twin("unbatched-global", "adaptive_max_pool2d", normal((3, 7, 6)), 1, True),
]
for size in (1, (3, 4)):
    strewn, lowest = special((2, 3, 8, 7), np.nan, -np.inf), lambda rng: (np.full((2, 3, 5, 4), -np.inf),)
    ADAPTIVE_EXACT += [
        twin(f"nan-inf-{size}", "adaptive_max_pool2d", strewn, size, differentiable=0),
        twin(f"all-minus-inf-{size}", "adaptive_max_pool2d", lowest, size, True),
    ]


@both_dtypes
@table(ADAPTIVE)
def test_adaptive_max_pool2d(case, dtype):
    assert_same(case, dtype)


@table(ADAPTIVE_EXACT)
def test_adaptive_max_pool2d_of_ties_and_special_values(case):
    assert_same(case, "float64")


# ----------------------------------------------------------------------------------- flatten, activations, dropout

FLATTEN = [
    Case(
        f"{shape}-{start}-{end}",
        lambda x, start=start, end=end: flatten(x, start, end),
        lambda x, start=start, end=end: torch.flatten(x, start, end),
        normal(shape),
    )
    for shape, start, end in [
        ((3, 4, 5, 7), 1, -1),
        ((3, 4, 5, 7), 0, -1),
        ((3, 4, 5, 7), 1, 2),
        ((3, 4, 5, 7), -3, -2),
        ((3, 4, 5, 7), 2, 2),
        ((3, 4), 0, 1),
        ((3,), 0, -1),
        ((), 0, -1),
        ((3, 0, 5), 1, -1),
    ]
]


@both_dtypes
@table(FLATTEN)
def test_flatten(case, dtype):
    assert_same(case, dtype)


def points(*values: float) -> Draw:
    return lambda rng: (np.array(values),)


KINKS = (-np.inf, -2.5, -0.0, 0.0, 1e-30, 3.5, np.inf, np.nan)
ACTIVATIONS = [
    twin("relu", "relu", normal((5, 3, 2))),
    twin("relu-at-kinks", "relu", points(*KINKS)),
    twin("sigmoid", "sigmoid", normal((5, 3))),
    twin(
        "sigmoid-at-extremes", "sigmoid", points(-np.inf, -700.0, -80.0, -17.0, 0.0, 17.0, 37.0, 80.0, np.inf, np.nan)
    ),
]
for name in ("softmax", "log_softmax"):
    ACTIVATIONS += [twin(f"{name}-{dim}", name, normal((5, 3, 4)), dim=dim) for dim in (0, 1, -1)]
    ACTIVATIONS += [
        twin(f"{name}-vector", name, normal((7,)), dim=0),
        twin(f"{name}-far-apart", name, lambda rng: (rng.standard_normal((5, 3)) * 300.0,), dim=1),
        twin(f"{name}-large", name, lambda rng: (rng.standard_normal((5, 3)) + 1e4,), dim=1),
        twin(f"{name}-one-class", name, normal((5, 1)), dim=1),
        twin(f"{name}-minus-inf", name, points(1.0, -np.inf, 0.5), dim=0),
        twin(f"{name}-all-minus-inf", name, points(-np.inf, -np.inf), dim=0),
        twin(f"{name}-inf", name, points(1.0, np.inf, 0.5), dim=0),
        twin(f"{name}-nan", name, points(1.0, np.nan, 0.5), dim=0),
    ]


@both_dtypes
@table(ACTIVATIONS)
def test_activations(case, dtype):
    assert_same(case, dtype)


def dropout_case(function: str, shape: tuple[int, ...], p: float) -> Case:
    """Replay the masks of PyTorch's own generator: `seed` is what PyTorch draws from, `mask` what it drew."""
    kept = shape[:2] + (1,) * (len(shape) - 2) if function == "dropout2d" else shape

    def torch_fn(x: Any, mask: Any, seed: Any) -> Any:
        torch.manual_seed(int(seed))
        return getattr(TF, function)(x, p)

    def draw(rng: np.random.Generator) -> Arrays:
        seed = np.asarray(rng.integers(1, 1 << 30))
        ones = torch_fn(torch.ones(shape), None, seed).numpy() != 0
        return 0.3 + rng.standard_normal(shape), ones[tuple(slice(n) for n in kept)], seed

    def jax_fn(x: jax.Array, mask: jax.Array, seed: jax.Array) -> jax.Array:
        with nn.replay_masks([mask] if 0.0 < p < 1.0 else []):
            return getattr(F, function)(x, p)

    return Case(f"{function}-{shape}-{p}", jax_fn, torch_fn, draw)


DROPOUT = [dropout_case("dropout", shape, p) for shape in [(31,), (5, 3, 7, 4)] for p in (0.0, 0.1, 0.5, 0.83, 1.0)]
DROPOUT += [dropout_case("dropout2d", (5, 6, 3, 4), p) for p in (0.0, 0.1, 0.5, 1.0)]


@both_dtypes
@table(DROPOUT)
def test_dropout_with_replayed_masks(case, dtype):
    assert_same(case, dtype)


def test_dropout_keeps_nan_where_it_drops():
    x = np.array([np.nan, 1.0, np.nan, 2.0], np.float32)
    mask = np.array([False, False, True, True])
    for p, replayed in ((0.5, [jnp.asarray(mask)]), (1.0, [])):
        with nn.replay_masks(replayed):
            found = F.dropout(jnp.asarray(x), p)
        scale = torch.from_numpy(mask / (1 - p) if p < 1 else np.zeros(4)).float()
        np.testing.assert_array_equal(np.asarray(found), (torch.from_numpy(x) * scale).numpy())
