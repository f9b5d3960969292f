"""Losses and distances against PyTorch's: option grids, kinks, special values, and the mask that PyTorch lacks."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Arrays, Case, all_pairs, assert_same, both_dtypes, case_findings, label, normal, table

import jaxport.nn.functional as F

torch = pytest.importorskip("torch")
TF = torch.nn.functional
Draw = Callable[[np.random.Generator], Arrays]
REDUCTIONS = ("none", "mean", "sum")
INF, NAN = np.inf, np.nan


def reduced(
    id: str,
    function: str,
    draw: Draw,
    differentiable: int | None = None,
    reductions: tuple[str, ...] = REDUCTIONS,
    names: tuple[str, ...] = (),
    **options: Any,
) -> Case:
    """Make a case of a loss by every reduction, one output each; the last arrays are passed by `names`."""

    def side(module: Any) -> Callable[..., Any]:
        def call(*arrays: Any) -> Any:
            count = len(arrays) - len(names)
            named = dict(zip(names, arrays[count:], strict=True)) | options
            return tuple(getattr(module, function)(*arrays[:count], reduction=name, **named) for name in reductions)

        return call

    return Case(f"{function}-{id}" if id else function, side(F), side(TF), draw, differentiable)


def single(id: str, function: str, draw: Draw, **options: Any) -> Case:
    """Make a case of a function without reductions."""
    return Case(
        f"{function}-{id}",
        lambda *arrays: getattr(F, function)(*arrays, **options),
        lambda *arrays: getattr(TF, function)(*arrays, **options),
        draw,
    )


def fixed(*arrays: Any) -> Draw:
    """Draw the same arrays always."""
    return lambda rng: tuple(np.array(array) for array in arrays)


def positive(*shapes: tuple[int, ...]) -> Draw:
    return lambda rng: tuple(rng.uniform(0.1, 2.0, shape) for shape in shapes)


def signs(*shapes: tuple[int, ...]) -> Draw:
    """Draw normal arrays, and ±1 for the last."""
    return lambda rng: (*normal(*shapes[:-1])(rng), rng.choice([-1.0, 1.0], shapes[-1]))


def then(*draws: Draw) -> Draw:
    return lambda rng: tuple(array for draw in draws for array in draw(rng))


SHAPES = [(5, 3), (), (2, 3, 4, 5)]

# ------------------------------------------------------------------------------------------------------- regression

# Where the difference is 0, at β or δ = 0.5 on both sides, infinite or NaN.
KINKS = fixed([0.5, -0.5, 0.0, 1.25, INF, -INF, NAN, 0.25], [0.0, 0.0, 0.0, 1.25, 0.0, 1.0, 0.0, 0.0])
REGRESSION = [
    *(reduced(f"{shape}", "l1_loss", normal(shape, shape)) for shape in SHAPES),
    *(reduced(f"{s}-weight", "l1_loss", then(normal(s, s), positive(s)), names=("weight",)) for s in SHAPES),
    *(reduced(f"{s}-beta-{b}", "smooth_l1_loss", normal(s, s), beta=b) for s in SHAPES for b in (0.5, 1.0, 0, 3)),
    *(reduced(f"{s}-delta-{d}", "huber_loss", normal(s, s), delta=d) for s in SHAPES for d in (0.5, 1, 3.0)),
    *(reduced(f"{s}-weight", "huber_loss", then(normal(s, s), positive(s)), names=("weight",)) for s in SHAPES),
    reduced("kinks", "l1_loss", KINKS, reductions=("none",)),
    reduced("kinks", "smooth_l1_loss", KINKS, reductions=("none",), beta=0.5),
    reduced("kinks-beta-0", "smooth_l1_loss", KINKS, reductions=("none",), beta=0),
    reduced("kinks", "huber_loss", KINKS, reductions=("none",), delta=0.5),
    reduced("empty", "l1_loss", normal((0, 3), (0, 3))),
]


@both_dtypes
@table(REGRESSION)
def test_regression(case, dtype):
    assert_same(case, dtype)


# ---------------------------------------------------------------------------------------------------- distributions


def counts(shape: tuple[int, ...], log_input: bool) -> Draw:
    """Draw rates and counts 0, 1, 2, …."""

    def draw(rng: np.random.Generator) -> Arrays:
        x = rng.standard_normal(shape) if log_input else rng.uniform(0.2, 3.0, shape)
        return x, np.asarray(rng.poisson(1.5, shape), np.float64)

    return draw


def log_probabilities(shape: tuple[int, ...], log_target: bool) -> Draw:
    def draw(rng: np.random.Generator) -> Arrays:
        target = rng.uniform(0.05, 1.0, shape)
        return np.log(rng.uniform(0.05, 1.0, shape)), np.log(target) if log_target else target

    return draw


KL_REDUCTIONS = (*REDUCTIONS, "batchmean")
GAUSSIAN = {
    "shapes": [
        ((5, 3), (5, 3), (5, 3)),
        ((5, 3), (5, 1), (5, 1)),
        ((5, 3), (5, 3), (5,)),
        ((5, 3), (3,), (1, 3)),
        ((2, 3, 4), (2, 3, 4), (2, 1, 4)),
        ((4,), (), ()),
        ((4,), (1,), (1,)),
    ],
    "full": [False, True],
    "eps": [1e-6, 0.6],
}
DISTRIBUTIONS = [
    *(
        reduced(f"{s}-{t}", "kl_div", log_probabilities(s, t), reductions=KL_REDUCTIONS, log_target=t)
        for s in SHAPES
        for t in (False, True)
    ),
    # A target of 0 has no loss; where the target's derivative is infinite, PyTorch says NaN, and so do we.
    reduced("zeros", "kl_div", fixed([1.0, 1.0, -INF, -2.0], [0.0, 0.5, 0.5, -1.0]), 1, ("none",)),
    reduced("zeros-target", "kl_div", fixed([1.0, 1.0, 2.0], [0.0, 0.5, -1.0]), 2, ("none",)),
    *(
        reduced(f"{label(row)}", "poisson_nll_loss", counts((7, 3), row["log_input"]), 1, **row)
        for row in all_pairs({"log_input": [True, False], "full": [False, True], "eps": [1e-8, 0.1]}, lambda r: True)
    ),
    reduced("scalar-full", "poisson_nll_loss", counts((), True), 1, full=True),
    reduced("target", "poisson_nll_loss", positive((4, 3), (4, 3)), log_input=False),
    reduced("target-full", "poisson_nll_loss", then(positive((9,)), fixed(np.arange(0.5, 5.0, 0.5))), full=True),
    # At rate 0 the derivative is -y / ε.
    reduced("rate-0", "poisson_nll_loss", fixed([0.0, 0.0, 1.0], [0.0, 2.0, 0.0]), 1, log_input=False, full=True),
    *(
        reduced(
            label(row),
            "gaussian_nll_loss",
            then(normal(*row["shapes"][:2]), positive(row["shapes"][2])),
            full=row["full"],
            eps=row["eps"],
        )
        for row in all_pairs(GAUSSIAN, lambda row: True)
    ),
    reduced("number", "gaussian_nll_loss", normal((5, 3), (5, 3)), var=0.7),
    reduced(
        "below-eps", "gaussian_nll_loss", fixed([0.5, 0.0, 2.0, 1.0], [0.0, 1, 0, 0], [0.0, 0.05, 0.1, NAN]), eps=0.1
    ),
]


@both_dtypes
@table(DISTRIBUTIONS)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_distributions(case, dtype):
    assert_same(case, dtype)


# --------------------------------------------------------------------------------------------------------- logistic


def logits(shape: tuple[int, ...], *weights: tuple[int, ...], scale: float = 3.0) -> Draw:
    def draw(rng: np.random.Generator) -> Arrays:
        return (scale * rng.standard_normal(shape), rng.random(shape), *positive(*weights)(rng))

    return draw


FAR = fixed([-1e3, 1e3, 1e3, -1e3, 0.0, -80.0, 80.0, NAN], [1.0, 1.0, 0.0, 0.5, 0.5, 1.0, 0.0, 0.5])
BCE = "binary_cross_entropy_with_logits"
LOGISTIC = [
    *(reduced(f"{s}", BCE, logits(s)) for s in SHAPES),
    *(
        reduced(f"weight-{w}-pos_weight-{p}", BCE, logits((5, 3), w, p), 2, names=("weight", "pos_weight"))
        for w, p in [((5, 3), (3,)), ((3,), (5, 1)), ((1,), ()), ((5, 1), (5, 3))]
    ),
    reduced("pos_weight", BCE, logits((5, 3), (3,)), 2, names=("pos_weight",)),
    reduced("far", BCE, FAR, 2, ("none",)),
    reduced(
        "far-pos_weight", BCE, then(FAR, fixed([2.0, 0.0, 3.0, 1.0, 5.0, 2.0, 2.0, 2.0])), 2, ("none",), ("pos_weight",)
    ),
    *(reduced(f"{s}", "soft_margin_loss", signs(s, s), 1) for s in SHAPES),
    reduced("far", "soft_margin_loss", fixed([-80.0, 80.0, 0.0, INF], [1.0, 1.0, -1.0, 1.0]), 1),
    *(reduced(f"{s}", "multilabel_soft_margin_loss", logits(s)) for s in [(5, 3), (4,), (2, 3, 4)]),
    *(
        reduced(f"weight-{w}", "multilabel_soft_margin_loss", logits((5, 3), w), names=("weight",))
        for w in [(3,), (5, 3), ()]
    ),
    reduced("far", "multilabel_soft_margin_loss", fixed([[1e3, -1e3, 0.0]], [[0.0, 1.0, 0.5]])),
]


@both_dtypes
@table(LOGISTIC)
def test_logistic(case, dtype):
    assert_same(case, dtype)


# ---------------------------------------------------------------------------------------------------------- margins

C = 4


def classes(n: int, *weights: tuple[int, ...]) -> Draw:
    return lambda rng: (rng.standard_normal((n, C)), rng.integers(0, C, n), *positive(*weights)(rng))


def label_lists(n: int) -> Draw:
    """Draw lists of classes, with -1 somewhere, classes named twice and none at all."""
    return lambda rng: (rng.standard_normal((n, C)), rng.integers(-1, C, (n, C)))


MARGINS = [
    *(
        reduced(f"{shapes}-{m}", "margin_ranking_loss", signs(*shapes), margin=m)
        for shapes in [((5, 3), (5, 3), (5, 3)), ((), (), ()), ((5, 2), (5, 1), (1, 2))]
        for m in (0.0, 0.7)
    ),
    # The hinge is exactly at 0, and there its derivative is 1.
    reduced(
        "kinks",
        "margin_ranking_loss",
        fixed([1.0, 1.0, NAN, 2.0], [0.5, 1.5, 1.0, 2.0], [1.0, -1.0, 1.0, 0.0]),
        None,
        ("none",),
        margin=0.5,
    ),
    *(reduced(f"{s}-{m}", "hinge_embedding_loss", signs(s, s), 1, margin=m) for s in SHAPES for m in (1.0, -0.3)),
    reduced(
        "kinks",
        "hinge_embedding_loss",
        fixed([1.0, 0.0, 0.0, 0.5, NAN, NAN, INF, 2.0], [-1.0, -1, 1, 0, -1, 1, 1, 0]),
        1,
        ("none",),
    ),
    *(
        reduced(f"{shapes}-{m}", "cosine_embedding_loss", signs(*shapes), 2, margin=m)
        for shapes in [((5, 3), (5, 3), (5,)), ((3,), (3,), ()), ((5, 3), (1, 3), (5,))]
        for m in (0.0, 0.4)
    ),
    reduced(
        "kinks",
        "cosine_embedding_loss",
        fixed(
            [[0.0, 0], [1, 0], [0, 0], [1, 1], [0, 3]], [[0.0, 0], [0, 1], [1, 1], [1, 1], [0, 2]], [1.0, -1, -1, 0, -1]
        ),
        2,
        ("none",),
    ),
    *(
        reduced(
            f"p={p}-margin={m}{'-weight' * len(w)}",
            "multi_margin_loss",
            classes(5, *w),
            1,
            names=("weight",) * len(w),
            p=p,
            margin=m,
        )
        for p, m, w in itertools.product((1, 2), (1.0, -0.5), ((), ((C,),)))
    ),
    reduced("vector", "multi_margin_loss", lambda rng: (rng.standard_normal(C), np.array(2)), 1),
    reduced("vector-1", "multi_margin_loss", lambda rng: (rng.standard_normal(C), np.array([2])), 1, p=2),
    reduced("scalar", "multi_margin_loss", lambda rng: (rng.standard_normal(()), np.array(0)), 1),
    reduced("kinks", "multi_margin_loss", fixed([[1.0, 0.0, NAN, 0.5], [1.0, 0.0, -1.0, INF]], [0, 0]), 1, ("none",)),
    *(reduced(f"{n}", "multilabel_margin_loss", label_lists(n), 1) for n in (7, 1)),
    reduced("vector", "multilabel_margin_loss", lambda rng: (rng.standard_normal(C), np.array([3, 0, -1, 1])), 1),
    reduced("scalar", "multilabel_margin_loss", lambda rng: (rng.standard_normal(()), np.array(-1)), 1),
    reduced(
        "kinks",
        "multilabel_margin_loss",
        fixed([[1.0, 0.0, 2.0, NAN], [1.0, 0.0, INF, 0.5]], [[0, 0, -1, 1], [0, -1, -1, 1]]),
        1,
        ("none",),
    ),
]


@both_dtypes
@table(MARGINS)
def test_margins(case, dtype):
    assert_same(case, dtype)


# ------------------------------------------------------------------------------------------- distances and triplets

DEGREES = (0.0, 0.5, 1.0, 1.5, 2.0, 3, INF, -1.0, -INF)
# Equal points, ties of the largest difference, and components without difference.
EQUAL = fixed([[0.0, 0], [0.5, 0], [0.5, -0.5], [1, 1]], [[0.0, 0], [0, 0], [0, 0], [1, 0.25]])
ROWS = fixed([[0.0, 0], [0.5, 0], [0, 0], [0.5, -0.5], [1.5, 1.25], [-1.0, 0.75]])
DISTANCES = [
    *(single(f"p={p}", "pairwise_distance", normal((5, 3), (5, 3)), p=p) for p in DEGREES if p != 0.0),
    *(single(f"equal-p={p}", "pairwise_distance", EQUAL, p=p, eps=0.0) for p in DEGREES if p != 0.0),
    *(
        single(f"{shapes}-{keep}", "pairwise_distance", normal(*shapes), keepdim=keep, eps=0.1)
        for shapes in [((3,), (3,)), ((), ()), ((2, 5, 3), (5, 3)), ((5, 1, 3), (1, 4, 3))]
        for keep in (False, True)
    ),
    Case(
        "pairwise_distance-p=0.0",
        lambda x, y: F.pairwise_distance(x, y, 0.0),
        lambda x, y: TF.pairwise_distance(x, y, 0.0) + 0.0 * x.sum() + 0.0 * y.sum(),
        EQUAL,
    ),
    *(single(f"p={p}", "pdist", normal((5, 3)), p=p) for p in DEGREES if p >= 0),
    *(single(f"equal-p={p}", "pdist", ROWS, p=p) for p in DEGREES if p >= 0),
    # PyTorch crashes in the gradient of no rows at all.
    *(single(f"{shape}", "pdist", normal(shape)) for shape in [(1, 3), (2, 1), (9, 5)]),
    *(
        single(f"{shapes}-{dim}-{eps}", "cosine_similarity", normal(*shapes), dim=dim, eps=eps)
        for shapes, dim in [(((5, 3), (5, 3)), 1), (((5, 3), (5, 3)), 0), (((4, 2, 3), (2, 3)), -1), (((3,), (3,)), 0)]
        for eps in (1e-8, 2.0)
    ),
    single(
        "zeros",
        "cosine_similarity",
        fixed([[0.0, 0], [0.3, 0.1], [0.3, 0.4], [0, 0]], [[0.0, 0], [0, 1], [1, 1], [1, 2]]),
    ),
    single(
        "zeros-eps", "cosine_similarity", fixed([[0.0, 0], [0.3, 0.1], [0.3, 0.4]], [[0.0, 0], [0, 1], [1, 1]]), eps=0.5
    ),
]
TRIPLETS = {"swap": [False, True], "margin": [1.0, 0.2], "p": [2.0, 1.0, 3.0], "eps": [1e-6, 0.1]}
TRIPLET = [
    *(
        reduced(label(row), "triplet_margin_loss", normal((5, 3), (5, 3), (5, 3)), **row)
        for row in all_pairs(TRIPLETS, lambda row: True)
    ),
    reduced("vector", "triplet_margin_loss", normal((3,), (3,), (3,))),
    reduced("broadcast", "triplet_margin_loss", normal((5, 3), (1, 3), (5, 3)), swap=True),
    # Margin met exactly; equal points; d(a, n) = d(p, n), which then share the gradient.
    reduced(
        "kinks",
        "triplet_margin_loss",
        fixed(
            [[0.0, 0], [1, 0], [0, 0], [0, 0]],
            [[0.0, 0], [0, 1], [0, 1.0], [1, 0]],
            [[0.0, 0], [0, 1], [2, 0], [0.5, 4]],
        ),
        eps=0.0,
        swap=True,
    ),
    *(
        reduced(f"{swap}", "triplet_margin_with_distance_loss", normal((5, 3), (5, 3), (5, 3)), swap=swap, margin=m)
        for swap, m in [(False, 1.0), (True, 0.3)]
    ),
    reduced(
        "cosine",
        "triplet_margin_with_distance_loss",
        normal((5, 3), (5, 3), (5, 3)),
        distance_function=lambda x, y: 1.0 - (x * y).sum(-1),
    ),
]


@both_dtypes
@table(DISTANCES)
def test_distances(case, dtype):
    assert_same(case, dtype)


@both_dtypes
@table(TRIPLET)
def test_triplets(case, dtype):
    assert_same(case, dtype)


# --------------------------------------------------------------------------------------------------------- the mask

KEPT = np.array([True, False, True, True, False, True, False])
N = len(KEPT)


def masked(
    function: str,
    draw: Draw,
    differentiable: int,
    reductions: tuple[str, ...] = REDUCTIONS,
    id: str = "",
    **options: Any,
) -> Case:
    """JAX sees all rows and a mask, with NaN (and classes far out) where it is False; PyTorch sees the kept rows."""

    def jax_fn(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        where, loss = jnp.asarray(KEPT), getattr(F, function)
        rows = []
        for array in arrays:
            mask = where.reshape(-1, *(1,) * (array.ndim - 1))
            bad = jnp.nan if jnp.issubdtype(array.dtype, jnp.floating) else -77
            rows.append(jnp.where(jnp.broadcast_to(mask, array.shape), array, jnp.full_like(array, bad)))
        values = tuple(loss(*rows, reduction=name, where=where, **options) for name in reductions)
        return values[0][np.flatnonzero(KEPT)], *values[1:]

    def torch_fn(*arrays: Any) -> Any:
        return tuple(getattr(TF, function)(*(a[KEPT] for a in arrays), reduction=r, **options) for r in reductions)

    return Case(f"{function}{id}", jax_fn, torch_fn, draw, differentiable)


PAIR = normal((N, 3), (N, 3))
TRIPLE = normal((N, 3), (N, 3), (N, 3))
MASKED = [
    masked("l1_loss", PAIR, 2),
    masked("mse_loss", PAIR, 2),
    masked("smooth_l1_loss", PAIR, 2, beta=0.5),
    masked("huber_loss", PAIR, 2, delta=0.5),
    masked("kl_div", log_probabilities((N, 3), False), 2, KL_REDUCTIONS),
    masked("kl_div", log_probabilities((N, 3), True), 2, KL_REDUCTIONS, "-log", log_target=True),
    masked("binary_cross_entropy", lambda rng: tuple(rng.uniform(0.1, 0.9, (2, N, 3))), 2),
    masked("binary_cross_entropy_with_logits", logits((N, 3)), 2),
    masked("poisson_nll_loss", positive((N, 3), (N, 3)), 2, log_input=False),
    masked("poisson_nll_loss", positive((N, 3), (N, 3)), 1, id="-full", full=True),
    masked("gaussian_nll_loss", then(PAIR, positive((N, 1))), 3),
    masked("margin_ranking_loss", TRIPLE, 3, margin=0.3),
    masked("hinge_embedding_loss", signs((N, 3), (N, 3)), 1),
    masked("cosine_embedding_loss", signs((N, 3), (N, 3), (N,)), 2),
    masked("soft_margin_loss", signs((N, 3), (N, 3)), 1),
    masked("multilabel_soft_margin_loss", logits((N, 3)), 2),
    masked("multi_margin_loss", classes(N), 1),
    masked("multilabel_margin_loss", label_lists(N), 1),
    masked("triplet_margin_loss", TRIPLE, 3, swap=True),
    masked("triplet_margin_with_distance_loss", TRIPLE, 3),
]


@both_dtypes
@table(MASKED)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_where_equals_pytorch_on_the_rows_it_keeps(case, dtype):
    assert_same(case, dtype)


def shared_weight(function: str, name: str, draw: Draw) -> Case:
    """Take the gradient of a weight that all rows share, with NaN in the rows that the mask leaves out."""

    def jax_fn(w: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        where = jnp.asarray(KEPT)
        mask = jnp.broadcast_to(where[:, None], x.shape)
        x, y = (jnp.where(mask, a, jnp.full_like(a, jnp.nan)) for a in (x, y))
        return getattr(F, function)(x, y, where=where, **{name: w})

    def torch_fn(w: Any, x: Any, y: Any) -> Any:
        # PyTorch has no gradient for weights: the same formula, written out.
        x, y = x[KEPT], y[KEPT]
        positive, negative = TF.logsigmoid(x) * y, TF.logsigmoid(-x) * (1 - y)
        values = -(positive * w + negative) if name == "pos_weight" else -(positive + negative) * w
        return values.mean()

    return Case(f"{function}-{name}", jax_fn, torch_fn, lambda rng: draw(rng)[::-1], 1)


SHARED = [
    shared_weight(function, name, lambda rng: (rng.random((N, 3)), rng.standard_normal((N, 3)), rng.random(3)))
    for function, name in [(BCE, "weight"), (BCE, "pos_weight"), ("multilabel_soft_margin_loss", "weight")]
]


@table(SHARED)
def test_masked_rows_do_not_reach_shared_weights(case):
    assert_same(case, "float64")


def test_elementwise_mask_and_batchmean():
    rng = np.random.default_rng(3)
    x, y = np.log(rng.uniform(0.1, 1.0, (4, 3))), rng.uniform(0.1, 1.0, (4, 3))
    where = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]], bool)
    with jax.enable_x64(True):
        found = F.kl_div(*map(jnp.asarray, (x, y)), "batchmean", where=jnp.asarray(where))
    rows = TF.kl_div(*map(torch.from_numpy, (x, y)), reduction="none").numpy()
    assert float(found) == pytest.approx(rows[where].sum() / 3, rel=1e-12)


def test_a_changed_row_is_found():
    """A mask that kept one row too many would be noticed."""
    good = MASKED[0]
    wrong = Case(good.id, lambda *a: F.l1_loss(*a), lambda x, y: TF.l1_loss(x[KEPT], y[KEPT]), PAIR)
    assert case_findings(good, "float64") == []
    assert case_findings(wrong, "float64")
