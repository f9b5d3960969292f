"""The suite can fail: each known difference of a loss or distance is planted as a mistake and must be reported."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
import test_nn_loss as losses
from cases import Case, case_findings

from jaxport.nn import distance, loss_distribution, loss_logistic, loss_margin, loss_multi_margin, loss_regression
from jaxport.nn import functional as F

Wrong = Callable[..., Any]


def case(table: list[Case], id: str) -> Case:
    return next(row for row in table if row.id == id)


def split_hinge(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, jnp.zeros_like(x))  # derivative 0.5 at 0


def plain_norm(x: jax.Array, p: float, axis: int, share_ties: bool = True) -> jax.Array:
    return distance._reduce_powers(x, p, axis)  # derivative NaN at 0


def one_tie(right: Wrong) -> Wrong:
    """Turn round how ties share the derivative of the largest difference."""
    return lambda x, p, axis, share=True: right(x, p, axis, not share)


def joint_norms(x: jax.Array, axis: int, eps: float) -> jax.Array:
    """Stop the gradient of a norm below ε, as jnp.maximum does."""
    return x / jnp.maximum(distance.vector_norm(x, 2, axis), eps)


def times(factor: float) -> Callable[[Wrong], Wrong]:
    return lambda right: lambda *args, **kwargs: factor * right(*args, **kwargs)


def as_it_is(wrong: Wrong) -> Callable[[Wrong], Wrong]:
    return lambda right: wrong


def without(*names: str) -> Callable[[Wrong], Wrong]:
    """Return a mistake that ignores options."""
    return lambda right: lambda *args, **kwargs: right(*args, **{k: v for k, v in kwargs.items() if k not in names})


def naive_log_sigmoid(x: jax.Array) -> jax.Array:
    return jnp.log(1.0 / (1.0 + jnp.exp(-x)))  # -inf far below 0


def batchmean_by_elements(right: Wrong) -> Wrong:
    def kl_div(x: jax.Array, y: jax.Array, *, reduction: str, **options: Any) -> jax.Array:
        return right(x, y, reduction="mean" if reduction == "batchmean" else reduction, **options)

    return kl_div


def naive_kl(x: jax.Array, y: jax.Array, *, reduction: str, **options: Any) -> jax.Array:
    return y * (jnp.log(y) - x)  # 0 · -inf at 0


def huber_as_smooth(right: Wrong) -> Wrong:
    """Take SmoothL1's β for Huber's δ: the loss is divided by it."""
    return lambda x, y, *, delta, **options: right(x, y, delta=delta, **options) / delta


def chosen_branch(difference: jax.Array, delta: float) -> jax.Array:
    size = jnp.abs(difference)
    return jnp.where(size < delta, 0.5 * size * size, delta * (size - 0.5 * delta))


def clamped_variance(x: jax.Array, least: float) -> jax.Array:
    return jnp.maximum(x, least)


def counted_once(scores: jax.Array, labels: jax.Array) -> jax.Array:
    """Take every list of classes as a set."""
    order = jnp.arange(labels.shape[1])
    earlier = (labels[:, :, None] == labels[:, None, :]) & (order[None, None] < order[None, :, None])
    first = ~earlier.any(2)
    front = jnp.argsort(~first, axis=1)
    kept = jnp.where(jnp.take_along_axis(first, front, 1), jnp.take_along_axis(labels, front, 1), -1)
    return RIGHT_LABEL_MARGINS(scores, kept.astype(labels.dtype))


RIGHT_LABEL_MARGINS = loss_multi_margin._label_margins
KINK = {"l1": "l1_loss-kinks", "hinge": "hinge_embedding_loss-kinks", "mr": "margin_ranking_loss-kinks"}
FAR = "binary_cross_entropy_with_logits-far"

# (name of the trap, where, function, mistake, table, case)
TRAPS: list[tuple[str, Any, str, Callable[[Wrong], Wrong], list[Case], str]] = [
    ("trap 16: abs at 0", loss_regression, "absolute", as_it_is(jnp.abs), losses.REGRESSION, KINK["l1"]),
    ("trap 16: clamp in hinge embedding", loss_margin, "hinge", as_it_is(split_hinge), losses.MARGINS, KINK["hinge"]),
    ("trap 16: clamp in margin ranking", loss_margin, "hinge", as_it_is(split_hinge), losses.MARGINS, KINK["mr"]),
    (
        "trap 16: clamp in cosine embedding",
        loss_margin,
        "hinge",
        as_it_is(split_hinge),
        losses.MARGINS,
        "cosine_embedding_loss-kinks",
    ),
    (
        "trap 16: norm at 0, pairwise",
        distance,
        "vector_norm",
        as_it_is(plain_norm),
        losses.DISTANCES,
        "pairwise_distance-equal-p=2.0",
    ),
    ("trap 16: norm at 0, pdist", distance, "vector_norm", as_it_is(plain_norm), losses.DISTANCES, "pdist-equal-p=2.0"),
    ("trap 16: p < 1 at 0", distance, "vector_norm", as_it_is(plain_norm), losses.DISTANCES, "pdist-equal-p=0.5"),
    ("trap 15: ties of p = inf", distance, "vector_norm", one_tie, losses.DISTANCES, "pdist-equal-p=inf"),
    (
        "trap 16: ε of the cosine",
        distance,
        "_unit",
        as_it_is(joint_norms),
        losses.DISTANCES,
        "cosine_similarity-zeros-eps",
    ),
    (
        "trap 16: least variance stops gradients",
        loss_distribution,
        "at_least",
        as_it_is(clamped_variance),
        losses.DISTRIBUTIONS,
        "gaussian_nll_loss-below-eps",
    ),
    ("trap 26: overflow", loss_logistic, "_log_sigmoid", as_it_is(naive_log_sigmoid), losses.LOGISTIC, FAR),
    ("trap 26: no pos_weight", F, losses.BCE, without("pos_weight"), losses.LOGISTIC, f"{losses.BCE}-pos_weight"),
    ("trap 25: mse with a half", F, "mse_loss", times(0.5), losses.MASKED, "mse_loss"),
    ("trap 27: batchmean", F, "kl_div", batchmean_by_elements, losses.DISTRIBUTIONS, "kl_div-(5, 3)-False"),
    ("trap 27: log_target", F, "kl_div", without("log_target"), losses.DISTRIBUTIONS, "kl_div-(5, 3)-True"),
    ("trap 27: 0 log 0", F, "kl_div", as_it_is(naive_kl), losses.DISTRIBUTIONS, "kl_div-zeros"),
    ("trap 27: beta", F, "smooth_l1_loss", without("beta"), losses.REGRESSION, "smooth_l1_loss-(5, 3)-beta-0.5"),
    (
        "trap 27: huber is not smooth l1",
        F,
        "huber_loss",
        huber_as_smooth,
        losses.REGRESSION,
        "huber_loss-(5, 3)-delta-0.5",
    ),
    (
        "trap 16: branches at infinity",
        loss_regression,
        "_huber",
        as_it_is(chosen_branch),
        losses.REGRESSION,
        "smooth_l1_loss-kinks",
    ),
    ("stirling left out", F, "poisson_nll_loss", without("full"), losses.DISTRIBUTIONS, "poisson_nll_loss-rate-0"),
    (
        "labels counted once",
        loss_multi_margin,
        "_label_margins",
        as_it_is(counted_once),
        losses.MARGINS,
        "multilabel_margin_loss-kinks",
    ),
    ("swap left out", F, "triplet_margin_loss", without("swap"), losses.TRIPLET, "triplet_margin_loss-broadcast"),
    ("a mask is ignored", F, "kl_div", without("where"), losses.MASKED, "kl_div"),
    ("off by one part in 1e9", F, "pdist", times(1.0 + 1e-9), losses.DISTANCES, "pdist-p=1.5"),
]


@pytest.mark.parametrize(("where", "name", "mistake", "table", "id"), [t[1:] for t in TRAPS], ids=[t[0] for t in TRAPS])
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_a_planted_mistake_is_found(monkeypatch, where, name, mistake, table, id):
    row = case(table, id)
    assert case_findings(row, "float64") == []
    monkeypatch.setattr(where, name, mistake(getattr(where, name)))
    assert case_findings(row, "float64")
