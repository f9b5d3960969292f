"""Padding modules: constant, zero, reflection, replication and circular, over one, two or three axes."""

from __future__ import annotations

from collections.abc import Sequence

import jax

from .module import Module
from .padding import pad

Amounts = int | Sequence[int]


def _amounts(owner: str, padding: Amounts, count: int) -> tuple[int, ...]:
    """Return `padding` as a tuple, one integer standing for `count`; as in PyTorch, fewer pad fewer axes."""
    values = (padding,) * count if isinstance(padding, int) else tuple(padding)
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        raise TypeError(f"{owner}: padding must be an integer or {count} of them, got {padding!r}")
    return values


class _Pad(Module):
    mode = ""
    axes = 0

    def __init__(self, padding: Amounts) -> None:
        self.padding = _amounts(type(self).__name__, padding, 2 * self.axes)

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the input with its last axes padded."""
        return pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        """Return the amounts, as PyTorch prints them."""
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: Amounts, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: jax.Array) -> jax.Array:
        """Return the input with its last axes padded with `value`."""
        return pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        """Return the amounts and the value, as PyTorch prints them."""
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Amounts) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        """Return the amounts, as PyTorch prints them."""
        return f"{self.padding}"


class ConstantPad1d(_ConstantPad):
    """Pad the last axis with a value.

    `padding` is one integer or (left, right).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConstantPad1d.html
    """

    axes = 1


class ConstantPad2d(_ConstantPad):
    """Pad the last two axes with a value.

    `padding` is one integer or (left, right, top, bottom).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConstantPad2d.html
    """

    axes = 2


class ConstantPad3d(_ConstantPad):
    """Pad the last three axes with a value.

    `padding` is one integer or (left, right, top, bottom, front, back).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConstantPad3d.html
    """

    axes = 3


class ZeroPad1d(_ZeroPad):
    """Pad the last axis with zeros.

    `padding` is one integer or (left, right).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ZeroPad1d.html
    """

    axes = 1


class ZeroPad2d(_ZeroPad):
    """Pad the last two axes with zeros.

    `padding` is one integer or (left, right, top, bottom).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ZeroPad2d.html
    """

    axes = 2


class ZeroPad3d(_ZeroPad):
    """Pad the last three axes with zeros.

    `padding` is one integer or (left, right, top, bottom, front, back).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ZeroPad3d.html
    """

    axes = 3


class ReflectionPad1d(_Pad):
    """Pad the last axis of (N, C, L) or (C, L) by reflection, which does not repeat the edge.

    `padding` is one integer or (left, right).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReflectionPad1d.html
    """

    mode = "reflect"
    axes = 1


class ReflectionPad2d(_Pad):
    """Pad the last two axes of (N, C, H, W) or (C, H, W) by reflection, which does not repeat the edge.

    `padding` is one integer or (left, right, top, bottom).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReflectionPad2d.html
    """

    mode = "reflect"
    axes = 2


class ReflectionPad3d(_Pad):
    """Pad the last three axes of (N, C, D, H, W) or (C, D, H, W) by reflection, which does not repeat the edge.

    `padding` is one integer or (left, right, top, bottom, front, back).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReflectionPad3d.html
    """

    mode = "reflect"
    axes = 3


class ReplicationPad1d(_Pad):
    """Pad the last axis of (N, C, L) or (C, L) by repeating the edge.

    `padding` is one integer or (left, right).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReplicationPad1d.html
    """

    mode = "replicate"
    axes = 1


class ReplicationPad2d(_Pad):
    """Pad the last two axes of (N, C, H, W) or (C, H, W) by repeating the edge.

    `padding` is one integer or (left, right, top, bottom).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReplicationPad2d.html
    """

    mode = "replicate"
    axes = 2


class ReplicationPad3d(_Pad):
    """Pad the last three axes of (N, C, D, H, W) or (C, D, H, W) by repeating the edge.

    `padding` is one integer or (left, right, top, bottom, front, back).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReplicationPad3d.html
    """

    mode = "replicate"
    axes = 3


class CircularPad1d(_Pad):
    """Pad the last axis of (N, C, L) or (C, L) with the other end of the axis.

    `padding` is one integer or (left, right).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CircularPad1d.html
    """

    mode = "circular"
    axes = 1


class CircularPad2d(_Pad):
    """Pad the last two axes of (N, C, H, W) or (C, H, W) with the other end of the axis.

    `padding` is one integer or (left, right, top, bottom).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CircularPad2d.html
    """

    mode = "circular"
    axes = 2


class CircularPad3d(_Pad):
    """Pad the last three axes of (N, C, D, H, W) or (C, D, H, W) with the other end of the axis.

    `padding` is one integer or (left, right, top, bottom, front, back).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CircularPad3d.html
    """

    mode = "circular"
    axes = 3
