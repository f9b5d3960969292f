"""Activations with flat or cut-out parts: threshold, hardtanh, relu6, hardsigmoid, hardswish, hardshrink, softshrink.

A gradient at a kink is PyTorch's: that of the flat part, except hardswish's at 3, which is 1.
"""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
from jax import lax

from .activation import InplaceFlag
from .activation_rule import floating, with_tangent
from .module import Module

# PyTorch keeps the slope of hardsigmoid in float32 whatever the dtype: 3e-8 more than 1/6.
_FLOAT32_SIXTH = 0.1666666716337204


def threshold(input: jax.Array, threshold: float, value: float, inplace: bool = False) -> jax.Array:
    """Return x where x > `threshold` and `value` elsewhere; NaN passes through.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.threshold.html
    """
    del inplace
    return jnp.where(input <= threshold, jnp.full_like(input, value), input)


def _clip(input: jax.Array, low: float, high: float) -> jax.Array:
    """Clip with gradient 0 at the bounds and at NaN, where ``jnp.clip`` has 0.5 and 1."""
    bounds = jnp.full((), low, input.dtype), jnp.full((), high, input.dtype)
    inside = (input > bounds[0]) & (input < bounds[1])
    return jnp.where(inside, input, lax.stop_gradient(jnp.clip(input, *bounds)))


def hardtanh(input: jax.Array, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> jax.Array:
    """Return x clipped to [min_val, max_val].

    Raises:
        ValueError: `min_val` is greater than `max_val`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hardtanh.html
    """
    del inplace
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val must not be greater than max_val, got {min_val} and {max_val}")
    return _clip(input, min_val, max_val)


def relu6(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Return min(max(0, x), 6).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.relu6.html
    """
    del inplace
    return _clip(input, 0, 6)


@floating
def hardsigmoid(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Return min(max(0, x + 3), 6) / 6.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hardsigmoid.html
    """
    del inplace

    def tangent(x: jax.Array, dx: jax.Array) -> jax.Array:
        return jnp.where((x > -3.0) & (x < 3.0), dx * _FLOAT32_SIXTH, 0.0)

    return with_tangent(lambda x: jnp.clip(x + 3.0, 0.0, 6.0) / 6.0, tangent)(input)


@floating
def hardswish(input: jax.Array, inplace: bool = False) -> jax.Array:
    """Return x · min(max(0, x + 3), 6) / 6.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hardswish.html
    """
    del inplace
    inside = ~((input <= -3.0) | (input >= 3.0))  # NaN counts as inside
    # The parabola of a zero where it is not taken: an infinite x would make its gradient NaN.
    x = jnp.where(inside, input, 0.0)
    # -inf · 0 is NaN, as in PyTorch.
    outside = jnp.where(input <= -3.0, lax.stop_gradient(input) * 0.0, input)
    return jnp.where(inside, x * (x + 3.0) / 6.0, outside)


def _nothing(input: jax.Array) -> jax.Array:
    """Return 0 with gradient 0, and NaN for NaN."""
    return lax.stop_gradient(jnp.where(jnp.isnan(input), input, 0.0))


@floating
def hardshrink(input: jax.Array, lambd: float = 0.5) -> jax.Array:
    """Return x where |x| > λ and 0 elsewhere.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hardshrink.html
    """
    return jnp.where((input > lambd) | (input < -lambd), input, _nothing(input))


@floating
def softshrink(input: jax.Array, lambd: float = 0.5) -> jax.Array:
    """Return x - λ where x > λ, x + λ where x < -λ and 0 elsewhere.

    Raises:
        ValueError: λ is negative.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softshrink.html
    """
    if lambd < 0:
        raise ValueError(f"softshrink: lambd must be at least 0, got {lambd}")
    shrunk = jnp.where(input > lambd, input - lambd, input + lambd)
    return jnp.where((input > lambd) | (input < -lambd), shrunk, _nothing(input))


class Threshold(Module):
    """Return x where x > `threshold` and `value` elsewhere.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Threshold.html
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the input with small elements replaced, in its own shape."""
        return threshold(input, self.threshold, self.value)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"threshold={self.threshold}, value={self.value}{', inplace=True' if self.inplace else ''}"


class Hardtanh(Module):
    """Clip to [min_val, max_val]; `min_value` and `max_value` are their deprecated names, as in PyTorch.

    Raises:
        ValueError: `max_val` is not greater than `min_val`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardtanh.html
    """

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        for old, new, given in (("min_value", "min_val", min_value), ("max_value", "max_val", max_value)):
            if given is not None:
                warnings.warn(f"Hardtanh: {old} is deprecated, use {new}", FutureWarning, stacklevel=2)
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        self.inplace = inplace
        if self.max_val <= self.min_val:
            raise ValueError(f"Hardtanh: max_val must be greater than min_val, got {self.max_val} and {self.min_val}")

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the clipped input, in its own shape."""
        return hardtanh(input, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"min_val={self.min_val}, max_val={self.max_val}{', inplace=True' if self.inplace else ''}"


class ReLU6(Hardtanh):
    """Apply min(max(0, x), 6) elementwise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReLU6.html
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        """Return the flag, as PyTorch prints it."""
        return "inplace=True" if self.inplace else ""


class Hardsigmoid(InplaceFlag):
    """Apply min(max(0, x + 3), 6) / 6 elementwise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardsigmoid.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return a piecewise linear logistic function, in the input's shape."""
        return hardsigmoid(input)

    def extra_repr(self) -> str:
        """Return nothing: PyTorch does not print the flag here."""
        return ""


class Hardswish(InplaceFlag):
    """Apply x · min(max(0, x + 3), 6) / 6 elementwise.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardswish.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return x · hardsigmoid(x), in the input's shape."""
        return hardswish(input)

    def extra_repr(self) -> str:
        """Return nothing: PyTorch does not print the flag here."""
        return ""


class _Shrink(Module):
    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd

    def extra_repr(self) -> str:
        """Return λ, as PyTorch prints it."""
        return f"{self.lambd}"


class Hardshrink(_Shrink):
    """Return x where |x| > λ and 0 elsewhere.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardshrink.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the input with small elements zeroed, in its own shape."""
        return hardshrink(input, self.lambd)


class Softshrink(_Shrink):
    """Return x - λ where x > λ, x + λ where x < -λ and 0 elsewhere.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softshrink.html
    """

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the input moved towards zero by λ, in its own shape."""
        return softshrink(input, self.lambd)
