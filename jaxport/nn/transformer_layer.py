"""The layers of a transformer: TransformerEncoderLayer, TransformerDecoderLayer."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import nnx
from jax.typing import DTypeLike

from .activation import ReLU, relu
from .activation_smooth import GELU, gelu
from .attention_module import MultiheadAttention
from .checks import positive_int
from .dropout import Dropout
from .linear import Linear
from .module import Module, fresh_rngs
from .norm import LayerNorm

Activation = str | Callable[[jax.Array], jax.Array]


def _activation(owner: str, activation: Activation) -> Callable[[jax.Array], jax.Array]:
    if not isinstance(activation, str):
        return activation
    if activation not in ("relu", "gelu"):
        raise ValueError(f"{owner}: activation must be 'relu', 'gelu' or a function of an array, got {activation!r}")
    return relu if activation == "relu" else gelu


class TransformerEncoderLayer(Module):
    """Apply self-attention and a feed-forward network, each with a shortcut and a LayerNorm (Vaswani et al. 2017).

    With A self-attention and F(x) = W₂ f(W₁ x + b₁) + b₂, both followed by dropout:
    x ← norm1(x + A(x)), x ← norm2(x + F(x)); `norm_first`: x ← x + A(norm1(x)), x ← x + F(norm2(x)).

    Axes: S sequence, N batch, E = `d_model`, H = `nhead`.

    Args:
        d_model: E, a multiple of `nhead`.
        nhead: H, number of heads.
        dim_feedforward: size between W₁ and W₂.
        dropout: probability, of attention weights, of the hidden values and after both blocks.
        activation: f, 'relu', 'gelu' or a function or module.
        layer_norm_eps: eps of the LayerNorms.
        batch_first: whether batched inputs are (N, S, E) rather than (S, N, E).
        norm_first: whether the LayerNorms come before the blocks.
        bias: whether linear maps and LayerNorms add one.
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (streams ``params`` and ``dropout``) or a seed.

    Raises:
        ValueError: a size is not positive, `d_model` is no multiple of `nhead`, `dropout` is outside [0, 1], or
            `activation` is another string.

    Differs from PyTorch: one path in training and evaluation. PyTorch's fast path (evaluation without gradients,
    `batch_first`, an even number of heads, relu or gelu) gives the same numbers, but NaN for a query whose keys are
    all masked, where the ordinary path attends to nothing.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerEncoderLayer.html
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        owner = "TransformerEncoderLayer"
        rngs = fresh_rngs(rngs, owner)
        positive_int(owner, "d_model", d_model)
        activation = _activation(owner, activation)
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype, rngs=rngs
        )
        self.linear1 = Linear(d_model, positive_int(owner, "dim_feedforward", dim_feedforward), bias, dtype, rngs=rngs)
        self.dropout = Dropout(dropout, rngs=rngs)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype, rngs=rngs)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout1 = Dropout(dropout, rngs=rngs)
        self.dropout2 = Dropout(dropout, rngs=rngs)
        is_relu, is_gelu = activation is relu or isinstance(activation, ReLU), activation is gelu
        self.activation_relu_or_gelu = 1 if is_relu else 2 if is_gelu or isinstance(activation, GELU) else 0
        self.activation = activation

    def forward(
        self,
        src: jax.Array,
        src_mask: jax.Array | None = None,
        src_key_padding_mask: jax.Array | None = None,
        is_causal: bool = False,
    ) -> jax.Array:
        """Return the layer's output, in the shape of `src`.

        Args:
            src: (S, N, E), (N, S, E) if `batch_first`, or (S, E) unbatched.
            src_mask: (S, S) or (N·H, S, S). Boolean: True is not allowed to attend. Floating: added to the scores.
            src_key_padding_mask: (N, S) or (S,). Boolean: True is ignored. Floating: added to the scores.
            is_causal: a hint that `src_mask`, which must be given, is causal.
        """
        if self.norm_first:
            src = src + self._sa_block(self.norm1(src), src_mask, src_key_padding_mask, is_causal)
            return src + self._ff_block(self.norm2(src))
        src = self.norm1(src + self._sa_block(src, src_mask, src_key_padding_mask, is_causal))
        return self.norm2(src + self._ff_block(src))

    def _sa_block(
        self, x: jax.Array, attn_mask: jax.Array | None, key_padding_mask: jax.Array | None, is_causal: bool
    ) -> jax.Array:
        attended, _ = self.self_attn(x, x, x, key_padding_mask, False, attn_mask, is_causal=is_causal)
        return self.dropout1(attended)

    def _ff_block(self, x: jax.Array) -> jax.Array:
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerDecoderLayer(Module):
    """Apply self-attention, attention to a memory and a feed-forward network, each with a shortcut and a LayerNorm.

    With A self-attention, M attention to the memory and F(x) = W₂ f(W₁ x + b₁) + b₂, each followed by dropout:
    x ← norm1(x + A(x)), x ← norm2(x + M(x)), x ← norm3(x + F(x)); `norm_first`: x ← x + A(norm1(x)), and so on.

    Axes: T target sequence, S memory sequence, N batch, E = `d_model`, H = `nhead`.

    Args:
        d_model: E, a multiple of `nhead`.
        nhead: H, number of heads.
        dim_feedforward: size between W₁ and W₂.
        dropout: probability, of attention weights, of the hidden values and after each block.
        activation: f, 'relu', 'gelu' or a function or module.
        layer_norm_eps: eps of the LayerNorms.
        batch_first: whether batched inputs are (N, T, E) rather than (T, N, E).
        norm_first: whether the LayerNorms come before the blocks.
        bias: whether linear maps and LayerNorms add one.
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (streams ``params`` and ``dropout``) or a seed.

    Raises:
        ValueError: a size is not positive, `d_model` is no multiple of `nhead`, `dropout` is outside [0, 1], or
            `activation` is another string.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerDecoderLayer.html
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        owner = "TransformerDecoderLayer"
        rngs = fresh_rngs(rngs, owner)
        positive_int(owner, "d_model", d_model)
        activation = _activation(owner, activation)

        def attention() -> MultiheadAttention:
            return MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype, rngs=rngs)

        self.self_attn = attention()
        self.multihead_attn = attention()
        self.linear1 = Linear(d_model, positive_int(owner, "dim_feedforward", dim_feedforward), bias, dtype, rngs=rngs)
        self.dropout = Dropout(dropout, rngs=rngs)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype, rngs=rngs)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm3 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout1 = Dropout(dropout, rngs=rngs)
        self.dropout2 = Dropout(dropout, rngs=rngs)
        self.dropout3 = Dropout(dropout, rngs=rngs)
        self.activation = activation

    def forward(
        self,
        tgt: jax.Array,
        memory: jax.Array,
        tgt_mask: jax.Array | None = None,
        memory_mask: jax.Array | None = None,
        tgt_key_padding_mask: jax.Array | None = None,
        memory_key_padding_mask: jax.Array | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> jax.Array:
        """Return the layer's output, in the shape of `tgt`.

        Args:
            tgt: (T, N, E), (N, T, E) if `batch_first`, or (T, E) unbatched.
            memory: (S, N, E), (N, S, E) if `batch_first`, or (S, E).
            tgt_mask: (T, T) or (N·H, T, T). Boolean: True is not allowed to attend. Floating: added to the scores.
            memory_mask: (T, S) or (N·H, T, S), likewise.
            tgt_key_padding_mask: (N, T) or (T,). Boolean: True is ignored. Floating: added to the scores.
            memory_key_padding_mask: (N, S) or (S,), likewise.
            tgt_is_causal: a hint that `tgt_mask`, which must be given, is causal.
            memory_is_causal: a hint that `memory_mask`, which must be given, is causal.
        """
        own = (tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        other = (memory_mask, memory_key_padding_mask, memory_is_causal)
        if self.norm_first:
            tgt = tgt + self._sa_block(self.norm1(tgt), *own)
            tgt = tgt + self._mha_block(self.norm2(tgt), memory, *other)
            return tgt + self._ff_block(self.norm3(tgt))
        tgt = self.norm1(tgt + self._sa_block(tgt, *own))
        tgt = self.norm2(tgt + self._mha_block(tgt, memory, *other))
        return self.norm3(tgt + self._ff_block(tgt))

    def _sa_block(
        self, x: jax.Array, attn_mask: jax.Array | None, key_padding_mask: jax.Array | None, is_causal: bool
    ) -> jax.Array:
        attended, _ = self.self_attn(x, x, x, key_padding_mask, False, attn_mask, is_causal=is_causal)
        return self.dropout1(attended)

    def _mha_block(
        self,
        x: jax.Array,
        mem: jax.Array,
        attn_mask: jax.Array | None,
        key_padding_mask: jax.Array | None,
        is_causal: bool,
    ) -> jax.Array:
        attended, _ = self.multihead_attn(x, mem, mem, key_padding_mask, False, attn_mask, is_causal=is_causal)
        return self.dropout2(attended)

    def _ff_block(self, x: jax.Array) -> jax.Array:
        return self.dropout3(self.linear2(self.dropout(self.activation(self.linear1(x)))))
