"""Activations, dropout, padding and shuffles without PyTorch: messages, transformations, half precision, streams."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxport import nn
from jaxport.nn import functional as F

pytestmark = pytest.mark.usefixtures("strict_jax")

X = jnp.asarray(np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32))
IMAGE = jnp.ones((2, 3, 4, 5))
PLAIN = [
    "relu",
    "relu6",
    "hardtanh",
    "hardsigmoid",
    "hardswish",
    "hardshrink",
    "softshrink",
    "leaky_relu",
    "rrelu",
    "elu",
    "celu",
    "selu",
    "sigmoid",
    "tanh",
    "silu",
    "mish",
    "gelu",
    "softplus",
    "logsigmoid",
    "softsign",
    "tanhshrink",
    "glu",
]


def wrong(error: type[Exception], match: str, function: Any, *args: Any, **kwargs: Any) -> Any:
    return pytest.param(error, match, function, args, kwargs, id=match)


ERRORS = [
    wrong(ValueError, "hardtanh: min_val must not be greater than max_val, got 1 and 0", F.hardtanh, X, 1, 0),
    wrong(ValueError, "Hardtanh: max_val must be greater than min_val, got 1.0 and 1.0", nn.Hardtanh, 1.0),
    wrong(ValueError, "softshrink: lambd must be at least 0, got -1", F.softshrink, X, -1.0),
    wrong(ValueError, "celu: alpha must not be 0", F.celu, X, 0.0),
    wrong(ValueError, "gelu: approximate must be 'none' or 'tanh', got 'erf'", F.gelu, X, "erf"),
    wrong(ValueError, "GELU: approximate must be 'none' or 'tanh', got 'erf'", nn.GELU, "erf"),
    wrong(
        ValueError, "rrelu: lower and upper must be finite, lower the smaller, got 0.5 and 0.1", F.rrelu, X, 0.5, 0.1
    ),
    wrong(ValueError, "rrelu: lower and upper must be finite", F.rrelu, X, 0.5, math.inf),
    wrong(ValueError, "rrelu: key must be a JAX PRNG key", F.rrelu, X, training=True),
    wrong(ValueError, r"prelu: weight must have 1 or 6 elements for input \(4, 6\), got 4", F.prelu, X, X[:, 0]),
    wrong(ValueError, r"prelu: weight must be a scalar or a vector, got shape \(4, 6\)", F.prelu, X, X),
    wrong(ValueError, "prelu: weight must have 1 or 1 elements", F.prelu, X[0, 0], X[0]),
    wrong(TypeError, "prelu: all arrays must have one dtype", F.prelu, X, X[0].astype(jnp.bfloat16)),
    wrong(ValueError, r"glu: input must have an even size along dim 0, got shape \(3,\)", F.glu, jnp.ones(3), 0),
    wrong(ValueError, "glu: input must have an axis to halve, got a scalar", F.glu, jnp.ones(())),
    wrong(IndexError, r"glu: dim must lie in \[-2, 1\] for 2 axes, got 2", F.glu, X, 2),
    wrong(IndexError, r"softmax: dim must lie in \[-2, 1\] for 2 axes, got -3", F.softmax, X, -3),
    wrong(TypeError, "log_softmax: dim must be an integer, got 1.0", F.log_softmax, X, 1.0),
    wrong(TypeError, "softmax: input must be floating, got int32", F.softmax, jnp.arange(3), 0),
    wrong(TypeError, "gelu: input must be floating, got int32", F.gelu, jnp.arange(3)),
    wrong(ValueError, r"Softmax2d: input must be \(N, C, H, W\) or \(C, H, W\), got shape \(4, 6\)", nn.Softmax2d(), X),
    wrong(IndexError, r"normalize: dim must lie in \[-1, 0\] for 1 axes, got 1", F.normalize, X[0]),
    wrong(TypeError, "one_hot: tensor must be of integers, got float32", F.one_hot, X),
    wrong(ValueError, "one_hot: num_classes must be given where tensor is traced or empty", F.one_hot, jnp.arange(0)),
    wrong(ValueError, "one_hot: num_classes must be positive or -1, got 0", F.one_hot, jnp.arange(3), 0),
    wrong(IndexError, r"one_hot: tensor must lie in \[0, 1\], got 2", F.one_hot, jnp.arange(3), 2),
    wrong(ValueError, r"dropout1d: input must be \(N, C, L\) or \(C, L\), got shape \(6,\)", F.dropout1d, X[0]),
    wrong(ValueError, r"dropout3d: input must be \(N, C, D, H, W\) or \(C, D, H, W\)", F.dropout3d, X),
    wrong(ValueError, "alpha_dropout: p must be a probability", F.alpha_dropout, X, 1.5),
    wrong(ValueError, r"feature_alpha_dropout: input must be \(N, C, \*\)", F.feature_alpha_dropout, X[0], 0.5, True),
    wrong(ValueError, "AlphaDropout: p must be a probability", nn.AlphaDropout, -0.1, rngs=0),
    wrong(ValueError, "pad: pad must have an even length of at most 4 for 2 axes", F.pad, X, (1,)),
    wrong(ValueError, "pad: pad must have an even length of at most 4 for 2 axes", F.pad, X, (1,) * 6),
    wrong(TypeError, "pad: pad must be a sequence of integers", F.pad, X, (1.0, 2.0)),
    wrong(
        ValueError,
        "pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got 'edge'",
        F.pad,
        X,
        (1, 1),
        "edge",
    ),
    wrong(ValueError, "pad: mode 'reflect' takes no value, got 1.0", F.pad, X, (1, 1), "reflect", 1.0),
    wrong(ValueError, "pad: mode 'reflect' allows at most 5 on an axis of 6", F.pad, X, (6, 0), "reflect"),
    wrong(ValueError, "pad: mode 'circular' allows at most 6 on an axis of 6", F.pad, X, (0, 7), "circular"),
    wrong(ValueError, "pad: mode 'circular' allows at most 4 on an axis of 6", F.pad, X, (-2, 5), "circular"),
    wrong(ValueError, "pad: mode 'replicate' takes 2, 4 or 6 amounts", F.pad, X, (1, 1, 1, 1), "replicate"),
    wrong(ValueError, "leaves nothing of an axis of 6", F.pad, X, (-3, -3), "replicate"),
    wrong(ValueError, "removes more than there is", F.pad, X, (-7, 4)),
    wrong(ValueError, "mode 'reflect' needs a non-empty input", F.pad, jnp.ones((2, 0, 3)), (1, 1), "reflect"),
    wrong(TypeError, "ZeroPad2d: padding must be an integer or 4 of them", nn.ZeroPad2d, (1, 2.0, 3, 4)),
    wrong(ValueError, r"pixel_shuffle: 4 must divide the 3 channels", F.pixel_shuffle, IMAGE, 2),
    wrong(ValueError, r"pixel_shuffle: input must be \(\*, C, H, W\), got shape \(4, 6\)", F.pixel_shuffle, X, 1),
    wrong(ValueError, "pixel_shuffle: upscale_factor must be a positive integer, got 0", F.pixel_shuffle, IMAGE, 0),
    wrong(ValueError, "pixel_unshuffle: 2 must divide the height and the width", F.pixel_unshuffle, IMAGE, 2),
    wrong(ValueError, "channel_shuffle: groups must divide the 3 channels, got 2", F.channel_shuffle, IMAGE, 2),
    wrong(ValueError, "channel_shuffle: groups must be a positive integer, got 0", F.channel_shuffle, IMAGE, 0),
    wrong(ValueError, "channel_shuffle: input must be", F.channel_shuffle, X, 1),
    wrong(TypeError, "Unflatten: dim must be an integer and unflattened_size a tuple", nn.Unflatten, 1, 4),
    wrong(TypeError, "Unflatten: dim must be an integer", nn.Unflatten, "features", (2, 3)),
    wrong(
        ValueError, r"unflatten: sizes must multiply up to the 6 of axis 1, got \(4, 2\)", nn.Unflatten(1, (4, 2)), X
    ),
    wrong(ValueError, "unflatten: sizes must multiply up", nn.Unflatten(1, (-1, -1)), X),
    wrong(ValueError, "unflatten: sizes must multiply up", nn.Unflatten(1, ()), X),
    wrong(IndexError, r"unflatten: dim must lie in \[-2, 1\]", nn.Unflatten(2, (2, 3)), X),
    wrong(ValueError, r"linear: weight must be \(out, in\) or \(in,\)", F.linear, X, jnp.ones((2, 3, 6))),
    wrong(ValueError, r"linear: bias must have shape \(2,\), got \(3,\)", F.linear, X, jnp.ones((2, 6)), jnp.ones(3)),
    wrong(ValueError, "Bilinear: in1_features must be a positive integer, got 0", nn.Bilinear, 0, 1, 1, rngs=0),
    wrong(ValueError, "bilinear: inputs must share all axes but the last", F.bilinear, X, X[:1], jnp.ones((2, 6, 6))),
    wrong(ValueError, r"bilinear: weight must have shape \(out, 6, 6\)", F.bilinear, X, X, jnp.ones((2, 6, 5))),
    wrong(ValueError, r"bilinear: bias must have shape \(2,\)", F.bilinear, X, X, jnp.ones((2, 6, 6)), jnp.ones(1)),
]


@pytest.mark.parametrize(("error", "match", "function", "args", "kwargs"), ERRORS)
def test_errors(error, match, function, args, kwargs):
    with pytest.raises(error, match=match):
        function(*args, **kwargs)


def test_one_hot_under_jit():
    assert jax.jit(lambda x: F.one_hot(x, 3))(jnp.array([1, 5])).tolist() == [[0, 1, 0], [0, 0, 0]]
    with pytest.raises(ValueError, match="num_classes must be given where tensor is traced"):
        jax.jit(F.one_hot)(jnp.array([1]))


@pytest.mark.parametrize("name", PLAIN)
def test_transformations_agree(name):
    function = getattr(F, name)
    np.testing.assert_allclose(jax.jit(function)(X), function(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(function)(X), function(X), rtol=1e-5, atol=1e-6)
    tangent = jnp.ones_like(X)
    forward = jax.jvp(function, (X,), (tangent,))[1]
    backward = jax.vjp(function, X)[1](jnp.ones_like(forward))[0]
    np.testing.assert_allclose(forward.sum(), backward.sum(), rtol=1e-4)
    # Twice differentiable: against a difference of gradients.
    slope = jax.grad(lambda x: function(x).sum())
    curvature = jax.jvp(slope, (X,), (tangent,))[1]
    difference = (slope(X + 1e-2) - slope(X - 1e-2)) / 2e-2
    kinked = np.isclose(np.abs(difference - curvature), 0.0, atol=2e-2)
    assert kinked.mean() > 0.8


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", [*PLAIN, "softmax", "log_softmax", "softmin", "normalize"])
def test_half_precision_rounds_once(name, dtype):
    options = {"dim": 1} if "soft" in name and name.endswith(("max", "min")) else {}
    x = X.astype(dtype)
    found = getattr(F, name)(x, **options)
    assert found.dtype == dtype
    wanted = getattr(F, name)(x.astype(jnp.float32), **options).astype(dtype)
    np.testing.assert_array_equal(np.asarray(found, np.float32), np.asarray(wanted, np.float32))


def test_dtype_of_softmax():
    assert F.softmax(X.astype(jnp.bfloat16), 1, dtype=jnp.float32).dtype == jnp.float32
    assert F.softmin(-jnp.arange(3), 0, dtype=jnp.float32).argmax() == 2


def test_gumbel_softmax():
    key = jax.random.key(0)
    soft, hard = (F.gumbel_softmax(X, 0.5, hard, key=key) for hard in (False, True))
    np.testing.assert_allclose(soft.sum(-1), 1.0, rtol=1e-5)
    assert (jnp.argmax(soft, -1) == jnp.argmax(hard, -1)).all()
    np.testing.assert_allclose(jnp.sort(hard, -1), jnp.sort(F.one_hot(jnp.argmax(hard, -1), 6).astype(jnp.float32), -1))
    with pytest.warns(UserWarning, match="eps is deprecated"):
        F.gumbel_softmax(X, eps=1e-5, key=key)
    # The classes come with the probabilities of softmax.
    logits = jnp.broadcast_to(jnp.log(jnp.array([0.5, 0.3, 0.2]))[None], (4000, 3))
    rates = np.asarray(F.gumbel_softmax(logits, hard=True, key=key).mean(0))
    np.testing.assert_allclose(rates, [0.5, 0.3, 0.2], atol=0.04)


def test_deprecated_names_of_hardtanh():
    with pytest.warns(FutureWarning, match="min_value is deprecated, use min_val"):
        assert nn.Hardtanh(min_value=-3.0).min_val == -3.0
    with pytest.warns(FutureWarning, match="max_value is deprecated, use max_val"):
        assert nn.Hardtanh(max_value=3.0).max_val == 3.0


# ------------------------------------------------------------------------------------------------ random while training

BIG = jnp.ones((40, 30, 4, 5, 3))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("name", ["dropout1d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"])
def test_rate_scale_and_pattern(name, p):
    x = BIG[:, :, :, 0, 0] if name == "dropout1d" else BIG
    y = np.asarray(getattr(F, name)(x, p, training=True, key=jax.random.key(1)))
    values = np.unique(y)
    assert len(values) == 2
    kept = y == values[1]
    if name != "alpha_dropout":
        axes = tuple(range(2, y.ndim))
        assert (kept == kept[(slice(None), slice(None), *(slice(1),) * len(axes))]).all()
        kept = kept[(slice(None), slice(None), *(0,) * len(axes))]
    assert abs(kept.mean() - (1 - p)) < 5 * math.sqrt(p * (1 - p) / kept.size)
    assert not (np.diff(kept, axis=0) == 0).all()
    assert not (np.diff(kept, axis=1) == 0).all()
    if "alpha" not in name:
        np.testing.assert_allclose(values, [0.0, 1.0 / (1.0 - p)], rtol=1e-6)
    else:
        a = 1.0 / math.sqrt((1.7580993408473766**2 * p + 1.0) * (1.0 - p))
        shift = a * 1.7580993408473766 * p
        np.testing.assert_allclose(values, [-a * 1.7580993408473766 + shift, a + shift], rtol=1e-5)


def test_alpha_dropout_keeps_mean_and_variance():
    x = jax.random.normal(jax.random.key(0), (200, 300))
    y = F.alpha_dropout(x, 0.3, True, key=jax.random.key(1))
    assert abs(float(y.mean())) < 0.02
    assert abs(float(y.var()) - 1.0) < 0.03


LAYERS = [
    (nn.Dropout1d, BIG[:, :, :, 0, 0]),
    (nn.Dropout3d, BIG),
    (nn.AlphaDropout, BIG),
    (nn.FeatureAlphaDropout, BIG),
    (nn.RReLU, -BIG),
]


@pytest.mark.parametrize(("layer", "x"), LAYERS)
def test_streams(layer, x):
    module, again = layer(rngs=7), layer(rngs=7)
    first, second = np.asarray(module(x)), np.asarray(module(x))
    assert (first != second).any()
    np.testing.assert_array_equal(np.asarray(again(x)), first)
    evaluated = np.asarray(again.eval()(x))
    assert np.unique(evaluated).size == 1
    shape = x.shape if layer in (nn.AlphaDropout, nn.RReLU) else x.shape[:2] + (1,) * (x.ndim - 2)
    with nn.replay_masks([jnp.ones(shape, x.dtype if layer is nn.RReLU else bool)]):
        again.train()(x)
    np.testing.assert_array_equal(np.asarray(again(x)), second)


def test_rrelu_slopes():
    y = -np.asarray(F.rrelu(-BIG, 0.2, 0.6, True, key=jax.random.key(0)))
    assert y.min() >= 0.2
    assert y.max() <= 0.6
    assert abs(y.mean() - 0.4) < 0.01
    np.testing.assert_allclose(F.rrelu(-BIG, 0.2, 0.6), -0.4, rtol=1e-6)
    x = jnp.array([-1.0, 0.0, 2.0])
    with nn.replay_masks([jnp.array([0.3, 0.4, 0.5])]):
        assert F.rrelu(x, training=True).tolist() == [pytest.approx(-0.3), 0.0, 2.0]
    # Two equal bounds draw nothing.
    assert nn.RReLU(0.5, 0.5, rngs=0)(x).tolist() == [-0.5, 0.0, 2.0]


def test_padding_modules_take_every_spelling():
    assert nn.ConstantPad1d(2, 1).padding == (2, 2)
    assert nn.ReflectionPad2d([1, 2, 3, 4]).padding == (1, 2, 3, 4)
    assert repr(nn.ConstantPad2d((1, 2, 3, 4), 0.5)) == "ConstantPad2d(padding=(1, 2, 3, 4), value=0.5)"
    assert repr(nn.CircularPad3d(1)) == "CircularPad3d((1, 1, 1, 1, 1, 1))"
    assert nn.ZeroPad3d(1)(jnp.ones((2, 3, 4))).shape == (4, 5, 6)


def test_bilinear_initial_values():
    module = nn.Bilinear(400, 3, 5, rngs=0)
    bound = 1.0 / 20.0
    for value in (module.weight[...], module.bias[...]):  # pyright: ignore[reportOptionalSubscript]
        assert 0.8 * bound < float(jnp.abs(value).max()) <= bound
    assert nn.Bilinear(2, 3, 4, bias=False, dtype=jnp.bfloat16, rngs=0).weight.dtype == jnp.bfloat16
    assert nn.PReLU(3, 0.5, jnp.bfloat16).weight[...].tolist() == [0.5] * 3


def test_the_logistic_function_of_float32_is_rounded_about_once():
    x = np.random.default_rng(0).uniform(-87.0, 87.0, 100_000).astype(np.float32)
    right = 1.0 / (1.0 + np.exp(-x.astype(np.float64)))
    # Two roundings after the exponential's; the same bound holds for PyTorch's own.
    assert (np.abs(np.asarray(jax.jit(F.sigmoid)(x)) - right) / right).max() < 2.5 * np.finfo(np.float32).eps


@pytest.mark.parametrize(
    ("x", "y", "slope"),
    [
        (0.0, 0.5, 0.25),
        (-0.0, 0.5, 0.25),
        (math.inf, 1.0, 0.0),
        (-math.inf, 0.0, 0.0),
        (-104.0, 0.0, 0.0),
        (89.0, 1.0, 0.0),
    ],
)
def test_the_logistic_function_at_its_ends(x, y, slope):
    assert [float(v) for v in jax.value_and_grad(F.sigmoid)(jnp.float32(x))] == [y, slope]


def test_the_logistic_function_passes_nan_on():
    assert all(math.isnan(v) for v in jax.value_and_grad(F.sigmoid)(jnp.float32(math.nan)))
