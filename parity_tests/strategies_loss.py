"""Losses and distances at random: shapes, options and values, half of them on a grid where kinks and ties are met."""

from collections.abc import Callable
from typing import Any

import numpy as np
from cases import Arrays, Case, label, torch
from hypothesis import strategies as st

import jaxport.nn.functional as F

TF = torch.nn.functional
Draw = Callable[[np.random.Generator], Arrays]
Strategy = st.SearchStrategy
REDUCTION = st.sampled_from(["none", "mean", "sum"])
SHAPE = st.lists(st.integers(1, 4), max_size=3).map(tuple)
GRID = st.booleans()
MARGIN = st.sampled_from([0.0, 0.5, 1.0, 2.5])
POSITIVE = st.sampled_from([0.5, 1.0, 2.0])


def values(rng: np.random.Generator, shape: tuple[int, ...], grid: bool) -> np.ndarray:
    """Return normal numbers, or multiples of a half, which meet margins and each other."""
    return rng.integers(-4, 5, shape) / 2.0 if grid else 0.3 + rng.standard_normal(shape)


def numbers(count: int, shape: tuple[int, ...], grid: bool) -> Draw:
    return lambda rng: tuple(values(rng, shape, grid) for _ in range(count))


def signed(count: int, shape: tuple[int, ...], grid: bool, target: tuple[int, ...] | None = None) -> Draw:
    """Draw `count` arrays, and a target of 1 and -1."""
    target = shape if target is None else target
    return lambda rng: (*numbers(count, shape, grid)(rng), rng.choice([-1.0, 1.0], target))


def case(
    name: str, setting: dict[str, Any], draw: Draw, differentiable: int | None, *names: str, **options: Any
) -> Case:
    """Make the case; the last arrays are passed by `names`, and `setting` is what else the id tells."""

    def side(module: Any) -> Callable[..., Any]:
        def call(*arrays: Any) -> Any:
            count = len(arrays) - len(names)
            named = dict(zip(names, arrays[count:], strict=True))
            return getattr(module, name)(*arrays[:count], **named, **options)

        return call

    return Case(f"{name}-{label(setting | options)}", side(F), side(TF), draw, differentiable)


@st.composite
def regression(draw: Any, name: str, option: str | None, weighted: bool) -> Case:
    shape, grid, weight = draw(SHAPE), draw(GRID), draw(st.booleans()) and weighted
    options = {option: draw(st.sampled_from([0.5, 1.0, 3]))} if option else {}

    def arrays(rng: np.random.Generator) -> Arrays:
        pair = numbers(2, shape, grid)(rng)
        return (*pair, rng.uniform(0.3, 2.0, shape)) if weight else pair

    setting, reduction = {"shape": shape, "grid": grid, "weight": weight}, draw(REDUCTION)
    # Where all errors are equal, a weighted mean does not depend on the weights: their gradient is rounding alone.
    leaves = 2 if weight and reduction == "mean" else None
    return case(name, setting, arrays, leaves, *["weight"] * weight, reduction=reduction, **options)


@st.composite
def kl_div(draw: Any) -> Case:
    shape, log_target = draw(SHAPE), draw(st.booleans())
    zeros = draw(st.booleans()) and not log_target

    def arrays(rng: np.random.Generator) -> Arrays:
        target = rng.integers(0, 3, shape) / 2.0 if zeros else rng.uniform(0.05, 1.0, shape)
        return np.log(rng.uniform(0.05, 1.0, shape)), np.log(target) if log_target else np.asarray(target)

    reduction = draw(st.sampled_from(["none", "mean", "sum", "batchmean"]))
    setting = {"shape": shape, "zeros": zeros}
    return case("kl_div", setting, arrays, None, reduction=reduction, log_target=log_target)


@st.composite
def poisson(draw: Any) -> Case:
    shape, log_input, full = draw(SHAPE), draw(st.booleans()), draw(st.booleans())

    def arrays(rng: np.random.Generator) -> Arrays:
        rate = values(rng, shape, False) if log_input else rng.uniform(0.1, 3.0, shape)
        return np.asarray(rate), np.asarray(rng.poisson(1.5, shape), np.float64)

    options = {"log_input": log_input, "full": full, "eps": draw(st.sampled_from([1e-8, 0.1]))}
    # With `full`, PyTorch's gradient of a count of 0 is NaN, and ours is not.
    return case("poisson_nll_loss", {"shape": shape}, arrays, 1 if full else 2, reduction=draw(REDUCTION), **options)


@st.composite
def gaussian(draw: Any) -> Case:
    shape = draw(st.lists(st.integers(2, 4), min_size=1, max_size=3).map(tuple))
    axis = draw(st.integers(0, len(shape) - 1))
    one = (*shape[:axis], 1, *shape[axis + 1 :])
    target = draw(st.sampled_from([shape, one, shape[1:]]))
    variance = draw(st.sampled_from([shape, one, shape[:-1]]))

    def arrays(rng: np.random.Generator) -> Arrays:
        return values(rng, shape, False), np.asarray(values(rng, target, False)), rng.uniform(0.0, 2.0, variance)

    setting = {"shape": shape, "target": target, "var": variance}
    options = {"full": draw(st.booleans()), "eps": draw(st.sampled_from([1e-3, 0.7])), "reduction": draw(REDUCTION)}
    return case("gaussian_nll_loss", setting, arrays, 3, **options)


def _weight_shape(draw: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    ones = [1 if draw(st.booleans()) else size for size in shape]
    return tuple(ones[draw(st.integers(0, len(shape))) :])


@st.composite
def cross_entropy(draw: Any, name: str, allowed: tuple[str, ...], logits: bool) -> Case:
    shape = draw(SHAPE if name != "multilabel_soft_margin_loss" else SHAPE.filter(len))
    names = [option for option in allowed if draw(st.booleans())]
    shapes = [_weight_shape(draw, shape) for _ in names]
    scale = draw(st.sampled_from([1.0, 30.0]))

    def arrays(rng: np.random.Generator) -> Arrays:
        x = scale * rng.standard_normal(shape) if logits else rng.uniform(0.05, 0.95, shape)
        return np.asarray(x), np.asarray(rng.random(shape)), *(np.asarray(rng.uniform(0.3, 2.0, s)) for s in shapes)

    setting = {"shape": shape, "names": names, "shapes": shapes, "scale": scale}
    return case(name, setting, arrays, 2, *names, reduction=draw(REDUCTION))


@st.composite
def soft_margin(draw: Any) -> Case:
    shape, grid = draw(SHAPE), draw(GRID)
    setting = {"shape": shape, "grid": grid}
    return case("soft_margin_loss", setting, signed(1, shape, grid), 1, reduction=draw(REDUCTION))


@st.composite
def margin_ranking(draw: Any) -> Case:
    shape, grid = draw(SHAPE), draw(GRID)
    shapes = [tuple(1 if draw(st.integers(0, 3)) == 0 else size for size in shape) for _ in range(3)]

    def arrays(rng: np.random.Generator) -> Arrays:
        pair = (np.asarray(values(rng, s, grid)) for s in shapes[:2])
        return *pair, np.asarray(rng.choice([-1.0, 1.0], shapes[2]))

    setting = {"shapes": shapes, "grid": grid}
    return case("margin_ranking_loss", setting, arrays, 3, margin=draw(MARGIN), reduction=draw(REDUCTION))


@st.composite
def hinge_embedding(draw: Any) -> Case:
    shape, grid = draw(SHAPE), draw(GRID)
    options = {"margin": draw(MARGIN), "reduction": draw(REDUCTION)}
    return case("hinge_embedding_loss", {"shape": shape, "grid": grid}, signed(1, shape, grid), 1, **options)


@st.composite
def cosine_embedding(draw: Any) -> Case:
    shape = draw(st.lists(st.integers(2, 4), min_size=1, max_size=2).map(tuple))
    options = {"margin": draw(st.sampled_from([-0.5, 0.0, 0.3])), "reduction": draw(REDUCTION)}
    return case("cosine_embedding_loss", {"shape": shape}, signed(2, shape, False, shape[:-1]), 2, **options)


@st.composite
def multi_margin(draw: Any) -> Case:
    shape = draw(st.lists(st.integers(1, 4), max_size=2).map(tuple))
    count, grid, weight = (shape[-1] if shape else 1), draw(GRID), draw(st.booleans())
    target = shape[:-1] if len(shape) == 2 else draw(st.sampled_from([(), (1,)])) if shape else ()

    def arrays(rng: np.random.Generator) -> Arrays:
        pair = np.asarray(values(rng, shape, grid)), np.asarray(rng.integers(0, count, target))
        return (*pair, rng.uniform(0.3, 2.0, count)) if weight else pair

    setting = {"shape": shape, "target": target, "grid": grid, "weight": weight}
    options = {"p": draw(st.sampled_from([1, 2])), "margin": draw(MARGIN), "reduction": draw(REDUCTION)}
    return case("multi_margin_loss", setting, arrays, 1, *["weight"] * weight, **options)


@st.composite
def multilabel_margin(draw: Any) -> Case:
    shape = draw(st.lists(st.integers(1, 5), max_size=2).map(tuple))
    count, grid = (shape[-1] if shape else 1), draw(GRID)

    def arrays(rng: np.random.Generator) -> Arrays:
        return np.asarray(values(rng, shape, grid)), np.asarray(rng.integers(-1, count, shape))

    setting = {"shape": shape, "grid": grid}
    return case("multilabel_margin_loss", setting, arrays, 1, reduction=draw(REDUCTION))


@st.composite
def triplet(draw: Any, name: str) -> Case:
    shape = draw(st.lists(st.integers(2, 4), min_size=1, max_size=2).map(tuple))
    options = {"margin": draw(POSITIVE), "swap": draw(st.booleans()), "reduction": draw(REDUCTION)}
    if name == "triplet_margin_loss":
        options |= {"p": draw(st.sampled_from([1.0, 1.5, 2.0, 3.0])), "eps": draw(st.sampled_from([1e-6, 0.1]))}
    return case(name, {"shape": shape}, numbers(3, shape, draw(GRID)), 3, **options)


@st.composite
def pairwise(draw: Any) -> Case:
    shape, grid = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)), draw(GRID)
    shapes = [shape, shape[draw(st.integers(0, len(shape) - 1)) :]]

    def arrays(rng: np.random.Generator) -> Arrays:
        return tuple(values(rng, s, grid) for s in shapes)

    options = {
        "p": draw(st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0, np.inf, -1.0, -np.inf])),
        # No ε on the grid, so that equal points stay equal.
        "eps": 0.0 if grid else draw(st.sampled_from([1e-6, 0.5])),
        "keepdim": draw(st.booleans()),
    }
    return case("pairwise_distance", {"shapes": shapes, "grid": grid}, arrays, 2, **options)


@st.composite
def pdist(draw: Any) -> Case:
    shape, grid = (draw(st.integers(1, 6)), draw(st.integers(1, 5))), draw(GRID)
    p = draw(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, np.inf]))
    return case("pdist", {"shape": shape, "grid": grid}, numbers(1, shape, grid), 1, p=p)


@st.composite
def cosine_similarity(draw: Any) -> Case:
    # At least 3 entries: in fewer dimensions the gradient is often exactly 0, and all that is left is rounding.
    shape = draw(st.lists(st.integers(3, 5), min_size=1, max_size=3).map(tuple))
    options = {"dim": draw(st.integers(-len(shape), len(shape) - 1)), "eps": draw(st.sampled_from([1e-8, 1.5]))}
    return case("cosine_similarity", {"shape": shape}, numbers(2, shape, False), 2, **options)


STRATEGIES: dict[str, Strategy[Case]] = {
    "l1_loss": regression("l1_loss", None, True),
    "mse_loss": regression("mse_loss", None, True),
    "smooth_l1_loss": regression("smooth_l1_loss", "beta", False),
    "huber_loss": regression("huber_loss", "delta", True),
    "kl_div": kl_div(),
    "binary_cross_entropy": cross_entropy("binary_cross_entropy", ("weight",), False),
    "binary_cross_entropy_with_logits": cross_entropy(
        "binary_cross_entropy_with_logits", ("weight", "pos_weight"), True
    ),
    "poisson_nll_loss": poisson(),
    "gaussian_nll_loss": gaussian(),
    "soft_margin_loss": soft_margin(),
    "multilabel_soft_margin_loss": cross_entropy("multilabel_soft_margin_loss", ("weight",), True),
    "margin_ranking_loss": margin_ranking(),
    "hinge_embedding_loss": hinge_embedding(),
    "cosine_embedding_loss": cosine_embedding(),
    "multi_margin_loss": multi_margin(),
    "multilabel_margin_loss": multilabel_margin(),
    "triplet_margin_loss": triplet("triplet_margin_loss"),
    "triplet_margin_with_distance_loss": triplet("triplet_margin_with_distance_loss"),
    "pairwise_distance": pairwise(),
    "pdist": pdist(),
    "cosine_similarity": cosine_similarity(),
}
