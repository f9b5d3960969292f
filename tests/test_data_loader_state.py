"""Where a loader stands, what its orders and draws depend on, and where its batches are made."""

from typing import Any

import numpy as np
import pytest

from jaxport.data import loader as loading
from jaxport.data import transforms
from jaxport.data.array_file import ArrayFile
from jaxport.data.collate import stacked
from jaxport.data.dataset import ArrayDataset
from jaxport.data.loader import DataLoader
from jaxport.errors import UsageError

X = np.arange(23 * 2, dtype=np.uint8).reshape(23, 2)
Y = np.arange(23, dtype=np.int32)


def file_set(tmp_path: Any) -> ArrayDataset:
    np.save(tmp_path / "x.npy", X)
    return ArrayDataset(ArrayFile(tmp_path / "x.npy"), Y)


def test_a_position_is_kept_and_carried_over():
    whole = DataLoader((X, Y), 4, shuffle=True, seed=1, transform=transforms.Lambda(lambda x: x + 1))
    batches = [np.asarray(y) for _ in range(2) for _, y in whole]
    first = DataLoader((X, Y), 4, shuffle=True, seed=1)
    found = []
    for _, y in first:
        found.append(np.asarray(y))
        if len(found) == 3:
            break
    state = first.state_dict()
    assert state == {"seed": 1, "epoch": 0, "position": 3}
    other = DataLoader((X, Y), 4, shuffle=True)
    other.load_state_dict(state)
    found += [np.asarray(y) for _ in range(2) for _, y in other]
    assert len(found) == len(batches)
    for one, two in zip(found, batches, strict=True):
        np.testing.assert_array_equal(one, two)
    assert other.state_dict() == {"seed": 1, "epoch": 2, "position": 0}


@pytest.mark.parametrize(
    "change",
    [{"position": 7}, {"position": -1}, {"epoch": -1}, {"step": 0}, {"seed": None}],
    ids=lambda change: next(iter(change)),
)
def test_a_position_that_is_none(change):
    state = {
        name: value for name, value in {"seed": 1, "epoch": 0, "position": 2, **change}.items() if value is not None
    }
    loader = DataLoader((X, Y), 4)
    with pytest.raises(UsageError, match=r"state is .*epoch ≥ 0 and position 0 to 6"):
        loader.load_state_dict(state)
    assert loader.state_dict() == {"seed": 0, "epoch": 0, "position": 0}


def test_behind_the_last_batch_is_the_next_epoch():
    loader = DataLoader((X, Y), 4, shuffle=True)
    loader.load_state_dict({"seed": 1, "epoch": 2, "position": 6})
    assert loader.state_dict() == {"seed": 1, "epoch": 3, "position": 0}
    assert len(list(loader)) == 6


@pytest.mark.parametrize("order", ["numpy", "torch"])
def test_orders_go_by_seed_and_epoch(order):
    def of(seed: int) -> DataLoader:
        return DataLoader((X, Y), 4, shuffle=True, seed=seed, order=order)

    seeds = [-1, 0, 1, 2, 3]
    found = {of(seed).indices(epoch).tobytes() for seed in seeds for epoch in range(3)}
    assert len(found) == 3 * len(seeds)
    big = 2**32 + 3  # torch's generator takes 32 bits of a seed, NumPy's all
    assert np.array_equal(of(big).indices(0), of(3).indices(0)) == (order == "torch")
    loader = of(0)
    loader.indices(0)
    loader.load_state_dict({"seed": 3, "epoch": 1, "position": 0})
    np.testing.assert_array_equal(loader.indices(1), of(3).indices(1))


@pytest.mark.parametrize("seed", [-1, 2**40 + 7, 2**70])
def test_any_seed_draws_transforms(seed):
    images = np.tile(np.uint8([0, 1]), (160, 1, 1, 1))
    batches = [
        x.tobytes()
        for each in (seed, seed + 1)
        for (x,) in DataLoader((images,), 40, seed=each, transform=transforms.RandomHorizontalFlip(), to_device=False)
    ]
    assert len(set(batches)) == 8  # by seed, and by position


@pytest.mark.parametrize("kind", ["on the device", "streamed", "host"])
def test_both_transforms_and_parts_beyond_them(kind, monkeypatch):
    monkeypatch.setattr(loading, "_RESIDENT_PART", 0.0 if kind == "streamed" else 0.25)
    images, flip = np.arange(80, dtype=np.uint8).reshape(40, 1, 1, 2), transforms.RandomHorizontalFlip()
    numbers = np.arange(40, dtype=np.int32)

    def only(**options: Any) -> tuple[Any, ...]:
        return next(iter(DataLoader((images, images, numbers), 40, to_device=kind != "host", **options)))

    x, y, rest = (np.asarray(part) for part in only(transform=flip, target_transform=flip))
    np.testing.assert_array_equal(rest, numbers)
    turned = [(part[:, 0, 0, 0] > part[:, 0, 0, 1]) for part in (x, y)]
    assert all(5 < each.sum() < 35 for each in turned)
    assert not np.array_equal(*turned)  # each has a key of its own
    x, y, _ = only(target_transform=flip)
    np.testing.assert_array_equal(x, images)
    assert not np.array_equal(y, images)


def kept(loader: DataLoader) -> bool:
    next(iter(loader))
    return loader._on_device is not None


def test_what_fits_a_quarter_of_the_memory_is_kept_on_the_device(monkeypatch, tmp_path):
    size = X.nbytes + Y.nbytes
    for memory, wanted in [(4 * size, True), (4 * size - 1, False)]:
        monkeypatch.setattr(loading, "_memory", lambda memory=memory: memory)
        assert kept(DataLoader((X, Y), 4)) is wanted
    monkeypatch.undo()
    assert not kept(DataLoader(file_set(tmp_path), 4))
    assert not kept(DataLoader((X, Y), 4, to_device=False))
    assert not kept(DataLoader((X, Y), 4, collate=stacked))


@pytest.mark.parametrize(("width", "calls"), [(2, [16, 7]), (1 << 20, [4] * 5 + [3]), (1 << 23, [1] * 23)])
def test_few_large_batches_are_made_together(width, calls):
    rows = np.lib.stride_tricks.as_strided(X, (23, width), (1, 0))  # large by its bytes alone
    loader, made = DataLoader((X,), 1), []
    loader._kept_on_device = lambda: True
    loader._on_device = (rows,)
    loader.__dict__["_gather"] = lambda *given: made.append(given[-1]) or [()] * given[-1]
    assert len(list(loader)) == 23
    assert made == calls


@pytest.mark.parametrize("first", [0, 5, 16, 21])
@pytest.mark.parametrize(("examples", "size"), [(23, 1), (32, 1), (33, 2), (34, 2), (3, 5), (48, 3)])
def test_batches_that_are_made_together_are_those_of_the_host(examples, size, first):
    x = np.arange(examples * 6, dtype=np.uint8).reshape(examples, 1, 2, 3)
    loaders = [
        DataLoader((x,), size, shuffle=True, transform=transforms.RandomHorizontalFlip(), to_device=on_device)
        for on_device in (True, False)
    ]
    for loader in loaders:
        loader.load_state_dict({"seed": 7, "epoch": 1, "position": min(first, len(loader) - 1)})
    found, wanted = (list(loader) for loader in loaders)
    assert len(found) == len(wanted) == len(loaders[0]) - min(first, len(loaders[0]) - 1)
    for (one,), (two,) in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, two)
