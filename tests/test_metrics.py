"""Streaming metrics against scikit-learn, over any division into batches, with padding, compiled and scanned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from jaxport.metrics import (
    F1,
    Accuracy,
    BinaryAccuracy,
    BinaryAUC,
    Dice,
    Mean,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    Perplexity,
    Precision,
    R2Score,
    Recall,
    RootMeanSquaredError,
    TopKAccuracy,
)


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def classes(rng, n):
    return rng.standard_normal((n, 7), np.float32).round(1), rng.integers(0, 7, n)


def binary(rng, n):
    return rng.random((n, 1), np.float32).round(1), rng.integers(0, 2, (n, 1)).astype(np.float32)


def values(rng, n):
    return 100 * rng.standard_normal((n, 3), np.float32), 100 * rng.standard_normal((n, 3), np.float32)


def weighted(rng, n):
    return values(rng, n)[0], rng.random((n, 3), np.float32)


def rare(rng, n):
    """Classes 0 to 2 are true, 0 to 4 predicted, 5 and 6 neither."""
    prediction, _ = classes(rng, n)
    prediction[:, 5:] = -9
    return prediction, rng.integers(0, 3, n)


def masks(rng, n):
    return rng.random((n, 4, 3), np.float32), rng.random((n, 4, 3)) < 0.4


def near(rng, n):
    """Outputs far from 0 whose variance is small beside their mean."""
    target = (10_000 * np.float32([1, -1, 0]) + rng.standard_normal((n, 3))).astype(np.float32)
    return target + np.float32(0.5) * rng.standard_normal((n, 3), np.float32), target


def tokens(rng, n):
    """Logits (N, C, L) and classes (N, L), every fifth or so left out."""
    return rng.standard_normal((n, 7, 4), np.float32), np.where(
        rng.random((n, 4)) < 0.2, -100, rng.integers(0, 7, (n, 4))
    )


def flat(draw):
    """Draw one value for each example instead of three."""
    return lambda rng, n: tuple(array[:, 0] for array in draw(rng, n))


def log_loss(p, t):
    """Return the mean cross-entropy of logits by scikit-learn."""
    p, t = np.moveaxis(p, 1, -1).reshape(-1, 7).astype(float)[t.reshape(-1) >= 0], t.reshape(-1)[t.reshape(-1) >= 0]
    chances = np.exp(p) / np.exp(p).sum(1, keepdims=True)
    return sk.log_loss(t, chances, labels=range(7))


def averages(metric, score):
    """Return the cases of a metric of binary examples and of each average over classes."""
    found = {f"{metric.__name__}, binary": (metric(), binary, lambda p, t: score(t, p > 0.5, zero_division=0))}
    for average in ("macro", "micro", "weighted"):
        found[f"{metric.__name__}, {average}"] = (
            metric(average, 7),
            classes if average == "micro" else rare,
            lambda p, t, average=average: score(t, p.argmax(1), average=average, zero_division=0),
        )
    return found


CASES = {
    "accuracy": (Accuracy(), classes, lambda p, t: sk.accuracy_score(t, p.argmax(1))),
    "binary": (BinaryAccuracy(), binary, lambda p, t: sk.accuracy_score(t, p > 0.5)),
    "binary 0.3": (BinaryAccuracy(threshold=0.3), binary, lambda p, t: sk.accuracy_score(t, p > 0.3)),
    "mae": (MeanAbsoluteError(), values, lambda p, t: sk.mean_absolute_error(t.astype(float), p.astype(float))),
    "mse": (MeanSquaredError(), values, lambda p, t: sk.mean_squared_error(t.astype(float), p.astype(float))),
    "mean": (Mean(), weighted, lambda p, t: np.average(p.astype(float), weights=t.astype(float))),
    # scikit-learn takes the last of equal scores first: the classes are turned round
    "top 3": (TopKAccuracy(3), classes, lambda p, t: sk.top_k_accuracy_score(6 - t, p[:, ::-1], k=3, labels=range(7))),
    **averages(Precision, sk.precision_score),
    **averages(Recall, sk.recall_score),
    **averages(F1, sk.f1_score),
    "auc": (BinaryAUC(), binary, lambda p, t: sk.roc_auc_score(t, p)),
    "dice": (Dice(), masks, lambda p, t: sk.f1_score(t.reshape(-1), p.reshape(-1) > 0.5)),
    "rmse": (
        RootMeanSquaredError(),
        flat(values),
        lambda p, t: sk.root_mean_squared_error(t.astype(float), p.astype(float)),
    ),
    "mape": (
        MeanAbsolutePercentageError(),
        values,
        lambda p, t: sk.mean_absolute_percentage_error(t.astype(float), p.astype(float)),
    ),
    "r2": (R2Score(), flat(near), lambda p, t: sk.r2_score(t.astype(float), p.astype(float))),
    "r2 of three": (R2Score(3), near, lambda p, t: sk.r2_score(t.astype(float), p.astype(float))),
    "perplexity": (Perplexity(), classes, lambda p, t: np.exp(log_loss(p, t))),
    "perplexity of texts": (Perplexity(), tokens, lambda p, t: np.exp(log_loss(p, t))),
}


def empty(metric, rows):
    """Return the state of nothing seen, with room for so many rows where the metric collects."""
    return metric.init(rows) if getattr(metric, "collects", False) else metric.init()


def shown(metric, state, prediction, target, rng, sizes, padded):
    """Update with batches of the given sizes, each filled up to `padded` rows and masked, if that is not 0.

    The rows added are NaN, or examples that must not count.
    """
    update = jax.jit(metric.update)
    for start, size in zip(np.cumsum(sizes) - sizes, sizes, strict=True):
        p, t = prediction[start : start + size], target[start : start + size]
        if not padded:
            state = update(state, p, t)
            continue
        place = rng.permutation(padded)[:size]
        others = rng.integers(0, len(prediction), padded)
        batch_p, batch_t = prediction[others], target[others]
        batch_p[::2] = np.nan
        batch_p[place], batch_t[place] = p, t
        state = update(state, batch_p, batch_t, np.isin(np.arange(padded), place))
    return state


def divide(rng, n):
    """Split n into random sizes, some of them 0."""
    return np.diff([0, *np.sort(rng.integers(0, n + 1, 3)), n])


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_any_division_into_batches_gives_the_value_of_scikit_learn(case, x64, padded):
    metric, draw, reference = CASES[case]
    rng = np.random.default_rng(x64)
    n = int(rng.integers(1, 200))
    prediction, target = draw(rng, n)
    with jax.enable_x64(x64):
        sizes = divide(rng, n)
        state = empty(metric, n * len(sizes) if padded else n)
        state = shown(metric, state, prediction, target, rng, sizes, n if padded else 0)
        value = jax.jit(metric.compute)(state)
    assert value.shape == ()
    assert value.dtype == (np.float64 if x64 else np.float32)
    np.testing.assert_allclose(value, reference(prediction, target), rtol=1e-12 if x64 else 2e-6)


@pytest.mark.parametrize("case", CASES)
def test_state_keeps_its_types_in_a_scan(case):
    metric, draw, reference = CASES[case]
    prediction, target = draw(np.random.default_rng(0), 60)
    batches = jax.tree.map(lambda a: jnp.asarray(a).reshape(5, 12, *a.shape[1:]), (prediction, target))
    state, _ = jax.lax.scan(lambda s, batch: (metric.update(s, *batch), None), empty(metric, 60), batches)
    np.testing.assert_allclose(metric.compute(state), reference(prediction, target), rtol=2e-6)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), state) == jax.tree.map(
        lambda a: (a.shape, a.dtype), empty(metric, 60)
    )


@pytest.mark.parametrize("case", CASES)
def test_nothing_seen_is_nan(case):
    metric, draw, _ = CASES[case]
    prediction, target = draw(np.random.default_rng(0), 3)
    state, update, compute = empty(metric, 3), jax.jit(metric.update), jax.jit(metric.compute)
    assert np.isnan(compute(state))
    assert np.isnan(compute(update(state, prediction, target, np.zeros(3, bool))))
    assert np.isnan(compute(update(state, prediction[:0], target[:0])))


def test_counts_are_integers():
    for metric in (Accuracy(), BinaryAccuracy()):
        assert [a.dtype for a in metric.init()] == [np.int32, np.int32]
    assert MeanAbsoluteError().init().weight.dtype == np.int32
    with jax.enable_x64(True):
        assert Accuracy().init().total.dtype == np.int64


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("x64", [False, True])
def test_any_integer_dtype_of_targets(dtype, x64):
    scores = np.eye(120, dtype=np.float32)
    with jax.enable_x64(x64):
        state = Accuracy().update(Accuracy().init(), scores, np.arange(120).astype(dtype))
    assert [int(count) for count in state] == [120, 120]


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16, np.float16])
def test_nan_and_ties_follow_numpy_argmax(dtype):
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 3, (500, 4)).astype(np.float32)
    scores[rng.random((500, 4)) < 0.2] = np.nan
    scores[0] = np.nan
    target = scores.argmax(1)
    state = Accuracy().update(Accuracy().init(), jnp.asarray(scores).astype(dtype), target)
    assert (state.right, state.total) == (500, 500)


@pytest.mark.parametrize(
    ("prediction", "target", "right"),
    [
        ([0.5, 0.5, 0.5000001], [0, 1, 1], 2),
        ([np.nan, np.nan], [0, 1], 1),
        ([np.inf, -np.inf], [1, 0], 2),
        ([0.9, 0.1], [0.9, 0.1], 0),
        ([0.9, 0.1], [2.0, -1.0], 0),
    ],
    ids=["threshold is class 0", "NaN is class 0", "infinite", "soft targets", "other classes"],
)
@pytest.mark.parametrize("column", [False, True])
def test_binary_edges(prediction, target, right, column):
    shape = (-1, 1) if column else (-1,)
    prediction, target = np.float32(prediction).reshape(shape), np.float32(target).reshape(shape)
    assert BinaryAccuracy().update(BinaryAccuracy().init(), prediction, target).right == right


@pytest.mark.parametrize("dtype", [bool, np.int32, np.uint8, np.float32])
def test_binary_targets_of_any_dtype(dtype):
    target = np.array([0, 1, 1, 0])
    prediction = np.array([0.1, 0.9, 0.2, 0.3], np.float32)
    state = BinaryAccuracy().update(BinaryAccuracy().init(), prediction, target.astype(dtype))
    assert (state.right, state.total) == (3, 4)


def test_errors_in_half_precision_are_taken_in_full():
    prediction, target = jnp.full(4, 300, jnp.float16), jnp.full(4, -300, jnp.float32)
    assert (
        MeanSquaredError().compute(MeanSquaredError().update(MeanSquaredError().init(), prediction, target)) == 360000
    )


def test_a_long_float32_sum_loses_nothing():
    metric, n = Mean(), 200_000
    step = jax.jit(lambda s, v: (metric.update(s, v), None))
    values = np.float32(1) + np.random.default_rng(0).random(n, np.float32)
    state, _ = jax.lax.scan(step, metric.init(), jnp.asarray(values))
    np.testing.assert_allclose(metric.compute(state), values.astype(float).mean(), rtol=1.2e-7)


def test_an_infinite_value_stays_infinite_and_nan_stays_nan():
    metric = Mean()
    state = metric.update(metric.update(metric.init(), jnp.float32(np.inf)), jnp.float32(1))
    assert metric.compute(state) == np.inf
    assert np.isnan(metric.compute(metric.update(state, jnp.float32(np.nan))))


def test_mean_of_batch_losses_weighted_by_their_sizes():
    state = Mean().init()
    for loss, size in [(1.0, 32.0), (4.0, 16.0)]:
        state = Mean().update(state, jnp.float32(loss), jnp.float32(size))
    assert Mean().compute(state) == 2.0


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("metric", "prediction", "target", "where", "message"),
    [
        (MeanSquaredError(), zeros(4, 1), zeros(4), None, r"prediction \(4, 1\) and target \(4,\) must have one shape"),
        (MeanAbsoluteError(), zeros(4), zeros(4, 1), None, r"prediction \(4,\) and target \(4, 1\) must have one"),
        (MeanAbsoluteError(), zeros(4), zeros(), None, r"target \(\) must have one shape; nothing is broadcast"),
        (BinaryAccuracy(), zeros(4, 1), zeros(4), None, r"prediction \(4, 1\) and target \(4,\)"),
        (BinaryAccuracy(), zeros(4, 2), zeros(4, 2), None, r"prediction \(4, 2\) must be \(N, 1\) or \(N,\)"),
        (BinaryAccuracy(), zeros(), zeros(), None, r"prediction \(\) must be"),
        (Accuracy(), zeros(4, 3), zeros(4, 1, dtype=int), None, r"\(4, 3\) and target \(4, 1\) must be \(N, C\)"),
        (Accuracy(), zeros(4, 3), zeros(3, dtype=int), None, r"prediction \(4, 3\) and target \(3,\)"),
        (Accuracy(), zeros(4), zeros(4, dtype=int), None, r"prediction \(4,\) and target \(4,\) must be \(N, C\)"),
        (Accuracy(), zeros(4, 3), zeros(4), None, "target has dtype float32; class numbers are integers"),
        (Accuracy(), zeros(4, 3), zeros(4, dtype=bool), None, "target has dtype bool"),
        (Mean(), zeros(4), zeros(1), None, r"value \(4,\) and weight \(1,\) must have one shape"),
        (Mean(), zeros(), zeros(), zeros(dtype=bool), r"where is bool \(\); a batch \(\)"),
        (MeanSquaredError(), zeros(4, 2), zeros(4, 2), zeros(4), r"where is float32 \(4,\).*needs bool \(4,\)"),
        (MeanSquaredError(), zeros(4, 2), zeros(4, 2), zeros(2, dtype=bool), r"where is bool \(2,\); a batch \(4, 2\)"),
        (BinaryAccuracy(), zeros(4, 1), zeros(4, 1), zeros(4, 1, dtype=bool), r"where is bool \(4, 1\)"),
        (Accuracy(), zeros(4, 3), zeros(4, dtype=int), zeros(1, dtype=bool), r"where is bool \(1,\)"),
    ],
)
def test_nothing_is_broadcast(metric, prediction, target, where, message):
    with pytest.raises(ValueError, match=message):
        metric.update(metric.init(), prediction, target, where)


def test_names_and_hashes():
    assert [m.name for m in (Accuracy(), BinaryAccuracy(), MeanAbsoluteError(), MeanSquaredError(), Mean())] == [
        "accuracy", "accuracy", "mae", "mse", "mean",
    ]  # fmt: skip
    assert hash(BinaryAccuracy(0.3)) == hash(BinaryAccuracy(threshold=0.3))
    assert Accuracy(name="top1").name == "top1"
