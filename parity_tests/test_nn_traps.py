"""The suite can fail: each known difference between JAX and PyTorch is planted as a mistake and must be reported."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import test_nn_layers as layers
import test_nn_losses as losses
from cases import Case, case_findings, findings32, findings64
from jax import lax

import jaxport.nn.functional as F

Wrong = Callable[..., Any]


def case(table: list[Case], id: str) -> Case:
    return next(row for row in table if row.id == id)


# --------------------------------------------------------------------------------------------------- the mistakes


def split_relu(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, jnp.zeros_like(x))


def blind_relu(x: jax.Array) -> jax.Array:
    return jax.nn.relu(x)  # gradient 0 at NaN


def same_conv(x: jax.Array, weight: jax.Array, bias: Any, stride: Any = 1, padding: Any = 0) -> jax.Array:
    strides = (stride, stride)
    dims = ("NCHW", "OIHW", "NCHW")
    return lax.conv_general_dilated(x, weight, strides, "SAME", dimension_numbers=dims) + bias[None, :, None, None]


def flipped_conv(right: Wrong) -> Wrong:
    return lambda x, weight, *args, **kwargs: right(x, jnp.flip(weight, (2, 3)), *args, **kwargs)


def strides_swapped(right: Wrong) -> Wrong:
    return lambda *args, stride, **kwargs: right(*args, stride=stride[::-1], **kwargs)


def no_bias_gradient(right: Wrong) -> Wrong:
    return lambda x, weight, bias=None, **kwargs: right(x, weight, lax.stop_gradient(bias), **kwargs)


def transposed_linear(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    return x @ weight.reshape(x.shape[-1], -1) + bias[None]


def coarse_linear(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """Multiply in bfloat16, as accelerators do by default."""
    product = jnp.matmul(x.astype(jnp.bfloat16), weight.T.astype(jnp.bfloat16), preferred_element_type=jnp.float32)
    return product + bias[None]


def channels_last_flatten(x: jax.Array, start: int, end: int) -> jax.Array:
    return jnp.moveaxis(x, 1, -1).reshape(x.shape[0], -1)


def window_max(x: jax.Array, k: int, stride: int, padding: int, **kwargs: Any) -> jax.Array:
    """Take the maximum by jnp.max over windows, which splits the gradient among equals."""
    padded = jnp.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=-jnp.inf)
    rows, columns = ((n + 2 * padding - k) // stride + 1 for n in x.shape[2:])
    parts = [
        padded[:, :, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]
        for i in range(k)
        for j in range(k)
    ]
    return jnp.max(jnp.stack(parts), axis=0)


def split_max_pool(right: Wrong) -> Wrong:
    """Split the gradient among equals, and keep PyTorch's indices."""
    return lambda x, k, s, p, **kwargs: (window_max(x, k, s, p), right(x, k, s, p, **kwargs)[1])


def zero_padded_pool(right: Wrong) -> Wrong:
    return lambda x, k, s, p: right(jnp.pad(x, ((0, 0), (0, 0), (p, p), (p, p))), k, s)


def split_global_max(x: jax.Array, size: Any, indices: bool = False) -> Any:
    best = jnp.max(x, axis=(2, 3), keepdims=True)
    return (best, jnp.argmax(x.reshape(*x.shape[:2], -1), -1)[..., None, None]) if indices else best


def unscaled_dropout(right: Wrong) -> Wrong:
    return lambda x, p: right(x, p) * (1.0 - p)


def inverted_dropout(right: Wrong) -> Wrong:
    return lambda x, p: x / (1.0 - p) - right(x, p)


def plain_mean(right: Wrong) -> Wrong:
    """Divide a weighted mean by the number of examples."""

    def loss(x: jax.Array, y: jax.Array, *, reduction: str, **options: Any) -> jax.Array:
        if reduction != "mean":
            return right(x, y, reduction=reduction, **options)
        return right(x, y, reduction="none", **options).mean()

    return loss


def without(name: str) -> Callable[[Wrong], Wrong]:
    """Return a mistake that ignores an option."""

    def mistake(right: Wrong) -> Wrong:
        return lambda *args, **kwargs: right(*args, **{k: v for k, v in kwargs.items() if k != name})

    return mistake


def times(factor: float) -> Callable[[Wrong], Wrong]:
    return lambda right: lambda *args, **kwargs: factor * right(*args, **kwargs)


def half_mse(x: jax.Array, y: jax.Array, *, reduction: str) -> jax.Array:
    values = optax.l2_loss(x, y)
    return {"none": lambda v: v, "mean": jnp.mean, "sum": jnp.sum}[reduction](values)


def infinite_bce(x: jax.Array, y: jax.Array, *, reduction: str) -> jax.Array:
    return -(y * jnp.log(x) + (1.0 - y) * jnp.log1p(-x))


def clipped_bce(x: jax.Array, y: jax.Array, *, reduction: str) -> jax.Array:
    """Clamp the logarithms and differentiate that: PyTorch's gradient is another one."""
    log = lambda v: jnp.maximum(jnp.log(v), -100.0)  # noqa: E731
    return -(y * log(x) + (1.0 - y) * log(1.0 - x))


def as_it_is(wrong: Wrong) -> Callable[[Wrong], Wrong]:
    return lambda right: wrong


CE_WEIGHTED = "cross_entropy-shape=(7,5)-weight=True-ignore_index=2-label_smoothing=0.3"
CE_HARD = "cross_entropy-shape=(7,5)-weight=True-ignore_index=2-label_smoothing=0.0"
NLL_WEIGHTED = "nll_loss-shape=(7,5)-weight=True-ignore_index=2"

# (name of the trap, function, mistake, table, case)
TRAPS: list[tuple[str, str, Callable[[Wrong], Wrong], list[Case], str]] = [
    ("relu splits at 0", "relu", as_it_is(split_relu), layers.ACTIVATIONS, "relu-at-kinks"),
    ("relu stops NaN gradients", "relu", as_it_is(blind_relu), layers.ACTIVATIONS, "relu-at-kinks"),
    ("conv: padding SAME at stride 2", "conv2d", as_it_is(same_conv), layers.CONV, "stride-2-even-size"),
    ("conv: true convolution", "conv2d", flipped_conv, layers.CONV, "large-kernel"),
    ("conv: strides swapped", "conv2d", strides_swapped, layers.CONV, "stride-leaves-a-rest"),
    ("conv: bias without gradient", "conv2d", no_bias_gradient, layers.CONV, "many-channels"),
    ("linear: weight not transposed", "linear", as_it_is(transposed_linear), layers.LINEAR, "matrix"),
    ("max pool splits ties", "max_pool2d", split_max_pool, layers.POOL, "all-equal"),
    ("max pool pads with zeros", "max_pool2d", zero_padded_pool, layers.POOL, "below-zero"),
    ("global max splits ties", "adaptive_max_pool2d", as_it_is(split_global_max), layers.ADAPTIVE_EXACT, "ties-1"),
    ("dropout without scale", "dropout", unscaled_dropout, layers.DROPOUT, "dropout-(31,)-0.1"),
    ("dropout keeps what it should drop", "dropout", inverted_dropout, layers.DROPOUT, "dropout-(31,)-0.5"),
    ("cross-entropy: mean over examples", "cross_entropy", plain_mean, losses.CROSS_ENTROPY, CE_HARD),
    ("cross-entropy: no ignore_index", "cross_entropy", without("ignore_index"), losses.CROSS_ENTROPY, CE_HARD),
    ("cross-entropy: no smoothing", "cross_entropy", without("label_smoothing"), losses.CROSS_ENTROPY, CE_WEIGHTED),
    ("cross-entropy: no weights", "cross_entropy", without("weight"), losses.CROSS_ENTROPY, CE_HARD),
    ("nll: mean over examples", "nll_loss", plain_mean, losses.NLL, NLL_WEIGHTED),
    ("mse with a half", "mse_loss", as_it_is(half_mse), losses.MSE, "(5, 3)"),
    ("bce without clamp", "binary_cross_entropy", as_it_is(infinite_bce), losses.BCE, "edges-none-1"),
    ("bce: derivative of the clamp", "binary_cross_entropy", as_it_is(clipped_bce), losses.BCE, "edges-none-1"),
    ("a mask is ignored", "mse_loss", without("where"), losses.MASKED, "mse-weight"),
    ("off by one part in 1e9", "sigmoid", times(1.0 + 1e-9), layers.ACTIVATIONS, "sigmoid"),
]


@pytest.mark.parametrize(("name", "mistake", "table", "id"), [t[1:] for t in TRAPS], ids=[t[0] for t in TRAPS])
def test_a_planted_mistake_is_found(monkeypatch, name, mistake, table, id):
    row = case(table, id)
    assert case_findings(row, "float64") == []
    monkeypatch.setattr(F, name, mistake(getattr(F, name)))
    assert case_findings(row, "float64")


def test_flatten_in_another_order_is_found():
    row = case(layers.FLATTEN, "(3, 4, 5, 7)-1--1")
    assert case_findings(row, "float64") == []
    wrong = dataclasses.replace(row, jax_fn=lambda x: channels_last_flatten(x, 1, -1))
    assert any("output" in line for line in case_findings(wrong, "float64"))


def test_coarse_products_are_found_in_float32(monkeypatch):
    row = case(layers.LINEAR, "long-sums")
    assert case_findings(row, "float32") == []
    monkeypatch.setattr(F, "linear", coarse_linear)
    assert case_findings(row, "float32")


# -------------------------------------------------------------------------------------- the comparison itself


def test_comparison_finds_every_kind_of_difference():
    wanted = np.array([[1.0, -2.0, 3.0]])
    assert findings64("x", wanted, wanted) == findings32("x", *[wanted.astype(np.float32)] * 2, wanted) == []
    bad = {
        "shape": wanted[0],
        "dtype": wanted.astype(np.float32),
        "NaN": np.array([[1.0, np.nan, 3.0]]),
        "+inf": np.array([[np.inf, -2.0, 3.0]]),
        "off by": wanted * np.array([[1.0, 1.0, 1.0 + 1e-9]]),
    }
    for word, found in bad.items():
        (line,) = findings64("x", found, wanted)
        assert word in line
    assert findings64("zero", np.array([1e-300]), np.array([0.0]))
    assert findings64("integers", np.array([1, 2]), np.array([1, 3]))


def test_float32_is_judged_by_pytorch_s_own_rounding():
    truth = np.array([1.0, 2.0, 3.0])
    theirs = (truth + np.array([0.0, 0.0, 3e-6])).astype(np.float32)
    for error, found in ((1e-6, False), (1e-5, False), (1e-4, True)):
        assert bool(findings32("x", (truth + error).astype(np.float32), theirs, truth)) is found
    assert findings32("x", (truth + 1e-6).astype(np.float32), truth.astype(np.float32), truth)
