"""MultiheadAttention."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from . import init
from .attention_heads import each_once
from .attention_multihead import multi_head_attention_forward
from .checks import positive_int, probability
from .dropout import _replayed
from .linear import Linear
from .module import Module, Parameter, fresh_rngs


class NonDynamicallyQuantizableLinear(Linear):
    """A Linear under the name that PyTorch prints for the output projection of attention."""


class MultiheadAttention(Module):
    """Attend in `num_heads` subspaces at once, with trained projections (Vaswani et al. 2017).

    headᵢ = softmax(Qᵢ Kᵢᵀ / √(E/H) + masks) Vᵢ with [Q, K, V] = x Wᵀ + b cut into H heads; output = heads W_oᵀ + b_o.

    Axes: L queries, S keys, N batch, E = `embed_dim`, H = `num_heads`.

    Parameters: `in_proj_weight` (3E, E), W_q, W_k and W_v stacked, or where `kdim` or `vdim` differ from E
    `q_proj_weight` (E, E), `k_proj_weight` (E, kdim) and `v_proj_weight` (E, vdim); `in_proj_bias` (3E,); `bias_k`,
    `bias_v` (1, 1, E); `out_proj.weight` (E, E), `out_proj.bias` (E,). Weights start Glorot-uniform, `bias_k` and
    `bias_v` Glorot-normal, the other biases at 0, `out_proj.weight` as in Linear.

    Args:
        embed_dim: E, a multiple of `num_heads`.
        num_heads: H.
        dropout: probability of an attention weight to be zeroed while training.
        bias: whether the projections add a bias.
        add_bias_kv: whether a trained key and value are appended to the sequence.
        add_zero_attn: whether a key and value of zeros are appended.
        kdim: features of the keys; None means E.
        vdim: features of the values; None means E.
        batch_first: whether batched inputs are (N, L, E) rather than (L, N, E).
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (streams ``params`` and ``dropout``) or a seed.

    Raises:
        ValueError: a size is not positive, `embed_dim` is no multiple of `num_heads`, or `dropout` is outside [0, 1].

    Differs from PyTorch: one path in training and evaluation. PyTorch's fast path (evaluation without gradients,
    `batch_first`, an even number of heads, self-attention) gives the same numbers but for a query whose keys are all
    masked: there it gives NaN whether or not weights are wanted, the ordinary path only if they are.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        owner = "MultiheadAttention"
        rngs = fresh_rngs(rngs, owner)
        self.embed_dim = positive_int(owner, "embed_dim", embed_dim)
        self.kdim = embed_dim if kdim is None else positive_int(owner, "kdim", kdim)
        self.vdim = embed_dim if vdim is None else positive_int(owner, "vdim", vdim)
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = positive_int(owner, "num_heads", num_heads)
        if embed_dim % num_heads:
            raise ValueError(f"{owner}: embed_dim must be a multiple of num_heads {num_heads}, got {embed_dim}")
        self.dropout = probability(owner, "dropout", dropout)
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        self.add_zero_attn = add_zero_attn
        self._make_parameters(bias, add_bias_kv, jnp.float32 if dtype is None else dtype, rngs)
        self.rngs = rngs["dropout"].fork()
        self._reset_parameters(rngs)

    def _make_parameters(self, bias: bool, add_bias_kv: bool, dtype: DTypeLike, rngs: nnx.Rngs) -> None:
        size, packed = self.embed_dim, self._qkv_same_embed_dim

        def parameter(wanted: bool, *shape: int) -> nnx.Param | None:
            return Parameter(jnp.zeros(shape, dtype)) if wanted else None

        self.q_proj_weight = parameter(not packed, size, size)
        self.k_proj_weight = parameter(not packed, size, self.kdim)
        self.v_proj_weight = parameter(not packed, size, self.vdim)
        self.in_proj_weight = parameter(packed, 3 * size, size)
        self.in_proj_bias = parameter(bias, 3 * size)
        self.out_proj = NonDynamicallyQuantizableLinear(size, size, bias, dtype, rngs=rngs)
        self.bias_k = parameter(add_bias_kv, 1, 1, size)
        self.bias_v = parameter(add_bias_kv, 1, 1, size)

    def _reset_parameters(self, rngs: nnx.Rngs) -> None:
        """Draw new initial values; as in PyTorch, those of `out_proj.weight` stay."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight, generator=rngs.params())
        if self.in_proj_bias is not None and self.out_proj.bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias, generator=rngs.params())

    def _dropout_key(self) -> jax.Array | None:
        # Drawn only when used, so that evaluation and replay leave the stream where it was.
        needed = self.training and 0.0 < self.dropout < 1.0 and _replayed.get() is None
        return self.rngs() if needed else None

    def forward(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        key_padding_mask: jax.Array | None = None,
        need_weights: bool = True,
        attn_mask: jax.Array | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Return the output and the attention weights, or None for them.

        Args:
            query: (L, N, E), (N, L, E) if `batch_first`, or (L, E) unbatched.
            key: (S, N, kdim), (N, S, kdim) if `batch_first`, or (S, kdim).
            value: (S, N, vdim), (N, S, vdim) if `batch_first`, or (S, vdim).
            key_padding_mask: (N, S) or (S,). Boolean: True is ignored. Floating: added to the scores.
            need_weights: whether the weights are returned.
            attn_mask: (L, S) or (N·H, L, S). Boolean: True is NOT allowed to attend (the opposite of
                scaled_dot_product_attention's). Floating: added to the scores.
            average_attn_weights: whether the weights are averaged over heads.
            is_causal: a hint that `attn_mask`, which must be given, is causal: see multi_head_attention_forward.

        Returns:
            The output in query's layout, and the weights after dropout: (N, L, S) averaged or (N, H, L, S), without N
            if unbatched. A query whose keys are all masked by -inf gives NaN with `need_weights`, and the output
            projection's bias without.

        Raises:
            TypeError: dtypes differ, or a mask is neither boolean nor floating.
            ValueError: shapes do not fit, or `is_causal` without `attn_mask`.
        """
        swap = self.batch_first and query.ndim == 3
        if swap and key.ndim == value.ndim == 3:
            query, key, value = each_once(lambda x: x.swapaxes(0, 1), query, key, value)

        def read(parameter: nnx.Param | None) -> jax.Array | None:
            return None if parameter is None else parameter[...]

        output, weights = multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            read(self.in_proj_weight),
            read(self.in_proj_bias),
            read(self.bias_k),
            read(self.bias_v),
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight[...],
            read(self.out_proj.bias),
            self.training,
            key_padding_mask,
            need_weights,
            attn_mask,
            not self._qkv_same_embed_dim,
            read(self.q_proj_weight),
            read(self.k_proj_weight),
            read(self.v_proj_weight),
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
            dropout_key=self._dropout_key(),
        )
        return (output.swapaxes(0, 1) if swap else output), weights
