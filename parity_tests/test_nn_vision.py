"""Interpolation and grid sampling against PyTorch's: values and gradients, in float64 and float32."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from cases import Arrays, Case, all_pairs, assert_same, both_dtypes, label, normal, table

import jaxport.nn.functional as F
from jaxport import nn

torch = pytest.importorskip("torch")
TF = torch.nn.functional
Draw = Callable[[np.random.Generator], Arrays]

# PyTorch warns that upsample and its kin are deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`nn.functional.upsample")


def twin(id: str, function: str, draw: Draw, *args: Any, differentiable: int | None = None, **kwargs: Any) -> Case:
    """Make a case of the functions called `function` on both sides, with these options."""
    return Case(
        id,
        lambda *arrays: getattr(F, function)(*arrays, *args, **kwargs),
        lambda *arrays: getattr(TF, function)(*arrays, *args, **kwargs),
        draw,
        differentiable,
    )


# --------------------------------------------------------------------------------------------------- interpolation

SHAPES = {1: (2, 3, 7), 2: (2, 3, 5, 8), 3: (2, 1, 3, 5, 4)}
# By axes: sizes that grow, shrink, stay, become one; factors whole, broken, near 1, for one axis other than for the next.
GEOMETRY: dict[int, list[dict[str, Any]]] = {
    1: [{"size": m} for m in (1, 3, 7, 14, 23)] + [{"scale_factor": s} for s in (0.3, 1.05, 2.0, 2.1, 2.7, (1.7,))],
    2: [{"size": s} for s in (4, (3, 11), (10, 16), (1, 5), (5, 8), (5, 3))]
    + [{"scale_factor": s} for s in (0.6, 1.1, 2.0, 2.05, (1.7, 0.45), (3.0, 1.05), (1.05, 1.05))],
    3: [{"size": s} for s in (3, (2, 7, 4), (1, 1, 1))] + [{"scale_factor": s} for s in (0.5, 1.3, (2.0, 0.7, 1.1))],
}
MODES = {1: ["nearest", "nearest-exact", "linear", "area"], 3: ["nearest", "nearest-exact", "trilinear", "area"]}
MODES[2] = ["nearest", "nearest-exact", "bilinear", "bicubic", "area", "lanczos"]
INTERPOLATING = ("linear", "bilinear", "bicubic", "trilinear", "lanczos")


def _valid(row: dict[str, Any]) -> bool:
    aligned, smooth, mode = row["align_corners"], row["antialias"], row["mode"]
    if row["recompute_scale_factor"] and "size" in row["geometry"]:
        return False
    if mode == "lanczos" and (aligned or not smooth):
        return False
    return (aligned is None or mode in INTERPOLATING) and (not smooth or mode in ("bilinear", "bicubic", "lanczos"))


def _interpolate_case(axes: int, row: dict[str, Any]) -> Case:
    options = {name: value for name, value in row.items() if name != "geometry"} | row["geometry"]
    return twin(f"{axes}-{label(options)}", "interpolate", normal(SHAPES[axes]), **options)


INTERPOLATE = [
    _interpolate_case(axes, row)
    for axes in (1, 2, 3)
    for row in all_pairs(
        {
            "mode": MODES[axes],
            "geometry": GEOMETRY[axes],
            "align_corners": [None, False, True],
            "recompute_scale_factor": [None, True],
            "antialias": [False, True] if axes == 2 else [False],
        },
        _valid,
    )
]
# Many taps, where the sum is taken over an axis of its own, in the output or in the gradient.
INTERPOLATE += [
    twin("shrink-area", "interpolate", normal((2, 1, 40, 3)), (2, 2), mode="area"),
    twin("shrink-antialias", "interpolate", normal((2, 1, 60, 3)), (3, 2), mode="bicubic", antialias=True),
    twin("grow-linear", "interpolate", normal((2, 1, 3)), 50, mode="linear"),
    twin("grow-bicubic", "interpolate", normal((2, 1, 2, 3)), (40, 5), mode="bicubic"),
    twin("one-pixel", "interpolate", normal((2, 1, 1, 1)), (4, 3), mode="bilinear", align_corners=True),
    twin("no-images", "interpolate", normal((0, 2, 3, 4)), (4, 3), mode="bilinear"),
]
PLAIN = [
    twin("upsample", "upsample", normal((2, 3, 4, 5)), None, 1.7, "bilinear", True),
    twin("upsample_nearest", "upsample_nearest", normal((2, 3, 4, 5)), (3, 7)),
    twin("upsample_bilinear", "upsample_bilinear", normal((2, 3, 4, 5)), None, (1.7, 0.6)),
    twin("nan-and-inf-nearest", "interpolate", lambda rng: (np.array([[[1.0, np.nan, np.inf, 2.0]]]),), 6),
    twin("nan-linear", "interpolate", lambda rng: (np.array([[[1.0, np.nan, 3.0, 2.0, 5.0]]]),), 9, mode="linear"),
    twin("inf-shrunk", "interpolate", lambda rng: (np.array([[[1.0, np.inf, 3.0, 2.0, 5.0]]]),), 2, mode="area"),
    Case(
        "whole-numbers",
        lambda x: F.interpolate(x, 7),
        lambda x: TF.interpolate(x, 7),
        lambda rng: (rng.integers(0, 9, (2, 3, 4)).astype(np.uint8),),
    ),
]


@table(INTERPOLATE)
def test_interpolate_over_its_options(case):
    assert_same(case, "float64")


@table([case for number, case in enumerate(INTERPOLATE) if number % 3 == 0 or "antialias=True" in case.id])
def test_interpolate_in_single_precision(case):
    assert_same(case, "float32")


@both_dtypes
@table(PLAIN)
def test_interpolate(case, dtype):
    assert_same(case, dtype)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_takes_pytorch_s_pixel_at_every_size(mode):
    """A rounding decides which pixel is the nearest: all sizes, both precisions, positions and gradients."""
    from jaxport.nn import interpolate_tables as tables

    names = ("nearest", "nearest_gradient") if mode == "nearest" else ("nearest_exact", "nearest_exact_gradient")
    forward, gradient = (getattr(tables, name) for name in names)
    for size, (real, dtype) in itertools.product(
        range(1, 40), ((np.float32, torch.float32), (np.float64, torch.float64))
    ):
        x = torch.arange(size, dtype=dtype)[None, None].requires_grad_()
        for output, factor in [(m, None) for m in range(1, 60, 3)] + [
            (int(size * f), f) for f in (0.7, 1.02, 2.01, 2.9)
        ]:
            if output < 1:
                continue
            options = {"size": output} if factor is None else {"scale_factor": factor}
            y = TF.interpolate(x, mode=mode, **options)
            assert y[0, 0].tolist() == forward(size, output, factor, real)[0][:, 0].tolist()
            (slope,) = torch.autograd.grad(y, x, 2.0 ** (torch.arange(output) % 20)[None, None].to(dtype))
            wanted = np.zeros(size)
            np.add.at(wanted, gradient(size, output, factor)[0][:, 0], 2.0 ** (np.arange(output) % 20))
            assert slope[0, 0].tolist() == wanted.tolist()


LAYERS = [
    ("Upsample", (), {"scale_factor": 2}),
    ("Upsample", (), {"scale_factor": (2, 1.5), "mode": "bilinear", "align_corners": True}),
    ("Upsample", ((3, 7),), {"mode": "bicubic"}),
    ("Upsample", (), {"scale_factor": 1.7, "mode": "bilinear", "recompute_scale_factor": True}),
    ("UpsamplingNearest2d", (), {"scale_factor": 2}),
    ("UpsamplingNearest2d", (6,), {}),
    ("UpsamplingBilinear2d", (), {"scale_factor": (1.5, 2)}),
    ("UpsamplingBilinear2d", ((6, 3),), {}),
]


@pytest.mark.parametrize(("name", "args", "options"), LAYERS, ids=str)
def test_layers(name, args, options):
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    for attribute in ("name", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor"):
        assert getattr(ours, attribute) == getattr(theirs, attribute)
    assert_same(Case(repr(ours), ours, theirs, normal((2, 3, 4, 5))), "float64")


# --------------------------------------------------------------------------------------------------- grid sampling


def grid_draw(image: tuple[int, ...], points: tuple[int, ...], reach: float = 1.6) -> Draw:
    """Draw an image and a grid that also reaches outside it."""
    return lambda rng: (
        0.3 + rng.standard_normal(image),
        rng.uniform(-reach, reach, (image[0], *points, len(image) - 2)),
    )


GRIDS = {2: ((2, 3, 5, 4), (3, 6)), 3: ((2, 2, 3, 5, 4), (2, 3, 2))}
GRID_SAMPLE = [
    twin(
        f"{axes}-{mode}-{padding}-{align}",
        "grid_sample",
        grid_draw(*GRIDS[axes]),
        mode=mode,
        padding_mode=padding,
        align_corners=align,
    )
    for axes, mode, padding, align in itertools.product(
        (2, 3), ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (False, True)
    )
    if axes == 2 or mode != "bicubic"
]


def whole_places(n: int, align: bool) -> list[float]:
    """Coordinates of the elements, of their edges and of what lies as far outside, exact in binary."""
    span = (n - 1) if align else n
    return [2.0 * k / span - 1.0 for k in range(-2 * span, 3 * span + 1)] + [
        2.0 * (k + 0.5) / span - 1.0 for k in range(-span, 2 * span)
    ]


def kinks(mode: str, padding: str, align: bool) -> Case:
    """Sample exactly at elements, edges and reflections of a 5 × 5 (4 × 4) image, where every rule has its kink."""
    n = 5 if align else 4
    places = whole_places(n, align)

    def draw(rng: np.random.Generator) -> Arrays:
        grid = np.stack([rng.permutation(places), rng.permutation(places)], -1)
        return 0.3 + rng.standard_normal((1, 2, n, n)), grid[None, None]

    options = {"mode": mode, "padding_mode": padding, "align_corners": align}
    return twin(f"kinks-{mode}-{padding}-{align}", "grid_sample", draw, **options)


MODES_2D = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")
KINKS = [kinks(mode, padding, align) for mode, padding, align in itertools.product(MODES_2D, PADDINGS, (False, True))]
GRID_EDGES = [
    twin(f"{name}-{mode}-{padding}-{align}", "grid_sample", draw, mode=mode, padding_mode=padding, align_corners=align)
    for name, draw in {
        "one-pixel": grid_draw((2, 3, 1, 1), (2, 3)),
        "one-row": grid_draw((2, 3, 1, 4), (2, 3)),
        "far": grid_draw((2, 3, 3, 4), (2, 3), 40.0),
    }.items()
    for mode, padding, align in [
        ("bilinear", "reflection", True),
        ("bicubic", "reflection", False),
        ("bilinear", "border", True),
    ]
]
AFFINE = [
    twin(f"{size}-{align}", "affine_grid", normal((2, len(size) - 2, len(size) - 1)), size, align)
    for size in [(2, 3, 4, 5), (2, 1, 3, 2), (2, 1, 1, 4), (2, 3, 2, 4, 3)]
    for align in (False, True)
    if not (align and 1 in size[2:])
]


@table(GRID_SAMPLE + GRID_EDGES)
def test_grid_sample(case):
    assert_same(case, "float64")


@table(KINKS)
def test_grid_sample_at_its_kinks(case):
    assert_same(case, "float64")


@table(GRID_SAMPLE[::2])
def test_grid_sample_in_single_precision(case):
    assert_same(case, "float32")


@both_dtypes
@table(AFFINE)
def test_affine_grid(case, dtype):
    assert_same(case, dtype)


def curvature(id: str, jax_fn: Callable[..., Any], torch_fn: Callable[..., Any], draw: Draw) -> Case:
    """Return H v of f = Σ y³ in the last array but one, forward over reverse in JAX, reverse twice in PyTorch."""

    def ours(*arrays: jax.Array) -> jax.Array:
        *given, x, v = arrays
        return jax.jvp(jax.grad(lambda x: (jax_fn(*given, x) ** 3).sum()), (x,), (v,))[1]

    def theirs(*tensors: Any) -> Any:
        *given, x, v = tensors
        (slope,) = torch.autograd.grad((torch_fn(*given, x.requires_grad_()) ** 3).sum(), x, create_graph=True)
        return torch.autograd.grad((slope * v).sum(), x)[0]

    return Case(id, ours, theirs, draw, 0)


CURVATURE = [
    curvature(
        str(options),
        lambda x, options=options: F.interpolate(x, **options),
        lambda x, options=options: TF.interpolate(x, **options),
        normal((2, 3, 4, 5), (2, 3, 4, 5)),
    )
    for options in (
        {"scale_factor": 1.7, "mode": "bilinear"},
        {"size": (3, 7), "mode": "bicubic", "align_corners": True},
        {"size": 2, "mode": "bilinear", "antialias": True},
        {"scale_factor": 2.0},
    )
]


@table(CURVATURE)
def test_second_derivatives(case):
    assert_same(case, "float64")
