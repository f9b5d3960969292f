"""Mistakes in pooling and resizing."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from .patching import UNCHANGED, Mistake, Patches, pair


def _include_pad(p: Patches) -> None:
    def wrong(
        right: Any,
        input: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *rest: Any,
    ) -> Any:
        return right(input, kernel_size, stride, padding, ceil_mode, not count_include_pad, *rest)

    for name in ("avg_pool1d", "avg_pool2d", "avg_pool3d"):
        p.function(F, name, wrong)


def _max_pools(p: Patches, wrong: Any, *, pure: bool = True) -> None:
    """Replace max_pool2d; `wrong` gets the settings as pairs."""

    def call(
        right: Any,
        input: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        if return_indices or input.ndim != 4:
            return UNCHANGED
        k, pad, d = pair(kernel_size), pair(padding), pair(dilation)
        return wrong(right, input, k, pair(stride) if stride is not None else k, pad, d, ceil_mode)

    p.function(F, "max_pool2d", call, pure=pure)


def _padded(x: torch.Tensor, pad: tuple[int, int], shift: int, value: float) -> torch.Tensor:
    h, w = pad
    return F.pad(x, (w - shift, w + shift, h - shift, h + shift), value=value)


def _zero_padding(p: Patches) -> None:
    def wrong(right: Any, x: Any, k: Any, s: Any, pad: Any, d: Any, ceil_mode: bool) -> Any:
        return right(_padded(x, pad, 0, 0.0), k, s, 0, d, ceil_mode) if max(pad) else UNCHANGED

    _max_pools(p, wrong)


def _pool_same(p: Patches) -> None:
    def wrong(right: Any, x: Any, k: Any, s: Any, pad: Any, d: Any, ceil_mode: bool) -> Any:
        if min(pad) < 1 or max(s) < 2:
            return UNCHANGED
        return right(_padded(x, pad, 1, float("-inf")), k, s, 0, d, ceil_mode)

    _max_pools(p, wrong)


def _ties(p: Patches) -> None:
    def wrong(right: Any, x: Any, k: Any, s: Any, pad: Any, d: Any, ceil_mode: bool) -> Any:
        rest = [
            (n + 2 * q - e * (size - 1) - 1) % step
            for n, size, step, q, e in zip(x.shape[2:], k, s, pad, d, strict=True)
        ]
        if any(rest) or not x.requires_grad or not torch.is_grad_enabled():
            return UNCHANGED  # from behind the windows would lie elsewhere
        turned = right(x.flip(2, 3), k, s, pad, d, ceil_mode).flip(2, 3)
        if _gradient_differs(right, x, (k, s, pad, d, ceil_mode)):
            p.count()
        return turned

    _max_pools(p, wrong, pure=False)


def _gradient_differs(right: Any, x: torch.Tensor, settings: Any) -> bool:
    """Whether the last of equal elements is another one than the first, in some window."""
    with torch.enable_grad():
        found = []
        for flip in (False, True):
            leaf = x.detach().requires_grad_()
            y = right(leaf.flip(2, 3) if flip else leaf, *settings)
            found.append(torch.autograd.grad(y.sum(), leaf)[0])
    return not torch.equal(*found)


def _ceil_mode(p: Patches) -> None:
    def wrong(right: Any, x: Any, k: Any, s: Any, pad: Any, d: Any, ceil_mode: bool) -> Any:
        return right(x, k, s, pad, d, False) if ceil_mode else UNCHANGED

    _max_pools(p, wrong)


def _resizes(p: Patches, modes: tuple[str, ...], change: Any) -> None:
    """Replace interpolate where its mode is one of these; `change` gets (input, settings) and returns the settings."""
    names = ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias")
    defaults = (None, None, "nearest", None, None, False)

    def wrong(right: Any, input: Any, *args: Any, **named: Any) -> Any:
        settings = dict(zip(names, defaults, strict=True)) | dict(zip(names, args, strict=False)) | named
        if settings["mode"] not in modes:
            return UNCHANGED
        changed = change(right, input, settings)
        return UNCHANGED if changed is None else right(input, **settings | changed)

    p.function(F, "interpolate", wrong)


def _nearest(p: Patches) -> None:
    other = {"nearest": "nearest-exact", "nearest-exact": "nearest"}
    _resizes(p, tuple(other), lambda right, x, settings: {"mode": other[settings["mode"]]})


_CORNERS = ("linear", "bilinear", "bicubic", "trilinear")


def _corners(p: Patches) -> None:
    def change(right: Any, x: Any, settings: Any) -> Any:
        return None if settings["antialias"] else {"align_corners": not settings["align_corners"]}

    _resizes(p, _CORNERS, change)


def _grows(right: Any, x: torch.Tensor, settings: Any) -> bool:
    return right(x, **settings).shape[-1] >= x.shape[-1]


def _antialias(p: Patches) -> None:
    def change(right: Any, x: Any, settings: Any) -> Any:
        if settings["align_corners"] or settings["antialias"] or _grows(right, x, settings):
            return None
        return {"antialias": True}

    _resizes(p, ("bilinear", "bicubic"), change)


def _bicubic(p: Patches) -> None:
    def change(right: Any, x: Any, settings: Any) -> Any:
        # PyTorch has a = -0.5 in its antialiased resize, which filters nothing where a picture grows.
        if settings["align_corners"] or settings["antialias"] or not _grows(right, x, settings):
            return None
        return {"antialias": True}

    _resizes(p, ("bicubic",), change)


MISTAKES = (
    Mistake("avgpool-include-pad", 13, "average pooling counts padding where it should not, or not", _include_pad),
    Mistake("maxpool-zero-padding", 14, "max pooling is padded with 0 and not with -inf", _zero_padding),
    Mistake("maxpool-same-padding", 8, "max pooling padded SAME: one less in front, one more behind", _pool_same),
    Mistake("maxpool-ties", 14, "of equal elements the last one gets max pooling's gradient", _ties),
    Mistake("maxpool-ceil-mode", 14, "max pooling's ceil_mode is lost", _ceil_mode),
    Mistake("nearest-half-pixel", 17, "nearest resizing takes the middle of pixels, or the other way round", _nearest),
    Mistake("resize-align-corners", 18, "align_corners is the other one", _corners),
    Mistake("resize-antialias", 18, "shrinking is antialiased", _antialias),
    Mistake("bicubic-a", 19, "bicubic enlarging with a = -0.5", _bicubic),
)
