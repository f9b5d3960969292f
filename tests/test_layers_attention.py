"""Attention and transformers without PyTorch: errors, half precision, transformations, copies of layers, causality."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxport import nn
from jaxport.nn import functional as F

pytestmark = pytest.mark.usefixtures("strict_jax")


def normal(*shape: int, dtype: Any = jnp.float32, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


Q, K = normal(2, 3, 4), normal(2, 5, 4, seed=1)
SDPA_ERRORS = [
    (ValueError, r"must be \(\*, L, E\) or larger", (Q[0, 0], K, K), {}),
    (ValueError, "one size E", (Q, K[..., :3], K), {}),
    (ValueError, "one length S", (Q, K, K[:, :4]), {}),
    (ValueError, "leading axes", (normal(3, 3, 4), K, K), {}),
    (TypeError, "one dtype", (Q, K.astype(jnp.bfloat16), K), {}),
    (TypeError, "must be floating", (jnp.ones((2, 2), jnp.int32),) * 3, {}),
    (TypeError, "attn_mask must be boolean", (Q, K, K), {"attn_mask": jnp.ones((3, 5), jnp.int32)}),
    (ValueError, "attn_mask must broadcast", (Q, K, K), {"attn_mask": jnp.ones((3, 4), bool)}),
    (ValueError, "attn_mask must broadcast", (Q, K, K), {"attn_mask": jnp.ones((1, 2, 3, 5), bool)}),
    (ValueError, "attn_mask must be None", (Q, K, K), {"attn_mask": jnp.ones((3, 5), bool), "is_causal": True}),
    (ValueError, "dropout_p must be a probability", (Q, K, K), {"dropout_p": 1.5}),
    (ValueError, "key must be a JAX PRNG key", (Q, K, K), {"dropout_p": 0.5}),
    (ValueError, "multiple of key's", (normal(5, 3, 4), K, K), {"enable_gqa": True}),
    (ValueError, r"\(\*, H, L, E\)", (Q[0], K[0], K[0]), {"enable_gqa": True}),
]


@pytest.mark.parametrize(("error", "match", "args", "options"), SDPA_ERRORS, ids=[e[1] for e in SDPA_ERRORS])
def test_scaled_dot_product_attention_refuses(error, match, args, options):
    with pytest.raises(error, match=match):
        F.scaled_dot_product_attention(*args, **options)


X, M = normal(3, 2, 4), normal(5, 2, 4, seed=1)
WIDE = {"attn_mask": jnp.zeros((3, 5), jnp.bfloat16)}
MHA_ERRORS = [
    (ValueError, "query must be", (X[None], M, M), {}),
    (ValueError, "key must be of 3 axes", (X, M[:, 0], M[:, 0]), {}),
    (ValueError, "query's last axis must be embed_dim 4", (X[..., :3], M, M), {}),
    (ValueError, "key's last axis must be embed_dim 4", (X, M[..., :3], M[..., :3]), {}),
    (ValueError, r"key's batch \(axis 1\)", (X, M[:, :1], M[:, :1]), {}),
    (ValueError, "value must be as long as key", (X, M, M[:4]), {}),
    (TypeError, "key_padding_mask must be boolean", (X, M, M), {"key_padding_mask": jnp.zeros((2, 5), jnp.int32)}),
    (ValueError, r"key_padding_mask must be \(N, S\) = \(2, 5\)", (X, M, M), {"key_padding_mask": jnp.zeros((5, 2))}),
    (ValueError, "key_padding_mask must be", (X, M, M), {"key_padding_mask": jnp.zeros(5)}),
    (ValueError, "key_padding_mask must be", (X[:, 0], M[:, 0], M[:, 0]), {"key_padding_mask": jnp.zeros((1, 5))}),
    (ValueError, r"attn_mask must be \(L, S\) = \(3, 5\)", (X, M, M), {"attn_mask": jnp.zeros((5, 3), bool)}),
    (ValueError, "attn_mask must be", (X, M, M), {"attn_mask": jnp.zeros((2, 3, 5), bool)}),
    (ValueError, "attn_mask must be", (X, M, M), {"attn_mask": jnp.zeros((1, 4, 3, 5), bool)}),
    (TypeError, "attn_mask must be boolean or floating", (X, M, M), {"attn_mask": jnp.zeros((3, 5), jnp.int32)}),
    (TypeError, "floating mask must have query's dtype", (X, M, M), WIDE),
    (TypeError, "attn_mask must be boolean, float32", (X, M, M), WIDE | {"need_weights": False}),
    (ValueError, "attn_mask must be given where is_causal", (X, M, M), {"is_causal": True}),
]


@pytest.mark.parametrize(
    ("error", "match", "args", "options"), MHA_ERRORS, ids=[str(i) for i in range(len(MHA_ERRORS))]
)
def test_multihead_attention_refuses(error, match, args, options):
    with pytest.raises(error, match=match):
        nn.MultiheadAttention(4, 2, rngs=0)(*args, **options)


CONSTRUCTORS = [
    ("embed_dim must be a positive", lambda: nn.MultiheadAttention(0, 2, rngs=0)),
    ("num_heads must be a positive", lambda: nn.MultiheadAttention(4, 0, rngs=0)),
    ("embed_dim must be a multiple", lambda: nn.MultiheadAttention(5, 2, rngs=0)),
    ("dropout must be a probability", lambda: nn.MultiheadAttention(4, 2, 2.0, rngs=0)),
    ("activation must be 'relu', 'gelu'", lambda: nn.TransformerEncoderLayer(4, 2, 8, activation="elu", rngs=0)),
    ("activation must be 'relu', 'gelu'", lambda: nn.TransformerDecoderLayer(4, 2, 8, activation="elu", rngs=0)),
    ("num_layers must be a positive", lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, rngs=0), 0)),
    ("num_layers must be a positive", lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8, rngs=0), 0)),
]


@pytest.mark.parametrize(("match", "make"), CONSTRUCTORS, ids=[f"{i}" for i in range(len(CONSTRUCTORS))])
def test_constructors_refuse(match, make):
    with pytest.raises(ValueError, match=match):
        make()


def test_transformer_refuses_what_does_not_fit():
    model = nn.Transformer(4, 2, 1, 1, 8, rngs=0)
    with pytest.raises(ValueError, match="one batch"):
        model(normal(3, 2, 4), normal(3, 1, 4))
    with pytest.raises(ValueError, match="tgt must end in d_model 4"):
        model(normal(3, 2, 4), normal(3, 2, 5))


# ------------------------------------------------------------------------------------------------------- behaviour


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_stays_half_and_close(dtype):
    """The scores are kept in float32, so that the error is that of rounding inputs, weights and output."""
    arrays = normal(2, 3, 8, dtype=dtype), normal(2, 5, 8, dtype=dtype, seed=1), normal(2, 5, 8, dtype=dtype, seed=2)
    mask = jnp.where(jnp.eye(3, 5) > 0, -jnp.inf, 0.0).astype(jnp.float32)
    found = F.scaled_dot_product_attention(*arrays, mask)
    wanted = F.scaled_dot_product_attention(*(array.astype(jnp.float32) for array in arrays), mask)
    assert found.dtype == dtype
    eps = float(jnp.finfo(dtype).eps)
    assert float(jnp.abs(found.astype(jnp.float32) - wanted).max()) < 2 * eps * float(jnp.abs(wanted).max())
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, dtype=dtype, rngs=0)
    hint = nn.Transformer.generate_square_subsequent_mask(3)
    assert layer(normal(3, 2, 8, dtype=dtype), hint).dtype == dtype
    output, weights = nn.MultiheadAttention(8, 2, dtype=dtype, rngs=0)(arrays[0], arrays[0], arrays[0])
    assert output.dtype == weights.dtype == dtype


def test_jit_vmap_grad_and_forward_mode_agree():
    q, k, v = normal(4, 2, 3, 6), normal(4, 2, 5, 6, seed=1), normal(4, 2, 5, 7, seed=2)
    mask = normal(3, 5, seed=3) > 0
    attend = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask)  # noqa: E731
    wanted = attend(q, k, v)
    np.testing.assert_allclose(jax.jit(attend)(q, k, v), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(attend)(q, k, v), wanted, rtol=1e-5, atol=1e-6)
    forward, backward = jax.jacfwd(attend)(q, k, v), jax.jacrev(attend)(q, k, v)
    np.testing.assert_allclose(forward, backward, rtol=1e-4, atol=1e-6)


def test_gradient_of_the_gradient_is_finite_where_a_row_is_masked():
    mask = jnp.asarray([[True, True], [False, False]])
    loss = lambda q: F.scaled_dot_product_attention(q, q, q, mask).sum()  # noqa: E731
    hessian = jax.hessian(loss)(normal(2, 3))
    assert np.isfinite(hessian).all()


def test_transformer_runs_in_a_scan():
    """Five steps of descent in one compiled scan, dropout and its streams included."""
    model = nn.Transformer(4, 2, 1, 1, 8, 0.1, rngs=0)
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    src, tgt = normal(5, 2, 4), normal(3, 2, 4, seed=1)
    causal = nn.Transformer.generate_square_subsequent_mask(3)

    def step(carry: Any, _: None) -> Any:
        params, rest = carry

        def loss(params: Any) -> Any:
            model = nnx.merge(graph, params, rest, copy=True)
            value = jnp.mean((model(src, tgt, tgt_mask=causal) - tgt) ** 2)
            return value, nnx.split(model, nnx.Param, ...)[2]

        (value, rest), grads = jax.value_and_grad(loss, has_aux=True)(params)
        return (jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), rest), value

    _, losses = jax.jit(lambda carry: jax.lax.scan(step, carry, None, length=5))((params, rest))
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_a_causal_encoder_does_not_see_the_future():
    layer = nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True, rngs=0)
    model = nn.TransformerEncoder(layer, 2)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    x = normal(2, 5, 4)
    changed = x.at[:, 3:].add(1.0)
    same = np.asarray(model(x, mask))[:, :3], np.asarray(model(changed, mask, is_causal=True))[:, :3]
    np.testing.assert_allclose(*same, rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(model(x) - model(changed)))[:, :3].max() > 1e-3


def test_padded_keys_do_not_matter():
    model = nn.MultiheadAttention(4, 2, rngs=0)
    padding = jnp.asarray([[False, False, False, True, True], [False, True, False, False, True]])
    changed = jnp.where(padding.T[:, :, None], 7.0, M)
    np.testing.assert_allclose(model(X, M, M, padding)[0], model(X, changed, changed, padding)[0], rtol=1e-6)
    hidden = np.broadcast_to(padding[:, None, :], (2, 3, 5))
    assert not np.asarray(model(X, M, M, padding)[1])[hidden].any()


def test_masks_of_floats_and_booleans_mean_the_same():
    model = nn.MultiheadAttention(4, 2, rngs=0)
    mask = nn.Transformer.generate_square_subsequent_mask(3, bool)
    added = nn.Transformer.generate_square_subsequent_mask(3)
    assert mask.dtype == jnp.bool_
    np.testing.assert_array_equal(np.isneginf(added), mask)
    for need_weights in (True, False):
        found, wanted = (model(X, X, X, attn_mask=m, need_weights=need_weights)[0] for m in (mask, added))
        np.testing.assert_array_equal(found, wanted)


def test_a_query_that_sees_nothing():
    """NaN where weights are wanted and the bias of the output projection where they are not, as in PyTorch."""
    model = nn.MultiheadAttention(4, 2, rngs=0)
    model.out_proj.bias.set_value(jnp.arange(4.0))
    hidden = jnp.ones((2, 5), bool)
    assert np.isnan(model(X, M, M, hidden)[0]).all()
    output, weights = model(X, M, M, hidden, need_weights=False)
    assert weights is None
    np.testing.assert_array_equal(output, np.broadcast_to(np.arange(4.0), (3, 2, 4)))


def test_layers_are_copies_with_equal_weights_and_streams_of_their_own():
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, 0.5, rngs=0), 2)
    first, second = stack.layers
    for (name, a), (_, b) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert a is not b, name
        np.testing.assert_array_equal(a[...], b[...])
    x = normal(3, 2, 4)
    assert float(jnp.abs(first(x) - second(x)).max()) > 0.1
    stack.eval()
    np.testing.assert_array_equal(first(x), second(x))
    keys = [k[...] for _, k in nnx.iter_graph(nn.Transformer(4, 2, 2, 2, 8, rngs=0)) if isinstance(k, nnx.RngKey)]
    assert len({tuple(np.asarray(jax.random.key_data(key)).tolist()) for key in keys}) == len(keys)


def test_dropout_of_weights_is_drawn_anew_and_switched_off_in_evaluation():
    model = nn.MultiheadAttention(4, 2, 0.5, rngs=0)
    one, other = model(X, M, M)[1], model(X, M, M)[1]
    assert (np.asarray(one) != np.asarray(other)).any()
    model.eval()
    np.testing.assert_array_equal(model(X, M, M)[1], model(X, M, M)[1])
    np.testing.assert_allclose(model(X, M, M)[1].sum(-1), 1.0, rtol=1e-5)


def test_initial_values():
    model = nn.MultiheadAttention(64, 4, add_bias_kv=True, rngs=0)
    bound = (6.0 / (64 + 3 * 64)) ** 0.5
    weight = np.asarray(model.in_proj_weight[...])
    assert 0.98 * bound < np.abs(weight).max() <= bound
    assert not np.any(model.in_proj_bias[...])
    assert not np.any(model.out_proj.bias[...])
    assert 0.5 * 64**-0.5 < float(np.std(model.bias_k[...])) < 1.5 * 64**-0.5
    model = nn.Transformer(16, 2, 2, 1, 24, rngs=0)
    first, second = (layer.linear1.weight[...] for layer in model.encoder.layers)
    bound = (6.0 / (16 + 24)) ** 0.5
    assert 0.9 * bound < np.abs(first).max() <= bound
    assert (np.asarray(first) != np.asarray(second)).any()


def test_repr():
    assert repr(nn.MultiheadAttention(4, 2, rngs=0)) == (
        "MultiheadAttention(\n"
        "  (out_proj): NonDynamicallyQuantizableLinear(in_features=4, out_features=4, bias=True)\n)"
    )
