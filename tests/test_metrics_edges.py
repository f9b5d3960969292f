"""Metrics at their edges: ties, NaN, one class, nothing predicted, constant targets, large numbers, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from jaxport.errors import UsageError
from jaxport.metrics import (
    F1,
    Accuracy,
    BinaryAUC,
    Confusion,
    Dice,
    MeanAbsolutePercentageError,
    Overlap,
    Perplexity,
    Precision,
    R2Score,
    Recall,
    RootMeanSquaredError,
    TopKAccuracy,
)
from jaxport.metrics import auc as auc_module
from jaxport.metrics import r2 as r2_module
from jaxport.metrics.dice import _number

pytestmark = pytest.mark.usefixtures("strict_jax")


def value(metric, prediction, target, where=None, room=None):
    """Return the metric of one batch."""
    state = metric.init(room or max(1, len(prediction))) if getattr(metric, "collects", False) else metric.init()
    return float(metric.compute(metric.update(state, prediction, target, where)))


# ------------------------------------------------------------------------------------------------------------- top k


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_top_1_is_accuracy_with_ties_and_nan(dtype):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 3, (400, 5)).astype(np.float32)
    scores[rng.random((400, 5)) < 0.2] = np.nan
    scores[0] = np.nan
    target = rng.integers(-1, 6, 400).astype(np.int8)
    counts = [m.update(m.init(), jnp.asarray(scores).astype(dtype), target) for m in (Accuracy(), TopKAccuracy(1))]
    assert [int(n) for n in counts[0]] == [int(n) for n in counts[1]]
    for k in (1, 2, 6):  # the k first of numpy's stable order, NaN in front
        order = np.argsort(np.where(np.isnan(scores), -np.inf, -scores), axis=1, kind="stable")
        wanted = (order[:, :k] == target[:, None]).any(axis=1).mean()
        assert value(TopKAccuracy(k), scores, target) == pytest.approx(wanted, rel=1e-6)


# ------------------------------------------------------------------------------------------- precision, recall and F1

SCORES = {Precision: sk.precision_score, Recall: sk.recall_score, F1: sk.f1_score}


@pytest.mark.parametrize("metric", SCORES)
@pytest.mark.parametrize(
    ("guessed", "true"),
    [([0, 0, 0], [1, 0, 1]), ([1, 1, 0], [0, 0, 0]), ([0, 0], [0, 0]), ([1], [1]), ([0], [1]), ([1, 1], [1, 1])],
)
def test_of_nothing_it_is_zero(metric, guessed, true):
    wanted = SCORES[metric](true, guessed, zero_division=0)
    assert value(metric(), np.float32(guessed), np.array(true)) == pytest.approx(wanted, rel=1e-6)
    one_hot = np.eye(4, dtype=np.float32)[guessed]
    for average in ("macro", "micro", "weighted"):
        wanted = SCORES[metric](true, guessed, average=average, zero_division=0)
        assert value(metric(average, 4), one_hot, np.array(true)) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.float32, np.float16])
def test_binary_inputs_of_any_dtype(dtype):
    guessed, true = np.array([1, 1, 0, 0]).astype(dtype), np.array([[1], [0], [1], [0]]).astype(dtype)
    assert [value(m(), guessed[:, None], true) for m in SCORES] == [0.5, 0.5, 0.5]
    assert value(Dice(), guessed[:, None], true) == 0.5
    assert value(BinaryAUC(), guessed[:, None].astype(np.float32), true) == 0.5


def test_counts_near_the_end_of_an_int32():
    many = jnp.int32(2**31 - 2)
    for average in ("binary", "micro"):
        assert float(F1(average, None if average == "binary" else 1).compute(Confusion(many, many, many, many))) == 1.0


def test_thresholds_and_what_is_no_class():
    probabilities, target = np.float32([0.5, 0.51, np.nan, 0.3]), np.float32([0, 1, 1, 0.9])
    assert value(Precision(), probabilities, target) == 1.0  # 0.5 and NaN are not above the threshold
    assert value(Recall(), probabilities, target) == 0.5  # 0.9 is not the positive class
    assert value(Precision(threshold=0.2), probabilities, target) == pytest.approx(1 / 3)
    scores, target = np.eye(3, dtype=np.float32), np.array([0, -1, 7])  # a class outside: wrong, and none is missed
    assert value(Precision("micro", 3), scores, target) == pytest.approx(1 / 3)
    assert value(Recall("micro", 3), scores, target) == 1.0


# -------------------------------------------------------------------------------------------------------------- dice


@pytest.mark.parametrize(("smooth", "wanted"), [(0.0, 2 / 5), (1.0, 3 / 6), (1e-3, 2.001 / 5.001)])
def test_dice_is_of_all_elements(smooth, wanted):
    metric = Dice(smooth=smooth)
    state = metric.update(metric.init(), np.float32([[0.6, 0.5], [0.9, 0.8]]), np.float32([[1, 1], [0, 0]]))
    assert float(metric.compute(state)) == pytest.approx((2 + smooth) / (5 + smooth), rel=1e-6) == pytest.approx(wanted)
    unseen = np.ones((1, 2), np.float32)
    state = metric.update(state, unseen, unseen, np.array([False]))
    assert float(metric.compute(state)) == pytest.approx(wanted)
    more = metric.update(state, np.full((1, 2), 3.0, np.float32), np.full((1, 2), 255, np.uint8))  # logits, bytes
    assert float(metric.compute(more)) == pytest.approx((6 + smooth) / (9 + smooth), rel=1e-6)


def test_dice_cuts_each_mask_at_its_own_height():
    prediction, target = np.float32([[0.4, 0.2, 0.4]]), np.float32([[0.51, 0.9, 0.5]])
    assert value(Dice(threshold=0.3), prediction, target) == 0.5
    assert value(Dice(threshold=0.7), prediction, target) == 0.0


def test_dice_of_empty_masks():
    nothing = np.zeros((2, 3), np.float32)
    assert np.isnan(value(Dice(), nothing, nothing))
    assert value(Dice(smooth=1e-6), nothing, nothing) == 1.0
    assert np.isnan(value(Dice(smooth=1e-6), nothing[:0], nothing[:0]))


@pytest.mark.parametrize("x64", [False, True])
def test_dice_counts_past_an_int32(x64):
    with jax.enable_x64(x64):
        metric, ones = Dice(), np.ones((4, 5), np.float32)
        pair = jnp.array([7, 2**30 - 10])
        state = metric.update(Overlap(pair, pair, jnp.array(True)), ones, ones)
        assert [[int(n) for n in counts] for counts in state[:2]] == [[8, 10], [8, 30]]
        np.testing.assert_allclose(_number(state.hit), 8 * 2**30 + 10, rtol=1e-15 if x64 else 1e-7)


# --------------------------------------------------------------------------------------------------------------- auc


@pytest.mark.parametrize(
    ("scores", "target", "wanted"),
    [
        ([0.1, 0.9], [0, 1], 1.0),
        ([0.9, 0.1], [0, 1], 0.0),
        ([0.5] * 5, [0, 1, 1, 0, 1], 0.5),
        ([0.0, -0.0, -0.0], [1, 0, 1], 0.5),
        ([-np.inf, np.inf, np.inf], [0, 1, 0], 0.75),
        ([0.1, 0.2, 0.3], [1, 1, 1], np.nan),
        ([0.1, 0.2, 0.3], [0, 0, 0], np.nan),
        ([0.1, 0.2, np.nan], [0, 1, 1], np.nan),
        ([0.1, 0.2, 0.3], [0, 1, 2], np.nan),
        ([0.1, 0.2, 0.3], [0, 1, 0.5], np.nan),
    ],
)
def test_auc_at_its_edges(scores, target, wanted):
    scores, target = np.float32(scores), np.float32(target)
    np.testing.assert_equal(value(BinaryAUC(), scores, target, None, 9), wanted)
    # rows that do not count may hold anything
    odd = np.float32([np.nan, 7]), np.float32([1, 7])
    where = np.arange(len(scores) + 2) < len(scores)
    masked = value(BinaryAUC(), np.append(scores, odd[0]), np.append(target, odd[1]), where, 9)
    np.testing.assert_equal(masked, wanted)


def test_auc_is_the_same_bits_however_divided():
    rng = np.random.default_rng(1)
    scores, target = rng.integers(0, 40, 300).astype(np.float32), rng.integers(0, 2, 300)
    metric, found = BinaryAUC(), set()
    update = jax.jit(metric.update)
    for sizes in ([300], [1] * 300, [100, 200], [7, 93, 200]):
        state = metric.init(310)
        for end, size in zip(np.cumsum(sizes), sizes, strict=True):
            state = update(state, scores[end - size : end], target[end - size : end])
        assert int(state.position) == 300
        found.add(float(metric.compute(state)))
    assert found == {float(np.float32(sk.roc_auc_score(target, scores)))}


def test_auc_of_many_scores_is_exact_in_float32():
    rng = np.random.default_rng(2)
    n = 150_000  # pairs beyond an int32, ranks beyond a float32's integers in sum
    target = (rng.random(n) < 0.3).astype(np.int32)
    scores = (rng.standard_normal(n) + target).round(3).astype(np.float32)
    np.testing.assert_allclose(value(BinaryAUC(), scores, target), sk.roc_auc_score(target, scores), rtol=2e-7)


@pytest.mark.parametrize("n", [1, 3, 1000])
def test_the_sum_of_large_integers(n):
    for values in (np.random.default_rng(n).integers(2**30, 2**31, n), np.full(n, 2**31 - 1)):
        found = auc_module._exact_sum(jnp.asarray(values, jnp.int32), jnp.dtype(np.float32))
        np.testing.assert_allclose(found, values.sum(), rtol=1.2e-7)


def test_auc_wants_room():
    metric, batch = BinaryAUC(), (np.float32([0.1, 0.9]), np.array([0, 1]))
    state = metric.update(metric.init(3), *batch)
    assert float(metric.compute(state)) == 1.0
    assert np.isnan(metric.compute(metric.update(state, *batch)))  # four rows in a room for three
    with pytest.raises(ValueError, match="prediction has 2 rows; init was given room for 1"):
        metric.update(metric.init(1), *batch)
    assert BinaryAUC.collects
    assert not hasattr(Accuracy(), "collects")


# ------------------------------------------------------------------------------------------------- errors and r2


@pytest.mark.parametrize(("off", "wanted"), [(0.0, 1.0), (0.5, 0.0)])
@pytest.mark.parametrize("constant", [0.1, 0.7, 1e4 / 3, 5.0])
def test_r2_of_constant_targets(constant, off, wanted):
    metric, target = R2Score(), np.full(17, constant, np.float32)
    state = metric.init()
    for part in (target[:1], target[1:4], target[4:]):
        state = metric.update(state, part + np.float32(off), part)
    assert float(metric.compute(state)) == wanted
    if constant == 5:  # of the others scikit-learn's mean is off by a rounding, and its value is -4e15
        assert sk.r2_score(target, target + off) == wanted


def test_r2_of_one_example_is_nan_and_nan_stays():
    assert np.isnan(value(R2Score(), np.float32([1]), np.float32([2])))
    assert np.isnan(value(R2Score(), np.float32([1, np.nan, 3]), np.float32([1, 2, 4])))
    assert np.isnan(value(R2Score(), np.float32([1, 2, 3]), np.float32([1, np.nan, 4])))
    assert np.isnan(value(R2Score(), np.float32([np.nan, 2]), np.float32([2, 2])))


@pytest.mark.parametrize(("mean", "first", "rtol"), [(1e4, None, 2e-6), (1e6, None, 1e-5), (1e4, 0.0, 2e-6)], ids=str)
def test_r2_far_from_zero_in_float32(mean, first, rtol):
    """Σx² − (Σx)²/n of these has no digit left in float32."""
    rng = np.random.default_rng(3)
    target = (mean + rng.standard_normal((500, 8))).astype(np.float32)
    prediction = (target + 0.3 * rng.standard_normal((500, 8))).astype(np.float32)
    if first is not None:
        target[0, 0] = prediction[0, 0] = first  # the first value, a wild one
    metric = R2Score()
    state, _ = jax.lax.scan(
        lambda s, batch: (metric.update(s, *batch), None), metric.init(), (jnp.asarray(prediction), jnp.asarray(target))
    )
    wanted = 1 - sk.r2_score(target.reshape(-1).astype(float), prediction.reshape(-1).astype(float))
    np.testing.assert_allclose(1 - float(metric.compute(state)), wanted, rtol=max(rtol, 1e-7 / wanted))


def test_sums_of_squares_lose_nothing():
    values = 1 + np.random.default_rng(0).random((100_000, 1), np.float32)
    pair, _ = jax.lax.scan(lambda pair, more: (r2_module._added(pair, more), None), jnp.zeros((2, 1)), values)
    np.testing.assert_allclose(pair.sum(), values.astype(float).sum(), rtol=1.2e-7)


def test_r2_is_the_mean_over_outputs():
    rng = np.random.default_rng(4)
    p, t = rng.standard_normal((2, 9, 3)).astype(np.float32)
    t[:, 1], p[:, 2] = 5, t[:, 2]
    assert value(R2Score(outputs=3), p, t) == pytest.approx(sk.r2_score(t, p), rel=1e-5)


def test_a_target_of_zero_in_mape():
    assert value(MeanAbsolutePercentageError(), np.float32([1, 3]), np.float32([0, 2])) == pytest.approx(2**52 / 2)
    assert value(MeanAbsolutePercentageError(), np.float32([0, 3]), np.float32([0, 2])) == 0.25
    assert value(MeanAbsolutePercentageError(), np.float32([-3]), np.array([-2])) == 0.5


def test_rmse_is_one_root():
    assert value(RootMeanSquaredError(), np.float32([[3, 0], [0, 1]]), np.zeros((2, 2), np.float32)) == np.sqrt(
        np.float32(2.5)
    )


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64])
def test_perplexity_of_even_chances_is_the_number_of_classes(dtype):
    logits, target = np.full((4, 9), 3, np.float32), np.arange(4).astype(dtype)
    assert value(Perplexity(), logits, target) == pytest.approx(9, rel=1e-6)
    assert value(Perplexity(ignore_index=0), logits, target) == pytest.approx(9, rel=1e-6)
    assert np.isnan(value(Perplexity(ignore_index=2), logits, np.full(4, 2, dtype)))
    assert value(Perplexity(), jnp.asarray(logits, jnp.bfloat16), target) == pytest.approx(9, rel=1e-6)


def test_perplexity_leaves_out_only_what_it_is_told_to():
    logits, target = np.float32([[5, 0], [np.nan, 5], [np.nan, 0]]), np.array([0, -1, 99])
    where = np.array([True, True, False])  # the last row may hold anything, and the logits of what is left out
    assert value(Perplexity(ignore_index=-1), logits, target, where) == pytest.approx(1 + np.exp(-5.0), rel=1e-6)
    with pytest.raises(IndexError, match="-1"):
        value(Perplexity(), logits, target, where)
    metric = Perplexity()
    assert np.isnan(metric.compute(jax.jit(metric.update)(metric.init(), logits, target, where)))


# --------------------------------------------------------------------------------------------------------- bad input


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


INTS = zeros(4, dtype=int)


@pytest.mark.parametrize(
    ("metric", "prediction", "target", "where", "message"),
    [
        (TopKAccuracy(), zeros(4), INTS, None, r"prediction \(4,\) and target \(4,\) must be \(N, C\) and \(N,\)"),
        (TopKAccuracy(), zeros(4, 3), zeros(4), None, "target has dtype float32; class numbers are integers"),
        (Precision(), zeros(4, 3), zeros(4, 3), None, r"\(4, 3\) must be \(N, 1\) or \(N,\); average='macro'"),
        (Precision(), zeros(4, 1), zeros(4), None, r"prediction \(4, 1\) and target \(4,\) must have one shape"),
        (Recall("macro", 3), zeros(4, 2), INTS, None, r"prediction \(4, 2\) must be \(N, 3\), as classes=3"),
        (F1("micro", 3), zeros(4, 3), zeros(4, 1, dtype=int), None, r"\(4, 3\) and target \(4, 1\) must be \(N, C\)"),
        (F1("micro", 3), zeros(4, 3), zeros(4), None, "target has dtype float32"),
        (F1("micro", 3), zeros(4, 3), INTS, zeros(3, dtype=bool), r"where is bool \(3,\); a batch \(4,\)"),
        (F1(), zeros(4), zeros(4), zeros(4), "where is float32"),
        (Dice(), zeros(4, 2), zeros(4), None, r"prediction \(4, 2\) and target \(4,\) must have one shape"),
        (Dice(), zeros(), zeros(), None, r"prediction \(\) must be \(N, ...\)"),
        (Dice(), zeros(4, 2), zeros(4, 2), zeros(4, 2, dtype=bool), r"where is bool \(4, 2\)"),
        (BinaryAUC(), zeros(4, 2), zeros(4, 2), None, r"prediction \(4, 2\) must be \(N, 1\) or \(N,\)"),
        (BinaryAUC(), zeros(4), zeros(3), None, "must have one shape"),
        (BinaryAUC(), zeros(4), zeros(4), zeros(2, dtype=bool), r"where is bool \(2,\)"),
        (R2Score(), zeros(4, 2), zeros(4, 2), None, r"prediction \(4, 2\) must be \(N, 1\) or \(N,\), as outputs=1"),
        (R2Score(2), zeros(4), zeros(4), None, r"prediction \(4,\) must be \(N, 2\), as outputs=2"),
        (R2Score(), zeros(), zeros(), None, r"prediction \(\) must be \(N, 1\)"),
        (R2Score(), zeros(4), zeros(4, 1), None, "must have one shape; nothing is broadcast"),
        (R2Score(), zeros(4), zeros(4), zeros(1, dtype=bool), r"where is bool \(1,\)"),
        (RootMeanSquaredError(), zeros(4), zeros(1), None, "must have one shape"),
        (MeanAbsolutePercentageError(), zeros(4), zeros(1), None, "must have one shape"),
        (Perplexity(), zeros(4), INTS, None, r"prediction \(4,\) and target \(4,\) must be \(N, C\) and \(N,\), or"),
        (Perplexity(), zeros(4, 3, 2), INTS, None, r"prediction \(4, 3, 2\) and target \(4,\) must be"),
        (Perplexity(), zeros(4, 3), zeros(4), None, "target has dtype float32"),
        (Perplexity(), zeros(4, 3), INTS, zeros(4, 3, dtype=bool), r"where is bool \(4, 3\)"),
    ],
)
def test_nothing_else_is_taken(metric, prediction, target, where, message):
    with pytest.raises(ValueError, match=message):
        value(metric, prediction, target, where)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TopKAccuracy(0), "k is 0; it must be a whole number of at least 1"),
        (lambda: TopKAccuracy(True), "k is True"),
        (lambda: TopKAccuracy(2.0), "k is 2.0"),
        (lambda: Precision("samples"), "average is 'samples'; it must be one of binary, macro, micro, weighted"),
        (lambda: Precision(classes=3), "classes is 3; average='binary' takes none"),
        (lambda: Recall("macro"), "classes is None; average='macro' needs their number, at least 1"),
        (lambda: F1("micro", 0), "classes is 0; average='micro' needs"),
        (lambda: F1("micro", True), "classes is True"),
        (lambda: R2Score(0), "outputs is 0; it must be a whole number of at least 1"),
        (lambda: R2Score(1.5), "outputs is 1.5"),
        (lambda: BinaryAUC().init(0), "examples is 0; it must be a whole number of at least 1"),
        (lambda: BinaryAUC().init(2**30), "below 2"),
        (lambda: BinaryAUC().init(True), "examples is True"),
    ],
)
def test_options(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_names():
    metrics = [TopKAccuracy(3), Precision(), Recall(), F1(), BinaryAUC(), Dice(), RootMeanSquaredError(), R2Score()]
    metrics += [MeanAbsolutePercentageError(), Perplexity(), TopKAccuracy(3, "top"), F1("micro", 3, name="f")]
    names = "top3_accuracy precision recall f1 auc dice rmse r2 mape perplexity top f"
    assert " ".join(metric.name for metric in metrics) == names
    assert len({hash(metric) for metric in metrics}) == len(metrics)
