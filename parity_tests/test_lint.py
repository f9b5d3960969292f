"""The linter: every setting that differs is named, and nothing is where none does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as fl
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx
from torch import nn
from torch.nn import functional

from jaxport.parity.align import align
from jaxport.parity.describe_jax import describe_jax
from jaxport.parity.describe_torch import describe_torch
from jaxport.parity.foreign import Linen
from jaxport.parity.layer import Layer, Pair
from jaxport.parity.lint import Calls, lint, trace_calls

RNGS = nnx.Rngs(0)


@pytest.fixture(autouse=True)
def usual_promotion(strict_jax: None) -> Iterator[None]:
    """Flax's own pooling and mixed precision need JAX's usual promotion."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def rules_of(ours: nnx.Module, theirs: nn.Module, level: str = "warning") -> list[str]:
    mine, other = describe_jax(ours), describe_torch(theirs)
    return [finding.rule for finding in lint(mine, other, [Pair("", "", "path")]) if finding.level == level]


def norm(**settings: Any) -> nnx.BatchNorm:
    return nnx.BatchNorm(4, **({"momentum": 0.9, "use_fast_variance": False} | settings), rngs=RNGS)


def conv(**settings: Any) -> nnx.Conv:
    return nnx.Conv(3, 4, (3, 3), **({"padding": 1} | settings), rngs=RNGS)


def up(**settings: Any) -> nnx.ConvTranspose:
    return nnx.ConvTranspose(3, 4, (3, 3), **({"strides": (2, 2)} | settings), rngs=RNGS)


def heads(n: int) -> nnx.MultiHeadAttention:
    return nnx.MultiHeadAttention(n, 6, decode=False, deterministic=True, rngs=RNGS)


BN = ["lint/running-variance"]
PAIRS: list[tuple[str, nnx.Module, nn.Module, list[str]]] = [
    ("bn as PyTorch's", norm(), nn.BatchNorm2d(4), BN),
    ("bn default momentum", norm(momentum=0.99), nn.BatchNorm2d(4), ["lint/momentum", *BN]),
    ("bn swapped momentum", norm(momentum=0.1), nn.BatchNorm2d(4), ["lint/momentum", *BN]),
    ("bn cumulative", norm(), nn.BatchNorm2d(4, momentum=None), ["lint/momentum-none", *BN]),
    ("bn eps", norm(epsilon=1e-3), nn.BatchNorm2d(4), ["lint/eps", *BN]),
    ("bn without scale", norm(use_scale=False), nn.BatchNorm2d(4), ["lint/affine", *BN]),
    ("bn bare on both sides", norm(use_scale=False, use_bias=False), nn.BatchNorm2d(4, affine=False), BN),
    ("ln default eps", nnx.LayerNorm(4, rngs=RNGS), nn.LayerNorm(4), ["lint/eps"]),
    ("ln right eps", nnx.LayerNorm(4, epsilon=1e-5, rngs=RNGS), nn.LayerNorm(4), []),
    ("gn groups", nnx.GroupNorm(4, num_groups=2, epsilon=1e-5, rngs=RNGS), nn.GroupNorm(4, 4), ["lint/groups"]),
    ("linear", nnx.Linear(3, 4, rngs=RNGS), nn.Linear(3, 4), []),
    ("linear without bias", nnx.Linear(3, 4, use_bias=False, rngs=RNGS), nn.Linear(3, 4), ["lint/bias"]),
    ("linear in bfloat16", nnx.Linear(3, 4, dtype=jnp.bfloat16, rngs=RNGS), nn.Linear(3, 4), ["lint/dtype"]),
    ("linear of low precision", nnx.Linear(3, 4, precision="default", rngs=RNGS), nn.Linear(3, 4), ["lint/precision"]),
    ("linear of high precision", nnx.Linear(3, 4, precision="highest", rngs=RNGS), nn.Linear(3, 4), []),
    ("conv", conv(), nn.Conv2d(3, 4, 3, padding=1), []),
    ("conv SAME at stride 1", conv(padding="SAME"), nn.Conv2d(3, 4, 3, padding=1), []),
    ("conv SAME against same", conv(padding="SAME"), nn.Conv2d(3, 4, 3, padding="same"), []),
    ("conv SAME against none", conv(padding="SAME"), nn.Conv2d(3, 4, 3), ["lint/padding"]),
    ("conv SAME at stride 2", conv(padding="SAME", strides=2), nn.Conv2d(3, 4, 3, 2, 1), ["lint/padding"]),
    ("conv pairs at stride 2", conv(padding=((1, 1), (1, 1)), strides=2), nn.Conv2d(3, 4, 3, 2, 1), []),
    ("conv VALID", conv(padding="VALID"), nn.Conv2d(3, 4, 3), []),
    ("conv reflected", conv(), nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), ["lint/padding"]),
    ("conv stride", conv(), nn.Conv2d(3, 4, 3, 2, 1), ["lint/stride"]),
    ("conv dilation", conv(padding=2), nn.Conv2d(3, 4, 3, padding=2, dilation=2), ["lint/dilation"]),
    ("conv kernel", conv(), nn.Conv2d(3, 4, 5, padding=1), ["lint/shape"]),
    ("conv1d", nnx.Conv(3, 4, (3,), padding="VALID", rngs=RNGS), nn.Conv1d(3, 4, 3), []),
    (
        "conv groups",
        nnx.Conv(4, 4, (3, 3), feature_group_count=2, rngs=RNGS),
        nn.Conv2d(4, 4, 3, padding=1),
        ["lint/groups"],
    ),
    ("transposed SAME", up(), nn.ConvTranspose2d(3, 4, 3, 2, 1), ["lint/transposed-convolution"]),
    ("transposed as PyTorch's", up(padding=((1, 1), (1, 1))), nn.ConvTranspose2d(3, 4, 3, 2, 1), []),
    ("transposed VALID", up(padding="VALID"), nn.ConvTranspose2d(3, 4, 3, 2), []),
    (
        "transposed SAME of one pixel",
        nnx.ConvTranspose(3, 4, (1, 1), (3, 3), rngs=RNGS),
        nn.ConvTranspose2d(3, 4, 1, 3, output_padding=2),
        [],
    ),
    ("transposed stride", up(strides=None), nn.ConvTranspose2d(3, 4, 3, 2, 1), ["lint/stride"]),
    ("padding_idx", nnx.Embed(5, 4, rngs=RNGS), nn.Embedding(5, 4, padding_idx=0), ["lint/padding-idx"]),
    ("max_norm", nnx.Embed(5, 4, rngs=RNGS), nn.Embedding(5, 4, max_norm=1.0), ["lint/max-norm"]),
    ("short table", nnx.Embed(4, 4, rngs=RNGS), nn.Embedding(5, 4), ["lint/index"]),
    ("heads", heads(3), nn.MultiheadAttention(6, 2, batch_first=True), ["lint/num-heads"]),
    ("batch_first", heads(2), nn.MultiheadAttention(6, 2), ["lint/batch-first"]),
    ("rnn time", nnx.RNN(nnx.LSTMCell(3, 4, rngs=RNGS)), nn.LSTM(3, 4), ["lint/batch-first"]),
    (
        "rnn both ways",
        nnx.RNN(nnx.LSTMCell(3, 4, rngs=RNGS)),
        nn.LSTM(3, 4, batch_first=True, bidirectional=True),
        ["lint/bidirectional"],
    ),
    ("gru", nnx.RNN(nnx.GRUCell(3, 4, rngs=RNGS)), nn.GRU(3, 4, batch_first=True), ["lint/gru-bias"]),
    ("dropout rate", nnx.Dropout(0.3, rngs=RNGS), nn.Dropout(0.3), []),
    ("dropout keeps", nnx.Dropout(0.7, rngs=RNGS), nn.Dropout(0.3), ["lint/dropout"]),
]


@pytest.mark.parametrize(("ours", "theirs", "rules"), [row[1:] for row in PAIRS], ids=[row[0] for row in PAIRS])
def test_trap_settings_that_differ_are_named(ours: nnx.Module, theirs: nn.Module, rules: list[str]) -> None:
    assert rules_of(ours, theirs) == rules


def test_a_finding_has_both_values_paths_and_the_fix() -> None:
    class Net(nnx.Module):
        def __init__(self) -> None:
            self.bn = norm(momentum=0.1)

    mine, other = describe_jax(Net()), describe_torch(nn.Sequential(nn.BatchNorm2d(4)))
    found = lint(mine, other, [Pair("bn", "0", "class and shape")])
    first = next(finding for finding in found if finding.rule == "lint/momentum")
    assert (first.jax_path, first.torch_path, first.trap) == ("bn", "0", 2)
    assert "0.1 in JAX" in first.message
    assert first.fix == "BatchNorm(…, momentum=0.9, epsilon=1e-05)"


def test_what_may_matter_is_told_as_information() -> None:
    lstm = nnx.RNN(nnx.LSTMCell(3, 4, rngs=RNGS))
    assert rules_of(lstm, nn.LSTM(3, 4, batch_first=True), "info") == ["lint/rnn-bias"]
    assert "lint/fast-variance" in rules_of(nnx.BatchNorm(4, rngs=RNGS), nn.BatchNorm2d(4), "info")
    assert rules_of(nnx.Linear(3, 4, rngs=RNGS), nn.Linear(3, 4), "info") == ["lint/initialisation"]
    assert "lint/x64" in rules_of(nnx.Linear(3, 4, rngs=RNGS), nn.Linear(3, 4).double(), "info")
    pair = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    assert rules_of(conv(), pair, "info") == ["lint/bias-before-norm", "lint/flatten-order"]


def test_activations_are_read_from_settings() -> None:
    ours, theirs = Layer("act", "equinox.nn.LeakyReLU", {"negative_slope": 0.2}), nn.Sequential(nn.LeakyReLU())
    found = lint({"act": ours}, describe_torch(theirs), [Pair("act", "0", "map")])
    assert [finding.rule for finding in found] == ["lint/slope"]


def test_modes_that_differ_within_a_model_are_named() -> None:
    class Net(nnx.Module):
        def __init__(self) -> None:
            self.bn, self.more, self.other = norm(), norm(), norm(use_running_average=True)

    found = lint(describe_jax(Net()), {}, [])
    assert [(finding.rule, finding.jax_path) for finding in found] == [("lint/train-mode", "other")]


def test_low_precision_of_the_whole_program_is_named() -> None:
    with jax.default_matmul_precision("bfloat16"):
        assert [finding.rule for finding in lint({}, {}, [])] == ["lint/precision"]
    with jax.default_matmul_precision("highest"):
        assert lint({}, {}, []) == []


class Block(fl.Module):
    @fl.compact
    def __call__(self, x: Any) -> Any:
        return fl.LayerNorm()(fl.Dense(5, dtype=jnp.bfloat16)(x))


def test_linen_is_read_too() -> None:
    x = np.zeros((2, 3), np.float32)
    model = Linen(Block(), Block().init(jax.random.key(0), x))
    theirs = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5))
    mine, other = describe_jax(model, [x]), describe_torch(theirs)
    found = lint(mine, other, align(mine, other, None).pairs)
    assert {"lint/eps", "lint/dtype"} <= {finding.rule for finding in found}


X = np.random.default_rng(0).normal(size=(2, 3, 6, 8)).astype(np.float32)
LOSS = (X[:, :, 0, 0], np.array([0, 2]))


def last(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: function(jnp.moveaxis(x, 1, -1))


def jax_resize(method: str, **more: Any) -> Callable[..., Any]:
    return lambda x: jax.image.resize(x, (2, 3, 3, 4), method, **more)


def torch_resize(**more: Any) -> Callable[..., Any]:
    return lambda x: functional.interpolate(x, (3, 4), **more)


def jax_conv(x: Any, padding: Any) -> Any:
    return jax.lax.conv_general_dilated(x, jnp.ones((4, 3, 3, 3)), (2, 2), padding)


def torch_conv(x: Any) -> Any:
    return functional.conv2d(x, torch.ones(4, 3, 3, 3), None, 2, 1)


def pool(name: str, *args: Any, **more: Any) -> Callable[..., Any]:
    return last(lambda x: getattr(nnx, name)(x, *args, **more))


ONE = ((1, 1), (1, 1))
CALLS: list[tuple[str, Callable[..., Any], Callable[..., Any], list[str]]] = [
    ("gelu", jax.nn.gelu, functional.gelu, ["lint/gelu"]),
    ("gelu right", lambda x: jax.nn.gelu(x, approximate=False), functional.gelu, []),
    ("gelu tanh", jax.nn.gelu, lambda x: functional.gelu(x, approximate="tanh"), []),
    (
        "gelu erf for tanh",
        lambda x: jax.nn.gelu(x, approximate=False),
        nn.Sequential(nn.GELU(approximate="tanh")),
        ["lint/gelu"],
    ),
    ("nearest", jax_resize("nearest"), torch_resize(), ["lint/resize"]),
    ("nearest-exact", jax_resize("nearest"), torch_resize(mode="nearest-exact"), []),
    ("bilinear", jax_resize("linear"), torch_resize(mode="bilinear"), ["lint/resize"]),
    ("bilinear right", jax_resize("linear", antialias=False), torch_resize(mode="bilinear"), []),
    ("align", jax_resize("linear"), torch_resize(mode="bilinear", align_corners=True), ["lint/resize"]),
    ("bicubic", jax_resize("cubic"), torch_resize(mode="bicubic"), ["lint/resize"]),
    ("std", lambda x: x.std(1), lambda x: x.std(1), ["lint/ddof"]),
    ("std right", lambda x: x.std(1, ddof=1), lambda x: x.std(1), []),
    ("std biased", lambda x: x.std(1), lambda x: x.std(1, correction=0), []),
    ("median", lambda x: jnp.median(x, 1), lambda x: x.median(1), ["lint/median"]),
    ("max", lambda x: x.max(1), lambda x: x.max(1), ["lint/tied-maximum"]),
    ("softmax", lambda x: jax.nn.softmax(x, 1), lambda x: x.softmax(1), []),
    ("relu", lambda x: jnp.maximum(x, 0.0), functional.relu, ["lint/kink"]),
    ("relu right", jax.nn.relu, functional.relu, []),
    ("clip", lambda x: jnp.clip(x, -1, 1), lambda x: x.clamp(-1, 1), ["lint/kink"]),
    ("average", pool("avg_pool", (2, 2), (2, 2)), lambda x: functional.avg_pool2d(x, 2), []),
    ("average at stride 1", pool("avg_pool", (2, 2)), lambda x: functional.avg_pool2d(x, 2), ["lint/pooling"]),
    ("average padded", pool("avg_pool", (3, 3), (2, 2), ONE), lambda x: functional.avg_pool2d(x, 3, 2, 1), []),
    (
        "average counts",
        pool("avg_pool", (3, 3), (2, 2), ONE, count_include_pad=False),
        lambda x: functional.avg_pool2d(x, 3, 2, 1),
        ["lint/pooling"],
    ),
    ("max pool", pool("max_pool", (3, 3), (2, 2), ONE), nn.MaxPool2d(3, 2, 1), []),
    ("max pool SAME", pool("max_pool", (3, 3), (2, 2), "SAME"), nn.MaxPool2d(3, 2, 1), ["lint/pooling"]),
    ("ceil", pool("max_pool", (2, 2), (2, 2)), nn.MaxPool2d(2, ceil_mode=True), ["lint/pooling"]),
    ("conv", lambda x: jax_conv(x, ONE), torch_conv, []),
    ("conv SAME", lambda x: jax_conv(x, "SAME"), torch_conv, ["lint/padding"]),
    ("bfloat16", lambda x: x.astype("bfloat16") @ jnp.ones((8, 2), "bfloat16"), lambda x: x * 1.0, ["lint/dtype"]),
    (
        "dropout",
        lambda x: x * jax.random.bernoulli(jax.random.key(0), 0.5, x.shape).astype(x.dtype),
        lambda x: functional.dropout(x, 0.5, training=False),
        ["lint/dropout"],
    ),
]


@pytest.mark.parametrize(("ours", "theirs", "rules"), [row[1:] for row in CALLS], ids=[row[0] for row in CALLS])
def test_trap_functions_that_differ_are_named(ours: Any, theirs: Any, rules: list[str]) -> None:
    found = lint({}, {}, [], trace_calls(theirs, [X], ours))
    assert [finding.rule for finding in found] == rules


IDS = np.array([[1, 2, 0]])
PAIRS_OF_CALLS: list[tuple[str, tuple[Any, ...], Callable[..., Any], Callable[..., Any], list[str]]] = [
    ("index", (IDS,), lambda i: jnp.take(jnp.ones((3, 4)), i, axis=0), nn.Embedding(3, 4), ["lint/index"]),
    ("width", (IDS,), lambda i: i.astype("int32") * 7919, lambda i: i * 7919, ["lint/integer-width"]),
    (
        "cross-entropy",
        LOSS,
        lambda x, y: optax.softmax_cross_entropy_with_integer_labels(x, y).mean(),
        nn.CrossEntropyLoss(torch.ones(3)),
        ["lint/cross-entropy"],
    ),
    ("half", (X, X), lambda x, y: optax.l2_loss(x, y).mean(), nn.MSELoss(), ["lint/half-square"]),
    ("no half", (X, X), lambda x, y: jnp.square(x - y).mean(), nn.MSELoss(), []),
    (
        "clamp",
        (np.abs(X) / 9, np.abs(X) / 9),
        lambda p, y: -(y * jnp.log(p) + (1 - y) * jnp.log(1 - p)).mean(),
        nn.BCELoss(),
        ["lint/log-clamp"],
    ),
    ("beta", (X, X), lambda x, y: optax.huber_loss(x, y).mean(), nn.SmoothL1Loss(beta=0.3), ["lint/loss-reduction"]),
]


@pytest.mark.parametrize(("inputs", "ours", "theirs", "rules"), [row[1:] for row in PAIRS_OF_CALLS])
def test_trap_functions_of_several_inputs(inputs: Any, ours: Any, theirs: Any, rules: list[str]) -> None:
    found = lint({}, {}, [], trace_calls(theirs, inputs, ours))
    assert set(rules) == {finding.rule for finding in found if finding.rule != "lint/index"} or rules == ["lint/index"]
    assert set(rules) <= {finding.rule for finding in found}


def test_calls_tell_the_module_that_was_running() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(8, 5), nn.GELU()), nn.ReLU())
    calls = trace_calls(model, [X])
    assert [(call.name, call.path) for call in calls.torch] == [("linear", "0.0"), ("gelu", "0.1"), ("relu", "1")]
    assert calls.jax == ()
    assert trace_calls() == Calls()
    assert not any(part._forward_hooks for part in model.modules())
