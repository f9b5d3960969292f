"""Bags of rows of a lookup table: embedding_bag and EmbeddingBag."""

from __future__ import annotations

from typing import Literal, Self

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from .checks import index_in_range, same_dtype
from .embedding import Table
from .embedding_bags import Bags, bags_of_offsets, first_max, sum_or_mean
from .embedding_rows import (
    check_index,
    check_padding,
    check_weight,
    divided_by_frequency,
    renormalised_rows,
    take_rows,
)

Mode = Literal["sum", "mean", "max"]


def embedding_bag(
    input: jax.Array,
    weight: jax.Array,
    offsets: jax.Array | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: Mode = "mean",
    sparse: bool = False,
    per_sample_weights: jax.Array | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> jax.Array:
    """Reduce bags of rows of a table: y[b] = Σ_{i in bag b} s[i] · W[x[i]], or their mean or maximum.

    Args:
        input: x, indices: (B, N) are B bags of N; (n,) are the bags one after the other.
        weight: W, (V, D).
        offsets: (B,), where each bag of a vector `input` starts: from 0 and ascending, equal ones for empty bags.
        max_norm: rows of a larger norm are looked up scaled down to it; their gradient is that of W[x] all the same.
        norm_type: p of that norm.
        scale_grad_by_freq: whether the gradient of a row is divided by how often it occurs in `input`.
        mode: 'sum', 'mean' or 'max'. Of equal elements the first counts for the maximum's gradient.
        sparse: accepted and without effect: JAX's gradient is dense.
        per_sample_weights: s, the shape of `input`; with 'sum' only.
        include_last_offset: whether `offsets` has one entry more, the end of the last bag; what comes after is left
            out, so that `input` may be padded.
        padding_idx: the index that counts for nothing, neither in the sum nor in what a mean divides by.

    Returns:
        y, (B, D); empty bags are 0. Under tracing, where it cannot be checked, an index outside 0 … V - 1 gives NaN.

    Raises:
        ValueError: shapes, `offsets`, `mode` or `padding_idx` do not fit, or `mode` does not go with an option.
        TypeError: `input` or `offsets` are not int32 or int64, `weight` is not floating, or dtypes differ.
        IndexError: an index outside 0 … V - 1 where it can be seen: not under ``jax.jit``.

    Differs from PyTorch: with `max_norm`, PyTorch also writes the scaled rows into `weight`; a function cannot, the
    module `EmbeddingBag` does. What comes after the last offset is left out always; PyTorch does so for a float32 sum,
    and counts it in float64. Descending offsets are refused, where PyTorch reads memory that is not its own. With
    `scale_grad_by_freq` each row's gradient is divided by its own count; PyTorch's CPU kernel (2.13) takes the count of
    another row.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding_bag.html
    """
    _check(input, weight, offsets, scale_grad_by_freq, mode, sparse, per_sample_weights)
    padding = check_padding("embedding_bag", padding_idx, weight.shape[0])
    whole = input.ndim == 2
    bags = Bags(input.shape[0], input.shape[1], None) if whole else bags_of_offsets(input, offsets, include_last_offset)
    index = input.reshape(-1)
    rows = take_rows(weight, index)
    if max_norm is not None:
        rows = renormalised_rows(rows, max_norm, norm_type)
    if scale_grad_by_freq:
        rows = divided_by_frequency(rows, index, weight.shape[0])
    counted = jnp.ones(index.shape, bool) if padding is None else index != padding
    if mode == "max":
        return first_max(rows, counted, bags)
    if padding is not None:
        rows = jnp.where(counted[:, None], rows, jnp.zeros_like(rows))
    if per_sample_weights is not None:
        rows = rows * jnp.broadcast_to(per_sample_weights.reshape(-1, 1), rows.shape)
    return sum_or_mean(rows, counted, bags, mode == "mean")


def _check(
    input: jax.Array,
    weight: jax.Array,
    offsets: jax.Array | None,
    scale_grad_by_freq: bool,
    mode: Mode,
    sparse: bool,
    per_sample_weights: jax.Array | None,
) -> None:
    check_weight("embedding_bag", weight)
    if not jnp.issubdtype(weight.dtype, jnp.floating):
        raise TypeError(f"embedding_bag: weight must have a floating dtype, got {weight.dtype}")
    check_index("embedding_bag", "input", input)
    if input.ndim not in (1, 2):
        raise ValueError(f"embedding_bag: input must be (B, N) or (n,), got shape {input.shape}")
    if input.ndim == 2 and (offsets is not None or input.shape[1] == 0):
        raise ValueError(f"embedding_bag: input (B, N) takes no offsets and no N of 0, got shape {input.shape}")
    check_mode("embedding_bag", mode, scale_grad_by_freq, sparse)
    if per_sample_weights is not None:
        if per_sample_weights.shape != input.shape or mode != "sum":
            raise ValueError(
                f"embedding_bag: per_sample_weights must have the shape of input, {input.shape}, and mode 'sum', "
                f"got {per_sample_weights.shape} and mode {mode!r}"
            )
        same_dtype("embedding_bag", weight=weight, per_sample_weights=per_sample_weights)
    index_in_range("embedding_bag", "input", input, 0, weight.shape[0])


def check_mode(owner: str, mode: Mode, scale_grad_by_freq: bool, sparse: bool) -> Mode:
    """Return `mode` if it is one and goes with the options.

    Raises:
        ValueError: it does not.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"{owner}: mode must be 'sum', 'mean' or 'max', got {mode!r}")
    if mode == "max" and (scale_grad_by_freq or sparse):
        raise ValueError(f"{owner}: mode 'max' goes with neither scale_grad_by_freq nor sparse")
    return mode


class EmbeddingBag(Table):
    """Reduce bags of rows of a trained table `weight` (num_embeddings, embedding_dim); see `embedding_bag`.

    The table starts from N(0, 1), its row at `padding_idx` from 0.

    Args:
        max_norm: the module scales the rows that it looks up down to this norm, in its parameter, as PyTorch does.
        sparse: accepted and without effect: JAX's gradient is dense.
        _weight: the table to take instead of a random one; `rngs` is then not needed.
        dtype: of the parameter; None means float32.
        rngs: a ``flax.nnx.Rngs`` (stream ``params``) or a seed.

    Raises:
        ValueError: a size, a shape, `mode` or `padding_idx` does not fit.
        TypeError: no `rngs` for a random table.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.EmbeddingBag.html
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: Mode = "mean",
        sparse: bool = False,
        _weight: jax.Array | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int | None = None,
    ) -> None:
        self._set_table(num_embeddings, embedding_dim, padding_idx, _weight, dtype, rngs)
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.mode: Mode = check_mode("EmbeddingBag", mode, scale_grad_by_freq, sparse)
        self.sparse = sparse
        self.include_last_offset = include_last_offset

    @classmethod
    def from_pretrained(
        cls,
        embeddings: jax.Array,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: Mode = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> Self:
        """Make a layer of a given (num_embeddings, embedding_dim) table, by default not to be trained.

        Raises:
            ValueError: `embeddings` is not a matrix, or an option does not fit.
        """
        check_weight(f"{cls.__name__}.from_pretrained", embeddings)
        rows, columns = embeddings.shape
        options = (max_norm, norm_type, scale_grad_by_freq, mode, sparse, embeddings, include_last_offset, padding_idx)
        layer = cls(rows, columns, *options)
        if freeze:
            layer.weight.set_metadata(requires_grad=False)
        return layer

    def forward(
        self, input: jax.Array, offsets: jax.Array | None = None, per_sample_weights: jax.Array | None = None
    ) -> jax.Array:
        """Map bags of indices, (B, N) or (n,) with offsets, to (B, embedding_dim)."""
        self._renormalise(input)
        return embedding_bag(
            input,
            self.weight[...],
            offsets,
            scale_grad_by_freq=self.scale_grad_by_freq,
            mode=self.mode,
            sparse=self.sparse,
            per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
        )

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        parts = [f"{self.num_embeddings}, {self.embedding_dim}"]
        if self.max_norm is not None:
            parts.append(f"max_norm={self.max_norm}")
        if self.norm_type != 2:
            parts.append(f"norm_type={self.norm_type}")
        parts += ["scale_grad_by_freq=True"] * bool(self.scale_grad_by_freq)
        parts.append(f"mode={self.mode!r}")
        if self.padding_idx is not None:
            parts.append(f"padding_idx={self.padding_idx}")
        return ", ".join(parts)
