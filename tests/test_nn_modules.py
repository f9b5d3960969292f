"""Modules as objects: order of names, modes, casting, containers, and life under JAX's and NNX's transformations."""

from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close
from flax import nnx

from jaxport import nn
from jaxport.nn import functional as F

pytestmark = pytest.mark.usefixtures("strict_jax")


class Net(nn.Module):
    """Members assigned in no alphabetical order, with a buffer, a bare parameter and a child under two names."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.zeta = nn.Linear(3, 4, rngs=rngs)
        self.scale = nn.Parameter(jnp.ones(4))
        self.body = nn.Sequential(nn.Linear(4, 4, bias=False, rngs=rngs), nn.ReLU(), nn.Dropout(0.5, rngs=rngs))
        self.count = nn.Buffer(jnp.zeros((), jnp.int32))
        self.mean = nn.Buffer(jnp.zeros(4))
        self.alpha = nn.Linear(4, 2, rngs=rngs)
        self.again = self.zeta
        self.tied = self.scale

    def forward(self, x: jax.Array) -> jax.Array:
        return self.alpha(self.body(self.zeta(x) * jnp.broadcast_to(self.scale[...], (x.shape[0], 4))))


PARAMETERS = ["scale", "zeta.weight", "zeta.bias", "body.0.weight", "alpha.weight", "alpha.bias"]
MODULES = ["", "zeta", "body", "body.0", "body.1", "body.2", "alpha"]


@pytest.fixture
def net() -> Net:
    return Net(nnx.Rngs(0))


@pytest.fixture
def x() -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32))


def names(pairs: Any) -> list[str]:
    return [name for name, _ in pairs]


def test_names_keep_the_order_of_assignment(net):
    assert names(net.named_parameters()) == PARAMETERS
    assert names(net.named_buffers()) == ["count", "mean"]
    assert names(net.named_modules()) == MODULES
    assert names(net.named_children()) == ["zeta", "body", "alpha", "again"]
    assert [type(m).__name__ for m in net.children()] == ["Linear", "Sequential", "Linear", "Linear"]
    assert len(list(net.modules())) == len(MODULES)
    assert [p.shape for p in net.parameters()] == [dict(net.named_parameters())[name].shape for name in PARAMETERS]


def test_prefix_and_duplicates(net):
    assert names(net.named_parameters("net")) == [f"net.{name}" for name in PARAMETERS]
    assert names(net.named_modules("net", remove_duplicate=False)) == [
        *(f"net.{name}".rstrip(".") for name in MODULES),
        "net.again",
    ]
    every = ["scale", "tied", *PARAMETERS[1:], "again.weight", "again.bias"]
    assert names(net.named_parameters(remove_duplicate=False)) == every


def test_order_survives_split_and_merge(net):
    graph, params, rest = nnx.split(net, nn.Parameter, ...)
    for merged in (nnx.merge(graph, params, rest), nnx.merge(graph, params, rest, copy=True), nnx.clone(net)):
        assert names(merged.named_parameters()) == PARAMETERS
        assert names(merged.named_modules()) == MODULES
        assert names(merged.named_buffers()) == ["count", "mean"]
        assert repr(merged) == repr(net)


def test_a_member_replaced_keeps_its_place_and_one_set_to_none_leaves(net):
    net.zeta = nn.Linear(3, 4, bias=False, rngs=nnx.Rngs(1))
    net.body = None
    assert names(net.named_children()) == ["zeta", "alpha", "again"]
    assert names(net.named_parameters())[:2] == ["scale", "zeta.weight"]


def test_forward_must_be_defined():
    with pytest.raises(NotImplementedError, match=r'Module has no "forward"'):
        nn.Module()(1)


def test_repr_of_nothing_and_of_extras():
    class Extra(nn.Module):
        def __init__(self) -> None:
            self.act = nn.ReLU()

        def extra_repr(self) -> str:
            return "a=1"

    assert repr(nn.Sequential()) == "Sequential()"
    assert repr(Extra()) == "Extra(\n  a=1\n  (act): ReLU()\n)"


# ------------------------------------------------------------------------------------------------ modes and casting


def test_train_and_eval_reach_every_module(net):
    assert all(module.training for module in net.modules())
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert net.train() is net
    assert all(module.training for module in net.modules())
    net.body.eval()
    assert [module.training for module in net.modules()] == [True, True, False, False, False, False, True]
    with pytest.raises(ValueError, match="mode must be True or False, got 'eval'"):
        net.train("eval")


def test_train_reaches_modules_of_flax(net):
    net.flax = nnx.Dropout(0.5, rngs=nnx.Rngs(0))
    net.list = nnx.List([nn.Dropout(0.1, rngs=0)])
    net.eval()
    assert net.flax.deterministic is True
    assert net.list[0].training is False
    net.train()
    assert net.flax.deterministic is False
    assert net.list[0].training is True


def test_mode_is_part_of_the_structure_not_of_the_state(net):
    train_graph, *state = nnx.split(net, nn.Parameter, ...)
    eval_graph = nnx.split(net.eval(), nn.Parameter, ...)[0]
    assert train_graph != eval_graph
    assert not nnx.merge(eval_graph, *state, copy=True).training


def test_to_casts_floats_only_and_in_place(net):
    parameter = net.zeta.weight
    assert net.to(jnp.bfloat16) is net
    assert net.zeta.weight is parameter
    assert {p.dtype for p in net.parameters()} == {jnp.dtype(jnp.bfloat16)}
    assert net.mean.dtype == jnp.bfloat16
    assert net.count.dtype == jnp.int32
    with pytest.raises(TypeError, match="dtype must be a floating dtype, got"):
        net.to(jnp.int32)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_layers_compute_in_the_dtype_of_their_parameters(dtype):
    x = jnp.ones((2, 3, 6, 5), dtype)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, dtype=dtype, rngs=0),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout2d(0.5, rngs=0),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5, rngs=0),
        nn.Linear(4, 2, dtype=dtype, rngs=0),
        nn.Sigmoid(),
    )
    assert net(x).dtype == dtype
    loss = F.cross_entropy(net(x), jnp.array([0, 1]), jnp.ones(2, dtype), label_smoothing=0.1)
    assert loss.dtype == dtype


# ---------------------------------------------------------------------------------------------- transformations


@pytest.fixture
def double() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.mark.usefixtures("double")
def test_jit_grad_and_vmap_give_the_same_numbers():
    net = Net(nnx.Rngs(0)).to(jnp.float64).eval()
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)))
    graph, params, rest = nnx.split(net, nn.Parameter, ...)

    def apply(params: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(graph, params, rest, copy=True)(x)

    plain = net(x)
    assert_close(jax.jit(apply)(params, x), plain)
    assert_close(nnx.jit(lambda net, x: net(x))(net, x), plain)
    assert_close(jax.vmap(lambda row: apply(params, row[None])[0])(x), plain)
    grads = jax.grad(lambda params: apply(params, x).sum())(params)
    jax.tree.map(assert_close, jax.jit(jax.grad(lambda params: apply(params, x).sum()))(params), grads)
    jax.tree.map(assert_close, nnx.grad(lambda net: net(x).sum())(net), grads)
    assert np.asarray(grads["alpha"]["bias"][...]).tolist() == [5.0, 5.0]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(2, 3, 3, padding=1, dtype=jnp.float64, rngs=0),
        lambda: nn.MaxPool2d(3, 2, 1),
        lambda: nn.AdaptiveMaxPool2d((2, 3)),
        lambda: nn.AdaptiveMaxPool2d(1),
    ],
)
def test_image_layers_under_vmap_and_on_single_images(make):
    layer = make()
    x = jnp.asarray(np.random.default_rng(1).normal(size=(4, 2, 7, 5)))
    batch = layer(x)
    for found in (jax.vmap(layer)(x), jax.jit(jax.vmap(layer))(x), jnp.stack([layer(image) for image in x])):
        assert_close(found, batch)
    assert_close(jax.vmap(jax.vmap(layer))(x[None])[0], batch)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("channels", [2, 12])
def test_convolution_under_vmap_of_weights_and_of_gradients(channels):
    rng = np.random.default_rng(2)
    shapes = [(3, 2, channels, 5, 6), (3, 4, channels, 3, 2), (3, 4)]
    x, w, b = (jnp.asarray(rng.normal(size=shape)) for shape in shapes)

    def loss(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        return (F.conv2d(x, w, b, 2, 1) ** 2).sum()

    cotangent = jnp.asarray(rng.normal(size=(2, 4, 3, 4)))

    def linear_loss(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
        return (F.conv2d(x, w, b, 2, 1) * cotangent).sum()  # its cotangent is the same for every mapped array

    gradient = jax.jit(lambda *a: (*jax.grad(loss, (0, 1, 2))(*a), *jax.grad(linear_loss, (0, 1))(*a)))
    for axes in [(0, 0, 0), (0, None, None), (None, 0, 0), (None, 0, None)]:
        given = [array if axis == 0 else array[0] for array, axis in zip((x, w, b), axes, strict=True)]
        mapped = jax.vmap(gradient, axes)(*given)
        looped = [
            gradient(*(a[i if axis == 0 else 0] for a, axis in zip((x, w, b), axes, strict=True))) for i in range(3)
        ]
        for index, found in enumerate(mapped):
            assert_close(found, jnp.stack([one[index] for one in looped]))


def test_buffers_updated_in_forward_survive_jit():
    class Counter(nn.Module):
        def __init__(self) -> None:
            self.calls = nn.Buffer(jnp.zeros((), jnp.int32))

        def forward(self, x: jax.Array) -> jax.Array:
            self.calls[...] = self.calls[...] + 1
            return x

    counter = Counter()
    counter(jnp.ones(2))
    nnx.jit(lambda module, x: module(x))(counter, jnp.ones(2))
    assert int(counter.calls[...]) == 2


# ------------------------------------------------------------------------------------------------------ containers


def chain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4, rngs=0), nn.ReLU(), nn.Linear(4, 2, rngs=1))


def test_sequential_applies_in_order(x):
    net = chain()
    np.testing.assert_array_equal(np.asarray(net(x)), np.asarray(net[2](net[1](net[0](x)))))
    assert nn.Sequential()(x) is x


def test_sequential_spellings():
    a, b = nn.ReLU(), nn.Sigmoid()
    named = nn.Sequential()
    named.add_module("first", a)
    named.add_module("second", b)
    assert names(nn.Sequential(OrderedDict(first=a, second=b)).named_children()) == ["first", "second"]
    assert names(named.named_children()) == ["first", "second"]
    assert names(nn.Sequential(a, b).named_children()) == ["0", "1"]
    assert list(named) == [a, b]
    assert named.first is a


def test_sequential_indexing_and_append():
    net = chain()
    assert net[0] is next(iter(net))
    assert net[-1] is net[2]
    assert names(net[1:].named_children()) == ["1", "2"]
    assert net[1:][0] is net[1]
    assert names(net[::2].named_children()) == ["0", "2"]
    assert len(net[5:]) == 0
    assert net.append(nn.Sigmoid()) is net
    assert len(net) == 4
    assert names(net.named_children()) == ["0", "1", "2", "3"]
    for index in (4, -5):
        with pytest.raises(IndexError, match=rf"index must lie in \[-4, 3\], got {index}"):
            net[index]


@pytest.mark.parametrize(
    ("name", "module", "error", "match"),
    [
        ("relu", jnp.tanh, TypeError, r"module 'relu' must be a jaxport.nn.Module, got"),
        ("relu", None, TypeError, r"must be a jaxport.nn.Module, got NoneType"),
        ("dense", nnx.Linear(2, 2, rngs=nnx.Rngs(0)), TypeError, r"must be a jaxport.nn.Module, got Linear"),
        (3, nn.ReLU(), TypeError, r"name must be a string, got 3"),
        ("", nn.ReLU(), KeyError, r"name must be non-empty and without dots, got ''"),
        ("a.b", nn.ReLU(), KeyError, r"name must be non-empty and without dots, got 'a.b'"),
        ("forward", nn.ReLU(), KeyError, r"'forward' is an attribute of Sequential already"),
        ("training", nn.ReLU(), KeyError, r"'training' is an attribute"),
    ],
)
def test_sequential_refuses(name, module, error, match):
    net = nn.Sequential()
    with pytest.raises(error, match=match):
        net.add_module(name, module)
    assert len(net) == 0


# ----------------------------------------------------------------------------------------------- bad arguments

IMAGE = jnp.zeros((2, 4, 7, 5))
WEIGHT = jnp.zeros((6, 2, 3, 3))
ROWS = jnp.zeros((5, 3))
LABELS = jnp.zeros(5, jnp.int32)
HALF = jnp.zeros((5, 3), jnp.float16)
ERRORS: list[tuple[str, Any, type[Exception], str]] = [
    ("linear sizes", lambda: F.linear(ROWS, jnp.zeros((4, 2))), ValueError, r"linear: input \(5, 3\) must end in"),
    ("linear scalar", lambda: F.linear(jnp.zeros(()), jnp.zeros((4, 2))), ValueError, r"linear: input \(\)"),
    ("linear dtypes", lambda: F.linear(HALF, jnp.zeros((4, 3))), TypeError, r"linear: .*input float16, weight float32"),
    (
        "Linear size",
        lambda: nn.Linear(0, 3, rngs=0),
        ValueError,
        r"Linear: in_features must be a positive integer, got 0",
    ),
    ("Linear type", lambda: nn.Linear(2, 3.0, rngs=0), ValueError, r"out_features must be a positive integer, got 3.0"),
    (
        "Linear bool",
        lambda: nn.Linear(True, 3, rngs=0),
        ValueError,
        r"in_features must be a positive integer, got True",
    ),
    (
        "Linear rngs",
        lambda: nn.Linear(2, 3, rngs=None),
        TypeError,
        r"Linear: rngs must be a flax.nnx.Rngs or an integer",
    ),
    ("Linear no rngs", lambda: nn.Linear(2, 3), TypeError, r"rngs"),
    ("flatten start", lambda: nn.Flatten(5)(ROWS), ValueError, r"flatten: start_dim must lie in \[-2, 1\].*got 5"),
    ("flatten end", lambda: nn.Flatten(0, -3)(ROWS), ValueError, r"flatten: end_dim must lie in \[-2, 1\].*got -3"),
    ("flatten order", lambda: nn.Flatten(1, 0)(ROWS), ValueError, r"start_dim 1 comes after end_dim 0"),
    ("conv input", lambda: F.conv2d(ROWS, WEIGHT), ValueError, r"conv2d: input must be \(N, C, H, W\) or"),
    ("conv weight", lambda: F.conv2d(IMAGE, ROWS), ValueError, r"conv2d: input must be .* weight \(out"),
    ("conv channels", lambda: F.conv2d(IMAGE, WEIGHT), ValueError, r"has 4 channels, but weight .* takes 2"),
    ("conv groups", lambda: F.conv2d(IMAGE, WEIGHT[:5], groups=2), ValueError, r"groups must divide the 5 output"),
    (
        "conv groups 0",
        lambda: F.conv2d(IMAGE, WEIGHT, groups=0),
        ValueError,
        r"groups must be a positive integer, got 0",
    ),
    ("conv bias", lambda: F.conv2d(IMAGE, WEIGHT, jnp.zeros(5), groups=2), ValueError, r"bias must have shape \(6,\)"),
    ("conv stride", lambda: F.conv2d(IMAGE, WEIGHT, None, 0, groups=2), ValueError, r"stride must be an integer >= 1"),
    ("conv padding", lambda: F.conv2d(IMAGE, WEIGHT, None, 1, -1, groups=2), ValueError, r"padding must be .* got -1"),
    ("conv padding name", lambda: nn.Conv2d(4, 6, 3, padding="full", rngs=0), ValueError, r"padding must be .*'full'"),
    ("conv same", lambda: nn.Conv2d(4, 6, 3, 2, "same", rngs=0), ValueError, r"padding='same' needs stride 1"),
    (
        "conv dilation",
        lambda: nn.Conv2d(4, 6, 3, dilation=(1, 2, 3), rngs=0),
        ValueError,
        r"dilation must be an integer",
    ),
    ("conv kernel", lambda: nn.Conv2d(4, 6, (3, 0), rngs=0), ValueError, r"kernel_size must be an integer >= 1"),
    (
        "conv small",
        lambda: F.conv2d(IMAGE, WEIGHT, None, 1, 0, 3, 2),
        ValueError,
        r"smaller than the kernel's extent 7",
    ),
    ("conv dtype", lambda: F.conv2d(IMAGE.astype(jnp.float16), WEIGHT, groups=2), TypeError, r"conv2d: .*one dtype"),
    ("Conv2d in", lambda: nn.Conv2d(4, 6, 3, groups=3, rngs=0), ValueError, r"groups must divide in_channels=4, got 3"),
    ("Conv2d out", lambda: nn.Conv2d(4, 6, 3, groups=4, rngs=0), ValueError, r"groups must divide out_channels=6"),
    (
        "Conv2d mode",
        lambda: nn.Conv2d(4, 6, 3, padding_mode="same", rngs=0),
        ValueError,
        r"padding_mode must be one of",
    ),
    ("pool input", lambda: F.max_pool2d(ROWS, 2), ValueError, r"max_pool2d: input must be \(N, C, H, W\)"),
    ("pool kernel", lambda: F.max_pool2d(IMAGE, 0), ValueError, r"kernel_size must be an integer >= 1"),
    ("pool stride", lambda: F.max_pool2d(IMAGE, 2, 0), ValueError, r"stride must be an integer >= 1"),
    ("pool padding", lambda: F.max_pool2d(IMAGE, 3, 1, 2), ValueError, r"padding must be at most half .*\(3, 3\)"),
    ("pool small", lambda: F.max_pool2d(IMAGE, 6), ValueError, r"too small for kernel_size \(6, 6\)"),
    ("adaptive input", lambda: F.adaptive_max_pool2d(ROWS, 2), ValueError, r"adaptive_max_pool2d: input must be"),
    ("adaptive size", lambda: F.adaptive_max_pool2d(IMAGE, (2, -1)), ValueError, r"output_size must be"),
    ("dropout p", lambda: nn.Dropout(1.5, rngs=0), ValueError, r"Dropout: p must be a probability .* got 1.5"),
    ("dropout2d p", lambda: nn.Dropout2d(-0.1, rngs=0), ValueError, r"Dropout2d: p must be a probability"),
    ("dropout nan", lambda: F.dropout(ROWS, float("nan")), ValueError, r"dropout: p must be a probability .* got nan"),
    ("dropout bool", lambda: F.dropout(ROWS, True), ValueError, r"p must be a probability .* got True"),
    ("dropout key", lambda: F.dropout(ROWS), ValueError, r"dropout: key must be a JAX PRNG key .* got None"),
    ("dropout2d input", lambda: F.dropout2d(ROWS), ValueError, r"dropout2d: input must be \(N, C, H, W\)"),
    ("dropout rngs", lambda: nn.Dropout(rngs="0"), TypeError, r"Dropout: rngs must be"),
    ("mse shapes", lambda: F.mse_loss(ROWS, ROWS[:, :1]), ValueError, r"target must have the shape of input, \(5, 3\)"),
    ("mse dtypes", lambda: F.mse_loss(ROWS, HALF), TypeError, r"mse_loss: .*input float32, target float16"),
    ("mse weight", lambda: F.mse_loss(ROWS, ROWS, weight=ROWS[0]), ValueError, r"shape of input, \(5, 3\), got \(3,\)"),
    ("mse reduction", lambda: F.mse_loss(ROWS, ROWS, "avg"), ValueError, r"reduction must be .* got 'avg'"),
    ("MSELoss reduction", lambda: nn.MSELoss("avg"), ValueError, r"MSELoss: reduction must be .* got 'avg'"),
    (
        "bce shapes",
        lambda: F.binary_cross_entropy(ROWS, ROWS[:4]),
        ValueError,
        r"binary_cross_entropy: target must have",
    ),
    ("bce dtypes", lambda: F.binary_cross_entropy(ROWS, HALF), TypeError, r"binary_cross_entropy: .*one dtype"),
    ("BCELoss reduction", lambda: nn.BCELoss(reduction=None), ValueError, r"BCELoss: reduction must be"),
    ("nll shape", lambda: F.nll_loss(ROWS, LABELS[:4]), ValueError, r"integer classes of shape \(5,\) .* int32 \(4,\)"),
    ("nll dtype", lambda: F.nll_loss(ROWS, ROWS[:, 0]), ValueError, r"must be integer classes .* got float32 \(5,\)"),
    ("nll weight", lambda: F.nll_loss(ROWS, LABELS, jnp.ones(4)), ValueError, r"one entry for each of the 3 classes"),
    ("nll scalar", lambda: F.nll_loss(jnp.zeros(()), LABELS), ValueError, r"nll_loss: input must be \(C,\)"),
    ("NLLLoss reduction", lambda: nn.NLLLoss(reduction=""), ValueError, r"NLLLoss: reduction must be"),
    (
        "ce smoothing",
        lambda: F.cross_entropy(ROWS, LABELS, label_smoothing=1.1),
        ValueError,
        r"label_smoothing must be",
    ),
    (
        "ce soft shape",
        lambda: F.cross_entropy(ROWS, ROWS[:4]),
        ValueError,
        r"cross_entropy: target must have the shape",
    ),
    ("ce labels", lambda: F.cross_entropy(ROWS, LABELS[:4]), ValueError, r"must be integer classes of shape \(5,\)"),
    (
        "ce weight",
        lambda: F.cross_entropy(ROWS, LABELS, jnp.ones(2)),
        ValueError,
        r"cross_entropy: weight must have one",
    ),
    ("ce scalar", lambda: F.cross_entropy(jnp.zeros(()), LABELS), ValueError, r"cross_entropy: input must be \(C,\)"),
    ("CE smoothing", lambda: nn.CrossEntropyLoss(label_smoothing=-1), ValueError, r"CrossEntropyLoss: label_smoothing"),
    ("where", lambda: F.mse_loss(ROWS, ROWS, where=jnp.ones(4, bool)), ValueError, r"where must have shape \(5,\) or"),
    ("gain", lambda: nn.init.calculate_gain("gelu"), ValueError, r"nonlinearity must be one of linear, .*got 'gelu'"),
    ("slope", lambda: nn.init.calculate_gain("leaky_relu", "x"), ValueError, r"param must be the negative slope"),
    ("fans", lambda: nn.init.fan_in_and_fan_out((3,)), ValueError, r"at least 2 dimensions, got shape \(3,\)"),
]


@pytest.mark.parametrize(("call", "error", "match"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS])
def test_bad_arguments(call, error, match):
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize("label", [-1, 3, 99])
def test_a_class_that_does_not_exist_is_refused_and_gives_nan_where_it_is_traced(label):
    target = LABELS.at[1].set(label)
    for loss in (F.nll_loss, F.cross_entropy):
        with pytest.raises(IndexError, match=rf"target must lie in \[0, 2\], got {label}"):
            loss(ROWS, target)
        values = np.asarray(jax.jit(partial(loss, reduction="none"))(ROWS, target))
        assert np.isnan(values).tolist() == [False, True, False, False, False]
        assert np.isnan(jax.jit(loss)(ROWS, target))
    smoothed = partial(F.cross_entropy, reduction="none", label_smoothing=0.1)
    smooth = jax.jit(smoothed)(ROWS, target, jnp.ones(3))
    assert np.isnan(np.asarray(smooth)).tolist() == [False, True, False, False, False]


def test_probabilities_outside_the_unit_interval_are_refused_and_give_nan_where_they_are_traced():
    arrays = jnp.array([-0.1, 0.5, 1.1]), jnp.array([0.5, 0.5, 0.5])
    with pytest.raises(ValueError, match=r"input must lie in \[0, 1\], got -0.1"):
        F.binary_cross_entropy(*arrays)
    values = jax.jit(partial(F.binary_cross_entropy, reduction="none"))(*arrays)
    assert np.isnan(np.asarray(values)).tolist() == [True, False, True]


def test_the_user_s_choice_of_precision_is_respected():
    from jaxport.nn.precision import product_precision

    assert product_precision() == jax.lax.Precision.HIGHEST
    with jax.default_matmul_precision("tensorfloat32"):
        assert product_precision() is None
    text = str(jax.make_jaxpr(F.linear)(ROWS, jnp.zeros((2, 3))))
    assert "HIGHEST" in text
