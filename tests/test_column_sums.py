"""Sums of many numbers in one column: losses and metrics, where XLA would make and add them one at a time."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxport import metrics, nn
from jaxport.bench.hlo import computations, operation
from jaxport.nn.loss_reduce import LONG, total

ROWS = LONG + 37
RNG = np.random.default_rng(4)
X, Y = (RNG.normal(size=(ROWS, 1)).astype(np.float32) for _ in range(2))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere there is no YNN")
def test_what_makes_a_column_is_not_fused_with_its_sum():
    for shape in ((ROWS, 1), (ROWS // 2, 2, 1)):
        x = jnp.ones(shape)
        text = jax.jit(lambda x: total(jnp.sin(x) * x + x)).lower(x).compile().as_text()
        parts = computations(text)
        called = re.findall(r"calls=%([\w.]+)[^\n]*__ynn_fusion", text)
        assert called
        made = {operation(line) for name in called for line in parts[name]}
        assert made - {"parameter", "constant", "bitcast"} == {"reduce"}


@pytest.mark.parametrize("shape", [(ROWS, 1), (ROWS,), (ROWS, 3)])
def test_the_sum_is_exact_and_keeps_nan_and_infinity(shape):
    values = RNG.normal(size=shape)
    with jax.enable_x64(True):
        assert float(total(jnp.asarray(values))) == pytest.approx(values.sum(), rel=1e-12, abs=1e-10)
        grad = jax.grad(lambda x: total(x * x))(jnp.asarray(values))
        np.testing.assert_allclose(grad, 2 * values, rtol=1e-15)
    for wrong in (np.nan, np.inf, -np.inf):
        values.flat[7] = wrong
        np.testing.assert_equal(float(total(jnp.asarray(values, jnp.float32))), wrong)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (metrics.MeanAbsoluteError(), lambda x, y: np.abs(x - y).mean()),
        (metrics.MeanSquaredError(), lambda x, y: np.square(x - y).mean()),
        (metrics.R2Score(), lambda x, y: 1 - np.square(x - y).sum() / np.square(y - y.mean()).sum()),
    ],
    ids=["mae", "mse", "r2"],
)
def test_metrics_of_one_column_in_two_batches(metric, expected, masked):
    state, kept = metric.init(), np.ones(ROWS, bool)
    x, y = X.copy(), Y.copy()
    if masked:
        kept[::3] = False
        x[::3] = np.nan
    for _ in range(2):
        state = jax.jit(metric.update)(state, x, y, jnp.asarray(kept) if masked else None)
    wanted = expected(*(np.asarray(each, np.float64)[kept] for each in (x, y)))
    assert float(metric.compute(state)) == pytest.approx(wanted, rel=2e-6)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (nn.MSELoss(), lambda x, y: np.square(x - y)),
        (nn.L1Loss(), lambda x, y: np.abs(x - y)),
        (nn.SmoothL1Loss(), lambda x, y: np.where(np.abs(x - y) < 1, np.square(x - y) / 2, np.abs(x - y) - 0.5)),
        (nn.BCEWithLogitsLoss(), lambda x, y: np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x)))),
    ],
)
def test_losses_of_one_column(loss, expected):
    x, y = X, (Y > 0).astype(np.float32)
    value, grad = jax.jit(jax.value_and_grad(loss))(jnp.asarray(x), jnp.asarray(y))
    assert float(value) == pytest.approx(expected(*(each.astype(np.float64) for each in (x, y))).mean(), rel=1e-6)
    step = 1e-6
    for row in (0, ROWS // 2, ROWS - 1):
        both = [expected(x[row, 0].astype(float) + side * step, float(y[row, 0])) for side in (-1, 1)]
        assert float(grad[row, 0]) == pytest.approx((both[1] - both[0]) / (2 * step) / ROWS, rel=1e-4, abs=1e-9)
