"""Resizing layers: upsample and its kin, Upsample, UpsamplingNearest2d, UpsamplingBilinear2d."""

from __future__ import annotations

from typing import Any

import jax

from .interpolate import Factor, Size, interpolate
from .module import Module


def upsample(
    input: jax.Array,
    size: Size | None = None,
    scale_factor: Factor | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> jax.Array:
    """Resize the spatial axes: PyTorch's older name of `interpolate`, which see.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.upsample.html
    """
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: jax.Array, size: Size | None = None, scale_factor: Factor | None = None) -> jax.Array:
    """Resize the spatial axes by ‘nearest’: PyTorch's older form of `interpolate`, which see.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.upsample_nearest.html
    """
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: jax.Array, size: Size | None = None, scale_factor: Factor | None = None) -> jax.Array:
    """Resize (N, C, H, W) by ‘bilinear’ with aligned corners: PyTorch's older form of `interpolate`, which see.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.upsample_bilinear.html
    """
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


class Upsample(Module):
    """Resize the spatial axes; see `interpolate` for the formulas and the options.

    Args:
        size: the output's size, an integer or one for each spatial axis.
        scale_factor: in its place, a number or one for each spatial axis.
        mode: 'nearest', 'linear', 'bilinear', 'bicubic', 'trilinear', or another of `interpolate`.
        align_corners: whether the corner elements of input and output lie on each other; None means False.
        recompute_scale_factor: whether positions go by the sizes even where `scale_factor` is given.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Upsample.html
    """

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: Factor | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        self.name = type(self).__name__
        self.size = size
        self.scale_factor = _floats(scale_factor)
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: jax.Array) -> jax.Array:
        """Map (N, C, *) to (N, C, *), resized."""
        return interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        """Return factor or size, and mode, as PyTorch prints them."""
        chosen = f"size={self.size!r}" if self.scale_factor is None else f"scale_factor={self.scale_factor!r}"
        return f"{chosen}, mode={self.mode!r}"


def _floats(scale_factor: Any) -> Any:
    if isinstance(scale_factor, tuple):
        return tuple(float(factor) for factor in scale_factor)
    return float(scale_factor) if scale_factor else None


class UpsamplingNearest2d(Upsample):
    """Resize (N, C, H, W) by ‘nearest’; see `interpolate`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.UpsamplingNearest2d.html
    """

    def __init__(self, size: Size | None = None, scale_factor: Factor | None = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Resize (N, C, H, W) by ‘bilinear’ with aligned corners; see `interpolate`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.UpsamplingBilinear2d.html
    """

    def __init__(self, size: Size | None = None, scale_factor: Factor | None = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
