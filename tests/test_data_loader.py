"""Loading: every example once from every kind of data set, transforms by key, several processes, errors."""

import threading
from typing import Any

import jax
import numpy as np
import pytest

from jaxport.data import transforms
from jaxport.data.array_file import ArrayFile
from jaxport.data.dataset import ArrayDataset, MapDataset, Subset, random_split
from jaxport.data.loader import DataLoader
from jaxport.errors import DataError, UsageError

X = np.arange(23 * 2, dtype=np.uint8).reshape(23, 2)
Y = np.arange(23, dtype=np.int32)


class Squares(MapDataset):
    """Examples made one by one."""

    def __len__(self) -> int:
        return 23

    def __getitem__(self, index: int) -> Any:
        return X[self.place(index)], int(Y[index])


def file_set(tmp_path: Any) -> ArrayDataset:
    np.save(tmp_path / "x.npy", X)
    return ArrayDataset(ArrayFile(tmp_path / "x.npy"), Y)


SETS = {
    "arrays": lambda tmp: ArrayDataset(X, Y),
    "tuple": lambda tmp: (X, Y),
    "examples": lambda tmp: Squares(),
    "part": lambda tmp: Subset(
        ArrayDataset(np.concatenate([X[::-1], X]), np.concatenate([Y[::-1], Y])), np.arange(23, 46)
    ),
    "joined": lambda tmp: ArrayDataset(X[:9], Y[:9]) + ArrayDataset(X[9:], Y[9:]),
    "joined examples": lambda tmp: Subset(Squares(), range(9)) + Subset(Squares(), range(9, 23)),
    "file": file_set,
}


@pytest.mark.parametrize("to_device", [True, False], ids=["device", "host"])
@pytest.mark.parametrize("kind", SETS)
def test_every_kind_of_data_set_gives_the_same_batches(kind, to_device, tmp_path):
    loader = DataLoader(SETS[kind](tmp_path), 5, shuffle=True, seed=3, to_device=to_device, num_workers=2)
    wanted = DataLoader((X, Y), 5, shuffle=True, seed=3, to_device=False)
    orders = []
    for _ in range(3):
        batches, expected = list(loader), list(wanted)
        assert len(batches) == len(loader) == 5
        for (x, y), (wanted_x, wanted_y) in zip(batches, expected, strict=True):
            assert isinstance(x, jax.Array if to_device else np.ndarray)
            assert (x.dtype, y.dtype) == (np.uint8, np.int32)
            np.testing.assert_array_equal(x, wanted_x)
            np.testing.assert_array_equal(y, wanted_y)
        orders.append(np.concatenate([np.asarray(y) for _, y in batches]))
        np.testing.assert_array_equal(np.sort(orders[-1]), Y)
        np.testing.assert_array_equal(np.concatenate([np.asarray(x) for x, _ in batches]), X[orders[-1]])
    assert not any(np.array_equal(orders[0], order) for order in (Y, *orders[1:]))


def test_a_last_short_batch_is_dropped_on_request():
    loader = DataLoader((X, Y), 5, drop_last=True)
    assert [y.shape[0] for _, y in loader] == [5] * 4 == [5] * len(loader)
    assert [y.shape[0] for _, y in DataLoader((X, Y), 5)] == [5, 5, 5, 5, 3]


@pytest.mark.parametrize("to_device", [True, False])
def test_processes_share_each_batch(to_device):
    parts = [
        [y for _, y in DataLoader((X, Y), 6, True, drop_last=True, process=(i, 3), to_device=to_device)]
        for i in range(3)
    ]
    whole = [np.asarray(y) for _, y in DataLoader((X, Y), 6, True, drop_last=True)]
    for number, batch in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([part[number] for part in parts]), batch)


def test_collate():
    batch = DataLoader(Squares(), 2, collate=lambda rows: (np.stack([x for x, _ in rows]) * 2,), to_device=False)
    np.testing.assert_array_equal(next(iter(batch))[0], X[:2] * 2)


@pytest.mark.parametrize("kind", ["arrays", "examples"])
def test_random_transforms_go_by_epoch_and_position(kind, tmp_path):
    images = np.arange(7 * 3 * 4 * 5, dtype=np.uint8).reshape(7, 3, 4, 5)
    flip = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.ToFloat()])

    class One(MapDataset):
        def __len__(self) -> int:
            return 7

        def __getitem__(self, index: int) -> Any:
            return images[index], index

    def loader(to_device: bool) -> DataLoader:
        made = ArrayDataset(images, np.arange(7, dtype=np.int32)) if kind == "arrays" else One()
        return DataLoader(made, 3, transform=flip, seed=5, to_device=to_device)

    device, host = loader(True), loader(False)
    epochs = []
    for _ in range(2):
        found = np.concatenate([np.asarray(x) for x, _ in device])
        np.testing.assert_array_equal(found, np.concatenate([x for x, _ in host]))
        epochs.append(found)
        for image, plain in zip(found, images.astype(np.float32) / 255, strict=True):
            assert np.array_equal(image, plain) or np.array_equal(image, plain[..., ::-1])
    assert not np.array_equal(*epochs)


def test_an_error_of_the_data_set_comes_out_and_threads_end():
    class Broken(Squares):
        def __getitem__(self, index: int) -> Any:
            if index == 11:
                raise DataError("picture 11 is damaged")
            return super().__getitem__(index)

    loader = DataLoader(Broken(), 4, num_workers=2)
    with pytest.raises(DataError, match="picture 11 is damaged"):
        list(loader)
    assert loader.state_dict()["position"] == 2
    next(iter(DataLoader(Squares(), 4, num_workers=2)))  # left early: the generator is closed at once
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("jaxport-data")]


ERRORS: list[tuple[dict[str, Any], str]] = [
    ({"batch_size": 0}, "batch_size is 0; it must be a whole number of at least 1"),
    ({"batch_size": 2.0}, "batch_size is 2.0"),
    ({"batch_size": True}, "batch_size is True"),
    ({"prefetch": 0}, "prefetch is 0; it must be a whole number of at least 1"),
    ({"num_workers": -1}, "num_workers is -1"),
    ({"order": "random"}, "order is 'random'; it must be 'numpy' or 'torch'"),
    ({"batch_size": 4, "process": (2, 2)}, "index must be below count"),
    ({"batch_size": 5, "process": (0, 2)}, "count divide batch_size=5"),
    ({"batch_size": 4, "process": (0, 2)}, "drop_last is False"),
    ({"dataset": (X[:22],), "batch_size": 4, "process": (0, 2)}, "the last of 22 examples fill no batch of 4"),
    ({"dataset": ()}, "at least one is needed"),
    ({"dataset": (X, Y[:3])}, "same first axis"),
    ({"dataset": (X[:0],)}, "dataset has 0 examples"),
]


@pytest.mark.parametrize(("options", "match"), ERRORS)
def test_errors(options, match):
    with pytest.raises((UsageError, DataError), match=match):
        DataLoader(**{"dataset": (X, Y), **options})


def test_data_sets_and_their_parts():
    both = ArrayDataset(X, Y) + Squares()
    assert len(both) == 46
    assert (both[-1][1], both[25][1], both[22][1]) == (22, 2, 22)
    with pytest.raises(IndexError, match="examples 0 to 45"):
        both[46]
    with pytest.raises(IndexError, match="indices has 23"):
        Subset(Squares(), [23])


@pytest.mark.parametrize("lengths", [[20, 3], [0.5, 0.25, 0.25]])
def test_random_split(lengths):
    parts = random_split(Squares(), lengths, seed=1)
    assert [len(part) for part in parts] == ([20, 3] if len(lengths) == 2 else [12, 6, 5])
    np.testing.assert_array_equal(np.sort(np.concatenate([part.indices for part in parts])), Y)
    with pytest.raises(UsageError, match="sum to 23"):
        random_split(Squares(), [20, 4])
