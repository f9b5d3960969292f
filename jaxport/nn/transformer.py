"""Transformer: encoder and decoder."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from . import init
from .activation import relu
from .module import Module, fresh_rngs
from .norm import LayerNorm
from .transformer_layer import Activation, TransformerDecoderLayer, TransformerEncoderLayer
from .transformer_stack import TransformerDecoder, TransformerEncoder


class Transformer(Module):
    """Encode a source sequence and decode a target sequence that attends to it (Vaswani et al. 2017).

    Every weight of more than one axis starts Glorot-uniform, those of custom encoders and decoders too, as in PyTorch.

    Axes: S source sequence, T target sequence, N batch, E = `d_model`, H = `nhead`.

    Args:
        d_model: E, a multiple of `nhead`.
        nhead: H, number of heads.
        num_encoder_layers: layers of the encoder.
        num_decoder_layers: layers of the decoder.
        dim_feedforward: hidden size of the feed-forward networks.
        dropout: probability throughout.
        activation: of the feed-forward networks: 'relu', 'gelu' or a function or module.
        custom_encoder: a module in place of the encoder.
        custom_decoder: a module in place of the decoder.
        layer_norm_eps: eps of the LayerNorms.
        batch_first: whether batched inputs are (N, S, E) rather than (S, N, E).
        norm_first: whether LayerNorms come before the blocks.
        bias: whether linear maps and LayerNorms add one.
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (streams ``params`` and ``dropout``) or a seed.

    Raises:
        ValueError: as TransformerEncoderLayer, and a number of layers that is not positive.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Transformer.html
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        rngs = fresh_rngs(rngs, "Transformer")
        sizes = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias)

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        if custom_encoder is None:
            encoder_layer = TransformerEncoderLayer(*sizes, dtype=dtype, rngs=rngs)
            custom_encoder = TransformerEncoder(encoder_layer, num_encoder_layers, norm())
        self.encoder = custom_encoder
        if custom_decoder is None:
            decoder_layer = TransformerDecoderLayer(*sizes, dtype=dtype, rngs=rngs)
            custom_decoder = TransformerDecoder(decoder_layer, num_decoder_layers, norm())
        self.decoder = custom_decoder
        self._reset_parameters(rngs)
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def _reset_parameters(self, rngs: nnx.Rngs) -> None:
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter, generator=rngs.params())

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: DTypeLike | None = None) -> jax.Array:
        """Return the causal mask (sz, sz) to be added: -inf above the diagonal, 0 elsewhere; dtype None is float32.

        With dtype bool: True above the diagonal.
        """
        above = jnp.triu(jnp.ones((sz, sz), jnp.bool_), 1)
        dtype = jnp.float32 if dtype is None else jnp.dtype(dtype)
        return above if dtype == jnp.bool_ else jnp.where(above, -jnp.inf, 0.0).astype(dtype)

    def forward(
        self,
        src: jax.Array,
        tgt: jax.Array,
        src_mask: jax.Array | None = None,
        tgt_mask: jax.Array | None = None,
        memory_mask: jax.Array | None = None,
        src_key_padding_mask: jax.Array | None = None,
        tgt_key_padding_mask: jax.Array | None = None,
        memory_key_padding_mask: jax.Array | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> jax.Array:
        """Return the decoder's output, in the shape of `tgt`.

        Args:
            src: (S, N, E), (N, S, E) if `batch_first`, or (S, E) unbatched.
            tgt: (T, N, E), (N, T, E) if `batch_first`, or (T, E).
            src_mask: (S, S) or (N·H, S, S). Boolean: True is not allowed to attend. Floating: added to the scores.
            tgt_mask: (T, T) or (N·H, T, T), likewise.
            memory_mask: (T, S) or (N·H, T, S), likewise.
            src_key_padding_mask: (N, S) or (S,). Boolean: True is ignored. Floating: added to the scores.
            tgt_key_padding_mask: (N, T) or (T,), likewise.
            memory_key_padding_mask: (N, S) or (S,), likewise; `src_key_padding_mask` is not passed on by itself.
            src_is_causal: a hint that `src_mask` is causal.
            tgt_is_causal: a hint that `tgt_mask` is causal.
            memory_is_causal: a hint that `memory_mask` is causal.

        Raises:
            ValueError: the batches differ, or an input's last axis is not `d_model`.
        """
        batch = 0 if self.batch_first else 1
        if src.ndim == 3 and tgt.ndim == 3 and src.shape[batch] != tgt.shape[batch]:
            raise ValueError(f"Transformer: src {src.shape} and tgt {tgt.shape} must have one batch (axis {batch})")
        for name, array in (("src", src), ("tgt", tgt)):
            if array.shape[-1] != self.d_model:
                raise ValueError(f"Transformer: {name} must end in d_model {self.d_model}, got shape {array.shape}")
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )
