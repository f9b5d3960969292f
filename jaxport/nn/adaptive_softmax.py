"""AdaptiveLogSoftmaxWithLoss: a softmax over many classes, the rarer the cheaper."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from .activation import log_softmax
from .checks import index_in_range
from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module, fresh_rngs


class ASMoutput(NamedTuple):
    """What `AdaptiveLogSoftmaxWithLoss` returns: log-probabilities of the targets and their mean, negated."""

    output: jax.Array
    loss: jax.Array


def _picked(log_probabilities: jax.Array, index: jax.Array) -> jax.Array:
    """Return each row's entry at its index."""
    return jnp.take_along_axis(log_probabilities, index[:, None], axis=1, mode="clip")[:, 0]


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-softmax in clusters: frequent classes in a head, rarer ones in tails of fewer features (Grave et al. 2016).

    log p(y) = log softmax(head x)[y] for y in the head, and
    log softmax(head x)[cluster of y] + log softmax(tail x)[y within its cluster] otherwise.

    Args:
        in_features: size of the input's last axis.
        n_classes: C; classes are sorted by falling frequency.
        cutoffs: ascending first classes of the tails; the head has the classes below the first.
        div_value: tail i projects to in_features / div_value^(i+1) features.
        head_bias: whether the head adds a bias.
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (stream ``params``) or a seed.

    Raises:
        ValueError: `cutoffs` are not ascending integers in [1, n_classes - 1].

    Differs from PyTorch: every tail is computed for every example, since shapes are static under ``jax.jit``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveLogSoftmaxWithLoss.html
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        edges = [0, *cutoffs, n_classes]
        if len(edges) < 3 or any(int(b) != b for b in edges) or any(a >= b for a, b in pairwise(edges)):
            raise ValueError(
                "AdaptiveLogSoftmaxWithLoss: cutoffs must be at least one and ascending integers in "
                f"[1, {n_classes - 1}], got {list(cutoffs)}"
            )
        rngs = fresh_rngs(rngs, "AdaptiveLogSoftmaxWithLoss")
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [int(edge) for edge in edges[1:]]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, head_bias, dtype, rngs=rngs)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(pairwise(self.cutoffs)):
            hidden = int(in_features // div_value ** (i + 1))
            layers = [Linear(n, m, False, dtype, rngs=rngs) for n, m in ((in_features, hidden), (hidden, high - low))]
            self.tail.append(Sequential(*layers))

    def reset_parameters(self, rngs: nnx.Rngs) -> None:
        """Draw new initial values."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.reset_parameters(rngs)

    def forward(self, input_: jax.Array, target_: jax.Array) -> ASMoutput:
        """Return the log-probability of each target, (N,) or (), and their mean, negated.

        Args:
            input_: (N, in_features) or (in_features,).
            target_: classes (N,) or (). Under tracing, where it cannot be checked, one outside 0 … C - 1 gives NaN.

        Raises:
            ValueError: shapes do not fit.
            TypeError: `target_` is not integers.
            IndexError: a class outside 0 … C - 1 where it can be seen: not under ``jax.jit``.
        """
        self._check(input_, target_)
        target = target_.reshape(-1)
        input = input_.reshape(-1, input_.shape[-1])
        head = log_softmax(self.head(input), 1)
        output = _picked(head, jnp.minimum(target, self.shortlist_size - 1))
        for i, (low, high) in enumerate(pairwise(self.cutoffs)):
            inside = (target >= low) & (target < high)
            place = jnp.where(inside, target - low, jnp.zeros_like(target))
            value = head[:, self.shortlist_size + i] + _picked(log_softmax(self.tail[i](input), 1), place)
            output = jnp.where(inside, value, output)
        output = jnp.where((target >= 0) & (target < self.n_classes), output, jnp.full_like(output, jnp.nan))
        return ASMoutput(output.reshape(target_.shape), -output.mean())

    def _check(self, input: jax.Array, target: jax.Array) -> None:
        owner = "AdaptiveLogSoftmaxWithLoss"
        if target.ndim > 1 or input.shape[:-1] != target.shape or input.ndim == 0:
            raise ValueError(
                f"{owner}: input_ and target_ must be (N, {self.in_features}) and (N,), or ({self.in_features},) and "
                f"(), got {input.shape} and {target.shape}"
            )
        if not jnp.issubdtype(target.dtype, jnp.integer):
            raise TypeError(f"{owner}: target_ must be integers, got {target.dtype}")
        index_in_range(owner, "target_", target, 0, self.n_classes)

    def log_prob(self, input: jax.Array) -> jax.Array:
        """Return the log-probabilities of all classes, (N, n_classes), of (N, in_features)."""
        return self._all(input, self._head(input))

    def predict(self, input: jax.Array) -> jax.Array:
        """Return the most probable class of each row, (N,): the head's choice where that is one of its classes."""
        scores = self._head(input)
        first = jnp.argmax(scores, axis=1)
        return jnp.where(first < self.shortlist_size, first, jnp.argmax(self._all(input, scores), axis=1))

    def _head(self, input: jax.Array) -> jax.Array:
        if input.ndim != 2:
            raise ValueError(
                f"AdaptiveLogSoftmaxWithLoss: input must be (N, {self.in_features}), got shape {input.shape}"
            )
        return self.head(input)

    def _all(self, input: jax.Array, scores: jax.Array) -> jax.Array:
        head = log_softmax(scores, 1)
        parts = [head[:, : self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            column = self.shortlist_size + i
            within = log_softmax(tail(input), 1)
            parts.append(within + jnp.broadcast_to(head[:, column : column + 1], within.shape))
        return jnp.concatenate(parts, axis=1)
