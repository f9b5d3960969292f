"""What the 20-day tutorial's chapter 4-1 draws after seed 0, by jaxport.random and by PyTorch."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import torch

from jaxport.random import Generator

# Where the notebook's generator of seed 0 stood when the cells with normals and the permutation were run, found by
# trying every place: after rand(5) and 27 normals, 123 further words, then the two cells, then 137 words.
NORMALS_BEFORE, WORDS_BEFORE, WORDS_BETWEEN = 27, 123, 137


def stream() -> dict[str, jax.Array]:
    """Return the chapter's first four cells, run one after another."""
    generator = Generator(0)
    uniform = 10 * generator.rand(5)
    return {"uniform": jnp.asarray(uniform), **_cells(generator)}


def later_stream() -> dict[str, jax.Array]:
    """Return the cells with normals and the permutation from where the notebook's generator stood."""
    generator = Generator(0)
    generator.rand(5)
    for _ in range(NORMALS_BEFORE):
        generator.randn(1)
    generator.random(WORDS_BEFORE)
    return _cells(generator, WORDS_BETWEEN)


def _cells(generator: Generator, between: int = 0) -> dict[str, jax.Array]:
    normal, scaled = generator.randn(3, 3), 5 * generator.randn(3, 3) + 2
    generator.random(between)
    permutation = generator.randperm(20).astype(np.int32)
    return {name: jnp.asarray(x) for name, x in (("normal", normal), ("scaled", scaled), ("permutation", permutation))}


def stream_torch() -> dict[str, torch.Tensor]:
    """Return what PyTorch draws in the same four cells."""
    generator = torch.Generator().manual_seed(0)
    torch.rand(5, generator=generator)
    normal = torch.normal(torch.zeros(3, 3), torch.ones(3, 3), generator=generator)
    scaled = 5 * torch.randn(3, 3, generator=generator) + 2
    return {"normal": normal, "scaled": scaled, "permutation": torch.randperm(20, generator=generator)}


@cache
def _marks() -> tuple[jax.Array, jax.Array]:
    generator = Generator(0)
    marks = jnp.floor(10 * jnp.asarray(generator.rand(5, 5)))
    return marks.astype(jnp.int32), jnp.floor(100 * jnp.asarray(generator.rand(4, 10, 7))).astype(jnp.int32)


def marks() -> jax.Array:
    """Return 25 whole numbers below 10, after seed 0."""
    return _marks()[0]


def scores() -> jax.Array:
    """Return the marks of four classes of ten in seven subjects, drawn after `marks`."""
    return _marks()[1]


def pixels() -> jax.Array:
    """Return 18 whole numbers below 255, after seed 0."""
    return (255 * jnp.asarray(Generator(0).rand(1, 3, 3, 2))).astype(jnp.int32)
