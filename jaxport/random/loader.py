"""The orders in which torch's shuffling DataLoader takes a data set's examples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jaxport.errors import UsageError

from .generator import Generator


def epoch_order(n: int, generator: Generator, *, explicit: bool = False) -> np.ndarray:
    """Return the order of the next epoch of ``DataLoader(dataset, shuffle=True)`` over `n` examples, int64 (n,).

    The loader draws a seed for its workers; then its sampler draws a seed and shuffles with a generator of that seed.
    A loader that was given a generator shuffles with that one, and at the end of the epoch draws a further permutation
    that nobody sees: call `finish_epoch` for it.

    Args:
        n: number of examples.
        generator: in the place of torch's global generator, or of the loader's own.
        explicit: whether it is the loader's own, ``DataLoader(…, generator=…)``.

    Raises:
        UsageError: `n` is not positive.

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader
    """
    if n < 1:
        raise UsageError(f"n is {n}; a data set to shuffle has at least one example")
    generator.random63()  # the workers' seed, drawn also where there are no workers
    shuffling = generator if explicit else Generator(generator.random63())
    return shuffling.randperm(n)


def finish_epoch(n: int, generator: Generator) -> None:
    """Draw what a DataLoader with its own `generator` draws when its sampler comes to an end.

    That is when it fetches the last batch, if that has fewer examples than the others; else after the last batch.
    """
    generator.randperm(n)


def epoch_orders(n: int, seed: int, *, explicit: bool = False) -> Iterator[np.ndarray]:
    """Yield the order of one epoch after the other, without end, each int64 (n,).

    They are those of ``DataLoader(dataset, shuffle=True)`` after ``torch.manual_seed(seed)``; with `explicit` those of
    ``DataLoader(dataset, shuffle=True, generator=torch.Generator().manual_seed(seed))``. Every epoch is taken to be
    read to its end, with nothing else drawn in between; else step with `epoch_order`. With ``persistent_workers`` the
    loader draws its workers' seed once only, which this does not do.

    Raises:
        UsageError: `n` is not positive, or `seed` is none.
    """
    generator = Generator(seed)
    while True:
        yield epoch_order(n, generator, explicit=explicit)
        if explicit:
            finish_epoch(n, generator)
