"""Classification losses and tables without PyTorch: messages, transformations, half precision, what modules keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxport.nn.functional as F
from jaxport import nn
from jaxport.nn.module import trainable

INDEX = jnp.asarray([[0, 2], [1, 3]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Embedding(-1, 3, rngs=0), "Embedding: num_embeddings must be"),
        (lambda: nn.EmbeddingBag(3, 2.0, rngs=0), "EmbeddingBag: embedding_dim must be"),
        (lambda: nn.Embedding(3, 2, 3, rngs=0), r"Embedding: padding_idx must lie in \[-3, 2\], got 3"),
        (lambda: nn.Embedding(3, 2), "Embedding: rngs must be"),
        (lambda: nn.Embedding(3, 2, _weight=jnp.ones((2, 3))), r"Embedding: _weight must have shape \(3, 2\)"),
        (lambda: nn.Embedding.from_pretrained(jnp.ones(3)), "Embedding.from_pretrained: weight must be"),
        (lambda: nn.EmbeddingBag(3, 2, mode="min", rngs=0), "EmbeddingBag: mode must be"),
        (lambda: nn.EmbeddingBag(3, 2, mode="max", sparse=True, rngs=0), "EmbeddingBag: mode 'max' goes with neither"),
        (lambda: nn.CTCLoss(reduction="all"), "CTCLoss: reduction must be"),
        (lambda: nn.LinearCrossEntropyLoss(3, 2, weight=jnp.ones(3), rngs=0), "weight must have shape"),
        (lambda: nn.LinearCrossEntropyLoss(3, 2, label_smoothing=2.0, rngs=0), "label_smoothing must be"),
        (lambda: nn.LinearCrossEntropyOptions(batch_chunk_size=0), "batch_chunk_size must be"),
        (lambda: nn.LinearCrossEntropyOptions(chunking_method="aspect_ratio:0"), "chunking_method must be"),
        (lambda: nn.LinearCrossEntropyOptions(chunking_method="rows"), "chunking_method must be"),
        (lambda: nn.LinearCrossEntropyOptions(acc_policy="fast"), "acc_policy must be"),
        (lambda: nn.LinearCrossEntropyOptions(acc_dtype=jnp.int32), "acc_dtype must be"),
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 8, [], rngs=0), "cutoffs must be"),
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 8, [3, 3], rngs=0), "cutoffs must be"),
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 8, [8], rngs=0), "cutoffs must be"),
    ],
)
def test_constructors_say_what_is_wrong(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


X, W, Y = jnp.ones((4, 5)), jnp.ones((3, 5)), jnp.asarray([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": jnp.ones((2, 4, 5))}, "input must be"),
        ({"linear_weight": jnp.ones((3, 4))}, "linear_weight must be"),
        ({"linear_bias": jnp.ones(4)}, "linear_bias must have shape"),
        ({"input": jnp.ones(5), "linear_weight": jnp.ones((3, 2, 5))}, "needs a batched input"),
        ({"target": jnp.ones((4, 3)), "ignore_index": 1}, "ignore_index must be None"),
        ({"weight": jnp.ones(2), "options": nn.LinearCrossEntropyOptions()}, "weight must have one entry"),
        ({"reduction": "all", "options": nn.LinearCrossEntropyOptions()}, "reduction must be"),
        ({"options": nn.LinearCrossEntropyOptions(acc_dtype=jnp.float16)}, "acc_dtype must be the dtype of input"),
        ({"options": nn.LinearCrossEntropyOptions(batch_chunk_size=3, chunking_method="aspect_ratio")}, "agree"),
    ],
)
def test_linear_cross_entropy_says_what_is_wrong(change, message):
    arguments = {"input": X, "linear_weight": W, "target": Y} | change
    with pytest.raises(ValueError, match=f"linear_cross_entropy: .*{message}"):
        F.linear_cross_entropy(**arguments)


LOG_PROBS, LABELS = jax.nn.log_softmax(jnp.ones((6, 2, 4))), jnp.asarray([[1, 2], [3, 1]])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((LOG_PROBS[0, 0], LABELS, (6, 6), (2, 2)), "log_probs must be"),
        ((LOG_PROBS[:0], LABELS, (0, 0), (2, 2)), "log_probs must be"),
        ((LABELS[:, None], LABELS, (6, 6), (2, 2)), "log_probs must have a floating dtype"),
        ((LOG_PROBS, LABELS[:1], (6, 6), (2, 2)), "targets must be"),
        ((LOG_PROBS, LABELS * 1.0, (6, 6), (2, 2)), "targets must be integers"),
        ((LOG_PROBS, LABELS.ravel(), (6, 6), (2, 1)), "targets must have the 3 labels"),
        ((LOG_PROBS, LABELS, (6, 7), (2, 2)), r"input_lengths must lie in \[0, 6\]"),
        ((LOG_PROBS, LABELS, (6, 6), (2, -1)), r"target_lengths must lie in \[0, 2\]"),
        ((LOG_PROBS, LABELS, (6,), (2, 2)), "input_lengths must have one entry"),
        ((LOG_PROBS, LABELS, (6.0, 6.0), (2, 2)), "input_lengths must be integers"),
        ((LOG_PROBS, LABELS, (6, 6), (2, 2), 4), r"blank must lie in \[0, 3\]"),
        ((LOG_PROBS, LABELS + 1, (6, 6), (2, 2)), r"targets must lie in \[0, 3\], got 4"),
    ],
)
def test_ctc_loss_says_what_is_wrong(args, message):
    with pytest.raises((ValueError, TypeError, IndexError), match=f"ctc_loss: {message}"):
        F.ctc_loss(*args)


def test_labels_beyond_their_length_mean_nothing():
    wanted = F.ctc_loss(LOG_PROBS, LABELS, (6, 6), (2, 1), reduction="none")
    for rest in (-1, 99):
        found = F.ctc_loss(LOG_PROBS, LABELS.at[1, 1].set(rest), (6, 6), (2, 1), reduction="none")
        np.testing.assert_array_equal(found, wanted)


def test_lengths_may_be_traced():
    """Also beside targets in a row, whose longest is then not known."""
    lengths, targets = jnp.asarray([6, 5]), jnp.asarray([2, 1])
    wanted = F.ctc_loss(LOG_PROBS, LABELS, lengths, targets, reduction="none")
    for labels in (LABELS, jnp.asarray([1, 2, 3])):
        found = jax.jit(lambda n, m, labels=labels: F.ctc_loss(LOG_PROBS, labels, n, m, 0, "none"))(lengths, targets)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_what_cannot_be_seen_is_nan():
    weight = jnp.ones((4, 3))
    rows = jax.jit(F.embedding)(jnp.asarray([0, 4, -1]), weight)
    assert np.isnan(rows).all(1).tolist() == [False, True, True]
    bags = jax.jit(F.embedding_bag)(jnp.asarray([[0, 1], [0, 4]]), weight)
    assert np.isnan(bags).all(1).tolist() == [False, True]
    loss = jax.jit(lambda y: F.ctc_loss(LOG_PROBS, y, (6, 6), (2, 2), reduction="none"))(LABELS.at[0, 0].set(4))
    assert np.isnan(loss).tolist() == [True, False]
    layer = nn.AdaptiveLogSoftmaxWithLoss(4, 8, [3], div_value=2.0, rngs=0)
    output = jax.jit(lambda y: layer(jnp.ones((3, 4)), y))(jnp.asarray([0, 8, -1])).output
    assert np.isnan(output).tolist() == [False, True, True]


def test_constants_under_jit_are_checked():
    """Their values can be seen, though JAX's functions of them cannot."""
    function = jax.jit(lambda w, index: F.embedding(index, w))
    for index, good in (([0, 3], True), ([0, 4], False)):
        constant = jnp.asarray(index)
        traced = jax.jit(lambda w, constant=constant: F.embedding(constant, w))
        assert function(jnp.ones((4, 3)), constant).shape == (2, 3)
        if good:
            assert traced(jnp.ones((4, 3))).shape == (2, 3)
        else:
            with pytest.raises(IndexError, match=r"embedding: input must lie in \[0, 3\], got 4"):
                traced(jnp.ones((4, 3)))


FUNCTIONS = {
    "embedding": lambda w: F.embedding(INDEX, w, 1, 1.0, scale_grad_by_freq=True),
    "bag": lambda w: F.embedding_bag(INDEX, w, padding_idx=1, max_norm=1.0),
    "bag-max": lambda w: F.embedding_bag(INDEX, w, mode="max"),
    "bag-offsets": lambda w: F.embedding_bag(INDEX.ravel(), w, jnp.asarray([0, 0, 3]), mode="max"),
    "linear": lambda w: F.linear_cross_entropy(
        w, w, jnp.asarray([0, 3, 1, 1]), options=nn.LinearCrossEntropyOptions(batch_chunk_size=3)
    ),
    "ctc": lambda w: F.ctc_loss(jax.nn.log_softmax(w), jnp.asarray([1, 2]), (4,), (2,)),
    "cross_entropy": lambda w: F.cross_entropy(w, jnp.asarray([0, 2, 1, 1])),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_transformations(name):
    """Forward mode is the transpose of reverse mode, and vmap and scan give what single calls give."""
    function = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    w, dw = (jnp.asarray(rng.standard_normal((4, 3)), jnp.float32) for _ in range(2))
    value, tangent = jax.jvp(function, (w,), (dw,))
    weights = jnp.asarray(rng.standard_normal(value.shape), jnp.float32)
    (grad,) = jax.vjp(function, w)[1](weights)
    np.testing.assert_allclose((weights * tangent).sum(), (grad * dw).sum(), rtol=2e-5)
    batch = jnp.stack([w, dw])
    wanted = jnp.stack([function(w), function(dw)])
    np.testing.assert_allclose(jax.vmap(function)(batch), wanted, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(
        jax.lax.scan(lambda _, x: (_, function(x)), None, batch)[1], wanted, rtol=2e-6, atol=1e-6
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_half_precision_stays(name):
    w = jnp.asarray(np.random.default_rng(1).standard_normal((4, 3)), jnp.bfloat16)
    found = FUNCTIONS[name](w)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), FUNCTIONS[name](w.astype(jnp.float32)), rtol=0.03)


def test_second_order_through_pieces():
    options = nn.LinearCrossEntropyOptions(batch_chunk_size=3)
    rng = np.random.default_rng(2)
    x, w = (jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in ((4, 2), (3, 2)))
    hessians = [jax.hessian(lambda w, o=o: F.linear_cross_entropy(x, w, Y, options=o))(w) for o in (None, options)]
    np.testing.assert_allclose(hessians[1], hessians[0], rtol=1e-4, atol=1e-6)


def test_what_comes_after_the_last_offset_is_left_out():
    weight, offsets = jnp.arange(12.0).reshape(4, 3), jnp.asarray([0, 2, 3])
    long = F.embedding_bag(jnp.asarray([0, 1, 2, 3, 3]), weight, offsets, include_last_offset=True)
    np.testing.assert_array_equal(long, F.embedding_bag(jnp.asarray([0, 1, 2]), weight, offsets[:2]))


def test_a_frozen_table_is_no_parameter_to_train():
    layer = nn.Embedding.from_pretrained(jnp.ones((3, 2)))
    assert not jax.tree.leaves(nnx.split(layer, trainable, ...)[1])
    assert list(dict(layer.named_parameters())) == ["weight"]


def test_options_say_how_many_rows_a_piece_has():
    options = nn.LinearCrossEntropyOptions
    single = np.dtype(np.float32)
    assert options(batch_chunk_size=5).chunk_size(100, 8, 1000, single) == 5
    assert options(batch_chunk_size=500).chunk_size(100, 8, 1000, single) == 100
    assert options(chunking_method=None).chunk_size(100, 8, 1000, single) == 100
    assert options(chunking_method="aspect_ratio").chunk_size(1024, 64, 4096, single) == 16
    assert options(chunking_method="aspect_ratio:4").chunk_size(1024, 64, 4096, single) == 4
    assert options().chunk_size(1024, 64, 4096, single) == 8


def test_reprs():
    assert repr(nn.Embedding(3, 2, -1, 1.0, 1.0, True, True, rngs=0)) == (
        "Embedding(3, 2, padding_idx=2, max_norm=1.0, norm_type=1.0, scale_grad_by_freq=True, sparse=True)"
    )
    assert repr(nn.CTCLoss()) == "CTCLoss()"
