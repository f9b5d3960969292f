"""Mistakes in linear layers, convolutions, flattening and embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from .patching import UNCHANGED, Mistake, Patches, pair


def _transposed(p: Patches) -> None:
    def wrong(right: Any, input: Any, weight: Any, bias: Any = None) -> Any:
        square = weight.ndim == 2 and weight.shape[0] == weight.shape[1]
        return right(input, weight.T, bias) if square else UNCHANGED

    p.function(F, "linear", wrong)


def _linear_bias(p: Patches) -> None:
    p.function(F, "linear", lambda right, input, weight, bias=None: right(input, weight))


def _convolutions(p: Patches, wrong: Any) -> None:
    for name in ("conv1d", "conv2d", "conv3d"):
        p.function(F, name, wrong)


def _conv_bias(p: Patches) -> None:
    _convolutions(p, lambda right, input, weight, bias=None, *rest, **named: right(input, weight, None, *rest, **named))


def _flipped(weight: torch.Tensor) -> torch.Tensor:
    return weight.flip(tuple(range(2, weight.ndim)))


def _kernel_flip(p: Patches) -> None:
    _convolutions(p, lambda right, input, weight, *rest, **named: right(input, _flipped(weight), *rest, **named))


def _kernel_transposed(p: Patches) -> None:
    def wrong(right: Any, input: Any, weight: Any, *rest: Any, **named: Any) -> Any:
        square = weight.shape[-1] == weight.shape[-2]
        return right(input, weight.transpose(-1, -2), *rest, **named) if square else UNCHANGED

    p.function(F, "conv2d", wrong)


def _input_output_swapped(p: Patches) -> None:
    def wrong(right: Any, input: Any, weight: Any, *rest: Any, **named: Any) -> Any:
        square = weight.shape[0] == weight.shape[1]
        return right(input, weight.transpose(0, 1), *rest, **named) if square else UNCHANGED

    _convolutions(p, wrong)


def _same_padding(p: Patches) -> None:
    def wrong(
        right: Any,
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        *rest: Any,
        **named: Any,
    ) -> Any:
        if isinstance(padding, str) or max(pair(stride)) < 2 or min(pair(padding)) < 1:
            return UNCHANGED
        (h, w) = pair(padding)
        return right(F.pad(input, (w - 1, w + 1, h - 1, h + 1)), weight, bias, stride, 0, *rest, **named)

    p.function(F, "conv2d", wrong)


def _transpose_flip(p: Patches) -> None:
    def wrong(right: Any, input: Any, weight: Any, *rest: Any, **named: Any) -> Any:
        return right(input, _flipped(weight), *rest, **named)

    for name in ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"):
        p.function(F, name, wrong)


def _transpose_crop(p: Patches) -> None:
    def wrong(
        right: Any,
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        *rest: Any,
        **named: Any,
    ) -> Any:
        h, w = pair(padding)
        if min(h, w) < 1:
            return UNCHANGED
        return right(input, weight, bias, stride, (h - 1, w - 1), *rest, **named)[..., 2:, 2:]

    p.function(F, "conv_transpose2d", wrong)


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.movedim(1, -1).reshape(x.shape[0], -1)


def _flatten_order(p: Patches) -> None:
    def flatten(right: Any, input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
        whole = input.ndim > 2 and start_dim == 1 and end_dim in (-1, input.ndim - 1)
        return _channels_last(input) if whole else UNCHANGED

    def view(right: Any, input: Any, *shape: Any) -> Any:
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list | torch.Size) else shape
        flat = input.ndim > 3 and len(sizes) == 2 and sizes[0] in (input.shape[0], -1)
        if not flat or right(input, *shape).shape[0] != input.shape[0]:
            return UNCHANGED
        return _channels_last(input)

    p.function(torch, "flatten", flatten)
    p.function(torch.Tensor, "flatten", flatten)
    p.function(torch.Tensor, "view", view)
    p.function(torch.Tensor, "reshape", view)


def _padding_gradient(p: Patches) -> None:
    def wrong(right: Any, input: Any, weight: Any, padding_idx: Any = None, *rest: Any, **named: Any) -> Any:
        if padding_idx is None or not weight.requires_grad or not torch.is_grad_enabled():
            return UNCHANGED
        if bool((input == padding_idx % len(weight)).any()):
            p.count()
        return right(input, weight, None, *rest, **named)

    p.function(F, "embedding", wrong, pure=False)


def _positions(p: Patches) -> None:
    def wrong(right: Any, input: Any, weight: Any, *rest: Any, **named: Any) -> Any:
        row = input.reshape(-1, input.shape[-1])[0] if input.ndim else input
        if input.ndim == 0 or len(row) < 2 or not torch.equal(row, torch.arange(len(row), dtype=row.dtype)):
            return UNCHANGED
        return right((input + 1) % len(weight), weight, *rest, **named)

    p.function(F, "embedding", wrong)


MISTAKES = (
    Mistake("linear-square-transposed", None, "a square weight is transposed", _transposed),
    Mistake("linear-bias-missing", None, "linear layers without their bias", _linear_bias),
    Mistake("conv-bias-missing", None, "convolutions without their bias", _conv_bias),
    Mistake("conv-kernel-flipped", 9, "convolution instead of correlation: the kernel is flipped", _kernel_flip),
    Mistake("conv-kernel-transposed", None, "height and width of a square kernel are swapped", _kernel_transposed),
    Mistake("conv-channels-swapped", None, "input and output channels of a kernel are swapped", _input_output_swapped),
    Mistake("conv-same-padding", 8, "SAME padding at stride 2: one less in front, one more behind", _same_padding),
    Mistake("transpose-kernel-flipped", 9, "a transposed convolution's kernel is not flipped", _transpose_flip),
    Mistake("transpose-crop-shifted", 9, "a transposed convolution is cropped one too far in front", _transpose_crop),
    Mistake("flatten-order", 7, "pictures are flattened channels last", _flatten_order),
    Mistake("embedding-padding-trained", 23, "the row of padding_idx gets a gradient", _padding_gradient),
    Mistake("positions-off-by-one", None, "positions count from 1", _positions),
)
