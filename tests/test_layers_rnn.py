"""Recurrent layers: errors, jit, vmap, forward mode, lengths under tracing, half precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxport import nn
from jaxport.nn.utils import rnn as packing

pytestmark = pytest.mark.usefixtures("strict_jax")
X = jnp.asarray(np.random.default_rng(0).standard_normal((5, 4, 3)), jnp.float32)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"dropout": 1.5}, ValueError, "dropout must be a probability"),
        ({"bias": 1}, TypeError, "bias must be a bool"),
        ({"batch_first": "no"}, TypeError, "batch_first must be a bool"),
        ({"num_layers": 0}, ValueError, "num_layers must be greater than zero"),
        ({"num_layers": 1.0}, TypeError, "num_layers must be an integer"),
        ({"proj_size": 4}, ValueError, "proj_size must be 0 .* or less than hidden_size 4"),
        ({"proj_size": -1}, ValueError, "proj_size must be"),
    ],
)
def test_constructor_refuses(options, error, match):
    with pytest.raises(error, match=match):
        nn.LSTM(3, 4, **options, rngs=0)


def test_sizes_and_names_are_refused():
    for sizes, error in (((0, 4), ValueError), ((3, 0), ValueError), ((3.0, 4), TypeError), (("3", 4), TypeError)):
        with pytest.raises(error, match="GRU: .*_size must be"):
            nn.GRU(*sizes, rngs=0)
    with pytest.raises(ValueError, match="nonlinearity must be 'tanh' or 'relu', got 'gelu'"):
        nn.RNN(3, 4, nonlinearity="gelu", rngs=0)
    with pytest.raises(ValueError, match="nonlinearity must be 'tanh' or 'relu', got 'gelu'"):
        nn.RNNCell(3, 4, nonlinearity="gelu", rngs=0)
    with pytest.raises(ValueError, match="mode must be one of RNN_TANH"):
        nn.RNNBase("ELMAN", 3, 4, rngs=0)
    with pytest.warns(UserWarning, match=r"dropout=0.5 has no effect with num_layers=1"):
        nn.GRU(3, 4, dropout=0.5, rngs=0)


def test_forward_refuses():
    layer = nn.LSTM(3, 4, rngs=0)
    h = jnp.zeros((1, 4, 4))
    for args, match in [
        ((X[..., :2],), "input must end in input_size 3"),
        ((X[None],), "input must have 2 or 3 axes"),
        ((X.astype(jnp.bfloat16),), "input must have the weights' dtype, float32, got bfloat16"),
        ((X[:0],), "at least one time step"),
        ((X, (h,)), r"hx must be a pair \(h, c\)"),
        ((X, (h, h[:, :2])), r"hx\[1\] must be \(1, 4, 4\)"),
        ((X[:, 0], (h, h)), r"hx\[0\] must be \(1, 4\)"),
    ]:
        with pytest.raises(ValueError, match=match):
            layer(*args)
    for lengths, error, match in [
        ([5, 4, 3], ValueError, r"lengths must have shape \(4,\)"),
        ([5, 4, 3, 6], ValueError, r"lengths must lie in \[1, 5\]"),
        ([5, 4, 3, 0], ValueError, r"lengths must lie in \[1, 5\]"),
        ([5.0, 4.0, 3.0, 2.0], TypeError, "lengths must be integers"),
    ]:
        with pytest.raises(error, match=match):
            layer(X, lengths=jnp.asarray(lengths))
    with pytest.raises(ValueError, match="lengths must be None for an unbatched input"):
        layer(X[:, 0], lengths=jnp.asarray([5]))
    with pytest.raises(ValueError, match="lengths must be None for a packed sequence"):
        layer(packing.pack_sequence([X[:, 0]]), lengths=jnp.asarray([5]))


def test_cells_refuse():
    cell = nn.LSTMCell(3, 4, rngs=0)
    h = jnp.zeros((5, 4))
    with pytest.raises(ValueError, match=r"LSTMCell: input must have shape \(N, 3\) or \(3,\), got \(5, 2\)"):
        cell(jnp.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"hx\[1\] must have shape \(5, 4\)"):
        cell(X[:, 0], (h, h[:3]))
    with pytest.raises(ValueError, match="hx must be a pair"):
        cell(X[:, 0], (h,))
    with pytest.raises(TypeError, match="one dtype"):
        cell(X[:, 0], (h.astype(jnp.bfloat16), h))


@pytest.mark.parametrize(
    ("lengths", "error", "match"),
    [
        ([2, 3, 1, 1], ValueError, "lengths must decrease unless enforce_sorted is False"),
        ([6, 3, 1, 1], ValueError, r"lengths must lie in \[1, 5\]"),
        ([3, 3, 1, 0], ValueError, r"lengths must lie in \[1, 5\]"),
        ([3, 3], ValueError, "one for each of the 4 sequences"),
        ([3.0, 3.0, 1.0, 1.0], TypeError, "lengths must be integers"),
    ],
)
def test_packing_refuses(lengths, error, match):
    with pytest.raises(error, match=match):
        packing.pack_padded_sequence(X, lengths)


def test_padding_refuses():
    packed = packing.pack_padded_sequence(X, [5, 3, 2, 2])
    with pytest.raises(ValueError, match="total_length must be at least 5"):
        packing.pad_packed_sequence(packed, total_length=4)
    with pytest.raises(ValueError, match="must share their later axes"):
        packing.pad_sequence([])
    with pytest.raises(ValueError, match="padding_side must be 'left' or 'right'"):
        packing.pad_sequence([X], padding_side="both")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="lengths must be concrete"):
        jax.jit(lambda n: packing.pack_padded_sequence(X, n).data)(jnp.asarray([5, 3, 2, 2]))


def test_lengths_work_when_traced_and_wrong_ones_give_nan():
    layer = nn.LSTM(3, 4, 2, bidirectional=True, rngs=0)
    lengths = jnp.asarray([5, 2, 1, 3])
    run = jax.jit(lambda x, n: layer(x, lengths=n))
    output, (h, c) = run(X, lengths)
    wanted, (wanted_h, wanted_c) = layer(X, lengths=lengths)
    for found, right in ((output, wanted), (h, wanted_h), (c, wanted_c)):
        np.testing.assert_allclose(found, right, atol=1e-6)
    assert not np.asarray(output[2:, 1]).any()
    _, (h, _) = run(X, jnp.asarray([5, 6, 0, 3]))
    assert np.isnan(h[:, 1:3]).all()
    assert np.isfinite(h[:, [0, 3]]).all()


def test_padding_reaches_nothing():
    layer = nn.GRU(3, 4, bidirectional=True, rngs=0)
    graph, state = nnx.split(layer)
    bad = X.at[3:, 1].set(jnp.nan)

    def loss(state: nnx.State, x: jax.Array) -> jax.Array:
        return jnp.sum(nnx.merge(graph, state)(x, lengths=jnp.asarray([5, 3, 5, 5]))[0] ** 2)

    value, grads = jax.value_and_grad(loss)(state, bad)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_forward_mode_agrees_with_reverse_mode(kind):
    layer = getattr(nn, kind)(3, 4, rngs=0)
    graph, state = nnx.split(layer)
    run = lambda state: nnx.merge(graph, state)(X)[0]  # noqa: E731
    tangent = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape), state)
    y, dy = jax.jvp(run, (state,), (tangent,))
    (back,) = jax.vjp(run, state)[1](y)
    pairs = zip(jax.tree.leaves(back), jax.tree.leaves(tangent), strict=True)
    np.testing.assert_allclose(jnp.vdot(y, dy), sum(jnp.vdot(a, b) for a, b in pairs), rtol=1e-4)


def test_vmap_and_packed_sequences_as_arguments_of_jit():
    layer = nn.GRU(3, 4, rngs=0)
    each = jax.vmap(lambda x: layer(x)[0], in_axes=1, out_axes=1)(X)
    np.testing.assert_allclose(each, layer(X)[0], atol=1e-6)
    packed = packing.pack_padded_sequence(X, [2, 5, 1, 1], enforce_sorted=False)
    output, h = jax.jit(lambda p: layer(p))(packed)
    assert isinstance(output, packing.PackedSequence)
    np.testing.assert_allclose(h, layer(X, lengths=jnp.asarray([2, 5, 1, 1]))[1], atol=1e-6)
    assert packed.to(jnp.bfloat16).data.dtype == jnp.bfloat16


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"])
def test_half_precision_stays(kind):
    layer = getattr(nn, kind)(3, 4, dtype=jnp.bfloat16, rngs=0)
    x = X.astype(jnp.bfloat16) if not kind.endswith("Cell") else X[0].astype(jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(layer(x))} == {jnp.dtype(jnp.bfloat16)}


def test_dropout_draws_while_training_only():
    layer = nn.LSTM(3, 4, 2, dropout=0.5, rngs=nnx.Rngs(params=0, dropout=1))
    first, second = layer(X)[0], layer(X)[0]
    assert np.abs(np.asarray(first - second)).max() > 0
    layer.eval()
    np.testing.assert_array_equal(layer(X)[0], layer(X)[0])
    layer.flatten_parameters()
