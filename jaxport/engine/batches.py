"""Which examples go into which step: one shape for all steps, the last one padded and masked."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from .state import Batch


@dataclass(frozen=True)
class Batches:
    """How `examples` are divided into steps of `size`.

    Attributes:
        examples: how many there are.
        size: examples in a step.
        shuffle: whether each epoch takes them in a new order.
    """

    examples: int
    size: int
    shuffle: bool = False

    @property
    def steps(self) -> int:
        """Steps in an epoch: ⌈examples / size⌉."""
        return -(-self.examples // self.size)

    @property
    def padded(self) -> bool:
        """Whether the last step is short, and therefore padded."""
        return self.examples % self.size != 0

    def order(self, key: jax.Array, epoch: jax.Array) -> jax.Array:
        """Return the examples of each step, int32 (steps, size), a new order for every epoch; padding repeats 0."""
        # One step holds everything: its order changes nothing but the rounding.
        if self.shuffle and self.steps > 1:
            indices = jax.random.permutation(jax.random.fold_in(key, epoch), self.examples)
        else:
            indices = jnp.arange(self.examples)
        padding = self.steps * self.size - self.examples
        return jnp.pad(indices.astype(jnp.int32), (0, padding)).reshape(self.steps, self.size)

    def take(self, data: Batch, order: jax.Array, step: jax.Array) -> Batch:
        """Gather the examples of one step from data on the device."""
        if self.steps == 1 and not self.padded:
            return data
        chosen = order[step]
        x, y = (array.at[chosen].get(mode="promise_in_bounds") for array in (data.x, data.y))
        if not self.padded:
            return Batch(x, y)
        position = jnp.asarray(step, jnp.int32) * self.size + jnp.arange(self.size, dtype=jnp.int32)
        return Batch(x, y, position < self.examples)
