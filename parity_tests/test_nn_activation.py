"""Activations, softmax and its relations, normalize and one_hot against PyTorch's: at random, at kinks, at extremes."""

import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import Arrays, Case, assert_same, both_dtypes, findings32, findings64, label, normal, table
from test_nn_layers import TF, Draw, twin

import jaxport.nn.functional as F
from jaxport import nn
from jaxport.parity.tolerances import SAME_SUMS_RTOL

torch = pytest.importorskip("torch")
INF, NAN = math.inf, math.nan


def points(*values: float) -> Draw:
    """Draw these numbers, repeated so that all of them go through PyTorch's vectorised loop."""
    return lambda rng: (np.tile(values, 32),)


def wide(*shape: int) -> Draw:
    return lambda rng: (3.0 * rng.standard_normal(shape),)


# Where every activation is looked at beside its own kinks.
EXTREMES = (NAN, INF, -INF, 1e3, -1e3, 90.0, -90.0, 20.0, -20.0, 0.7, -0.7, 1e-30, -1e-30, 0.0, -0.0)
# (function, options, its kinks)
ELEMENTWISE: list[tuple[str, dict[str, Any], tuple[float, ...]]] = [
    ("relu", {}, ()),
    ("relu6", {}, (6.0,)),
    ("threshold", {"threshold": 0.5, "value": 20.0}, (0.5,)),
    ("threshold", {"threshold": -1.5, "value": -7.0}, (-1.5,)),
    ("hardtanh", {}, (-1.0, 1.0)),
    ("hardtanh", {"min_val": -0.5, "max_val": 2.0}, (-0.5, 2.0)),
    ("hardtanh", {"min_val": 0.5, "max_val": 0.5}, (0.5,)),
    ("hardsigmoid", {}, (3.0, -3.0)),
    ("hardswish", {}, (3.0, -3.0)),
    ("hardshrink", {}, (0.5, -0.5)),
    ("hardshrink", {"lambd": 0.0}, ()),
    ("hardshrink", {"lambd": -1.0}, (1.0, -1.0)),
    ("softshrink", {}, (0.5, -0.5)),
    ("softshrink", {"lambd": 0.0}, ()),
    ("leaky_relu", {}, ()),
    ("leaky_relu", {"negative_slope": -0.5}, ()),
    ("rrelu", {}, ()),
    ("rrelu", {"lower": 0.25, "upper": 0.25, "training": True}, ()),
    ("elu", {}, ()),
    ("elu", {"alpha": -1.5}, ()),
    ("celu", {"alpha": 2.0}, ()),
    ("celu", {"alpha": -3.0}, ()),
    ("selu", {}, ()),
    ("sigmoid", {}, ()),
    ("tanh", {}, ()),
    ("silu", {}, ()),
    ("mish", {}, ()),
    ("gelu", {}, ()),
    ("gelu", {"approximate": "tanh"}, ()),
    ("softplus", {}, (20.0,)),
    ("softplus", {"beta": 2.0, "threshold": 1.0}, (0.5,)),
    ("softplus", {"beta": -2.0, "threshold": 1.0}, (-0.5,)),
    ("logsigmoid", {}, ()),
    ("softsign", {}, ()),
    ("tanhshrink", {}, ()),
]


def name_of(function: str, options: dict[str, Any]) -> str:
    return f"{function}-{label(options)}" if options else function


AT_RANDOM = [twin(name_of(f, o), f, wide(5, 7), **o) for f, o, _ in ELEMENTWISE]
AT_KINKS = [twin(f"{name_of(f, o)} at kinks", f, points(*kinks, *EXTREMES), **o) for f, o, kinks in ELEMENTWISE]


@both_dtypes
@table(AT_RANDOM)
def test_elementwise(case, dtype):
    assert_same(case, dtype)


@table(AT_KINKS)
def test_kinks_and_extremes(case):
    assert_same(case, "float64")


def one_point(case: Case, value: float) -> Case:
    draw: Draw = lambda rng: (np.full(32, value),)  # noqa: E731
    return Case(f"{case.id} at {value}", case.jax_fn, case.torch_fn, draw)


@pytest.mark.parametrize("value", [-30.0, -5.0, 12.0])
@table([twin(name_of(f, o), f, points(0.0), **o) for f, o, _ in ELEMENTWISE if f in ("elu", "selu", "mish", "silu")])
def test_tails_keep_their_digits(case, value):
    """One point at a time, so that no larger element sets the scale; PyTorch loses them in gelu and tanh."""
    assert_same(one_point(case, value), "float64")


def test_cotangents_of_flat_parts_are_dropped_not_multiplied():
    """0 · inf would be NaN: PyTorch selects."""
    for name, x in (("relu", -1.0), ("hardtanh", 3.0), ("hardshrink", 0.1), ("softshrink", 0.1), ("hardsigmoid", 5.0)):
        _, pullback = jax.vjp(getattr(F, name), jnp.full((3,), x))
        tensor = torch.full((3,), x, requires_grad=True)
        (wanted,) = torch.autograd.grad(getattr(TF, name)(tensor), tensor, torch.full((3,), INF))
        np.testing.assert_array_equal(np.asarray(pullback(jnp.full((3,), INF))[0]), wanted.numpy())


# ------------------------------------------------------------------------------------------- with slopes, with halves

SHAPED = [
    twin("prelu-one", "prelu", normal((4, 3, 5), (1,))),
    twin("prelu-scalar", "prelu", normal((4, 3), ())),
    twin("prelu-scalar-input", "prelu", normal((), (1,))),
    twin("prelu-vector-input", "prelu", normal((7,), (1,))),
    twin("prelu-channels", "prelu", normal((4, 3, 5, 2), (3,))),
    twin("prelu-matrix", "prelu", normal((4, 3), (3,))),
    twin("prelu-empty", "prelu", normal((0, 3), (3,))),
    twin("prelu-kinks", "prelu", lambda rng: (np.tile([0.0, -0.0, 1.0, -1.0, 1e-30, INF], 16), np.array([0.25]))),
    twin("glu-last", "glu", wide(3, 5, 4)),
    twin("glu-middle", "glu", wide(3, 6, 5), dim=1),
    twin("glu-negative", "glu", wide(4, 5, 7), dim=-3),
    twin("glu-empty", "glu", wide(0, 4), dim=0),
    twin("glu-extremes", "glu", lambda rng: (np.array([[1e3, -1e3, 5.0, -1e3, 1e3, 0.0]]),)),
]
SOFT = [
    *(twin(f"softmin-{dim}", "softmin", wide(5, 3, 4), dim) for dim in (0, 1, -1)),
    *(twin(f"{name}-scalar", name, normal(()), -1) for name in ("softmax", "softmin", "log_softmax")),
    *(twin(f"{name}-no-classes", name, normal((3, 0)), 1) for name in ("softmax", "softmin", "log_softmax")),
    *(twin(f"{name}-far-apart", name, lambda rng: (300.0 * rng.standard_normal((5, 3)),), 1) for name in ("softmin",)),
]


@both_dtypes
@table(SHAPED + SOFT)
def test_shaped(case, dtype):
    assert_same(case, dtype)


@pytest.mark.parametrize("shape", [(), (3,), (3, 4), (3, 4, 2), (2, 3, 4, 5)])
@pytest.mark.parametrize("name", ["softmax", "softmin", "log_softmax"])
def test_implicit_axis(name, shape):
    x = np.asarray(np.random.default_rng(0).standard_normal(shape), np.float32)
    with pytest.warns(UserWarning, match=f"{name}: dim=None takes axis"):
        found = getattr(F, name)(jnp.asarray(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted, truth = getattr(TF, name)(torch.from_numpy(x)), getattr(TF, name)(torch.from_numpy(x).double())
    assert findings32(name, found, wanted.numpy(), truth.numpy()) == []


# ----------------------------------------------------------------------------------------------- normalize, one_hot


def vectors(rng: np.random.Generator) -> Arrays:
    """Draw rows with zeros among their elements, a row of zeros and a row of equal sizes."""
    x = rng.standard_normal((5, 4))
    x[0, 1] = x[3, 2] = x[3, 3] = 0.0
    x[1] = 0.0
    x[2] = (2.0, -2.0, 2.0, 1.0)
    return (x,)


NORMALIZE = [
    twin(f"p={p} eps={eps}", "normalize", vectors, p=p, eps=eps)
    for p in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, INF)
    for eps in (1e-12, 1.5)
]
NORMALIZE += [
    twin("p=-1", "normalize", normal((5, 4)), p=-1.0),
    twin("p=-inf", "normalize", normal((5, 4)), p=-INF),
    twin("dim=0", "normalize", normal((5, 4, 3)), dim=0),
    twin("dim=-1", "normalize", normal((5, 4, 3)), dim=-1),
    twin("dim=(1,2)", "normalize", normal((5, 4, 3)), dim=(1, 2)),
    twin("scalar", "normalize", lambda rng: (np.array(0.3),), dim=0, eps=0.75),
    twin("empty", "normalize", normal((0, 4))),
    twin("norm-is-eps", "normalize", lambda rng: (np.array([[3.0, 4.0], [0.0, 5.0]]),), eps=5.0),
]


@both_dtypes
@table(NORMALIZE)
def test_normalize(case, dtype):
    assert_same(case, dtype)


@pytest.mark.parametrize("classes", [-1, 5, 9])
@pytest.mark.parametrize("shape", [(), (7,), (3, 4)])
def test_one_hot(shape, classes):
    x = np.random.default_rng(0).integers(0, 5, shape)
    wanted = TF.one_hot(torch.as_tensor(x), classes).numpy()
    with jax.enable_x64(True):
        found = np.asarray(F.one_hot(jnp.asarray(x), classes))
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(np.asarray(F.one_hot(jnp.asarray(x, jnp.int32), classes)), wanted)


def test_gumbel_softmax_with_pytorchs_noise(monkeypatch):
    """The same noise on both sides: soft and hard values and the straight-through gradient."""
    rng = np.random.default_rng(0)
    x, weights = rng.standard_normal((2, 3, 4, 5))
    key = jax.random.key(0)
    for hard in (False, True):
        torch.manual_seed(5)
        noise = -torch.empty(3, 4, 5, dtype=torch.float64).exponential_().log()
        torch.manual_seed(5)
        tensor = torch.from_numpy(x).requires_grad_()
        wanted = TF.gumbel_softmax(tensor, 0.7, hard, dim=1)
        (slope,) = torch.autograd.grad(wanted, tensor, torch.from_numpy(weights))
        with jax.enable_x64(True):
            monkeypatch.setattr(jax.random, "gumbel", lambda *_, noise=noise: jnp.asarray(noise.numpy()))
            found, pullback = jax.vjp(lambda x, h=hard: F.gumbel_softmax(x, 0.7, h, dim=1, key=key), jnp.asarray(x))
            assert findings64("output", found, wanted.detach().numpy()) == []
            assert findings64("gradient", pullback(jnp.asarray(weights))[0], slope.numpy()) == []


# ----------------------------------------------------------------------------------------------------------- rrelu


def test_rrelu_with_replayed_slopes():
    """PyTorch draws a slope only for elements that need one, so the slopes are read off its output."""
    x = np.random.default_rng(0).standard_normal((4, 5))
    x[0, 0] = 0.0
    torch.manual_seed(3)
    tensor = torch.from_numpy(x).requires_grad_()
    wanted = TF.rrelu(tensor, 0.1, 0.9, training=True)
    slopes = np.where(x < 0, wanted.detach().numpy() / np.where(x == 0, 1.0, x), 0.5)
    (gradient,) = torch.autograd.grad(wanted.sum(), tensor)
    slopes[0, 0] = gradient[0, 0]
    with jax.enable_x64(True), nn.replay_masks([jnp.asarray(slopes)] * 2):
        found, pullback = jax.vjp(lambda x: F.rrelu(x, 0.1, 0.9, training=True), jnp.asarray(x))
        np.testing.assert_allclose(np.asarray(found), wanted.detach().numpy(), rtol=SAME_SUMS_RTOL)
        np.testing.assert_allclose(np.asarray(pullback(jnp.ones((4, 5)))[0]), gradient.numpy(), rtol=SAME_SUMS_RTOL)
        assert nn.RReLU(0.1, 0.9, rngs=0)(jnp.asarray(x)).tolist() == found.tolist()
