"""How a linear map's cross-entropy goes through its batch: LinearCrossEntropyOptions."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp

AccumulationPolicy = Literal["accurate", "balanced", "compact", "auto"]


@dataclasses.dataclass(frozen=True, slots=True)
class LinearCrossEntropyOptions:
    """How `linear_cross_entropy` goes through the batch in pieces, so that (N, C) logits never stand in memory.

    It pays where C is much larger than in_features, as in the head of a language model.

    Attributes:
        allow_retain_graph: accepted and without effect; JAX's gradients can be taken any number of times.
        batch_chunk_size: rows in a piece; None leaves it to `chunking_method`, or takes all rows if that is None too.
        chunking_method: 'aspect_ratio' makes a piece's logits as large as the input, 'aspect_ratio:n' one n-th of that,
            'auto' one of the two; None uses `batch_chunk_size`.
        acc_policy: accepted and without effect: all intermediates have `acc_dtype`.
        acc_dtype: dtype of the logits and of what is computed from them; None means float32 for float16 and bfloat16
            input, the input's own otherwise.

    Raises:
        ValueError: an unknown method, policy or dtype, or a size below 1.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LinearCrossEntropyOptions.html
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: AccumulationPolicy = "auto"
    acc_dtype: Any = None

    def __post_init__(self) -> None:
        owner = "LinearCrossEntropyOptions"
        if self.acc_policy not in ("auto", "accurate", "balanced", "compact"):
            raise ValueError(
                f"{owner}: acc_policy must be 'auto', 'accurate', 'balanced' or 'compact', got {self.acc_policy!r}"
            )
        if self.chunking_method not in (None, "auto"):
            self._divisor(self.chunking_method)
        size = self.batch_chunk_size
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise ValueError(f"{owner}: batch_chunk_size must be None or a positive integer, got {size!r}")
        known = [None, *map(jnp.dtype, ("float16", "bfloat16", "float32", "float64"))]
        if (None if self.acc_dtype is None else jnp.dtype(self.acc_dtype)) not in known:
            raise ValueError(f"{owner}: acc_dtype must be None or a floating dtype, got {self.acc_dtype!r}")

    @staticmethod
    def _divisor(method: str) -> int:
        name, colon, factor = method.partition(":")
        if name != "aspect_ratio" or (colon and not (factor.isdigit() and int(factor) > 0)):
            raise ValueError(
                "LinearCrossEntropyOptions: chunking_method must be None, 'auto', 'aspect_ratio' or 'aspect_ratio:n' "
                f"with n of at least 1, got {method!r}"
            )
        return int(factor or 1)

    def chunk_size(self, rows: int, in_features: int, classes: int, dtype: Any) -> int:
        """Return the rows in a piece.

        Raises:
            ValueError: `batch_chunk_size` and `chunking_method` are both given and do not agree.
        """
        wanted, method = self.batch_chunk_size, self.chunking_method
        if method == "auto":
            # PyTorch's choices: whole pieces for half precision on the CPU, halves elsewhere.
            whole = jax.default_backend() == "cpu" and dtype.itemsize < 4
            method = None if wanted is not None else "aspect_ratio" if whole else "aspect_ratio:2"
        if method is None:
            return rows if wanted is None else min(wanted, rows)
        target = -(-rows // -(-classes // in_features))
        size = min((1 << (target - 1).bit_length()) // self._divisor(method), rows)
        if wanted not in (None, size):
            raise ValueError(
                f"linear_cross_entropy: options must give batch_chunk_size or chunking_method; {wanted} and "
                f"{method!r}, which means {size}, do not agree"
            )
        return max(1, size)

    def accumulator(self, dtype: Any) -> Any:
        """Return the dtype of the logits for input of `dtype`.

        Raises:
            ValueError: `acc_dtype` is neither the input's nor float32 for half precision.
        """
        if self.acc_dtype is None:
            return jnp.dtype(jnp.float32 if dtype.itemsize < 4 else dtype)
        chosen = jnp.dtype(self.acc_dtype)
        if chosen != dtype and not (dtype.itemsize < 4 and chosen == jnp.float32):
            raise ValueError(
                f"linear_cross_entropy: acc_dtype must be the dtype of input, {dtype}, or float32 for half precision, "
                f"got {chosen}"
            )
        return chosen
