"""The prediction as one compiled call: equal to the module, in every way that is tried; what it refuses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxport import Model, nn, optim, ports
from jaxport.engine import compile_prediction
from jaxport.engine.known import split_known
from jaxport.errors import UsageError
from jaxport.optim.swa_utils import get_ema_avg_fn


def pictures(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, 8, 8)).astype(np.float32)


def network():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, rngs=0), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout(0.5, rngs=nnx.Rngs(1)), nn.Linear(256, 5, rngs=2),
    )  # fmt: skip


def close(found, expected, rtol=1e-5):
    expected = np.asarray(expected)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=rtol * np.abs(expected).max())


@pytest.mark.parametrize("rows", [1, 7])
def test_every_way_predicts_what_the_module_does(rows):
    module = network()
    x = pictures(rows)
    predict = compile_prediction(module, x)
    assert module.training  # it is not changed
    module.eval()
    other = pictures(rows, seed=1)
    close(predict(other), module(other))
    ways = []
    for place in ("weights as arguments", "weights as constants"):
        for name in ("", "one thread", "no oneDNN"):
            predict.tried = {}
            way = predict._best([(place, name, {})], [jnp.asarray(x)])
            ways.append(way[0])
            close(way[1](*way[2], other), module(other))
    assert set(predict.tried) <= set(ways)


def test_the_fastest_way_is_kept():
    predict = compile_prediction(network(), pictures(2))
    assert len(predict.tried) >= 3
    last = [way for way in predict.tried if way.startswith(predict.way.split(", ")[0])]  # measured in the same turns
    assert predict.way == min(last, key=lambda way: predict.tried[way])
    assert predict.compile_seconds > 0


def test_without_search_nothing_is_measured():
    predict = compile_prediction(network(), pictures(2), search=False)
    assert (predict.way, predict.tried) == ("weights as arguments", {})
    close(predict(pictures(2)), network().eval()(pictures(2)))


def test_weights_are_those_of_the_moment():
    module = nn.Linear(3, 2, rngs=0)
    x = np.ones((1, 3), np.float32)
    predict = compile_prediction(module, x)
    before = np.asarray(predict(x))
    module.weight.set_value(module.weight[...] + 1)
    np.testing.assert_array_equal(predict(x), before)
    close(compile_prediction(module, x)(x), before + 3)


def test_half_precision_gives_float32():
    module = nn.Linear(8, 4, rngs=0)
    x = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    exact, half = (np.asarray(compile_prediction(module, x, precision=p)(x)) for p in ("float32", "bfloat16"))
    assert half.dtype == np.float32
    assert 1e-5 < np.abs(half - exact).max() < 2**-6 * np.abs(exact).max()
    assert module.weight.dtype == jnp.float32


@pytest.mark.parametrize("name", ["covid19", "imdb", "digits"])
def test_ports_predict_the_same(name):
    port = ports.get(name)
    module = port.build(0)
    x = jnp.asarray(port.prepare(jnp.asarray(port.synthetic(30, 0).train.x[:3])))
    predict = compile_prediction(module, x)
    close(predict(x), module.eval()(x))


def test_a_model_prepares_inputs_and_takes_averaged_weights():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (40, 6)).astype(np.uint8)
    y = rng.normal(size=(40, 1)).astype(np.float32)
    model = Model(nn.Sequential(nn.Dropout(0.5, rngs=nnx.Rngs(1)), nn.Linear(6, 1, rngs=0)))
    close(model.predictor(x[:4].astype(np.float32))(x[:4].astype(np.float32)), model.predict(x[:4].astype(np.float32)))
    model.compile(
        nn.MSELoss(), optim.SGD(lr=0.01), prepare=lambda x: x.astype(jnp.float32) / 255, average=get_ema_avg_fn(0.9)
    )
    model.fit((x, y), epochs=2, batch_size=10, seed=0, verbose=0)
    predict = model.predictor(x[:4])
    close(predict(x[8:12]), model.predict(x[8:12]))
    assert np.abs(np.asarray(predict(x[8:12])) - np.asarray(model.module(x[8:12] / np.float32(255)))).max() > 1e-6


def test_inputs_of_another_shape_are_refused():
    predict = compile_prediction(nn.Linear(3, 2, rngs=0), np.ones((1, 3), np.float32), search=False)
    for wrong, text in (
        (np.ones((2, 3), np.float32), r"float32\[2, 3\]"),
        (np.ones((1, 3), np.int32), r"int32\[1, 3\]"),
        ([[1.0, 2.0, 3.0]], r"None\[1, 3\]"),
    ):
        with pytest.raises(UsageError, match=rf"inputs are {text}; this predictor was compiled for float32\[1, 3\]"):
            predict(wrong)
    with pytest.raises(UsageError, match=r"inputs are nothing"):
        predict()


def test_what_the_module_does_not_take_is_refused():
    module = nn.Linear(3, 2, rngs=0)
    with pytest.raises(UsageError, match=r"the model does not take inputs float32\[1, 4\]"):
        compile_prediction(module, np.ones((1, 4), np.float32))
    with pytest.raises(UsageError, match=r"inputs is empty"):
        compile_prediction(module)
    with pytest.raises(UsageError, match=r"precision is 'half'"):
        compile_prediction(module, np.ones((1, 3), np.float32), precision="half")


# ------------------------------------------------------------------------------------------------- what is known before


def test_what_depends_on_weights_alone_is_computed_once():
    weight = jnp.arange(6.0).reshape(2, 3)

    def function(weights, x):
        return jax.jit(lambda w, x: x @ jnp.sin(w).T)(weights[0], x), jnp.cos(weights[0])

    x = jnp.ones((4, 3))
    values, left = split_known(function, [weight], x)
    names = str(jax.make_jaxpr(left)(values, x))
    assert "dot_general" in names
    assert not any(name in names for name in ("sin", "cos", "transpose"))
    for found, expected in zip(jax.jit(left)(values, x), function([weight], x), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_matrix_of_a_convolution_of_few_points_is_made_once():
    module = nn.Conv2d(8, 8, 3, padding=1, rngs=0)
    for size, known in ((2, True), (6, False)):
        x = jnp.ones((3, 8, size, size))

        def function(weights, x):
            return nn.functional.conv2d(x, weights[0], weights[1], padding=1)

        values, left = split_known(function, [module.weight[...], module.bias[...]], x)
        text = str(jax.make_jaxpr(left)(values, x))
        assert ("concatenate" not in text and "jaxport_conv" not in text) == known
        close(left(values, x), module(x))


def test_known_values_may_be_used_twice_and_results_may_be_inputs():
    def function(weights, x):
        return x * x + weights[0] * weights[0], x, weights[0]

    values, left = split_known(function, [jnp.float32(3)], jnp.float32(2))
    assert [float(value) for value in left(values, jnp.float32(2))] == [13.0, 2.0, 3.0]
