"""Convolutions of one and three dimensions, transposed ones, fold and unfold against PyTorch's; conv2d is elsewhere."""

from typing import Any

import jax
import numpy as np
import pytest
from cases import Case, all_pairs, assert_same, both_dtypes, label, normal, table
from test_nn_layers import curvature, twin

import jaxport.nn.functional as F
from jaxport import nn
from jaxport.interop import load_state_dict
from jaxport.parity.tolerances import SAME_SUMS_RTOL

torch = pytest.importorskip("torch")
TF = torch.nn.functional

SIZES = {1: (9,), 2: (5, 7), 3: (4, 3, 5)}
KERNELS = {1: [(3,), (2,), (1,)], 2: [(3, 2), (2, 3), (1, 1)], 3: [(2, 3, 1), (1, 1, 1), (3, 2, 2)]}


def with_weight(id: str, function: str, image: Any, weight: Any, bias: int | None, **options: Any) -> Case:
    shapes = [image, weight, *([] if bias is None else [(bias,)])]
    return twin(id, function, normal(*shapes), *((None,) if bias is None else ()), **options)


def conv_case(id: str, ndim: int, *, image: Any, weight: Any, bias: bool = True, **options: Any) -> Case:
    return with_weight(id, f"conv{ndim}d", image, weight, weight[0] if bias else None, **options)


def transpose_case(
    id: str, ndim: int, *, image: Any, weight: Any, bias: bool = True, groups: int = 1, **options: Any
) -> Case:
    features = weight[1] * groups if bias else None
    return with_weight(id, f"conv_transpose{ndim}d", image, weight, features, groups=groups, **options)


def options_of(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}


# ----------------------------------------------------------------------------------------------------- convolution

CONV_OPTIONS = {
    "stride": [1, 2, "axes"],
    "padding": [0, 1, "axes", "same", "valid"],
    "dilation": [1, 2],
    "groups": [1, 2, 6],
    "bias": [True, False],
    "channels": [6, 36],
    "batch": [(2,), (), (9,)],  # the weight gradients of few images and of many are computed in two forms
}
PER_AXIS = {1: (3,), 2: (3, 2), 3: (1, 3, 2)}


def _conv_row(ndim: int, kernel: tuple[int, ...], row: dict[str, Any]) -> Case:
    options = options_of(row, "stride", "padding", "dilation", "groups")
    options = {name: PER_AXIS[ndim] if value == "axes" else value for name, value in options.items()}
    size = tuple(n + 2 for n in SIZES[ndim])
    image, weight = (*row["batch"], row["channels"], *size), (6, row["channels"] // row["groups"], *kernel)
    return conv_case(f"{ndim}d-{kernel}-{label(row)}", ndim, image=image, weight=weight, bias=row["bias"], **options)


CONV_GRID = [
    _conv_row(ndim, KERNELS[ndim][number % 3], row)
    for ndim in (1, 3)
    for number, row in enumerate(all_pairs(CONV_OPTIONS, lambda row: row["padding"] != "same" or row["stride"] == 1))
]
CONV = [
    conv_case("1d-stride-2-even-size", 1, image=(2, 3, 8), weight=(4, 3, 3), stride=2, padding=1),
    conv_case("1d-stride-leaves-a-rest", 1, image=(2, 12, 12), weight=(4, 12, 3), stride=4),
    conv_case("1d-stride-larger-than-kernel", 1, image=(2, 3, 11), weight=(4, 3, 2), stride=3),
    conv_case("1d-depthwise-multiplied", 1, image=(2, 3, 9), weight=(6, 1, 3), groups=3, stride=2, padding=1),
    conv_case("1d-long-sums", 1, image=(2, 301, 5), weight=(4, 301, 3), padding=1),
    conv_case("1d-many-positions", 1, image=(1, 40, 3001), weight=(2, 40, 1)),
    conv_case("2d-one-channel", 2, image=(3, 1, 9, 8), weight=(4, 1, 5, 5), padding=(2, 1), stride=(1, 2)),
    conv_case("1d-empty-batch", 1, image=(0, 3, 9), weight=(4, 3, 3)),
    conv_case("2d-tiles", 2, image=(2, 12, 6, 9), weight=(4, 12, 2, 3), stride=(2, 3)),
    conv_case("2d-tiles-with-a-rest", 2, image=(2, 12, 7, 11), weight=(4, 12, 2, 3), stride=(2, 3)),
    conv_case("2d-pointwise", 2, image=(2, 37, 5, 7), weight=(4, 37, 1, 1), dilation=2),
    conv_case("2d-depthwise-dilated", 2, image=(2, 3, 7, 9), weight=(3, 1, 3, 2), groups=3, dilation=(2, 1), stride=2),
    conv_case("2d-grouped-many", 2, image=(2, 24, 6, 5), weight=(4, 12, 3, 2), groups=2, stride=2, padding=1),
    conv_case("3d-stride-2-even-size", 3, image=(2, 3, 4, 6, 8), weight=(4, 3, 3, 3, 3), stride=2, padding=1),
    conv_case("3d-kernel-as-large-as-input", 3, image=(2, 3, 4, 3, 5), weight=(2, 3, 4, 3, 5)),
    conv_case("3d-depthwise", 3, image=(2, 3, 4, 5, 3), weight=(6, 1, 2, 3, 1), groups=3, padding=1, stride=2),
    conv_case("3d-empty-batch", 3, image=(0, 3, 4, 5, 3), weight=(2, 3, 2, 2, 2)),
]

# ------------------------------------------------------------------------------------------ transposed convolution

TRANSPOSE_OPTIONS = {
    "stride": [1, 2, "axes"],
    "padding": [0, 1, 2],
    "output_padding": [0, 1],
    "dilation": [1, 2],
    "groups": [1, 2, 6],
    "bias": [True, False],
    "batch": [(2,), (), (9,)],  # the weight gradients of few images and of many are computed in two forms
}


def _transpose_row(ndim: int, kernel: tuple[int, ...], row: dict[str, Any]) -> Case:
    options = options_of(row, "stride", "padding", "output_padding", "dilation", "groups")
    if options["stride"] == "axes":
        options["stride"] = (3, 2, 3)[:ndim]
    image, weight = (*row["batch"], 6, *(n + 1 for n in SIZES[ndim])), (6, 4, *kernel)
    return transpose_case(
        f"{ndim}d-{kernel}-{label(row)}", ndim, image=image, weight=weight, bias=row["bias"], **options
    )


def _room(row: dict[str, Any]) -> bool:
    """Whether output_padding is allowed, and something is left after cropping whatever the kernel."""
    return (row["output_padding"] == 0 or row["stride"] != 1 or row["dilation"] == 2) and (
        row["padding"] != 2 or row["stride"] != 1
    )


TRANSPOSE_GRID = [
    _transpose_row(ndim, KERNELS[ndim][number % 2 - 2 if ndim == 3 else number % 2], row)
    for ndim in (1, 2, 3)
    for number, row in enumerate(all_pairs(TRANSPOSE_OPTIONS, _room))
]
TRANSPOSE = [
    transpose_case("2d-upsample-tiles", 2, image=(2, 5, 3, 4), weight=(5, 3, 2, 2), stride=2),
    transpose_case("2d-tiles-and-more", 2, image=(2, 5, 3, 4), weight=(5, 3, 2, 3), stride=(2, 3), output_padding=1),
    transpose_case(
        "2d-kernel-3-doubles", 2, image=(2, 5, 3, 4), weight=(5, 3, 3, 3), stride=2, padding=1, output_padding=1
    ),
    transpose_case("2d-kernel-not-symmetric", 2, image=(2, 5, 4, 3), weight=(5, 3, 2, 3)),
    transpose_case("2d-dilated", 2, image=(2, 5, 4, 3), weight=(5, 3, 2, 3), dilation=(3, 2), stride=2),
    transpose_case(
        "2d-output-padding-beyond-stride", 2, image=(2, 5, 4, 3), weight=(5, 3, 2, 2), dilation=3, output_padding=2
    ),
    transpose_case("2d-grouped", 2, image=(2, 6, 4, 3), weight=(6, 2, 2, 3), groups=3, stride=2),
    transpose_case("2d-depthwise", 2, image=(2, 6, 4, 3), weight=(6, 1, 3, 2), groups=6, stride=2, padding=1),
    transpose_case("2d-depthwise-multiplied", 2, image=(2, 3, 4, 3), weight=(3, 2, 3, 2), groups=3, stride=(2, 1)),
    transpose_case("2d-crops-more-than-the-kernel", 2, image=(2, 3, 9, 8), weight=(3, 2, 2, 2), padding=3),
    transpose_case("2d-empty-batch", 2, image=(0, 3, 4, 3), weight=(3, 2, 2, 2)),
    transpose_case("1d-stride-larger-than-kernel", 1, image=(2, 3, 5), weight=(3, 4, 2), stride=4, output_padding=3),
    transpose_case("1d-long-sums", 1, image=(2, 301, 5), weight=(301, 4, 3), stride=2),
    transpose_case("3d-upsample-tiles", 3, image=(2, 5, 3, 2, 4), weight=(5, 3, 2, 2, 2), stride=2),
    transpose_case(
        "3d-one-dimension-of-options", 3, image=(5, 3, 2, 4), weight=(5, 3, 2, 2, 2), stride=(2,), padding=(1,)
    ),
]

# ---------------------------------------------------------------------------------------------------- fold, unfold

BLOCK_OPTIONS = {
    "kernel": [2, (2, 3), (3, 1), 1],
    "dilation": [1, 2, (1, 2)],
    "padding": [0, 1, (2, 1)],
    "stride": [1, 2, (3, 2)],
    "batch": [(2,), ()],
}


def unfold_case(id: str, image: tuple[int, ...], kernel: Any, **options: Any) -> Case:
    return twin(id, "unfold", normal(image), kernel, **options)


def fold_case(id: str, image: tuple[int, ...], kernel: Any, **options: Any) -> Case:
    blocks = jax.eval_shape(lambda x: F.unfold(x, kernel, **options), jax.ShapeDtypeStruct(image, np.float32))
    return twin(id, "fold", normal(blocks.shape), image[-2:], kernel, **options)


BLOCKS = [
    make(f"{make.__name__}-{label(row)}", (*row["batch"], 3, 6, 7), row["kernel"], **options_of(row, *list(row)[1:4]))
    for make in (unfold_case, fold_case)
    for row in all_pairs(BLOCK_OPTIONS, lambda row: True)
]
BLOCKS += [make(f"{make.__name__}-empty", (0, 3, 6, 7), 2) for make in (unfold_case, fold_case)]
BLOCKS += [make(f"{make.__name__}-overlap", (2, 3, 5, 4), 2, padding=1) for make in (unfold_case, fold_case)]
TIME_FIRST = [twin(f"conv_tbc-{pad}", "conv_tbc", normal((7, 2, 3), (3, 3, 5), (5,)), pad) for pad in (0, 1, 4, -1)] + [
    twin("conv_tbc-nothing-left", "conv_tbc", normal((2, 2, 3), (3, 3, 5), (5,)))
]

EXACT = [
    curvature("conv1d", "conv1d", normal((2, 3, 7), (4, 3, 3), (4,), (2, 3, 7)), stride=2, padding=1),
    curvature(
        "conv3d-weight", "conv3d", normal((2, 3, 3, 4, 5), (2, 3, 2, 2, 3), (2,), (2, 3, 2, 2, 3)), by=1, padding=1
    ),
    curvature("transposed", "conv_transpose2d", normal((2, 3, 4, 5), (3, 4, 3, 2), (4,), (2, 3, 4, 5)), stride=2),
    curvature(
        "transposed-weight", "conv_transpose2d", normal((2, 3, 4, 5), (3, 4, 3, 2), (4,), (3, 4, 3, 2)), by=1, stride=2
    ),
    curvature("depthwise", "conv2d", normal((2, 3, 4, 5), (3, 1, 3, 2), (3,), (2, 3, 4, 5)), groups=3, stride=2),
    curvature("grouped-weight", "conv2d", normal((2, 4, 4, 5), (4, 2, 3, 2), (4,), (4, 2, 3, 2)), by=1, groups=2),
    curvature("fold", "fold", normal((1, 8, 6), (1, 8, 6)), (3, 4), 2),
]


# PyTorch warns that an even total of 'same' padding is copied; the numbers are the same.
@pytest.mark.filterwarnings("ignore:Using padding='same'")
@table([*CONV_GRID, *TRANSPOSE_GRID, *BLOCKS, *TIME_FIRST])
def test_options(case):
    assert_same(case, "float64")


@both_dtypes
@table([*CONV, *TRANSPOSE])
def test_shapes(case, dtype):
    assert_same(case, dtype)


@table(EXACT)
def test_second_derivatives(case):
    assert_same(case, "float64")


# --------------------------------------------------------------------------------------------------------- modules

MODULES: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Conv1d", (4, 6, 3), {}, (2, 4, 9)),
    ("Conv1d", (4, 6, 3, 2, 1, 2, 2, False), {}, (4, 9)),
    ("Conv1d", (4, 6, (3,)), {"padding": 2, "padding_mode": "reflect"}, (2, 4, 9)),
    ("Conv1d", (4, 6, 4), {"padding": "same", "padding_mode": "circular"}, (4, 9)),
    ("Conv3d", (4, 6, (2, 3, 1)), {"stride": (1, 2, 1), "groups": 2}, (2, 4, 4, 5, 3)),
    ("Conv3d", (4, 6, 2), {"padding": (2, 1, 3), "padding_mode": "replicate"}, (2, 4, 4, 5, 3)),
    ("Conv3d", (4, 6, 2), {"padding": (2, 1, 2), "padding_mode": "reflect"}, (4, 4, 5, 3)),
    ("Conv3d", (4, 6, 2), {"padding": (4, 0, 3), "padding_mode": "circular"}, (2, 4, 4, 5, 3)),
    ("ConvTranspose1d", (4, 6, 3, 2, 1, 1, 2, False, 2), {}, (2, 4, 5)),
    ("ConvTranspose2d", (4, 6, (3, 2)), {"stride": (2, 1), "dilation": (1, 3), "padding": 1}, (2, 4, 5, 3)),
    ("ConvTranspose3d", (4, 6, 2, (2, 1, 3)), {"output_padding": (1, 0, 2)}, (4, 3, 2, 3)),
    ("Unfold", (2,), {"padding": (1, 2), "stride": 2}, (2, 4, 5, 6)),
    ("Fold", ((3, 4), 2), {}, (2, 8, 6)),
]


def both_outputs(theirs: Any, ours: nn.Module, shape: tuple[int, ...], **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Give both the same weights, in float64, and return their outputs."""
    state = {key: value.numpy() for key, value in theirs.double().state_dict().items()}
    assert [(key, v.shape) for key, v in ours.named_parameters()] == [(key, v.shape) for key, v in state.items()]
    x = np.random.default_rng(0).standard_normal(shape)
    with jax.enable_x64(True):
        load_state_dict(ours.to(np.float64), state)
        found = np.asarray(ours(jax.numpy.asarray(x), **options))
    return found, theirs(torch.from_numpy(x), **options).detach().numpy()


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(
    ("name", "args", "kwargs", "shape"), MODULES, ids=[f"{m[0]}-{i}" for i, m in enumerate(MODULES)]
)
def test_module(name, args, kwargs, shape):
    theirs = getattr(torch.nn, name)(*args, **kwargs)
    ours = getattr(nn, name)(*args, **kwargs, **({"rngs": 0} if "Conv" in name else {}))
    assert repr(ours) == repr(theirs)
    for attribute in vars(theirs):
        if not attribute.startswith("_"):
            assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
    found, wanted = both_outputs(theirs, ours, shape)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= SAME_SUMS_RTOL


@pytest.mark.parametrize("size", [(9, 7), (10, 8), (2, 6, 10, 7)])
def test_output_size(size):
    found, wanted = both_outputs(
        torch.nn.ConvTranspose2d(4, 6, 3, 2, 1),
        nn.ConvTranspose2d(4, 6, 3, 2, 1, rngs=0),
        (2, 4, 5, 4),
        output_size=size,
    )
    assert found.shape == wanted.shape == (2, 6, *size[-2:])
    assert np.abs(found - wanted).max() <= SAME_SUMS_RTOL


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("Conv1d", (40, 300, 5)),
        ("Conv3d", (8, 60, 3)),
        ("ConvTranspose1d", (40, 300, 5)),
        ("ConvTranspose2d", (64, 30, 3)),
    ],
)
def test_initial_values_have_pytorch_s_range(name, args):
    torch.manual_seed(0)
    theirs, ours = getattr(torch.nn, name)(*args), getattr(nn, name)(*args, rngs=0)
    for key, variable in ours.named_parameters():
        wanted = dict(theirs.named_parameters())[key].detach().numpy()
        values = np.asarray(variable[...])
        # Uniform: the largest of many is the bound, but for a few per cent.
        assert np.abs(values).max() == pytest.approx(np.abs(wanted).max(), rel=0.08)
        assert values.std() == pytest.approx(wanted.std(), rel=0.15)
