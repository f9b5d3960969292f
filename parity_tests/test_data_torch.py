"""Loading as torch does it: its orders by seed, its splits, its loaders as a source of batches."""

import numpy as np
import pytest

from jaxport.data import ArrayDataset, Batches, DataLoader, random_split
from jaxport.data import transforms as T
from jaxport.parity.tolerances import FLOAT32_FACTOR, FLOAT32_FLOOR

torch = pytest.importorskip("torch")

X = np.arange(37 * 3, dtype=np.float32).reshape(37, 3)
Y = np.arange(37, dtype=np.int64)


def torch_set():
    return torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2**40 + 7])
def test_the_order_of_torch(seed, drop_last):
    ours = DataLoader((X, Y), 8, shuffle=True, seed=seed, order="torch", drop_last=drop_last)
    torch.manual_seed(seed)
    theirs = torch.utils.data.DataLoader(torch_set(), 8, shuffle=True, drop_last=drop_last)
    for _ in range(3):
        found, wanted = list(ours), list(theirs)
        assert len(found) == len(wanted) == len(ours)
        for batch, expected in zip(found, wanted, strict=True):
            for one, two in zip(batch, expected, strict=True):
                np.testing.assert_array_equal(one, two.numpy())


def test_going_back_gives_the_same_epoch_again():
    loader = DataLoader((X, Y), 8, shuffle=True, seed=3, order="torch")
    epochs = [loader.indices(epoch) for epoch in range(4)]
    np.testing.assert_array_equal(loader.indices(1), epochs[1])
    np.testing.assert_array_equal(loader.indices(3), epochs[3])
    assert not np.array_equal(epochs[1], epochs[2])


@pytest.mark.parametrize("lengths", [[30, 7], [0.5, 0.3, 0.2], [1.0]])
@pytest.mark.parametrize("seed", [0, 42])
def test_the_parts_of_random_split(lengths, seed):
    found = random_split(ArrayDataset(X, Y), lengths, seed)
    generator = torch.Generator().manual_seed(seed)
    wanted = torch.utils.data.random_split(torch_set(), lengths, generator=generator)
    assert [part.indices.tolist() for part in found] == [list(part.indices) for part in wanted]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:.*fork.*:RuntimeWarning", "ignore:.*fork.*:DeprecationWarning")
def test_a_loader_of_torch_as_a_source(workers):
    source = torch.utils.data.DataLoader(torch_set(), 8, num_workers=workers)
    for _ in range(2):
        found = list(Batches(source, to_device=False))
        assert len(found) == len(Batches(source)) == 5
        np.testing.assert_array_equal(np.concatenate([x for x, _ in found]), X)
        np.testing.assert_array_equal(np.concatenate([y for _, y in found]), Y)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("size", [(5, 3), (11, 20), (9, 4)])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
def test_resize_is_torchs_interpolation_rounded(mode, size, dtype):
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 9, 7)).astype(dtype)
    smooth = {"antialias": True} if mode in ("bilinear", "bicubic") else {}
    wanted = torch.nn.functional.interpolate(torch.from_numpy(x.astype(np.float64)), size, mode=mode, **smooth).numpy()
    found = T.Resize(size, mode)(x)
    assert (found.shape, found.dtype) == (wanted.shape, dtype)
    if dtype == np.float32:
        single = torch.nn.functional.interpolate(torch.from_numpy(x), size, mode=mode, **smooth).numpy()
        own = np.abs(single - wanted).max()
        assert np.abs(found - wanted).max() <= FLOAT32_FACTOR * own + FLOAT32_FLOOR * np.abs(wanted).max()
    else:
        sure = np.abs(wanted % 1 - 0.5) > 1e-3  # float32 may round the others up or down
        np.testing.assert_array_equal(found[sure], np.clip(np.round(wanted), 0, 255)[sure])
        assert sure.mean() > 0.9
