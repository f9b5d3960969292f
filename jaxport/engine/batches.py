"""Which examples go into which step: one shape for all steps, the last one padded and masked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .shuffle import permutation
from .state import Batch


@dataclass(frozen=True)
class Batches:
    """How `examples` are divided into steps of `size`.

    Attributes:
        examples: how many there are.
        size: examples in a step.
        shuffle: whether each epoch takes them in a new order.
        multiple: rows of a step are padded to a multiple of this, the number of devices.
    """

    examples: int
    size: int
    shuffle: bool = False
    multiple: int = 1

    @property
    def steps(self) -> int:
        """Steps in an epoch: ⌈examples / size⌉."""
        return -(-self.examples // self.size)

    @property
    def rows(self) -> int:
        """Rows of a step, padding included."""
        return -(-self.size // self.multiple) * self.multiple

    @property
    def padded(self) -> bool:
        """Whether a step has rows that are padding."""
        return self.examples % self.size != 0 or self.rows != self.size

    @property
    def drawn(self) -> bool:
        """Whether the order is a random one; of one step that holds everything, it changes nothing but the rounding."""
        return self.shuffle and self.steps > 1

    def order(self, key: Any, epoch: jax.Array) -> jax.Array:
        """Return the examples of each step, int32 (steps, rows), a new order for every epoch; padding repeats 0."""
        if self.drawn:
            indices = permutation(jax.random.fold_in(key, epoch), self.examples)
        else:
            indices = jnp.arange(self.examples)
        return self.arrange(indices.astype(jnp.int32))

    def stored_order(self) -> np.ndarray:
        """Return the order of examples as they are stored, made on the host: nothing is compiled for it."""
        return self.arrange(np.arange(self.examples, dtype=np.int32))

    def arrange(self, indices: Any) -> Any:
        """Return an order of all examples, int32 (examples,), as one of steps (steps, rows), where the first one is."""
        pad = np.pad if isinstance(indices, np.ndarray) else jnp.pad
        padding = self.steps * self.size - self.examples
        steps = pad(indices, (0, padding)).reshape(self.steps, self.size)
        return pad(steps, ((0, 0), (0, self.rows - self.size)))

    def take(self, data: Batch, order: jax.Array, step: jax.Array) -> Batch:
        """Gather the examples of one step from data on the device."""
        if self.steps == 1 and not self.padded:
            return data
        chosen = order[step]
        batch: Batch = jax.tree.map(lambda array: array.at[chosen].get(mode="promise_in_bounds"), data)
        return batch._replace(where=self.where(step)) if self.padded else batch

    def taken(self, data: Batch) -> Batch:
        """Return the shapes of what `take` returns, without a trace of it."""
        whole = self.steps == 1 and not self.padded

        def shape(leaf: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(leaf.shape if whole else (self.rows, *leaf.shape[1:]), leaf.dtype)

        batch: Batch = jax.tree.map(shape, data)
        return batch._replace(where=jax.ShapeDtypeStruct((self.rows,), bool)) if self.padded else batch

    def where(self, step: Any) -> jax.Array:
        """Return which rows of a step are examples, bool (rows,)."""
        row = jnp.arange(self.rows, dtype=jnp.int32)
        return (row < self.size) & (jnp.asarray(step, jnp.int32) * self.size + row < self.examples)
