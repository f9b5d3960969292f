"""Known differences between JAX and PyTorch in activations and shapes, planted as mistakes: each must be found."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_nn_activation as activations
import test_nn_shape as shapes
from cases import Case, case_findings

import jaxport.nn.functional as F
from jaxport import nn

Wrong = Callable[..., Any]


def as_it_is(wrong: Wrong) -> Callable[[Wrong], Wrong]:
    return lambda right: wrong


def defaulted(**options: Any) -> Callable[[Wrong], Wrong]:
    """Return a mistake that has other options."""
    return lambda right: lambda *args, **kwargs: right(*args, **kwargs | options)


def plain_norm(x: jax.Array, p: float, eps: float) -> jax.Array:
    """Divide by jnp.linalg.norm, whose gradient at 0 is NaN."""
    norm = jnp.linalg.norm(x, p, axis=1, keepdims=True)
    return x / jnp.broadcast_to(jnp.maximum(norm, eps), x.shape)


def unscaled(right: Wrong) -> Wrong:
    return lambda x, p, training: right(x, p, training=training) * (1.0 - p)


def unshifted(right: Wrong) -> Wrong:
    """Zero what alpha dropout drops, without scale and shift."""
    return lambda x, p, training: F.dropout(x, p, training) * (1.0 - p)


def elementwise(right: Wrong) -> Wrong:
    """Drop elements where channels are to be dropped."""

    def wrong(x: jax.Array, p: float, training: bool) -> jax.Array:
        right(x, p, training)  # takes the mask
        with nn.replay_masks([jax.random.bernoulli(jax.random.key(0), 1.0 - p, x.shape)]):
            return F.dropout(x, p, training)

    return wrong


def numpy_order(right: Wrong) -> Wrong:
    """List the amounts from the first axis on, as numpy does."""

    def wrong(x: jax.Array, pad: tuple[int, ...], **kwargs: Any) -> jax.Array:
        pairs = [pad[i : i + 2] for i in range(0, len(pad), 2)][::-1]
        return right(x, tuple(v for pair in pairs for v in pair), **kwargs)

    return wrong


def symmetric(right: Wrong) -> Wrong:
    """Reflect with the edge repeated."""

    def wrong(x: jax.Array, pad: tuple[int, ...], mode: str) -> jax.Array:
        return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [pad[:2]], mode="symmetric")

    return wrong


def channels_last_shuffle(right: Wrong) -> Wrong:
    """Take the factors before the channels, as TensorFlow's depth_to_space does."""

    def wrong(x: jax.Array, r: int) -> jax.Array:
        n, c, h, w = x.shape
        split = x.reshape(n, r, r, c // r**2, h, w)
        return split.transpose(0, 3, 4, 1, 5, 2).reshape(n, c // r**2, h * r, w * r)

    return wrong


KINKED = activations.AT_KINKS
KINKS = "trap 16: "
# (name of the trap, function, mistake, table, case)
TRAPS: list[tuple[str, str, Callable[[Wrong], Wrong], list[Case], str]] = [
    ("trap 6: gelu is tanh by default", "gelu", defaulted(approximate="tanh"), activations.AT_RANDOM, "gelu"),
    ("trap 6: jax.nn.gelu", "gelu", as_it_is(jax.nn.gelu), activations.AT_RANDOM, "gelu"),
    (KINKS + "relu", "relu", as_it_is(lambda x: jnp.maximum(x, 0.0)), KINKED, "relu at kinks"),
    (KINKS + "relu6", "relu6", as_it_is(lambda x: jnp.clip(x, 0.0, 6.0)), KINKED, "relu6 at kinks"),
    (KINKS + "hardtanh", "hardtanh", as_it_is(lambda x: jnp.clip(x, -1.0, 1.0)), KINKED, "hardtanh at kinks"),
    (KINKS + "hardsigmoid", "hardsigmoid", as_it_is(jax.nn.hard_sigmoid), KINKED, "hardsigmoid at kinks"),
    (
        KINKS + "hardswish",
        "hardswish",
        as_it_is(lambda x: x * jnp.clip(x + 3.0, 0.0, 6.0) / 6.0),
        KINKED,
        "hardswish at kinks",
    ),
    (
        KINKS + "leaky_relu",
        "leaky_relu",
        as_it_is(lambda x: jnp.where(x >= 0, x, 0.01 * x)),
        KINKED,
        "leaky_relu at kinks",
    ),
    (
        KINKS + "selu",
        "selu",
        as_it_is(lambda x: jnp.where(x >= 0, 1.0507009873554805 * x, F.selu(x))),
        KINKED,
        "selu at kinks",
    ),
    (
        KINKS + "hardshrink",
        "hardshrink",
        as_it_is(lambda x: jnp.where(jnp.abs(x) >= 0.5, x, 0.0)),
        KINKED,
        "hardshrink at kinks",
    ),
    (
        KINKS + "softshrink",
        "softshrink",
        as_it_is(lambda x: jnp.sign(x) * jnp.maximum(jnp.abs(x) - 0.5, 0.0)),
        KINKED,
        "softshrink at kinks",
    ),
    (
        KINKS + "threshold",
        "threshold",
        as_it_is(lambda x, threshold, value: jnp.where(x >= threshold, x, value)),
        KINKED,
        "threshold-threshold=0.5-value=20.0 at kinks",
    ),
    (
        KINKS + "softplus has no threshold",
        "softplus",
        defaulted(threshold=1e9),
        KINKED,
        "softplus-beta=2.0-threshold=1.0 at kinks",
    ),
    (KINKS + "elu overflows", "elu", as_it_is(lambda x: jnp.where(x > 0, x, jnp.expm1(x))), KINKED, "elu at kinks"),
    (
        KINKS + "mish overflows",
        "mish",
        as_it_is(lambda x: x * jnp.tanh(jnp.log1p(jnp.exp(x)))),
        KINKED,
        "mish at kinks",
    ),
    (KINKS + "norm at 0", "normalize", as_it_is(plain_norm), activations.NORMALIZE, "p=2.0 eps=1e-12"),
    ("trap 28: dropout1d without scale", "dropout1d", unscaled, shapes.DROPOUT, "dropout1d-(9, 4)-0.2"),
    ("trap 28: dropout3d without scale", "dropout3d", unscaled, shapes.DROPOUT, "dropout3d-(9, 2, 3, 4)-0.7"),
    ("trap 28: dropout1d by elements", "dropout1d", elementwise, shapes.DROPOUT, "dropout1d-(5, 6, 4)-0.7"),
    ("trap 28: dropout3d by elements", "dropout3d", elementwise, shapes.DROPOUT, "dropout3d-(9, 2, 3, 4)-0.7"),
    ("trap 28: alpha dropout as dropout", "alpha_dropout", unshifted, shapes.DROPOUT, "alpha_dropout-(31,)-0.2"),
    ("trap 8: amounts from the first axis", "pad", numpy_order, shapes.PAD, "constant-(2, 3, 5, 7)-(0, 3, -1, 2)"),
    ("trap 8: the edge is repeated", "pad", symmetric, shapes.PAD, "reflect-(3, 7)-(2, 1)"),
    (
        "pixels before channels",
        "pixel_shuffle",
        channels_last_shuffle,
        shapes.REARRANGED,
        "pixel_shuffle-(2, 12, 3, 5)-2",
    ),
]


@pytest.mark.parametrize(("name", "mistake", "table", "id"), [t[1:] for t in TRAPS], ids=[t[0] for t in TRAPS])
def test_a_planted_mistake_is_found(monkeypatch, name, mistake, table, id):
    row = next(row for row in table if row.id == id)
    assert case_findings(row, "float64") == []
    right = getattr(F, name)
    # A mistake may call the right function by its name.
    monkeypatch.setattr(
        F, name, lambda *args, **kwargs: _called(monkeypatch, name, right, mistake(right), args, kwargs)
    )
    assert case_findings(row, "float64")


def _called(monkeypatch: Any, name: str, right: Wrong, wrong: Wrong, args: Any, kwargs: Any) -> Any:
    with monkeypatch.context() as inner:
        inner.setattr(F, name, right)
        return wrong(*args, **kwargs)


def test_trap_21_one_hot_out_of_range(monkeypatch):
    x = jnp.array([0, 3, 1])
    with pytest.raises(IndexError, match=r"one_hot: tensor must lie in \[0, 2\], got 3"):
        F.one_hot(x, 3)
    with pytest.raises(IndexError, match="got -1"):
        F.one_hot(x - 1, 3)
    # The mistake: jax.nn.one_hot answers with a row of zeros.
    assert np.asarray(jax.nn.one_hot(x, 3)).sum() == 2.0
