"""Normalisations without PyTorch: padded batches, devices, jit, dtypes, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxport.nn.functional as F
from jaxport import engine, nn
from jaxport.interop import load_state_dict, state_dict


class Net(nn.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.fc1 = nn.Linear(3, 5, rngs=rngs)
        self.bn = nn.BatchNorm1d(5)
        self.fc2 = nn.Linear(5, 1, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        return self.fc2(F.sigmoid(self.bn(self.fc1(x))))


def examples(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return 0.3 + rng.standard_normal((n, 3)), rng.standard_normal((n, 1))


def plain_loop(net: Net, x: np.ndarray, y: np.ndarray, size: int, epochs: int) -> None:
    """Train by SGD with a true short batch at the end of each epoch."""
    graph, params, rest = nnx.split(net, nn.Parameter, ...)

    def objective(params, rest, x, y):
        module = nnx.merge(graph, params, rest, copy=True)
        return nn.MSELoss()(module(x), y), nnx.split(module, nn.Parameter, ...)[2]

    step = jax.jit(jax.grad(objective, has_aux=True))
    for _ in range(epochs):
        for start in range(0, len(x), size):
            batch = jnp.asarray(x[start : start + size]), jnp.asarray(y[start : start + size])
            grads, rest = step(params, rest, *batch)
            params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
    nnx.update(net, params, rest)


def test_fit_with_a_padded_batch_is_fit_with_a_short_one():
    with jax.enable_x64(True):
        x, y = examples(11)
        ours, plain = Net(nnx.Rngs(0)).double(), Net(nnx.Rngs(0)).double()
        engine.fit(ours, (x, y), loss=nn.MSELoss(), optimizer=optax.sgd(0.1), epochs=5, batch_size=4, shuffle=False)
        plain_loop(plain, x, y, 4, 5)
        found, wanted = state_dict(ours), state_dict(plain)
        assert found["bn.num_batches_tracked"] == wanted["bn.num_batches_tracked"] == 15
        for key, value in wanted.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-12, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("name", ["BatchNorm2d", "SyncBatchNorm", "InstanceNorm2d"])
def test_rows_that_are_no_examples_do_not_count(name):
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(1).standard_normal((5, 4, 3, 2)))
        short, padded = (getattr(nn, name)(4, track_running_stats=True).double() for _ in range(2))
        wanted = short(x[:3])
        with nn.valid_rows(jnp.asarray([True, True, True, False, False])):
            found = jax.jit(lambda x: padded_call(padded, x))(x.at[3:].set(jnp.nan))
        np.testing.assert_allclose(found[0][:3], wanted, rtol=1e-13)
        nnx.update(padded, found[1])
        for key, value in state_dict(short).items():
            np.testing.assert_allclose(state_dict(padded)[key], value, rtol=1e-13, err_msg=key)


def padded_call(module, x):
    graph, params, rest = nnx.split(module, nn.Parameter, ...)
    module = nnx.merge(graph, params, rest, copy=True)
    return module(x), nnx.split(module, nn.Parameter, ...)[2]


def test_valid_rows_are_checked():
    x = jnp.ones((4, 2))
    with pytest.raises(ValueError, match=r"valid_rows: mask must be bool of shape \(N,\), got float32"):  # noqa: SIM117
        with nn.valid_rows(jnp.ones(4)):
            pass
    with nn.valid_rows(jnp.ones(3, bool)), pytest.raises(ValueError, match="batch_norm: valid_rows marks 3 rows"):
        F.batch_norm(x, None, None, training=True)
    with nn.valid_rows(jnp.arange(4) < 1), pytest.raises(ValueError, match="more than one value per channel"):
        F.batch_norm(x, None, None, training=True)
    assert F.batch_norm(x, None, None, training=True).shape == (4, 2)


def test_sync_batch_norm_is_batch_norm_of_the_joined_batch():
    with jax.enable_x64(True):
        x = jnp.asarray(1000.0 + np.random.default_rng(2).standard_normal((4, 3, 5, 2)))
        weights = jnp.asarray(np.random.default_rng(3).standard_normal((4, 3, 5, 2)))
        plain, sync = nn.BatchNorm1d(5).double(), nn.SyncBatchNorm(5, axis_name="devices").double()
        over_devices = jax.vmap(lambda x: padded_call(sync, x), axis_name="devices")
        found, rest = over_devices(x)
        grad = jax.grad(lambda x: (over_devices(x)[0] * weights).sum())(x)

        def joined(x):
            y = F.batch_norm(x.reshape(12, 5, 2), None, None, training=True)
            return (y * weights.reshape(12, 5, 2)).sum()

        np.testing.assert_allclose(found.reshape(12, 5, 2), plain(x.reshape(12, 5, 2)), rtol=0, atol=1e-11)
        np.testing.assert_allclose(grad, jax.grad(joined)(x), rtol=0, atol=1e-10)
        nnx.update(sync, jax.tree.map(lambda leaf: leaf[0], rest))
        for key, value in state_dict(plain).items():
            np.testing.assert_allclose(state_dict(sync)[key], value, rtol=1e-13, err_msg=key)


def test_convert_sync_batchnorm():
    net = nn.Sequential(nn.Linear(3, 5, rngs=0), nn.Sequential(nn.BatchNorm1d(5, momentum=0.3), nn.ReLU())).eval()
    keys, weight = list(state_dict(net)), net[1][0].weight
    assert nn.SyncBatchNorm.convert_sync_batchnorm(net, axis_name="i") is net
    assert isinstance(net[1][0], nn.SyncBatchNorm)
    assert (net[1][0].axis_name, net[1][0].momentum, net[1][0].training) == ("i", 0.3, False)
    assert net[1][0].weight is weight
    assert list(state_dict(net)) == keys
    assert isinstance(nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm2d(2)), nn.SyncBatchNorm)
    with pytest.raises(ValueError, match="process_group must be None; give axis_name instead"):
        nn.SyncBatchNorm(3, process_group="gloo")


def test_trap_32_running_statistics_under_jit():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((6, 3)), jnp.float32)
    eager, right, passed, closed = (nn.BatchNorm1d(3) for _ in range(4))
    eager(x)
    _, rest = jax.jit(lambda x: padded_call(right, x))(x)
    nnx.update(right, rest)
    np.testing.assert_allclose(right.running_mean[...], eager.running_mean[...], rtol=1e-6)
    assert int(right.num_batches_tracked[...]) == 1
    # A module that goes through jax.jit as an argument is a copy: nothing raises, and the update is lost.
    jax.jit(lambda module, x: module(x))(passed, x)
    assert int(passed.num_batches_tracked[...]) == 0
    # One that is closed over is noticed.
    with pytest.raises(Exception, match="different trace level"):
        jax.jit(lambda x: closed(x))(x)


def test_a_count_beyond_32_bits_is_refused_and_others_are_int64():
    module = nn.BatchNorm1d(2)
    state = state_dict(module)
    assert state["num_batches_tracked"].dtype == np.int64
    load_state_dict(module, state | {"num_batches_tracked": np.asarray(2**31 - 1)})
    assert state_dict(module)["num_batches_tracked"] == 2**31 - 1
    if not jax.config.read("jax_enable_x64"):
        with pytest.raises(Exception, match="int64 values that int32 cannot hold"):
            load_state_dict(module, state | {"num_batches_tracked": np.asarray(2**31)})


@pytest.mark.parametrize("half", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("parameters", [None, jnp.float32])
def test_half_precision_is_computed_in_float32(half, parameters):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((6, 4, 5)) + 3.0, half)
    w = jnp.asarray(np.random.default_rng(1).standard_normal(4), half)
    b = jnp.ones(4, half)
    w, b = (a.astype(parameters or half) for a in (w, b))
    wide = [a.astype(jnp.float32) for a in (x, w, b)]
    for call in (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
        lambda x, w, b: F.instance_norm(x, None, None, w, b),
        lambda x, w, b: F.group_norm(x, 2, w, b),
        lambda x, w, b: F.layer_norm(x.swapaxes(1, 2), (4,), w, b),
        lambda x, w, b: F.rms_norm(x.swapaxes(1, 2), (4,), w),
    ):
        found = call(x, w, b)
        assert found.dtype == half
        assert (found == call(*wide).astype(half)).all()


X = jnp.ones((2, 4, 3))
ERRORS = [
    (lambda: F.layer_norm(X, (4,)), ValueError, r"must end in normalized_shape \(4,\), got shape \(2, 4, 3\)"),
    (lambda: F.layer_norm(X, 3), TypeError, "normalized_shape must be a sequence of integers, got 3"),
    (lambda: F.layer_norm(X, ()), ValueError, "normalized_shape must be an integer"),
    (lambda: F.layer_norm(X, (3,), jnp.ones((1, 3))), ValueError, r"weight must have shape \(3,\), got \(1, 3\)"),
    (lambda: F.layer_norm(X.astype(int), (3,)), TypeError, "input must be floating, got int"),
    (lambda: F.layer_norm(X, (3,), jnp.ones(3, jnp.bfloat16)), TypeError, "must all be float32 beside"),
    (lambda: F.group_norm(X, 3), ValueError, r"num_groups must divide the channels of \(2, 4, 3\), got 3"),
    (lambda: F.group_norm(X, 0), ValueError, "num_groups must be a positive integer, got 0"),
    (lambda: F.group_norm(jnp.ones(3), 1), ValueError, r"input must be \(N, C, \*\)"),
    (lambda: F.group_norm(jnp.ones((1, 2)), 2), ValueError, "more than one value per group"),
    (lambda: nn.GroupNorm(3, 4), ValueError, "num_groups must divide num_channels 4, got 3"),
    (lambda: nn.LayerNorm(()), ValueError, "normalized_shape must be an integer"),
    (lambda: F.batch_norm(X, None, None), ValueError, "running_mean and running_var must be arrays"),
    (lambda: F.batch_norm(X, jnp.ones(4), None, training=True), ValueError, "both arrays or both None"),
    (lambda: F.batch_norm(X, jnp.ones(3), jnp.ones(3)), ValueError, r"running_mean must have shape \(4,\), got \(3,\)"),
    (lambda: F.batch_norm(X[:1, :, :1], None, None, training=True), ValueError, "more than one value per channel"),
    (lambda: F.batch_norm(X, None, None, training=True, eps=0.0), ValueError, "eps must be positive"),
    (lambda: F.batch_norm(X, None, None, training=True, momentum=None), TypeError, "momentum must be a number"),
    (lambda: F.instance_norm(X[:, :, :1]), ValueError, "more than one spatial element"),
    (lambda: F.instance_norm(X, use_input_stats=False), ValueError, "must be arrays unless"),
    (lambda: F.local_response_norm(jnp.ones((2, 3)), 2), ValueError, "at least 3 dimensions"),
    (lambda: nn.LocalResponseNorm(0), ValueError, "size must be a positive integer, got 0"),
    (lambda: nn.CrossMapLRN2d(3)(X), ValueError, r"must be \(N, C, H, W\)"),
    (lambda: nn.BatchNorm1d(-1), ValueError, "num_features must be an integer >= 0, got -1"),
    (lambda: nn.BatchNorm1d(4)(jnp.ones(4)), ValueError, r"BatchNorm1d: input must have 2 or 3 dimensions"),
    (lambda: nn.BatchNorm2d(4)(X), ValueError, "BatchNorm2d: input must have 4 dimensions"),
    (lambda: nn.InstanceNorm1d(5)(X), ValueError, "num_features 5 channels on axis 1"),
    (lambda: nn.SyncBatchNorm(4)(jnp.ones(4)), ValueError, "at least 2 dimensions"),
    (lambda: nn.utils.weight_norm(nn.ReLU()), ValueError, "ReLU has no parameter 'weight'"),
    (lambda: nn.utils.remove_weight_norm(nn.ReLU()), ValueError, "'weight' of ReLU has no weight_norm"),
    (lambda: nn.utils.parametrizations.weight_norm(nn.ReLU()), ValueError, "ReLU has no parameter or buffer 'weight'"),
    (lambda: nn.utils.parametrize.remove_parametrizations(nn.ReLU(), "weight"), ValueError, "has no parametrisation"),
    (
        lambda: nn.utils.spectral_norm(nn.Linear(2, 3, rngs=0), n_power_iterations=0, rngs=0),
        ValueError,
        "n_power_iterations must be a positive integer, got 0",
    ),
    (lambda: nn.utils.fuse_linear_bn_eval(nn.Linear(2, 3, rngs=0), nn.BatchNorm1d(3)), ValueError, "evaluation mode"),
]


@pytest.mark.parametrize(("call", "error", "match"), ERRORS, ids=[match for *_, match in ERRORS])
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_parametrisations_come_and_go():
    layer = nn.Linear(3, 4, rngs=0)
    before, x = layer.weight[...], jnp.ones((2, 3))
    wanted = layer(x)
    for way in ("weight_norm", "parametrizations.weight_norm"):
        owner = nn.utils if "." not in way else nn.utils.parametrizations
        made = getattr(owner, way.split(".")[-1])(layer)
        assert made is layer
        np.testing.assert_allclose(layer(x), wanted, rtol=1e-6)
        assert layer.weight.shape == (4, 3)
        if "." in way:
            assert nn.utils.parametrize.is_parametrized(layer, "weight")
            layer.weight = 2.0 * before
            np.testing.assert_allclose(layer.weight[...], 2.0 * before, rtol=1e-6)
            layer.weight = before
            nn.utils.parametrize.remove_parametrizations(layer, "weight")
        else:
            nn.utils.remove_weight_norm(layer)
        assert type(layer) is nn.Linear
        assert list(state_dict(layer)) == ["bias", "weight"]
        np.testing.assert_allclose(layer.weight[...], before, rtol=1e-6)


def test_vectors_and_fusion():
    net = nn.Sequential(nn.Linear(3, 4, rngs=0), nn.BatchNorm1d(4))
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (24,)
    nn.utils.vector_to_parameters(vector + 1.0, net.parameters())
    np.testing.assert_array_equal(nn.utils.parameters_to_vector(net.parameters()), vector + 1.0)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((5, 3)), jnp.float32)
    net(x)
    net.eval()
    np.testing.assert_allclose(nn.utils.fuse_linear_bn_eval(net[0], net[1])(x), net(x), rtol=1e-4, atol=1e-5)
