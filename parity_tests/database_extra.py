"""Inputs for the modules that PyTorch's database does not list, in its form, so that the same checks run on them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

torch = pytest.importorskip("torch")
tn = torch.nn


@dataclass
class Call:
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass
class Entry:
    constructor_input: Call
    forward_input: Call
    desc: str = ""


@dataclass
class Info:
    """What the database says of a module."""

    module_cls: Any
    module_inputs_func: Callable[..., list[Entry]]
    module_error_inputs_func: None = None


def construct(*args: Any, **kwargs: Any) -> Call:
    return Call(args, kwargs)


def normal(*shape: int) -> Any:
    return (0.3 + torch.randn(shape, dtype=torch.float64)).requires_grad_()


def pooled(dims: int, *options: Any) -> list[Any]:
    """Return what a max pooling of that many dimensions gives, to be put back."""
    values, indices = getattr(tn.functional, f"max_pool{dims}d")(
        normal(2, 3, *(6, 8, 10)[:dims]), *options, return_indices=True
    )
    return [values.detach().requires_grad_(), indices]


def classes(count: int, *shape: int) -> Any:
    return torch.randint(0, count, shape)


# name → rows of (constructor, forward), drawn when called.
ROWS: dict[str, Callable[[], list[tuple[Call, tuple[Any, ...]]]]] = {
    "AdaptiveLogSoftmaxWithLoss": lambda: [
        (construct(17, 12, [3, 7]), (normal(6, 17), classes(12, 6))),
        (construct(16, 11, [2, 5], 2.0, True), (normal(4, 16), torch.tensor([0, 4, 10, 3]))),
        (construct(17, 12, [3, 7]), (normal(17), torch.tensor(8))),
    ],
    "AlphaDropout": lambda: [(construct(0.0), (normal(4, 3),))],
    "Dropout": lambda: [(construct(0.0), (normal(4, 3),))],
    "Dropout1d": lambda: [(construct(0.0), (normal(4, 3, 5),))],
    "Dropout2d": lambda: [(construct(0.0), (normal(4, 3, 5, 2),))],
    "Dropout3d": lambda: [(construct(0.0), (normal(4, 3, 5, 2, 3),))],
    "FeatureAlphaDropout": lambda: [(construct(0.0), (normal(4, 3, 5, 2),))],
    "ChannelShuffle": lambda: [(construct(3), (normal(2, 6, 3, 5),)), (construct(2), (normal(2, 4, 3),))],
    "CosineSimilarity": lambda: [
        (construct(), (normal(4, 5), normal(4, 5))),
        (construct(dim=2, eps=0.5), (normal(2, 3, 4), normal(2, 3, 4))),
    ],
    "CrossMapLRN2d": lambda: [
        (construct(3), (normal(2, 5, 3, 4),)),
        (construct(5, 0.1, 0.6, 2.0), (normal(2, 7, 3, 4),)),
    ],
    "EmbeddingBag": lambda: [
        (construct(10, 3), (classes(10, 4, 5),)),
        (construct(10, 3, mode="sum", padding_idx=2), (classes(10, 9), torch.tensor([0, 4, 4, 7]))),
        (construct(10, 3, mode="max"), (classes(10, 9), torch.tensor([0, 4, 7]))),
    ],
    "Flatten": lambda: [(construct(), (normal(2, 3, 4, 5),)), (construct(2, -1), (normal(2, 3, 4, 5),))],
    "Unflatten": lambda: [(construct(1, (2, 3)), (normal(4, 6, 5),)), (construct(-1, (5, -1)), (normal(4, 10),))],
    "Fold": lambda: [
        (construct((4, 5), (2, 2)), (normal(2, 12, 12),)),
        (construct((5, 4), 3, dilation=1, padding=1, stride=2), (normal(2, 18, 6),)),
    ],
    "Unfold": lambda: [
        (construct((2, 3)), (normal(2, 3, 5, 6),)),
        (construct(3, dilation=2, padding=2, stride=(2, 1)), (normal(2, 3, 6, 7),)),
    ],
    "Hardsigmoid": lambda: [(construct(), (3.0 * normal(4, 5),))],
    "Identity": lambda: [(construct(54, unused=0.1), (normal(4, 5),))],
    "MaxUnpool1d": lambda: [(construct(2), tuple(pooled(1, 2))), (construct(3, 2), tuple(pooled(1, 3, 2)))],
    "MaxUnpool2d": lambda: [(construct(2), tuple(pooled(2, 2))), (construct((3, 2), (3, 2)), tuple(pooled(2, (3, 2))))],
    "MaxUnpool3d": lambda: [(construct(2), tuple(pooled(3, 2)))],
    "PairwiseDistance": lambda: [
        (construct(), (normal(4, 5), normal(4, 5))),
        (construct(1.0, keepdim=True), (normal(4, 5), normal(4, 5))),
        (construct(float("inf")), (normal(4, 5), normal(4, 5))),
    ],
    "PixelShuffle": lambda: [(construct(2), (normal(2, 8, 3, 5),)), (construct(3), (normal(9, 2, 3),))],
    "PixelUnshuffle": lambda: [(construct(2), (normal(2, 3, 4, 6),)), (construct(3), (normal(2, 6, 3),))],
    "RReLU": lambda: [(construct(0.2, 0.2), (normal(4, 5),))],
    "Sequential": lambda: [
        (construct(tn.Linear(5, 4), tn.ReLU(), tn.Linear(4, 3)), (normal(2, 5),)),
        (construct(OrderedDict(first=tn.Linear(5, 4), act=tn.Tanh())), (normal(2, 5),)),
        (construct(), (normal(2, 5),)),
    ],
    "TransformerDecoder": lambda: [
        (
            construct(tn.TransformerDecoderLayer(6, 2, 7, 0.0, batch_first=True), 2),
            (normal(2, 3, 6), normal(2, 4, 6)),
        ),
        (
            construct(tn.TransformerDecoderLayer(6, 3, 7, 0.0, "gelu", norm_first=True), 2, tn.LayerNorm(6)),
            (normal(3, 2, 6), normal(4, 2, 6)),
        ),
    ],
    "TripletMarginLoss": lambda: [
        (construct(), (normal(4, 5), normal(4, 5), normal(4, 5))),
        (construct(2.0, 1.0, swap=True, reduction="none"), (normal(4, 5), normal(4, 5), normal(4, 5))),
    ],
    "TripletMarginWithDistanceLoss": lambda: [
        (construct(), (normal(4, 5), normal(4, 5), normal(4, 5))),
        (
            construct(distance_function=tn.PairwiseDistance(), margin=2.0, swap=True),
            (normal(4, 5), normal(4, 5), normal(4, 5)),
        ),
    ],
    "Upsample": lambda: [
        (construct(scale_factor=2), (normal(2, 3, 4, 5),)),
        (construct((7, 3), mode="bilinear", align_corners=True), (normal(2, 3, 4, 5),)),
        (construct(scale_factor=(1.5, 2.5), mode="bicubic"), (normal(2, 3, 4, 5),)),
        (construct(scale_factor=1.7, mode="linear", recompute_scale_factor=True), (normal(2, 3, 9),)),
        (construct(scale_factor=2.0, mode="trilinear"), (normal(1, 2, 3, 4, 2),)),
    ],
    "UpsamplingBilinear2d": lambda: [(construct(scale_factor=3), (normal(2, 3, 4, 5),))],
    "UpsamplingNearest2d": lambda: [(construct((6, 9)), (normal(2, 3, 4, 5),))],
}


def _info(name: str) -> Info:
    def inputs(*_: Any, **__: Any) -> list[Entry]:
        return [Entry(made, Call(forward, {})) for made, forward in ROWS[name]()]

    return Info(getattr(tn, name), inputs)


EXTRA = {name: _info(name) for name in ROWS}
