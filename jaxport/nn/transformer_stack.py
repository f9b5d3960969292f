"""Stacks of transformer layers: TransformerEncoder, TransformerDecoder."""

from __future__ import annotations

import copy

import jax
from flax import nnx

from .checks import positive_int
from .container import ModuleList
from .module import Module


def _clones(owner: str, layer: Module, number: int) -> ModuleList:
    """Copy `layer` with equal weights; each copy drops by random streams of its own."""
    copies = [copy.deepcopy(layer) for _ in range(positive_int(owner, "num_layers", number))]
    for index, clone in enumerate(copies):
        for _, node in nnx.iter_graph(clone):
            if isinstance(node, nnx.RngKey):
                node.set_value(jax.random.split(node[...], number)[index])
    return ModuleList(copies)


class TransformerEncoder(Module):
    """Apply `num_layers` encoder layers one after the other, and `norm` at the end.

    The layers are copies of `encoder_layer` and start with the same weights, as in PyTorch.

    Args:
        encoder_layer: a TransformerEncoderLayer, or a module called in its way.
        num_layers: number of copies.
        norm: a module applied at the end, or None.
        enable_nested_tensor: accepted and without effect.
        mask_check: accepted and without effect.

    Raises:
        ValueError: `num_layers` is not a positive integer (PyTorch's fails when called with none).

    Differs from PyTorch: padded positions are computed as all others. In evaluation without gradients, with
    `enable_nested_tensor`, `batch_first` layers and `src_key_padding_mask` the only mask, True at the ends of the
    sequences only, PyTorch skips them and gives zeros (or `norm` of zeros) there. What stands at padded positions has
    no meaning and no effect on the others.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerEncoder.html
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        self.layers = _clones("TransformerEncoder", encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check

    def forward(
        self,
        src: jax.Array,
        mask: jax.Array | None = None,
        src_key_padding_mask: jax.Array | None = None,
        is_causal: bool | None = None,
    ) -> jax.Array:
        """Return the last layer's output, normalised, in the shape of `src`.

        Args:
            src: (S, N, E), (N, S, E) if the layers are `batch_first`, or (S, E) unbatched.
            mask: (S, S) or (N·H, S, S). Boolean: True is not allowed to attend. Floating: added to the scores.
            src_key_padding_mask: (N, S) or (S,). Boolean: True is ignored. Floating: added to the scores.
            is_causal: a hint that `mask`, which must be given, is causal. None means no hint: PyTorch looks whether
                the mask is causal, which changes no number.
        """
        for layer in self.layers:
            src = layer(src, src_mask=mask, is_causal=is_causal is True, src_key_padding_mask=src_key_padding_mask)
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """Apply `num_layers` decoder layers one after the other, each attending to the same memory, and `norm` at the end.

    The layers are copies of `decoder_layer` and start with the same weights, as in PyTorch.

    Args:
        decoder_layer: a TransformerDecoderLayer, or a module called in its way.
        num_layers: number of copies.
        norm: a module applied at the end, or None.

    Raises:
        ValueError: `num_layers` is not a positive integer (PyTorch's fails when called with none).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerDecoder.html
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        self.layers = _clones("TransformerDecoder", decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: jax.Array,
        memory: jax.Array,
        tgt_mask: jax.Array | None = None,
        memory_mask: jax.Array | None = None,
        tgt_key_padding_mask: jax.Array | None = None,
        memory_key_padding_mask: jax.Array | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> jax.Array:
        """Return the last layer's output, normalised, in the shape of `tgt`; arguments as TransformerDecoderLayer's.

        `tgt_is_causal` None means no hint: PyTorch looks whether `tgt_mask` is causal, which changes no number.
        """
        for layer in self.layers:
            tgt = layer(
                tgt,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=tgt_is_causal is True,
                memory_is_causal=memory_is_causal,
            )
        return tgt if self.norm is None else self.norm(tgt)
