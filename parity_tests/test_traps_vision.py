"""The suite can fail: mistakes in interpolation and grid sampling are planted and must be reported."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import test_nn_vision as layers
from cases import Case, case_findings, normal

import jaxport.nn.grid_sample as grid_sample
from jaxport.nn import interpolate_tables

Wrong = Callable[..., Any]


def half_pixel(right: Wrong) -> Wrong:
    return interpolate_tables.nearest_exact


def smooth(right: Wrong) -> Wrong:
    """Antialias when shrinking, as jax.image.resize does."""
    return lambda *args: interpolate_tables.antialiased("bilinear", *args)


def never_aligned(right: Wrong) -> Wrong:
    return lambda size, output, align_corners, factor: right(size, output, False, factor)


def sizes_ratio(right: Wrong) -> Wrong:
    """Go by the sizes where a factor is given."""
    return lambda size, output, align_corners, factor: right(size, output, align_corners, None)


def other_cubic(right: Wrong) -> Wrong:
    return lambda distance, a: right(distance, -0.5)


def no_half(right: Wrong) -> Wrong:
    return lambda u, size, align, axes: right(u, size, True, axes)


def derivative_of_clip(right: Wrong) -> Wrong:
    """Have gradient 1/2 at the bounds, as jnp.clip may."""
    return lambda place, size: jnp.clip(place, jnp.zeros_like(place), jnp.full_like(place, size - 1))


def wide(id: str, **options: Any) -> Case:
    return layers.twin(id, "interpolate", normal((2, 3, 9)), **options)


IMAGE = (2, 3, 8, 9)
CUBIC = layers.twin("cubic", "interpolate", normal(IMAGE), (5, 12), mode="bicubic")
TRAPS: list[tuple[str, Any, str, Callable[[Wrong], Wrong], Case]] = [
    ("trap 17: nearest at the half pixel", interpolate_tables, "nearest", half_pixel, wide("near", size=5)),
    ("trap 18: linear with antialias", interpolate_tables, "linear", smooth, wide("shrink", size=4, mode="linear")),
    (
        "trap 18: no align_corners",
        interpolate_tables,
        "linear",
        never_aligned,
        wide("aligned", size=5, mode="linear", align_corners=True),
    ),
    ("trap 19: bicubic with a = -0.5", interpolate_tables, "_cubic", other_cubic, CUBIC),
    (
        "the factor is not used",
        interpolate_tables,
        "linear",
        sizes_ratio,
        wide("factor", scale_factor=1.7, mode="linear"),
    ),
    ("grid: corners always aligned", grid_sample, "_unnormalise", no_half, layers.GRID_SAMPLE[0]),
    ("grid: gradient of clip at its bounds", grid_sample, "_clip", derivative_of_clip, layers.KINKS[2]),
]


@pytest.mark.parametrize(
    ("module", "name", "mistake", "row"), [trap[1:] for trap in TRAPS], ids=[trap[0] for trap in TRAPS]
)
def test_a_planted_mistake_is_found(monkeypatch, module, name, mistake, row):
    assert case_findings(row, "float64") == []
    monkeypatch.setattr(module, name, mistake(getattr(module, name)))
    assert case_findings(row, "float64")


def test_tables_are_transposed_right():
    table = interpolate_tables.cubic(7, 11, False, None)
    back = interpolate_tables.transposed(table, 7)
    dense, other = np.zeros((11, 7)), np.zeros((7, 11))
    np.add.at(dense, (np.arange(11)[:, None], table[0]), table[1])
    np.add.at(other, (np.arange(7)[:, None], back[0]), back[1])
    np.testing.assert_array_equal(dense.T, other)
