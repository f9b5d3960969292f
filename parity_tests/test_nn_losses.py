"""Every loss against PyTorch's: values and gradients over the options, and the mask that PyTorch does not have."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Arrays, Case, all_pairs, assert_same, both_dtypes, label, normal, table

import jaxport.nn.functional as F

torch = pytest.importorskip("torch")
TF = torch.nn.functional
Draw = Callable[[np.random.Generator], Arrays]
REDUCTIONS = ("none", "mean", "sum")
IGNORED = -100


def weighted(
    function: str, weighted: bool, reductions: tuple[str, ...] = REDUCTIONS, **options: Any
) -> dict[str, Callable[..., Any]]:
    """Return both sides of a loss of (input, target[, weight]), by every reduction: one output each."""

    def side(module: Any) -> Callable[..., Any]:
        def call(input: Any, target: Any, *rest: Any) -> Any:
            named = dict(zip(["weight"] if weighted else [], rest, strict=True)) | options
            return tuple(getattr(module, function)(input, target, reduction=name, **named) for name in reductions)

        return call

    return {"jax_fn": side(F), "torch_fn": side(TF)}


# --------------------------------------------------------------------------------------------------- squared error


def weighted_pair(shape: tuple[int, ...], weight: bool) -> Draw:
    """Draw inputs and targets, and weights above zero (where they cancel, a weighted mean only amplifies rounding)."""

    def draw(rng: np.random.Generator) -> Arrays:
        x, y = normal(shape, shape)(rng)
        return (x, y, rng.uniform(0.3, 2.0, shape)) if weight else (x, y)

    return draw


MSE = [
    Case(
        f"{shape}{'-weight' * weight}",
        **weighted("mse_loss", weight),
        draw=weighted_pair(shape, weight),
    )
    for shape, weight in itertools.product([(5, 3), (), (2, 3, 4, 5)], (False, True))
]


@both_dtypes
@table(MSE)
def test_mse_loss(case, dtype):
    assert_same(case, dtype)


# -------------------------------------------------------------------------------------------- binary cross-entropy


def probabilities(shape: tuple[int, ...], weight: bool) -> Draw:
    def draw(rng: np.random.Generator) -> Arrays:
        arrays = rng.uniform(0.02, 0.98, shape), rng.random(shape), rng.uniform(0.5, 2.0, shape)
        return arrays if weight else arrays[:2]

    return draw


def edges(weight: bool) -> Draw:
    """Every pair of input and target among 0, 1, numbers close to them, and a half."""
    x = np.array([0.0, 2e-38, 1e-30, 1e-7, 0.5, 1.0 - 2.0**-24, 1.0])
    y = np.array([0.0, 0.25, 1.0])
    grid = [part.ravel() for part in np.meshgrid(x, y)]
    return lambda rng: (*grid, rng.uniform(0.5, 2.0, grid[0].shape)) if weight else tuple(grid)


BCE = [
    Case(
        f"{shape}{'-weight' * weight}",
        **weighted("binary_cross_entropy", weight),
        draw=probabilities(shape, weight),
        differentiable=2,
    )
    for shape, weight in itertools.product([(7, 1), (), (2, 3, 4)], (False, True))
]
# At 0 and 1 the gradient of the target is infinite, on both sides.
BCE += [
    Case(
        f"edges-{'-'.join(reductions)}-{differentiable}{'-weight' * weight}",
        **weighted("binary_cross_entropy", weight, reductions),
        draw=edges(weight),
        differentiable=differentiable,
    )
    for reductions, weight, differentiable in [
        (("none",), False, 1),
        (("none",), False, 2),
        (("none",), True, 1),
        (("mean",), False, 1),
        (("sum",), True, 1),
    ]
]


@both_dtypes
@table(BCE)
def test_binary_cross_entropy(case, dtype):
    assert_same(case, dtype)


# ---------------------------------------------------------------------------------------------------- class losses

CLASSES = 5


def _label_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:1] + shape[2:] if len(shape) > 1 else ()


def _weight(rng: np.random.Generator, weight: bool) -> Arrays:
    return (rng.uniform(0.3, 2.0, CLASSES),) if weight else ()


def classes(shape: tuple[int, ...], weight: bool, ignored: float, ignore_index: int = IGNORED) -> Draw:
    """Draw scores, classes of which a share is ignored, and class weights."""

    def draw(rng: np.random.Generator) -> Arrays:
        target = rng.integers(0, CLASSES, _label_shape(shape))
        target = np.where(rng.random(target.shape) < ignored, ignore_index, target)
        return 0.3 + 2.0 * rng.standard_normal(shape), target, *_weight(rng, weight)

    return draw


def soft(shape: tuple[int, ...], weight: bool) -> Draw:
    """Draw scores, probabilities of each class (their sum is not 1, which PyTorch does not ask for), and weights."""

    def draw(rng: np.random.Generator) -> Arrays:
        return 0.3 + 2.0 * rng.standard_normal(shape), rng.random(shape), *_weight(rng, weight)

    return draw


SHAPES = [(CLASSES,), (7, CLASSES), (3, CLASSES, 4), (2, CLASSES, 3, 4)]
CLASS_OPTIONS = {
    "shape": SHAPES,
    "weight": [False, True],
    "ignore_index": [IGNORED, 2],
    "label_smoothing": [0.0, 0.1, 1.0],
}
ROWS = all_pairs(CLASS_OPTIONS, lambda row: True)
# The usual shape takes every combination.
ROWS += [
    dict(zip(CLASS_OPTIONS, ((7, CLASSES), *values), strict=True))
    for values in itertools.product([False, True], [IGNORED, 2], [0.0, 0.3])
]


def _class_case(function: str, row: dict[str, Any]) -> Case:
    options = {name: row[name] for name in ("ignore_index", "label_smoothing") if name in row}
    share = 0.3 if len(row["shape"]) > 1 else 0.0
    draw = classes(row["shape"], row["weight"], share, row["ignore_index"])
    return Case(f"{function}-{label(row)}", **weighted(function, row["weight"], **options), draw=draw)


def _without_smoothing(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "label_smoothing"}


CROSS_ENTROPY = [_class_case("cross_entropy", row) for row in ROWS]
CROSS_ENTROPY += [
    Case(
        f"soft-{shape}-{smoothing}{'-weight' * weight}",
        **weighted("cross_entropy", weight, label_smoothing=smoothing),
        draw=soft(shape, weight),
        differentiable=2,
    )
    for shape, smoothing, weight in [
        *itertools.product([(7, CLASSES)], (0.0, 0.3), (False, True)),
        *((shape, 0.1, True) for shape in SHAPES),
    ]
]
CROSS_ENTROPY += [
    Case(
        f"all-ignored-{smoothing}-{'-'.join(reductions)}",
        **weighted("cross_entropy", True, reductions, label_smoothing=smoothing),
        draw=classes((7, CLASSES), True, 1.0),
        differentiable=differentiable,
    )
    for smoothing in (0.0, 0.1)
    for reductions, differentiable in [(("none", "sum"), 1), (("mean",), 0)]
]
CROSS_ENTROPY += [
    Case(
        "far-apart",
        **weighted("cross_entropy", False),
        draw=lambda rng: (rng.standard_normal((7, CLASSES)) * 300.0, rng.integers(0, CLASSES, 7)),
    )
]
CROSS_ENTROPY += [
    Case(
        f"minus-inf-{name}",
        **weighted("cross_entropy", False, ("none",)),
        draw=lambda rng, target=target: (np.array([[1.0, -np.inf, 0.5, 2.0, 0.1]]), np.array([target])),
    )
    for name, target in {"elsewhere": 0, "at-the-class": 1}.items()
]
NLL_ROWS = {label(row): row for row in map(_without_smoothing, ROWS)}
NLL = [_class_case("nll_loss", row) for row in NLL_ROWS.values()]


@both_dtypes
@table(CROSS_ENTROPY)
def test_cross_entropy(case, dtype):
    assert_same(case, dtype)


@both_dtypes
@table(NLL)
def test_nll_loss(case, dtype):
    assert_same(case, dtype)


# -------------------------------------------------------------------------------------------------------- the mask

KEPT = np.array([True, False, True, True, False, True, False])


def masked(id: str, function: str, draw: Draw, differentiable: int, **options: Any) -> Case:
    """JAX sees all rows with a mask, PyTorch only the rows that it keeps."""

    def jax_fn(input: jax.Array, target: jax.Array, *rest: jax.Array) -> tuple[jax.Array, ...]:
        named = ({"weight": rest[0]} if rest else {}) | options
        loss, where = getattr(F, function), jnp.asarray(KEPT)
        values = tuple(loss(input, target, reduction=name, where=where, **named) for name in REDUCTIONS)
        return values[0][np.flatnonzero(KEPT)], *values[1:]

    def torch_fn(input: Any, target: Any, *rest: Any) -> Any:
        named = dict(options)
        if rest:
            named["weight"] = rest[0][KEPT] if rest[0].shape == input.shape else rest[0]
        loss = getattr(TF, function)
        return tuple(loss(input[KEPT], target[KEPT], reduction=name, **named) for name in REDUCTIONS)

    return Case(id, jax_fn, torch_fn, draw, differentiable)


MASKED = []
for weight in (False, True):
    suffix = "-weight" * weight
    MASKED += [
        masked(f"mse{suffix}", "mse_loss", weighted_pair((7, 3), weight), 2 + weight),
        masked(f"bce{suffix}", "binary_cross_entropy", probabilities((7, 2), weight), 2),
        masked(f"nll{suffix}", "nll_loss", classes((7, CLASSES, 3), weight, 0.3), 1),
        masked(f"soft{suffix}", "cross_entropy", soft((7, CLASSES), weight), 2),
        masked(f"hard{suffix}", "cross_entropy", classes((7, CLASSES), weight, 0.3), 1),
        masked(f"smooth{suffix}", "cross_entropy", classes((7, CLASSES), weight, 0.3), 1, label_smoothing=0.2),
    ]


@both_dtypes
@table(MASKED)
def test_where_equals_pytorch_on_the_rows_it_keeps(case, dtype):
    assert_same(case, dtype)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("function", ["mse_loss", "cross_entropy", "binary_cross_entropy", "nll_loss"])
def test_masked_rows_may_hold_anything(function, bad):
    rng = np.random.default_rng(5)
    input = rng.uniform(0.1, 0.9, (7, 5)).astype(np.float32)
    targets = {"mse_loss": rng.random((7, 5)), "binary_cross_entropy": rng.random((7, 5))}
    target = targets[function].astype(np.float32) if function in targets else rng.integers(0, 5, 7).astype(np.int32)
    spoilt = np.where(KEPT[:, None], input, np.float32(bad))
    loss = getattr(F, function)
    wanted = loss(jnp.asarray(input), jnp.asarray(target), where=jnp.asarray(KEPT))
    found = loss(jnp.asarray(spoilt), jnp.asarray(target), where=jnp.asarray(KEPT))
    assert float(found) == float(wanted)


def elementwise(reduction: str) -> Case:
    """Mask single elements."""

    def jax_fn(x: jax.Array, y: jax.Array, where: jax.Array) -> jax.Array:
        return F.mse_loss(x, y, reduction, where=where)

    def draw(rng: np.random.Generator) -> Arrays:
        return rng.random((4, 3)), rng.random((4, 3)), rng.random((4, 3)) < 0.6

    return Case(reduction, jax_fn, lambda x, y, where: TF.mse_loss(x[where], y[where], reduction=reduction), draw)


@both_dtypes
@table([elementwise("mean"), elementwise("sum")])
def test_where_of_the_shape_of_the_loss(case, dtype):
    assert_same(case, dtype)
