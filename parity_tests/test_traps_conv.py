"""Convolutions: each known difference between JAX and PyTorch is planted as a mistake and must be reported."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
import test_nn_conv as convolutions
from cases import Case, case_findings
from jax import lax

import jaxport.nn.functional as F
from jaxport.nn import conv_bias

Wrong = Callable[..., Any]


def case(table: list[Case], id: str) -> Case:
    return next(row for row in table if row.id == id)


def same_conv(right: Wrong) -> Wrong:
    """Pad as XLA's SAME does, which is not symmetric at stride 2."""

    def wrong(x: jax.Array, weight: jax.Array, bias: jax.Array, stride: int, padding: int) -> jax.Array:
        dims = ("NCH", "OIH", "NCH")
        return lax.conv_general_dilated(x, weight, (stride,), "SAME", dimension_numbers=dims) + bias[None, :, None]

    return wrong


def library_transpose(right: Wrong) -> Wrong:
    """Take JAX's transposed convolution as it comes: the kernel is neither mirrored nor is 'in' its first axis."""

    def wrong(x: jax.Array, weight: jax.Array, bias: jax.Array, **options: Any) -> jax.Array:
        dims = ("NCHW", "IOHW", "NCHW")
        return lax.conv_transpose(x, weight, (1, 1), "VALID", dimension_numbers=dims) + bias[None, :, None, None]

    return wrong


def without(name: str) -> Callable[[Wrong], Wrong]:
    return lambda right: lambda *args, **kwargs: right(*args, **{k: v for k, v in kwargs.items() if k != name})


def cropped(right: Wrong) -> Wrong:
    """Put output_padding before instead of after."""
    return lambda *args, **kwargs: jnp.roll(right(*args, **kwargs), 1, -1)


def groups_interleaved(right: Wrong) -> Wrong:
    """Read the weight as (in, groups, out/groups) with the groups' outputs interleaved."""

    def wrong(x: jax.Array, weight: jax.Array, *args: Any, groups: int, **options: Any) -> jax.Array:
        y = right(x, weight, *args, groups=groups, **options)
        return y.reshape(y.shape[0], groups, -1, *y.shape[2:]).swapaxes(1, 2).reshape(y.shape)

    return wrong


def input_groups_interleaved(right: Wrong) -> Wrong:
    def wrong(x: jax.Array, *args: Any, groups: int, **options: Any) -> jax.Array:
        x = x.reshape(x.shape[0], -1, groups, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape)
        return right(x, *args, groups=groups, **options)

    return wrong


def coarse(right: Wrong) -> Wrong:
    """Multiply numbers rounded to bfloat16, as accelerators do by default."""

    def rounded(a: jax.Array) -> jax.Array:
        return a.astype(jnp.bfloat16).astype(a.dtype)

    return lambda x, weight, *args, **options: right(rounded(x), rounded(weight), *args, **options)


def half_sum(right: Wrong) -> Wrong:
    """Where blocks overlap, keep the last one instead of the sum."""

    def wrong(blocks: jax.Array, size: Any, kernel: Any, **options: Any) -> jax.Array:
        total = right(blocks, size, kernel, **options)
        count = right(jnp.ones_like(blocks), size, kernel, **options)
        return total / jnp.maximum(count, 1.0)

    return wrong


def position_first(right: Wrong) -> Wrong:
    """Order a column as (kernel, channel), as channels-last libraries do."""

    def wrong(x: jax.Array, kernel: int, **options: Any) -> jax.Array:
        y = right(x, kernel, **options)
        return y.reshape(y.shape[0], x.shape[1], -1, y.shape[2]).swapaxes(1, 2).reshape(y.shape)

    return wrong


TRAPS: list[tuple[str, str, Callable[[Wrong], Wrong], list[Case], str]] = [
    ("trap 8: padding SAME at stride 2", "conv1d", same_conv, convolutions.CONV, "1d-stride-2-even-size"),
    (
        "trap 9: kernel not mirrored",
        "conv_transpose2d",
        library_transpose,
        convolutions.TRANSPOSE,
        "2d-kernel-not-symmetric",
    ),
    (
        "trap 9: output_padding ignored",
        "conv_transpose2d",
        without("output_padding"),
        convolutions.TRANSPOSE,
        "2d-kernel-3-doubles",
    ),
    (
        "trap 9: output_padding before",
        "conv_transpose2d",
        cropped,
        convolutions.TRANSPOSE,
        "2d-kernel-3-doubles",
    ),
    ("trap 9: dilation ignored", "conv_transpose2d", without("dilation"), convolutions.TRANSPOSE, "2d-dilated"),
    ("trap 9: groups interleaved", "conv_transpose2d", groups_interleaved, convolutions.TRANSPOSE, "2d-grouped"),
    (
        "trap 9: inputs of groups interleaved",
        "conv_transpose2d",
        input_groups_interleaved,
        convolutions.TRANSPOSE,
        "2d-grouped",
    ),
    ("fold: mean where blocks overlap", "fold", half_sum, convolutions.BLOCKS, "fold_case-overlap"),
    ("unfold: kernel before channel", "unfold", position_first, convolutions.BLOCKS, "unfold_case-overlap"),
]


@pytest.mark.parametrize(("name", "mistake", "table", "id"), [t[1:] for t in TRAPS], ids=[t[0] for t in TRAPS])
def test_a_planted_mistake_is_found(monkeypatch, name, mistake, table, id):
    row = case(table, id)
    assert case_findings(row, "float64") == []
    monkeypatch.setattr(F, name, mistake(getattr(F, name)))
    assert case_findings(row, "float64")


@pytest.mark.parametrize(
    ("name", "table", "id"),
    [
        ("conv1d", convolutions.CONV, "1d-long-sums"),
        ("conv_transpose1d", convolutions.TRANSPOSE, "1d-long-sums"),
    ],
    ids=["trap 30: conv1d", "trap 30: conv_transpose1d"],
)
def test_coarse_products_are_found_in_float32(monkeypatch, name, table, id):
    row = case(table, id)
    assert case_findings(row, "float32") == []
    monkeypatch.setattr(F, name, coarse(getattr(F, name)))
    assert case_findings(row, "float32")


def test_trap_31_a_bias_gradient_summed_in_one_go_is_found(monkeypatch):
    """One running sum over all positions rounds more than PyTorch's sum; axis after axis does not."""
    row = case(convolutions.CONV, "1d-many-positions")
    assert case_findings(row, "float32") == []

    # A product with ones does the same on some processors only: how it splits its sum depends on them.
    def at_once(bias: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        count = math.prod(shape[:-1])
        return jax.lax.scan(lambda carried, _: (carried, carried), bias, length=count)[1].reshape(shape)

    monkeypatch.setattr(conv_bias, "repeat", at_once)
    jax.clear_caches()
    assert case_findings(row, "float32")
