"""Losses and distances where PyTorch is not needed: errors, tracing, half precision, masks, repr and state."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxport.nn.functional as F
from jaxport import nn
from jaxport.interop import state_dict
from jaxport.nn.loss_reduce import total

X, Y = jnp.asarray([[0.2, -1.0, 0.5], [1.5, 0.0, -0.3]]), jnp.asarray([[0.1, 0.9, 0.4], [0.6, 0.3, 0.8]])
P = jnp.clip(jnp.abs(X), 0.1, 0.9)
SIGNS = jnp.asarray([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
LABELS, LISTS = jnp.asarray([0, 2]), jnp.asarray([[0, 2, -1], [1, -1, 0]])
# Name and arguments of every loss: (2, 3) or (2,) unreduced.
CALLS: dict[str, tuple[Any, ...]] = {
    "l1_loss": (X, Y),
    "mse_loss": (X, Y),
    "smooth_l1_loss": (X, Y),
    "huber_loss": (X, Y),
    "kl_div": (X, Y),
    "binary_cross_entropy": (P, Y),
    "binary_cross_entropy_with_logits": (X, Y),
    "poisson_nll_loss": (X, Y),
    "gaussian_nll_loss": (X, Y, P),
    "soft_margin_loss": (X, SIGNS),
    "multilabel_soft_margin_loss": (X, Y),
    "margin_ranking_loss": (X, Y, SIGNS),
    "hinge_embedding_loss": (X, SIGNS),
    "cosine_embedding_loss": (X, Y, jnp.asarray([1.0, -1.0])),
    "multi_margin_loss": (X, LABELS),
    "multilabel_margin_loss": (X, LISTS),
    "triplet_margin_loss": (X, Y, P),
    "triplet_margin_with_distance_loss": (X, Y, P),
}
MODULES = {
    "l1_loss": "L1Loss",
    "mse_loss": "MSELoss",
    "smooth_l1_loss": "SmoothL1Loss",
    "huber_loss": "HuberLoss",
    "kl_div": "KLDivLoss",
    "binary_cross_entropy": "BCELoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
    "poisson_nll_loss": "PoissonNLLLoss",
    "gaussian_nll_loss": "GaussianNLLLoss",
    "soft_margin_loss": "SoftMarginLoss",
    "multilabel_soft_margin_loss": "MultiLabelSoftMarginLoss",
    "margin_ranking_loss": "MarginRankingLoss",
    "hinge_embedding_loss": "HingeEmbeddingLoss",
    "cosine_embedding_loss": "CosineEmbeddingLoss",
    "multi_margin_loss": "MultiMarginLoss",
    "multilabel_margin_loss": "MultiLabelMarginLoss",
    "triplet_margin_loss": "TripletMarginLoss",
    "triplet_margin_with_distance_loss": "TripletMarginWithDistanceLoss",
}
OUTSIDE = jnp.asarray([0, 3])
every = pytest.mark.parametrize("name", CALLS)


@every
def test_module_is_its_function_and_takes_a_mask(name):
    module = getattr(nn, MODULES[name])()
    where = jnp.asarray([True, False])
    assert float(module(*CALLS[name])) == float(getattr(F, name)(*CALLS[name]))
    assert float(module(*CALLS[name], where=where)) == float(getattr(F, name)(*CALLS[name], where=where))
    assert list(inspect.signature(module.forward).parameters)[-1] == "where"
    assert repr(module) == f"{MODULES[name]}()" or name == "triplet_margin_with_distance_loss"


@every
def test_jit_vmap_and_forward_mode(name):
    loss = getattr(F, name)
    first, *rest = CALLS[name]
    assert float(jax.jit(loss)(first, *rest)) == pytest.approx(float(loss(first, *rest)), rel=1e-6)
    rows = jax.vmap(lambda *row: loss(*row, reduction="none"))(first, *rest)
    np.testing.assert_allclose(rows, loss(first, *rest, reduction="none"), rtol=1e-6, atol=1e-7)
    _, tangent = jax.jvp(lambda x: loss(x, *rest), (first,), (jnp.ones_like(first),))
    gradient = jax.grad(lambda x: loss(x, *rest))(first)
    assert float(tangent) == pytest.approx(float(gradient.sum()), rel=1e-5, abs=1e-6)
    assert np.isfinite(jax.hessian(lambda x: loss(x, *rest))(first)).all()


@every
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_stays(name, dtype):
    arrays = [a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a for a in CALLS[name]]
    for reduction in ("none", "mean", "sum"):
        found = getattr(F, name)(*arrays, reduction=reduction)
        assert found.dtype == dtype
        wanted = getattr(F, name)(*CALLS[name], reduction=reduction)
        np.testing.assert_allclose(found.astype(jnp.float32), wanted, rtol=0.05, atol=0.05)


@every
def test_unknown_reduction(name):
    with pytest.raises(ValueError, match=rf"^{name}: reduction must be .*, got 'abc'"):
        getattr(F, name)(*CALLS[name], reduction="abc")
    with pytest.raises(ValueError, match=f"^{MODULES[name]}: reduction must be"):
        getattr(nn, MODULES[name])(reduction="abc")


@every
def test_a_mask_of_another_shape(name):
    with pytest.raises(ValueError, match=f"^{name}: where must have shape"):
        getattr(F, name)(*CALLS[name], where=jnp.ones(5, bool))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: F.l1_loss(X, Y[:1]),
            ValueError,
            r"l1_loss: target must have the shape of input, \(2, 3\), got \(1, 3\)",
        ),
        (lambda: F.l1_loss(X, Y, weight=Y[0]), ValueError, r"l1_loss: weight must have the shape of input"),
        (lambda: F.l1_loss(LABELS, LABELS), TypeError, "l1_loss: input must be floating, got int"),
        (lambda: F.l1_loss(X, Y.astype(jnp.bfloat16)), TypeError, "l1_loss: all arrays must have one dtype"),
        (lambda: F.smooth_l1_loss(X, Y, beta=-1), ValueError, "smooth_l1_loss: beta must not be negative, got -1"),
        (lambda: F.huber_loss(X, Y, delta=0), ValueError, "huber_loss: delta must be positive, got 0"),
        (lambda: nn.HuberLoss(delta=1j), TypeError, "HuberLoss: delta must be a float or int, got complex"),  # type: ignore
        (lambda: F.kl_div(X, Y[0]), ValueError, "kl_div: target must have the shape of input"),
        (
            lambda: F.binary_cross_entropy(X, Y),
            ValueError,
            r"binary_cross_entropy: input must lie in \[0, 1\], got -1.0",
        ),
        (lambda: F.binary_cross_entropy(Y, X), ValueError, r"binary_cross_entropy: target must lie in \[0, 1\]"),
        (
            lambda: F.binary_cross_entropy_with_logits(X, Y, pos_weight=jnp.ones((4, 2, 3))),
            ValueError,
            r"pos_weight must broadcast to \(2, 3\), got shape \(4, 2, 3\)",
        ),
        (lambda: F.gaussian_nll_loss(X, Y, -P), ValueError, "gaussian_nll_loss: var must not be negative, got -0.8999"),
        (lambda: F.gaussian_nll_loss(X, Y, -0.5), ValueError, "gaussian_nll_loss: var must not be negative"),
        (
            lambda: F.gaussian_nll_loss(X, Y, P[:, :2]),
            ValueError,
            "gaussian_nll_loss: var must have the shape of input",
        ),
        (lambda: F.gaussian_nll_loss(X, Y[:, :2], P), ValueError, "gaussian_nll_loss: shapes must broadcast together"),
        (
            lambda: F.margin_ranking_loss(X, Y, SIGNS[0]),
            ValueError,
            "margin_ranking_loss: all arrays must have the same",
        ),
        (lambda: F.hinge_embedding_loss(X, SIGNS[0]), ValueError, "hinge_embedding_loss: target must have the shape"),
        (lambda: F.cosine_embedding_loss(X, Y, SIGNS), ValueError, r"cosine_embedding_loss: inputs and target must be"),
        (lambda: F.multi_margin_loss(X, LABELS, p=3), ValueError, "multi_margin_loss: p must be 1 or 2, got 3"),
        (
            lambda: F.multi_margin_loss(X, LABELS + 1),
            IndexError,
            r"multi_margin_loss: target must lie in \[0, 2\], got 3",
        ),
        (
            lambda: F.multi_margin_loss(X, LABELS[:1]),
            ValueError,
            "multi_margin_loss: target must be one class for each",
        ),
        (lambda: F.multi_margin_loss(X, LABELS, weight=Y), ValueError, r"multi_margin_loss: weight must be \(C,\)"),
        (lambda: F.multi_margin_loss(X, LABELS, weight=Y[0, :2]), ValueError, "weight must have one entry for each"),
        (lambda: F.multi_margin_loss(X, Y[:, 0]), TypeError, "multi_margin_loss: target must be integer classes"),
        (lambda: F.multi_margin_loss(X[:, :0], LABELS), ValueError, "multi_margin_loss: input must be"),
        (lambda: F.multilabel_margin_loss(X, LISTS - 1), IndexError, r"target must lie in \[-1, 2\], got -2"),
        (
            lambda: F.multilabel_margin_loss(X, LISTS[0]),
            ValueError,
            "multilabel_margin_loss: target must have the shape",
        ),
        (lambda: F.multilabel_soft_margin_loss(X[0, 0], Y[0, 0]), ValueError, "input must have an axis of classes"),
        (lambda: F.triplet_margin_loss(X, Y, P, margin=0), ValueError, "margin must be greater than 0, got 0"),
        (lambda: nn.TripletMarginLoss(-1.0), ValueError, "TripletMarginLoss: margin must be greater than 0, got -1.0"),
        (lambda: F.triplet_margin_loss(X, Y[0], P), ValueError, "triplet_margin_loss: all arrays must have the same"),
        (lambda: F.pairwise_distance(X, Y[:, :2]), ValueError, "pairwise_distance: shapes must broadcast together"),
        (lambda: F.pairwise_distance(X[:, :0], X[:, :0], jnp.inf), ValueError, "p must be finite and not negative"),
        (lambda: F.cosine_similarity(X, Y, 2), IndexError, r"cosine_similarity: dim must lie in \[-2, 1\], got 2"),
        (lambda: F.pdist(X[0]), ValueError, r"pdist: input must be \(N, D\), got shape \(3,\)"),
        (lambda: F.pdist(X, -1.0), ValueError, "pdist: p must not be negative, got -1.0"),
        (lambda: F.pdist(LISTS), TypeError, "pdist: input must be floating"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_what_cannot_be_checked_under_jit_is_nan():
    assert np.isnan(jax.jit(F.binary_cross_entropy)(X, Y))
    assert np.isnan(jax.jit(F.binary_cross_entropy)(Y, X))
    assert np.isnan(jax.jit(F.gaussian_nll_loss)(X, Y, -P))
    assert np.isnan(jax.jit(F.multi_margin_loss)(X, LABELS + 1))
    assert np.isnan(jax.jit(F.multilabel_margin_loss)(X, LISTS - 1))


def test_a_constant_inside_jit_is_checked():
    assert float(jax.jit(lambda x: F.multi_margin_loss(x, LABELS))(X)) == pytest.approx(0.9)
    with pytest.raises(IndexError, match="target must lie in"):
        jax.jit(lambda x: F.multi_margin_loss(x, OUTSIDE))(X)


def test_integers_as_labels_and_counts():
    integers = SIGNS.astype(int)
    for loss in (F.soft_margin_loss, F.hinge_embedding_loss):
        assert float(loss(X, integers)) == float(loss(X, SIGNS))
    assert float(F.margin_ranking_loss(X, Y, integers)) == float(F.margin_ranking_loss(X, Y, SIGNS))
    assert float(F.poisson_nll_loss(X, jnp.abs(integers))) == float(F.poisson_nll_loss(X, jnp.abs(SIGNS)))
    assert float(F.multilabel_soft_margin_loss(X, Y > 0.5)) > 0


def test_soft_margin_does_not_overflow():
    value, slope = jax.value_and_grad(F.soft_margin_loss)(jnp.asarray([-1e4]), jnp.asarray([1.0]))
    assert float(value) == 1e4
    assert slope.tolist() == [-1.0]


def test_counts_of_zero_have_a_gradient_with_stirling():
    gradient = jax.grad(lambda y: F.poisson_nll_loss(X, y, full=True, reduction="sum"))(jnp.zeros_like(X))
    np.testing.assert_allclose(gradient, -X)


def test_weights_are_buffers_in_order():
    loss = nn.BCEWithLogitsLoss(Y[0], pos_weight=P[0])
    assert list(state_dict(loss)) == ["weight", "pos_weight"]
    assert not list(loss.parameters())
    assert nn.BCEWithLogitsLoss().pos_weight is None


def test_representations_and_attributes():
    assert repr(nn.TripletMarginWithDistanceLoss()) == (
        "TripletMarginWithDistanceLoss(\n  (distance_function): PairwiseDistance()\n)"
    )
    distance = nn.PairwiseDistance(1.0, 0.5, True)
    assert (distance.norm, distance.eps, distance.keepdim) == (1.0, 0.5, True)
    assert distance(X, Y).shape == (2, 1)
    assert repr(nn.CosineSimilarity(0)) == "CosineSimilarity()"
    assert nn.CosineSimilarity(0)(X, Y).shape == (3,)
    triplet = nn.TripletMarginLoss(0.5, 1.0, 0.1, True, "sum")
    assert (triplet.margin, triplet.p, triplet.eps, triplet.swap, triplet.reduction) == (0.5, 1.0, 0.1, True, "sum")


def test_any_callable_is_a_distance():
    loss = nn.TripletMarginWithDistanceLoss(distance_function=lambda x, y: jnp.abs(x - y).max(-1), margin=0.5)
    assert loss(X, Y, P).shape == ()


def test_pdist_without_pairs():
    assert F.pdist(jnp.zeros((0, 3))).shape == F.pdist(jnp.zeros((1, 3))).shape == (0,)
    assert F.pdist(jnp.zeros((3, 0))).tolist() == [0.0, 0.0, 0.0]
    assert jax.grad(lambda x: F.pdist(x).sum())(jnp.zeros((0, 3))).shape == (0, 3)


def test_second_derivatives_of_distances():
    x = jnp.asarray([[0.0, 0.0], [3.0, 4.0]])
    hessian = jax.hessian(lambda v: F.pdist(jnp.stack([x[0], v]))[0])(x[1])
    np.testing.assert_allclose(hessian, np.array([[16.0, -12.0], [-12.0, 9.0]]) / 125.0, atol=1e-6)


def test_sums_round_as_little_as_pytorchs():
    rng = np.random.default_rng(0)
    for shape in ((10, 10, 10), (15, 10), (64, 10), (64, 64), (7, 10001)):
        for _ in range(10):
            values = rng.uniform(0.0, 2.0, shape).astype(np.float32)
            wanted = values.astype(np.float64).sum()
            assert abs(float(jax.jit(total)(values)) - wanted) < 4e-7 * wanted
            assert (jax.grad(total)(values) == 1.0).all()
