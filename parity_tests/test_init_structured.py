"""Initial values with a structure: the same matrices from the same draws, the same distributions, the same errors."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxport import nn
from jaxport.nn import init
from jaxport.parity.tolerances import SAME_SUMS_RTOL

torch = pytest.importorskip("torch")
TI = torch.nn.init


def variable(*shape, dtype=jnp.float32):
    return nn.Parameter(jnp.zeros(shape, dtype))


@pytest.mark.parametrize("shape", [(3, 5), (4, 4), (5, 2)], ids=str)
def test_eye(shape):
    assert (np.asarray(init.eye_(variable(*shape))[...]) == TI.eye_(torch.empty(shape)).numpy()).all()


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("shape", [(6, 4, 3), (6, 2, 3, 4), (6, 7, 5, 2, 3)], ids=str)
def test_dirac(shape, groups):
    wanted = TI.dirac_(torch.empty(shape), groups).numpy()
    assert (np.asarray(init.dirac_(variable(*shape), groups)[...]) == wanted).all()


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (4, 2, 3), (2, 3, 4, 5)], ids=str)
def test_orthogonal_from_the_same_draw(monkeypatch, shape):
    draws = np.random.default_rng(3).standard_normal((shape[0], int(np.prod(shape[1:]))))
    monkeypatch.setattr(jax.random, "normal", lambda key, shape, dtype: jnp.asarray(draws.reshape(shape), dtype))
    monkeypatch.setattr(torch.Tensor, "normal_", lambda self, *_, **__: self.copy_(torch.from_numpy(draws)))
    with jax.enable_x64(True):
        ours = np.asarray(init.orthogonal_(variable(*shape, dtype=jnp.float64), 1.7, generator=jax.random.key(0))[...])
    theirs = TI.orthogonal_(torch.empty(shape, dtype=torch.float64), 1.7).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=SAME_SUMS_RTOL)


def test_orthogonal_signs_are_uniform():
    """Without the signs of R's diagonal the first row of Q would be one-sided."""
    keys = jax.random.split(jax.random.key(0), 200)
    corners = np.array([init.orthogonal_(variable(3, 3), generator=key)[...][0, 0] for key in keys])
    assert 60 < (corners > 0).sum() < 140


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.35, 1.0])
def test_sparse(sparsity):
    ours = np.asarray(init.sparse_(variable(11, 400), sparsity, 2.0, generator=jax.random.key(1))[...])
    theirs = TI.sparse_(torch.empty(11, 400), sparsity, 2.0).numpy()
    assert ((ours == 0).sum(0) == (theirs == 0).sum(0)).all()
    if sparsity == 0.35:
        assert abs(ours[ours != 0].std() - 2.0) < 0.1
        rows = (ours == 0).mean(1)
        assert rows.min() > 0.25
        assert rows.max() < 0.47


# (mean, std, a, b): the usual, one-sided, a narrow and a far interval
TRUNCATED = [
    (0.0, 1.0, -2.0, 2.0),
    (0.3, 0.02, 0.29, 2.0),
    (1.0, 2.0, 0.9, 1.1),
    (0.0, 1.0, 3.0, 4.0),
    (2, 1, -9, -1.5),
]


@pytest.mark.parametrize("arguments", TRUNCATED, ids=str)
def test_truncated_normal(arguments):
    mean, std, a, b = arguments
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = np.asarray(init.trunc_normal_(variable(20000), *arguments, generator=jax.random.key(2))[...])
        torch.manual_seed(0)
        theirs = TI.trunc_normal_(torch.empty(20000), *arguments).numpy()
    law = stats.truncnorm((a - mean) / std, (b - mean) / std, mean, std)
    assert ours.min() >= np.float32(a)
    assert ours.max() <= np.float32(b)
    # Both against the law: at 1e-4 neither a right one nor this seed fails, an untruncated or shifted one does.
    assert stats.kstest(theirs, law.cdf).pvalue > 1e-4
    assert stats.kstest(ours, law.cdf).pvalue > 1e-4


def test_far_mean_warns_as_in_pytorch():
    with pytest.warns(UserWarning, match="more than 2 std"):
        init.trunc_normal_(variable(3), 5.0, 1.0, -1.0, 1.0, generator=jax.random.key(0))


ERRORS = [
    (lambda: init.eye_(variable(3)), lambda: TI.eye_(torch.empty(3)), "eye_: tensor must have 2 dimensions"),
    (lambda: init.dirac_(variable(3, 4)), lambda: TI.dirac_(torch.empty(3, 4)), "3, 4 or 5 dimensions"),
    (lambda: init.dirac_(variable(5, 4, 3), 2), lambda: TI.dirac_(torch.empty(5, 4, 3), 2), "groups must divide the 5"),
    (
        lambda: init.orthogonal_(variable(3), generator=jax.random.key(0)),
        lambda: TI.orthogonal_(torch.empty(3)),
        "at least 2 dimensions",
    ),
    (
        lambda: init.sparse_(variable(3), 0.1, generator=jax.random.key(0)),
        lambda: TI.sparse_(torch.empty(3), 0.1),
        "sparse_: tensor must have 2",
    ),
]


@pytest.mark.parametrize(("ours", "theirs", "match"), ERRORS, ids=[match for *_, match in ERRORS])
def test_errors_where_pytorch_raises(ours, theirs, match):
    with pytest.raises(ValueError, match=r".+"):
        theirs()
    with pytest.raises(ValueError, match=match):
        ours()


def test_empty_tensor_is_left_as_it_is():
    assert init.orthogonal_(variable(0, 3), generator=jax.random.key(0)).shape == (0, 3)
