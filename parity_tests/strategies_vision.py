"""Random cases of interpolation and grid sampling."""

from typing import Any

from cases import Case, normal
from hypothesis import strategies as st
from test_nn_vision import INTERPOLATING, MODES, grid_draw, twin

from jaxport import nn

FACTORS = st.floats(0.3, 3.5).map(lambda f: round(f, 2)) | st.sampled_from([0.5, 1.0, 1.01, 2.0, 2.01, 3.0])


@st.composite
def geometry(draw: st.DrawFn, spatial: tuple[int, ...]) -> dict[str, Any]:
    axes = len(spatial)
    if draw(st.booleans()):
        return {"size": draw(st.integers(1, 9) | st.tuples(*[st.integers(1, 9)] * axes))}
    least = [1.0 / n for n in spatial]
    one = FACTORS.filter(lambda f: f >= max(least))
    each = st.tuples(*(FACTORS.filter(lambda f, low=low: f >= low) for low in least))
    return {"scale_factor": draw(one | each)}


def shapes(axes: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(st.integers(1, 2), st.integers(1, 3), *[st.integers(1, 6)] * axes)


@st.composite
def interpolate(draw: st.DrawFn, function: str = "interpolate") -> Case:
    axes = draw(st.integers(1, 3))
    shape, mode = draw(shapes(axes)), draw(st.sampled_from(MODES[axes]))
    options = draw(geometry(shape[2:])) | {"mode": mode}
    if function == "upsample" and mode == "lanczos":
        options["mode"] = mode = "bicubic"
    if mode in INTERPOLATING and mode != "lanczos":
        options["align_corners"] = draw(st.sampled_from([None, False, True]))
    if function == "interpolate":
        options["antialias"] = mode == "lanczos" or (mode in ("bilinear", "bicubic") and draw(st.booleans()))
        options["recompute_scale_factor"] = "size" not in options and draw(st.booleans())
    return twin(f"{shape}-{options}", function, normal(shape), **options)


@st.composite
def older(draw: st.DrawFn, function: str) -> Case:
    shape = draw(shapes(2))
    options = draw(geometry(shape[2:]))
    return twin(f"{function}-{shape}-{options}", function, normal(shape), **options)


@st.composite
def layer(draw: st.DrawFn, name: str) -> Case:
    import torch

    axes = draw(st.integers(1, 3)) if name == "Upsample" else 2
    shape = draw(shapes(axes))
    options = draw(geometry(shape[2:]))
    if name == "Upsample":
        options["mode"] = draw(st.sampled_from([mode for mode in MODES[axes] if mode != "lanczos"]))
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    return Case(f"{shape}-{ours!r}", ours, theirs, normal(shape))


@st.composite
def grid_sample(draw: st.DrawFn) -> Case:
    axes = draw(st.integers(2, 3))
    shape, points = draw(shapes(axes)), draw(st.tuples(*[st.integers(1, 4)] * axes))
    mode = draw(st.sampled_from(["bilinear", "nearest", "bicubic"][: 5 - axes]))
    options = {
        "mode": mode,
        "padding_mode": draw(st.sampled_from(["zeros", "border", "reflection"])),
        "align_corners": draw(st.booleans()),
    }
    reach = draw(st.sampled_from([0.9, 1.6, 7.0]))
    return twin(f"{shape}-{points}-{reach}-{options}", "grid_sample", grid_draw(shape, points, reach), **options)


@st.composite
def affine_grid(draw: st.DrawFn) -> Case:
    axes, align = draw(st.integers(2, 3)), draw(st.booleans())
    # PyTorch warns of one element in an axis with aligned corners.
    size = draw(st.tuples(st.integers(1, 3), st.integers(1, 3), *[st.integers(2 if align else 1, 5)] * axes))
    return twin(f"{size}-{align}", "affine_grid", normal((size[0], axes, axes + 1)), size, align)


STRATEGIES = {
    "interpolate": interpolate(),
    "upsample": interpolate("upsample"),
    "upsample_nearest": older("upsample_nearest"),
    "upsample_bilinear": older("upsample_bilinear"),
    "Upsample": layer("Upsample"),
    "UpsamplingNearest2d": layer("UpsamplingNearest2d"),
    "UpsamplingBilinear2d": layer("UpsamplingBilinear2d"),
    "grid_sample": grid_sample(),
    "affine_grid": affine_grid(),
}
