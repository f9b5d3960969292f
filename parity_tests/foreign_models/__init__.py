"""Five public architectures, each written twice: as Flax or Equinox users would, and as PyTorch users would.

Neither side knows the other's names or structure, nor jaxport's layers. Beside each stand mistakes that porters make.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from . import (
    gpt_jax,
    gpt_torch,
    resnet_jax,
    resnet_torch,
    tagger_jax,
    tagger_torch,
    unet_jax,
    unet_torch,
    vit_jax,
    vit_torch,
)


@dataclass(frozen=True)
class Planted:
    """A JAX model with one mistake.

    Attributes:
        build: makes it.
        where: PyTorch's paths of which one, or a part of one, must be the first tensor that differs.
        kind: the first tensor's kind.
    """

    build: Callable[[], Any]
    where: tuple[str, ...]
    kind: str = "output"

    @property
    def name(self) -> str:
        """What is planted."""
        return self.build.__name__


@dataclass(frozen=True)
class Foreign:
    """One architecture on both sides.

    Attributes:
        name: what it is.
        jax: makes the JAX model.
        torch: makes PyTorch's.
        inputs: draws the inputs, in PyTorch's axes.
        planted: JAX models with a mistake.
        channels_last: whether the JAX model takes pictures (N, H, W, C).
    """

    name: str
    jax: Callable[[], Any]
    torch: Callable[[], torch.nn.Module]
    inputs: Callable[[np.random.Generator], np.ndarray]
    planted: tuple[Planted, ...]
    channels_last: bool = False


def _pictures(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.normal(0.3, 1.0, shape).astype(np.float32)


def _words(count: int, *shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.integers(0, count, shape)


FOREIGN = (
    Foreign(
        "resnet",
        resnet_jax.build,
        resnet_torch.ResNet,
        _pictures(2, 3, 28, 20),
        (
            Planted(resnet_jax.wrong_eps, ("layer1.0.body.4",)),
            Planted(resnet_jax.same_padding, ("conv1",)),
            Planted(resnet_jax.skip_after_relu, ("layer2.1", "fc")),
            Planted(resnet_jax.biased_variance, ("layer2.0.body.1.running_var",), "buffer"),
        ),
        channels_last=True,
    ),
    Foreign(
        "gpt",
        gpt_jax.build,
        gpt_torch.GPT,
        _words(29, 5, 7),
        (
            Planted(gpt_jax.tanh_gelu, ("h.1.mlp",)),
            Planted(gpt_jax.unscaled_attention, ("h.1.attn",)),
            Planted(gpt_jax.mask_off_by_one, ("h.0.attn",)),
            Planted(gpt_jax.norm_eps, ("ln_f",)),
        ),
    ),
    Foreign(
        "vit",
        vit_jax.build,
        vit_torch.ViT,
        _pictures(7, 3, 12, 20),
        (
            Planted(vit_jax.flatten_order, ("patch_embed", "blocks.0")),
            Planted(vit_jax.last_token, ("head",)),
            Planted(vit_jax.norm_eps, ("blocks.1.norm1",)),
        ),
        channels_last=True,
    ),
    Foreign(
        "unet",
        unet_jax.build,
        unet_torch.UNet,
        _pictures(2, 3, 20, 12),
        (
            Planted(unet_jax.swapped_skip, ("dec2",)),
            Planted(unet_jax.norm_eps, ("bottom.4",)),
            Planted(unet_jax.shifted_transpose, ("up1",)),
        ),
    ),
    Foreign(
        "tagger",
        tagger_jax.build,
        tagger_torch.Tagger,
        _words(23, 3, 7),
        (
            Planted(tagger_jax.swapped_gates, ("lstm",)),
            Planted(tagger_jax.swapped_directions, ("lstm",)),
            Planted(tagger_jax.padding_is_trained, ("embedding",), "gradient"),
        ),
    ),
)
"""Every architecture."""
