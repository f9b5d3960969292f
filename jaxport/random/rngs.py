"""The random source of jaxport's modules that draws PyTorch's initial values. Imports jax and flax."""

from __future__ import annotations

from typing import Any

from flax import nnx

from .generator import Generator


class TorchRngs(nnx.Rngs):
    """A ``flax.nnx.Rngs`` whose stream ``params`` is PyTorch's generator; all other streams give JAX keys.

    generator: the host's `Generator`, which `params` hands out instead of a key; ``jaxport.nn.init`` draws from it.
    """

    def __init__(self, seed: int) -> None:
        generator = Generator(seed)
        super().__init__(generator.initial_seed() % 2**32)
        self.generator = generator

    def params(self) -> Any:
        """Return the generator, for the next initial value to be drawn from it."""
        return self.generator
