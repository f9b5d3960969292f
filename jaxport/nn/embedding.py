"""Lookup tables: embedding and Embedding."""

from __future__ import annotations

from typing import Self

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike

from . import init
from .checks import index_in_range
from .embedding_rows import (
    check_index,
    check_padding,
    check_weight,
    divided_by_frequency,
    renormalised,
    renormalised_rows,
    take_rows,
)
from .module import Module, Parameter, fresh_rngs


def embedding(
    input: jax.Array,
    weight: jax.Array,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> jax.Array:
    """Look up rows of a table: y[…] = W[x[…]].

    Args:
        input: x, indices of any shape (*).
        weight: W, (V, D).
        padding_idx: the row that receives no gradient; negative counts from the end.
        max_norm: rows of a larger norm are looked up scaled down to it; their gradient is that of W[x] all the same.
        norm_type: p of that norm.
        scale_grad_by_freq: whether the gradient of a row is divided by how often it occurs in `input`.
        sparse: accepted and without effect: JAX's gradient is dense.

    Returns:
        y, (*, D). Under tracing, where it cannot be checked, an index outside 0 … V - 1 gives a row of NaN.

    Raises:
        ValueError: `weight` is not a matrix, or `padding_idx` is no row of it.
        TypeError: `input` is not int32 or int64.
        IndexError: an index outside 0 … V - 1 where it can be seen: not under ``jax.jit``.

    Differs from PyTorch: with `max_norm`, PyTorch also writes the scaled rows into `weight`; a function cannot. The
    module `Embedding` does.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding.html
    """
    del sparse
    check_weight("embedding", weight)
    check_index("embedding", "input", input)
    padding = check_padding("embedding", padding_idx, weight.shape[0])
    index_in_range("embedding", "input", input, 0, weight.shape[0])
    rows = take_rows(weight, input)
    if max_norm is not None:
        rows = renormalised_rows(rows, max_norm, norm_type)
    if scale_grad_by_freq:
        rows = divided_by_frequency(rows, input, weight.shape[0])
    if padding is None:
        return rows
    return jnp.where((input == padding)[..., None], lax.stop_gradient(rows), rows)


class Table(Module):
    """What Embedding and EmbeddingBag share: a table `weight` (num_embeddings, embedding_dim) from N(0, 1)."""

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    max_norm: float | None
    norm_type: float
    weight: nnx.Param

    def _set_table(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        weight: jax.Array | None,
        dtype: DTypeLike | None,
        rngs: nnx.Rngs | int | None,
    ) -> None:
        owner = type(self).__name__
        for name, size in (("num_embeddings", num_embeddings), ("embedding_dim", embedding_dim)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 0:
                raise ValueError(f"{owner}: {name} must be an integer of at least 0, got {size!r}")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = check_padding(owner, padding_idx, num_embeddings)
        shape = (num_embeddings, embedding_dim)
        if weight is None:
            self.weight = Parameter(jnp.zeros(shape, jnp.float32 if dtype is None else dtype))
            self.reset_parameters(fresh_rngs(rngs, owner))
            return
        if weight.shape != shape:
            raise ValueError(f"{owner}: _weight must have shape {shape}, got {weight.shape}")
        self.weight = Parameter(jnp.asarray(weight))

    def reset_parameters(self, rngs: nnx.Rngs) -> None:
        """Draw new initial values; the row at `padding_idx` is zero."""
        init.normal_(self.weight, generator=rngs.params())
        if self.padding_idx is not None:
            self.weight.set_value(self.weight[...].at[self.padding_idx].set(0.0))

    def _renormalise(self, input: jax.Array) -> None:
        """Write the rows that are looked up back, scaled down to `max_norm`."""
        if self.max_norm is None:
            return
        check_index(type(self).__name__, "input", input)
        index_in_range(type(self).__name__, "input", input, 0, self.num_embeddings)
        self.weight.set_value(renormalised(self.weight[...], input, self.max_norm, self.norm_type))


class Embedding(Table):
    """Look up rows of a trained table `weight` (num_embeddings, embedding_dim); see `embedding`.

    The table starts from N(0, 1), its row at `padding_idx` from 0.

    Args:
        max_norm: the module scales the rows that it looks up down to this norm, in its parameter, as PyTorch does: in
            training and in evaluation.
        sparse: accepted and without effect: JAX's gradient is dense.
        _weight: the table to take instead of a random one; `rngs` is then not needed.
        _freeze: whether the parameter is marked as not trained (``requires_grad`` False in its metadata).
        dtype: of the parameter; None means float32.
        rngs: a ``flax.nnx.Rngs`` (stream ``params``) or a seed.

    Raises:
        ValueError: a size, a shape or `padding_idx` does not fit.
        TypeError: no `rngs` for a random table.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Embedding.html
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: jax.Array | None = None,
        _freeze: bool = False,
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int | None = None,
    ) -> None:
        self._set_table(num_embeddings, embedding_dim, padding_idx, _weight, dtype, rngs)
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        if _freeze:
            self.weight.set_metadata(requires_grad=False)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: jax.Array,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:
        """Make a layer of a given (num_embeddings, embedding_dim) table, by default not to be trained.

        Raises:
            ValueError: `embeddings` is not a matrix, or `padding_idx` is no row of it.
        """
        check_weight(f"{cls.__name__}.from_pretrained", embeddings)
        rows, columns = embeddings.shape
        return cls(
            rows, columns, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, embeddings, _freeze=freeze
        )

    def forward(self, input: jax.Array) -> jax.Array:
        """Map indices (*) to rows (*, embedding_dim)."""
        self._renormalise(input)
        return embedding(
            input, self.weight[...], self.padding_idx, scale_grad_by_freq=self.scale_grad_by_freq, sparse=self.sparse
        )

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        parts = [f"{self.num_embeddings}, {self.embedding_dim}"]
        if self.padding_idx is not None:
            parts.append(f"padding_idx={self.padding_idx}")
        if self.max_norm is not None:
            parts.append(f"max_norm={self.max_norm}")
        if self.norm_type != 2:
            parts.append(f"norm_type={self.norm_type}")
        parts += ["scale_grad_by_freq=True"] * bool(self.scale_grad_by_freq) + ["sparse=True"] * bool(self.sparse)
        return ", ".join(parts)
