"""The orders of torch's DataLoader and random_split against ours, with and without other draws in between."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from jaxport.data.dataset import ArrayDataset, random_split
from jaxport.random import Generator, epoch_order, epoch_orders, finish_epoch

torch = pytest.importorskip("torch")
SEEDS = (0, 1, 42, 2**31, 2**63 - 1, 2**64 - 1, -1, -(2**63))


def same(ours: np.ndarray, theirs: Any) -> bool:
    return ours.dtype == theirs.numpy().dtype and np.array_equal(ours, theirs.numpy())


def torch_orders(n: int, epochs: int, batch_size: int, drop_last: bool, generator: Any) -> list[np.ndarray]:
    dataset = torch.utils.data.TensorDataset(torch.arange(n))
    loader = torch.utils.data.DataLoader(dataset, batch_size, shuffle=True, drop_last=drop_last, generator=generator)
    return [np.concatenate([np.zeros(0, np.int64), *(batch.numpy() for (batch,) in loader)]) for _ in range(epochs)]


LOADERS = {f"n={n} batch={b} drop={d}": (n, b, d) for n in (1, 2, 10, 33, 200) for b in (1, 4, 32) for d in (0, 1)}


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("row", LOADERS)
def test_loader_orders(row, explicit):
    n, batch_size, drop_last = LOADERS[row]
    for seed in (0, 42, -1):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed) if explicit else None
        wanted = torch_orders(n, 4, batch_size, bool(drop_last), generator)
        found = epoch_orders(n, seed, explicit=explicit)
        for theirs, ours in zip(wanted, found, strict=False):
            assert np.array_equal(ours[: len(theirs)], theirs)
            assert ours.dtype == theirs.dtype
            assert len(theirs) == n - n % batch_size * drop_last


@pytest.mark.parametrize("explicit", [False, True])
def test_loader_with_other_draws_between(explicit):
    # The weights before, dropout-like draws in each epoch and after it, from the same generator as the loader's.
    torch.manual_seed(3)
    ours, theirs = Generator(3), torch.Generator().manual_seed(3) if explicit else torch.default_generator
    loader = torch.utils.data.DataLoader(torch.arange(10), 4, shuffle=True, generator=theirs if explicit else None)
    assert same(ours.randn(20), torch.randn(20, generator=theirs))
    for _ in range(3):
        order = epoch_order(10, ours, explicit=explicit)
        for number, batch in enumerate(loader):
            assert np.array_equal(order[4 * number :][:4], batch.numpy())
            if explicit and len(batch) < 4:
                finish_epoch(10, ours)
            assert same(ours.rand(5), torch.rand(5, generator=theirs))
        assert same(ours.randn(5), torch.randn(5, generator=theirs))


def test_loader_of_full_batches_with_other_draws_between():
    ours, theirs = Generator(3), torch.Generator().manual_seed(3)
    loader = torch.utils.data.DataLoader(torch.arange(10), 5, shuffle=True, generator=theirs)
    for _ in range(3):
        order = epoch_order(10, ours, explicit=True)
        for number, batch in enumerate(loader):
            assert np.array_equal(order[5 * number :][:5], batch.numpy())
            assert same(ours.rand(5), torch.rand(5, generator=theirs))
        finish_epoch(10, ours)
        assert same(ours.randn(5), torch.randn(5, generator=theirs))


def test_loader_that_does_not_shuffle():
    torch.manual_seed(3)
    ours, loader = Generator(3), torch.utils.data.DataLoader(torch.arange(10), 4)
    for _ in range(2):
        list(loader)
        ours.random63()
        assert same(ours.rand(5), torch.rand(5))


SPLITS: dict[str, tuple[int, list[Any]]] = {
    "whole numbers": (10, [3, 7]),
    "an empty part": (10, [0, 10]),
    "fractions": (30, [0.3, 0.3, 0.4]),
    "fractions with a remainder": (11, [0.5, 0.25, 0.25]),
    "many fractions": (1003, [0.1] * 10),
    "one part": (5, [1.0]),
    "everything in the first": (5, [1, 0]),
    "one example": (1, [1]),
}


@pytest.mark.parametrize("row", SPLITS)
def test_random_split(row):
    n, lengths = SPLITS[row]
    for seed in SEEDS:
        ours = random_split(ArrayDataset(np.arange(n)), lengths, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of empty parts
            theirs = torch.utils.data.random_split(range(n), lengths, generator=torch.Generator().manual_seed(seed))
        assert [part.indices.tolist() for part in ours] == [list(part.indices) for part in theirs]


@pytest.mark.parametrize("lengths", [[3, 6], [0.5, 0.4], [0.50001, 0.49998]])
def test_random_split_refuses_what_torch_refuses(lengths):
    with pytest.raises(ValueError, match="length"):
        torch.utils.data.random_split(range(10), lengths)
    with pytest.raises(ValueError, match="lengths"):
        random_split(ArrayDataset(np.arange(10)), lengths)
