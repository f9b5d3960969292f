"""Loading: every example once, orders by seed and epoch, positions kept, several processes, files beyond memory."""

import resource
import subprocess
import sys
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxport.data import loader as loading
from jaxport.data import transforms
from jaxport.data.array_file import ArrayFile
from jaxport.data.collate import Batches, stacked
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
    images = np.arange(16, dtype=np.uint8).reshape(8, 1, 1, 2)
    (one,), (two,) = (
        next(iter(DataLoader((images,), 8, seed=each, transform=transforms.RandomHorizontalFlip(), to_device=False)))
        for each in (seed, seed + 1)
    )
    assert not np.array_equal(one, two)


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


def test_collate_and_what_it_stacks():
    batch = DataLoader(Squares(), 2, collate=lambda rows: (np.stack([x for x, _ in rows]) * 2,), to_device=False)
    np.testing.assert_array_equal(next(iter(batch))[0], X[:2] * 2)
    found = stacked([(1, 0.5, True, np.float64(2)), (2, 1.5, False, np.float64(3))])
    assert [array.dtype for array in found] == [np.int32, np.float32, np.bool_, np.float64]
    with pytest.raises(UsageError, match=r"part 0 of the examples has shapes \[\(2,\), \(3,\)\]"):
        stacked([(np.zeros(2),), (np.zeros(3),)])
    with pytest.raises(UsageError, match=r"examples have \[1, 2\] parts"):
        stacked([(1,), (1, 2)])


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


def test_batches_of_other_libraries():
    class Other:
        def __iter__(self) -> Any:
            yield from ({"image": X[i : i + 2], "label": Y[i : i + 2]} for i in range(0, 6, 2))

    for _ in range(2):
        batches = list(Batches(Other(), ("label", "image")))
        assert len(batches) == 3
        np.testing.assert_array_equal(batches[2][0], Y[4:6])
    (x,) = next(iter(Batches([jnp.zeros(3)], to_device=False)))
    assert isinstance(x, np.ndarray)
    with pytest.raises(UsageError, match=r"names has \['mask'\]"):
        list(Batches(Other(), ("mask",)))
    with pytest.raises(UsageError, match="source is 3"):
        Batches(3)  # pyright: ignore[reportArgumentType]


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


# ---------------------------------------------------------------------------------------------- files beyond memory


def test_rows_of_a_file(tmp_path):
    np.save(tmp_path / "x.npy", X)
    file = ArrayFile(tmp_path / "x.npy")
    assert (file.shape, file.dtype, len(file), file.nbytes) == ((23, 2), np.uint8, 23, 46)
    for index in (3, [4, 5, 6, 2, 2], np.arange(23)[::-1], np.zeros((0,), int), [[1, 2], [3, 0]]):
        np.testing.assert_array_equal(file[index], X[index])
    with pytest.raises(IndexError, match="rows 0 to 22"):
        file[23]


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda data: data[:-1], "ends after 173 bytes"),
        (lambda data: b"PK" + data[2:], "not a .npy file"),
        (lambda data: b"", "not a .npy file"),
        (lambda data: data.replace(b"'fortran_order': False", b"'fortran_order': True "), "in C order"),
        (lambda data: data.replace(b"|u1", b"|O1"), "not a .npy file|plain numbers"),
    ],
)
def test_damaged_files_of_rows(tmp_path, damage, match):
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "x.npy").write_bytes(damage((tmp_path / "x.npy").read_bytes()))
    with pytest.raises(DataError, match=match):
        ArrayFile(tmp_path / "x.npy")


FAR_LARGER = """
import resource, sys
import numpy as np
from jaxport.data.array_file import ArrayFile
from jaxport.data.dataset import ArrayDataset
from jaxport.data.loader import DataLoader
loader = DataLoader(ArrayDataset(ArrayFile(sys.argv[1])), 256, shuffle=True, seed=0, num_workers=2, to_device=False)
list(zip(range(5), loader))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
rows = sum(len(x) for _, (x,) in zip(range(200), loader))
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_file_far_larger_than_memory_is_read_in_constant_memory(tmp_path):
    rows, width = 5_000_000, 4096  # 20 GB, of which the disk holds next to nothing
    with open(tmp_path / "x.npy", "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (rows, width)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + rows * width)
    done = subprocess.run(
        [sys.executable, "-c", FAR_LARGER, tmp_path / "x.npy"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    read, grown = map(int, done.stdout.split())
    assert read == 200 * 256
    assert grown * 1024 < 200 << 20, f"memory grew by {grown} KiB"
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] != 1 << 30  # this process was left as it is


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_loader_of_grain_as_a_source():
    grain = pytest.importorskip("grain")
    source = grain.MapDataset.range(23).map(lambda i: (X[i], Y[i])).batch(5).to_iter_dataset()
    for _ in range(2):
        found = list(Batches(source))
        np.testing.assert_array_equal(np.concatenate([np.asarray(x) for x, _ in found]), X)
        np.testing.assert_array_equal(np.concatenate([np.asarray(y) for _, y in found]), Y)


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
