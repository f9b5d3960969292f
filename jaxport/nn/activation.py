"""The plainest activations: relu, sigmoid, tanh and their modules; the other files of this name hold the rest."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .activation_rule import promoting, with_tangent
from .activation_softmax import log_softmax as log_softmax
from .activation_softmax import softmax as softmax
from .exponential import logistic
from .module import Module
from .origin import pointwise


def relu(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Return max(0, x), with gradient 0 at 0 as in PyTorch (``jnp.maximum`` gives 0.5); NaN passes through both ways.

    `inplace` is accepted and changes nothing: JAX arrays are immutable.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.relu.html
    """
    del inplace
    return pointwise(_relu, input)


def _relu(x: jax.Array) -> jax.Array:
    # Not jax.nn.relu, whose gradient is 0 at NaN: PyTorch's is 1, so that a NaN reaches the weights before it.
    return jnp.where(x <= 0, jnp.zeros_like(x), x)


@promoting
def sigmoid(input: jax.Array) -> jax.Array:
    """Return 1 / (1 + exp(-x)).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.sigmoid.html
    """
    return pointwise(logistic, input)


# tanh x = x + x³ P(x²) to a fourteenth of a float32 rounding for |x| < 0.625; fitted by weighted least squares.
_TANH_SERIES = (
    -0.005704967770725489,
    0.020639069378376007,
    -0.05373970791697502,
    0.13331441581249237,
    -0.3333328068256378,
)


def _tanh_value(x: jax.Array) -> jax.Array:
    """Return tanh x; not ``jnp.tanh``, which is off by up to 4.7 units in the last place in float32 on CPUs.

    With the series near 0 and 1 - 2 / (exp(2 |x|) + 1) elsewhere it is 1.4 at the most.
    """
    size = jnp.abs(x)
    if x.dtype != jnp.float32:
        e = jnp.expm1(-2.0 * size)
        return jnp.sign(x) * (-e / (2.0 + e))
    square = x * x
    series = jnp.full_like(x, _TANH_SERIES[0])
    for coefficient in _TANH_SERIES[1:]:
        series = series * square + coefficient
    near, far = size + size * square * series, 1.0 - 2.0 / (jnp.exp(2.0 * size) + 1.0)
    return jnp.copysign(jnp.where(size < 0.625, near, far), x)


def tanh_slope(x: jax.Array) -> jax.Array:
    """Return 1 - tanh² x, without the digits that this difference loses where tanh x is next to ±1."""
    e = jnp.exp(-2.0 * jnp.abs(x))
    return 4.0 * e / ((1.0 + e) * (1.0 + e))


def sigmoid_slope(x: jax.Array) -> jax.Array:
    """Return σ(x) (1 - σ(x)), without the digits that 1 - σ loses where σ is next to 1."""
    e = jnp.exp(-jnp.abs(x))
    return e / ((1.0 + e) * (1.0 + e))


@promoting
def tanh(input: jax.Array) -> jax.Array:
    """Return (exp(x) - exp(-x)) / (exp(x) + exp(-x)).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.tanh.html
    """
    return with_tangent(_tanh_value, lambda x, dx: dx * tanh_slope(x))(input)


class InplaceFlag(Module):
    """An activation whose only setting is `inplace`, which is accepted, printed and without effect."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def extra_repr(self) -> str:
        """Return the flag, as PyTorch prints it."""
        return "inplace=True" if self.inplace else ""


class ReLU(InplaceFlag):
    """Apply max(0, x) elementwise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReLU.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return max(0, x), in the input's shape."""
        return relu(input)


class Sigmoid(Module):
    """Apply 1 / (1 + exp(-x)) elementwise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Sigmoid.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the logistic function, in the input's shape."""
        return sigmoid(input)


class Tanh(Module):
    """Apply the hyperbolic tangent elementwise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Tanh.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return tanh(x), in the input's shape."""
        return tanh(input)
