"""The pooling family against PyTorch: every function over its options, ties, NaN, padding and odd sizes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Arrays, Case, all_pairs, assert_same, both_dtypes, findings32, label, normal, table
from test_nn_layers import Draw, special, ties, twin

import jaxport.nn.functional as F
from jaxport import nn
from jaxport.parity.tolerances import HALF_FLOOR

torch = pytest.importorskip("torch")
TF = torch.nn.functional

# Images with (batch, channels, depth, height, width) all different.
IMAGE = (2, 3, 6, 7, 9)


def image(dims: int, batched: bool = True) -> tuple[int, ...]:
    return (*(IMAGE[:2] if batched else IMAGE[1:2]), *IMAGE[5 - dims :])


def fits(row: dict[str, Any]) -> bool:
    """Whether padding is at most half the kernel."""
    kernel, padding = np.broadcast_to(row["kernel_size"], 3), np.broadcast_to(row["padding"], 3)
    return bool((2 * padding <= kernel).all())


def options(row: dict[str, Any], dims: int) -> dict[str, Any]:
    """Cut options given for three axes to `dims`."""
    kept = {name: value for name, value in row.items() if name != "batched"}
    return {name: value[-dims:] if isinstance(value, tuple) else value for name, value in kept.items()}


# ----------------------------------------------------------------------------------------------------- max pooling

MAX_OPTIONS = {
    "kernel_size": [2, 3, (2, 3, 2)],
    "stride": [None, 1, (1, 2, 3)],
    "padding": [0, 1, (1, 0, 1)],
    "dilation": [1, 2, (2, 1, 2)],
    "ceil_mode": [False, True],
    "return_indices": [False, True],
    "batched": [True, False],
}
MAX_ROWS = all_pairs(MAX_OPTIONS, fits)
MAX = [
    twin(f"{dims}-{label(row)}-{kind}", f"max_pool{dims}d", draw(*image(dims, row["batched"])), **options(row, dims))
    for dims in (1, 3)
    for row in MAX_ROWS
    for kind, draw in {"ties": ties, "nan": lambda *shape: special(shape, np.nan, -np.inf, np.inf)}.items()
]
MAX += [
    twin(f"{dims}-with-indices", f"max_pool{dims}d_with_indices", ties(*image(dims)), 3, 2, 1) for dims in (1, 2, 3)
]
MAX += [
    twin("one-window", "max_pool3d", ties(2, 3, 4, 3, 5), (4, 3, 5), return_indices=True),
    twin("one-window-nan", "max_pool2d", special((2, 3, 5, 4), np.nan), (5, 4), return_indices=True),
    twin("long-tiles", "max_pool2d", ties(2, 3, 22, 31), (11, 10)),
    twin("long-tiles-nan", "max_pool2d", special((2, 3, 22, 31), np.nan, -np.inf), (11, 10)),
    twin("one-number-tuples", "max_pool2d", ties(2, 3, 7, 8), (3,), (2,), (1,), (1,)),
    twin("empty-batch", "max_pool2d", normal((0, 3, 7, 8)), 3, 2, return_indices=True),
    Case(
        "integers",
        lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True),
        lambda x: TF.max_pool2d(x, 3, 2, 1, return_indices=True),
        lambda rng: (rng.integers(-9, 9, (2, 3, 7, 8)),),
    ),
    Case(
        "second-derivative",
        lambda x: jax.grad(lambda x: (F.max_pool2d(x**3, 3, 2, 1) ** 2).sum())(x),
        lambda x: torch.autograd.grad((TF.max_pool2d(x**3, 3, 2, 1) ** 2).sum(), x, create_graph=True)[0],
        ties(2, 3, 7, 6),
    ),
    Case(
        "second-derivative-of-the-whole",
        lambda x: jax.grad(lambda x: (F.adaptive_max_pool2d(x**3, 1) ** 2).sum())(x),
        lambda x: torch.autograd.grad((TF.adaptive_max_pool2d(x**3, 1) ** 2).sum(), x, create_graph=True)[0],
        ties(2, 3, 7, 6),
    ),
]


@table(MAX)
def test_max_pool(case):
    assert_same(case, "float64")


# ------------------------------------------------------------------------------------------------- average pooling

AVG_OPTIONS = {
    "kernel_size": [2, 3, (2, 3, 2)],
    "stride": [None, 1, (1, 2, 3)],
    "padding": [0, 1, (1, 0, 1)],
    "ceil_mode": [False, True],
    "count_include_pad": [True, False],
    "divisor_override": [None, 5, -3],
    "batched": [True, False],
}


def avg_case(dims: int, row: dict[str, Any]) -> Case:
    chosen = options(row, dims)
    if dims == 1:
        del chosen["divisor_override"]
    return twin(f"{dims}-{label(row)}", f"avg_pool{dims}d", normal(image(dims, row["batched"])), **chosen)


AVG = [avg_case(dims, row) for dims in (1, 2, 3) for row in all_pairs(AVG_OPTIONS, fits)]
# Where the last window is cut, its count matters: sizes that leave different rests.
AVG += [
    twin(f"rest-{size}-{k}-{s}-{p}-{pad}", "avg_pool1d", normal((2, 3, size)), k, s, p, True, pad)
    for size in (5, 6, 7)
    for k, s, p in ((3, 2, 1), (4, 3, 2), (2, 3, 1), (2, 4, 0))
    for pad in (True, False)
]
AVG += [
    twin("nan-and-inf", "avg_pool2d", special((2, 3, 8, 7), np.nan, np.inf, -np.inf, share=0.1), 3, 2, 1),
    twin("whole", "avg_pool3d", normal((2, 3, 4, 3, 5)), (4, 3, 5)),
    twin("large", "avg_pool2d", lambda rng: (1e4 + rng.standard_normal((2, 3, 21, 24)),), 7, 7),
    twin("empty-batch", "avg_pool2d", normal((0, 3, 7, 8)), 3, 2),
    twin("empty-stride", "avg_pool2d", normal((2, 3, 7, 8)), 3, ()),
]


@both_dtypes
@table(AVG)
def test_avg_pool(case, dtype):
    if dtype == "float64" or not case.id.startswith("rest"):
        assert_same(case, dtype)


# ------------------------------------------------------------------------------------------------ adaptive pooling

# On axes of 6, 7 and 9, in this order: whole, divisible, overlapping windows, more windows than elements, and axes
# left alone.
ADAPTIVE_SIZES = {
    1: [1, 3, 4, (5,), 9, 13],
    2: [1, (7, 3), (3, 4), (None, 2), (None, None), (8, 11)],
    3: [1, (3, 7, 2), (4, 3, 5), (None, 3, None), (7, 8, 10), [2, 2, 2]],
}
ADAPTIVE = [
    twin(f"{kind}-{dims}-{size}-{batched}", f"adaptive_{kind}_pool{dims}d", normal(image(dims, batched)), size)
    for kind in ("avg", "max")
    for dims, wanted in ADAPTIVE_SIZES.items()
    for size in wanted
    for batched in (True, False)
]
ADAPTIVE_EXACT = [
    twin(f"{dims}-{size}-{kind}", f"adaptive_max_pool{dims}d", draw(*image(dims)), size, True)
    for dims, wanted in ADAPTIVE_SIZES.items()
    for size in wanted
    for kind, draw in {"ties": ties, "nan": lambda *shape: special(shape, np.nan, -np.inf)}.items()
]
ADAPTIVE_EXACT += [
    twin(f"with-indices-{dims}", f"adaptive_max_pool{dims}d_with_indices", ties(*image(dims)), 2) for dims in (1, 2, 3)
]
ADAPTIVE_EXACT += [
    twin("avg-nan", "adaptive_avg_pool2d", special((2, 3, 8, 7), np.nan, np.inf, share=0.1), (3, 4)),
    twin("avg-empty-batch", "adaptive_avg_pool2d", normal((0, 3, 8, 7)), (3, 4)),
    # PyTorch computes these, and refuses their gradients.
    twin("avg-no-channels", "adaptive_avg_pool1d", normal((2, 0, 8)), 3, differentiable=0),
    twin("avg-no-output", "adaptive_avg_pool2d", normal((2, 3, 8, 7)), (2, 0), differentiable=0),
    twin("max-no-output", "adaptive_max_pool2d", normal((2, 3, 8, 7)), (2, 0), True, differentiable=0),
]


@both_dtypes
@table(ADAPTIVE)
def test_adaptive_pool(case, dtype):
    assert_same(case, dtype)


@table(ADAPTIVE_EXACT)
def test_adaptive_pool_of_ties_and_special_values(case):
    assert_same(case, "float64")


# ---------------------------------------------------------------------------------------------------- power average


def halves(*shape: int) -> Draw:
    """Draw positive numbers, and zeros in one half of the channels."""
    return lambda rng: (np.where(np.arange(shape[1])[:, None] % 2 == 0, rng.random(shape) + 0.1, 0.0),)


def positive(shape: tuple[int, ...]) -> Draw:
    return lambda rng: (rng.random(shape),)


LP = [
    twin(
        f"{dims}-{norm}-{kernel}-{stride}-{ceil}",
        f"lp_pool{dims}d",
        normal(image(dims)) if norm in (2, 2.0, 4, 1, np.inf, -np.inf) else positive(image(dims)),
        norm,
        kernel,
        stride,
        ceil,
    )
    for dims in (1, 2, 3)
    for norm, kernel, stride, ceil in (
        (2, 2, None, False),
        (2.0, 3, 2, True),
        (1.5, 3, 2, False),
        (3, 2, 3, True),
        (1, 2, 1, False),
        (4, 3, 2, True),
        (-1, 2, 2, False),
        (0.5, 2, None, False),
        (np.inf, 3, 2, True),
        (-np.inf, 2, None, False),
    )
]
LP += [twin(f"zeros-{norm}", "lp_pool1d", halves(2, 4, 9), norm, 2) for norm in (1, 1.5, 2, 3, 0.5, np.inf, -np.inf)]
LP += [twin(f"negative-{norm}", "lp_pool1d", normal((2, 4, 9)), norm, 2) for norm in (1, 1.5, 3, -2)]


@both_dtypes
@table(LP)
def test_lp_pool(case, dtype):
    assert_same(case, dtype)


# ------------------------------------------------------------------------------------------------------- unpooling


def round_trip(dims: int, size: tuple[int, ...], batched: bool, *geometry: int, whole: bool = True) -> Case:
    """Pool, unpool, and return both; the indices of overlapping windows repeat."""
    shape = ((2, 3) if batched else (3,)) + size

    def both(functions: Any) -> Any:
        def function(x: Any) -> Any:
            best, indices = getattr(functions, f"max_pool{dims}d")(x, *geometry, return_indices=True)
            return getattr(functions, f"max_unpool{dims}d")(
                best * best, indices, *geometry, output_size=size if whole else None
            )

        return function

    return Case(f"{dims}-{size}-{batched}-{geometry}-{whole}", both(F), both(TF), normal(shape))


UNPOOL = [
    round_trip(dims, IMAGE[5 - dims :], batched, *geometry)
    for dims in (1, 2, 3)
    for batched in (True, False)
    for geometry in ((2,), (3,), (3, 2), (3, 2, 1), (2, 1))
]
UNPOOL += [round_trip(2, (8, 6), True, 2, whole=False), round_trip(2, (9, 6), True, 3, 3, 0, whole=False)]


def placed(shape: tuple[int, ...], places: int) -> Draw:
    """Draw values and any indices, many of them equal."""
    return lambda rng: (rng.standard_normal(shape), rng.integers(0, places, shape))


UNPOOL += [
    twin("repeated", "max_unpool2d", placed((2, 3, 4, 5), 80), 2),
    twin("repeated-1", "max_unpool1d", placed((3, 5), 7), 2),
    twin("output-size", "max_unpool2d", placed((2, 3, 4, 5), 81), 2, output_size=(9, 9)),
    twin("whole-shape", "max_unpool2d", placed((2, 3, 4, 5), 81), 2, output_size=(7, 7, 9, 9)),
    twin("empty-batch", "max_unpool2d", placed((0, 3, 4, 5), 80), 2),
]


@table(UNPOOL)
def test_max_unpool(case):
    assert_same(case, "float64")


# ----------------------------------------------------------------------------------------------- fractional pooling


def fractional(id: str, dims: int, draw: Draw, *args: Any, **kwargs: Any) -> Case:
    """Make a case whose second argument is the samples."""
    name = f"fractional_max_pool{dims}d"

    def with_samples(rng: np.random.Generator) -> Arrays:
        (x,) = draw(rng)
        return x, rng.random((x.shape[0] if x.ndim == dims + 2 else 1, x.shape[-dims - 1], dims))

    return Case(
        f"{dims}-{id}",
        lambda x, u: getattr(F, name)(x, *args, _random_samples=u, **kwargs),
        lambda x, u: getattr(TF, name)(x, *args, _random_samples=u, **kwargs),
        with_samples,
        differentiable=1,
    )


FRACTIONAL = [
    fractional(f"{kind}-{kernel}-{size}-{ratio}-{indices}", dims, draw, kernel[-dims:], size, ratio, indices)
    for dims in (2, 3)
    for kind, draw in {
        "ties": ties(*image(dims)),
        "nan": special(image(dims), np.nan, -np.inf),
        "unbatched": ties(*image(dims, batched=False)),
    }.items()
    for kernel, size, ratio, indices in (
        ((2, 2, 3), 3, None, True),
        ((3, 2, 3), None, (0.5, 0.4, 0.6)[-dims:], True),
        ((1, 1, 1), (4, 5, 6)[-dims:], None, False),
        ((3, 4, 2), 1, None, True),
    )
]


@table(FRACTIONAL)
def test_fractional_max_pool(case):
    assert_same(case, "float64")


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fractional_windows_start_where_pytorch_s_do(dims, dtype):
    """Rounding decides the starts: many samples, in both precisions, on axes where steps are not exact."""
    rng = np.random.default_rng(dims)
    shape = (1, 200, *(11, 23, 17)[-dims:])
    x = np.broadcast_to(np.arange(np.prod(shape[2:]), dtype=dtype).reshape(shape[2:]), shape)
    u = rng.random((1, 200, dims)).astype(dtype)
    outputs = (4, 9, 7)[-dims:]
    with jax.enable_x64(dtype == "float64"):
        found = getattr(F, f"fractional_max_pool{dims}d")(jnp.asarray(x), 1, outputs, _random_samples=jnp.asarray(u))
    wanted = getattr(TF, f"fractional_max_pool{dims}d")(
        torch.from_numpy(x.copy()), 1, outputs, _random_samples=torch.from_numpy(u)
    )
    np.testing.assert_array_equal(np.asarray(found), wanted.numpy())


# ---------------------------------------------------------------------------------------------------------- modules

MODULES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    (f"{kind}{dims}d", args, {})
    for dims in (1, 2, 3)
    for kind, args in (
        ("MaxPool", (3, 2, 1, 2, False, True)),
        ("MaxPool", (3,)),
        ("AvgPool", (3, 2, 1, True, False)),
        ("AvgPool", (2,)),
        ("LPPool", (2.0, 3, 2, True)),
        ("LPPool", (3, 2)),
        ("AdaptiveMaxPool", (2,)),
        ("AdaptiveAvgPool", (4,)),
        ("MaxUnpool", (3, 2, 1)),
        ("MaxUnpool", (2,)),
    )
]
MODULES += [("AvgPool2d", ((2, 3), (1, 2), (1, 0), False, True, 7), {}), ("MaxPool2d", ((2, 3), None, (1, 0)), {})]
MODULES += [(f"FractionalMaxPool{dims}d", (2, 3), {}) for dims in (2, 3)]
MODULES += [(f"FractionalMaxPool{dims}d", (2,), {"output_ratio": 0.5, "return_indices": True}) for dims in (2, 3)]


@pytest.mark.parametrize(("name", "args", "kwargs"), MODULES, ids=[f"{row[0]}{row[1]}" for row in MODULES])
def test_modules_are_pytorch_s(name, args, kwargs):
    theirs = getattr(torch.nn, name)(*args, **kwargs)
    ours = getattr(nn, name)(*args, **kwargs, **({"rngs": 0} if "Fractional" in name else {}))
    assert repr(ours) == repr(theirs)
    for attribute, value in vars(theirs).items():
        if not attribute.startswith("_") and attribute != "training":
            assert getattr(ours, attribute) == value, attribute
    dims = int(name[-2])
    x = np.random.default_rng(0).random(image(dims)).astype(np.float32)
    if "Unpool" in name:
        wanted, indices = getattr(TF, f"max_pool{dims}d")(torch.from_numpy(x), *args, return_indices=True)
        found = ours(jnp.asarray(wanted.numpy()), jnp.asarray(indices.numpy(), jnp.int32), output_size=x.shape)
        wanted = theirs(wanted, indices, output_size=x.shape)
    elif "Fractional" in name:
        u = np.random.default_rng(1).random((2, 3, dims)).astype(np.float32)
        theirs = getattr(torch.nn, name)(*args, **kwargs, _random_samples=torch.from_numpy(u))
        ours = getattr(nn, name)(*args, **kwargs, _random_samples=jnp.asarray(u))
        wanted, found = theirs(torch.from_numpy(x)), ours(jnp.asarray(x))
        assert [key for key, _ in ours.named_buffers()] == [key for key, _ in theirs.named_buffers()]
    else:
        wanted, found = theirs(torch.from_numpy(x)), ours(jnp.asarray(x))
    # Unpooling and fractional pooling only move numbers.
    exact = theirs(torch.from_numpy(x).double()) if "Avg" in name or "LP" in name else wanted
    outputs = [output if isinstance(output, tuple) else (output,) for output in (wanted, exact)]
    for one, other, truth in zip(jax.tree.leaves(found), *outputs, strict=True):
        assert findings32(name, one, other.numpy(), truth.numpy()) == []


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    ("name", "args"),
    [("max_pool2d", (3, 2, 1)), ("avg_pool2d", (3, 2, 1)), ("adaptive_avg_pool2d", ((3, 4),)), ("avg_pool1d", (5,))],
)
def test_half_precision_keeps_its_dtype(name, args, dtype):
    x = torch.randn(image(int(name[-2])), generator=torch.Generator().manual_seed(1)).to(getattr(torch, dtype))
    found = getattr(F, name)(jnp.asarray(x.float().numpy(), dtype), *args)
    wanted = getattr(TF, name)(x, *args)
    assert found.dtype == dtype
    step = 2 * HALF_FLOOR[dtype]  # both are rounded
    np.testing.assert_allclose(np.asarray(found, np.float32), wanted.float().numpy(), rtol=step, atol=1e-3 * step)
