"""MNIST, Fashion-MNIST and the embedded digits: one format, checked on reading; synthetic sets that can be learned."""

import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from data_files import IMAGES, LABELS, write_idx, write_images

from jaxport.data import Arrays, Splits, digits, fashion_mnist, mnist
from jaxport.errors import DataError, UsageError

READERS = [mnist, fashion_mnist]


def check_format(splits: Splits):
    for part in (splits.train, splits.val):
        assert part.x.shape == (len(part.y), 1, 28, 28)
        assert part.x.dtype == np.uint8
        assert part.y.shape == (len(part.x),)
        assert part.y.dtype == np.int32
        assert 0 <= part.y.min() <= part.y.max() <= 9
    assert len(splits.classes) == 10


def nearest_mean_accuracy(splits: Splits) -> float:
    """Classify by the nearest of the ten mean training images."""
    train, val = (part.x.reshape(len(part.x), -1).astype(np.float64) for part in (splits.train, splits.val))
    means = np.array([train[splits.train.y == label].mean(axis=0) for label in range(10)])
    distances = ((val[:, None] - means) ** 2).sum(axis=-1)
    return float((distances.argmin(axis=1) == splits.val.y).mean())


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("reader", READERS)
def test_load(tmp_path: Path, reader: ModuleType, suffix: str):
    splits = reader.load(write_images(tmp_path, suffix))
    check_format(splits)
    assert (len(splits.train.x), len(splits.val.x)) == (6, 3)
    assert splits.train.y.tolist() == [0, 1, 2, 3, 4, 5]
    assert splits.origin == str(tmp_path)
    pixels = np.random.default_rng(3).integers(0, 256, (6, 28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(splits.train.x[:, 0], pixels)


def test_class_names():
    assert mnist.CLASSES == digits.CLASSES == tuple(map(str, range(10)))
    assert " ".join(fashion_mnist.CLASSES) == (
        "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Ankle boot"
    )


def zeros(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return np.zeros(shape, dtype)


BAD = {
    "image size": ({IMAGES[0]: zeros(6, 28, 27)}, rf"{IMAGES[0]}: holds uint8 of shape \(6, 28, 27\); it must be"),
    "image axes": ({IMAGES[1]: zeros(3, 784)}, rf"{IMAGES[1]}: holds uint8 of shape \(3, 784\)"),
    "image dtype": ({IMAGES[0]: zeros(6, 28, 28, dtype="float32")}, rf"{IMAGES[0]}: holds float32 of .* must be uint8"),
    "label axes": ({LABELS[0]: zeros(6, 1)}, rf"{LABELS[0]}: holds uint8 of shape \(6, 1\); .* shape \(N,\)"),
    "label dtype": ({LABELS[1]: zeros(3, dtype="int32")}, rf"{LABELS[1]}: holds int32"),
    "label range": (
        {LABELS[1]: np.array([0, 17, 10], np.uint8)},
        rf"{LABELS[1]}: label 17 at position 1; labels are 0 to 9",
    ),
    "first label that is none": (
        {LABELS[0]: np.array([0, 9, 9, 10, 0, 0], np.uint8)},
        rf"{LABELS[0]}: label 10 at position 3",
    ),
    "files swapped": ({IMAGES[0]: zeros(6), LABELS[0]: zeros(6, 28, 28)}, rf"{IMAGES[0]}: holds uint8 of shape \(6,\)"),
    "counts": ({LABELS[0]: zeros(5)}, rf"{IMAGES[0]} holds 6 images and .*{LABELS[0]} holds 5 labels"),
    "validation counts": ({IMAGES[1]: zeros(4, 28, 28)}, rf"{IMAGES[1]} holds 4 images and .*{LABELS[1]} holds 3"),
    "no images": ({IMAGES[1]: zeros(0, 28, 28), LABELS[1]: zeros(0)}, rf"{IMAGES[1]}: holds 0 images"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD.keys())
def test_inconsistent_files(tmp_path: Path, changes: dict[str, np.ndarray], message: str):
    write_images(tmp_path)
    for name, array in changes.items():
        write_idx(tmp_path / name, array)
    with pytest.raises(DataError, match=message):
        mnist.load(tmp_path)


@pytest.mark.parametrize("name", IMAGES + LABELS)
def test_missing_file(tmp_path: Path, name: str):
    (write_images(tmp_path) / name).unlink()
    with pytest.raises(DataError, match=rf"{re.escape(str(tmp_path))}/{name}: no such file, nor {name}\.gz"):
        fashion_mnist.load(tmp_path)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (Arrays(np.zeros((3, 2)), np.zeros(2)), "train: x has 3 rows and y has 2"),
        (Arrays(np.zeros((0, 2)), np.zeros(0)), "train: x has 0 rows"),
    ],
)
def test_splits_are_checked(train: Arrays, message: str):
    with pytest.raises(DataError, match=message):
        Splits(train, Arrays(np.zeros((1, 2)), np.zeros(1)))


@pytest.mark.parametrize("reader", [*READERS, digits])
@pytest.mark.parametrize(("n", "n_val"), [(1, 1), (4, 1), (60, 12)])
def test_synthetic_format(reader: ModuleType, n: int, n_val: int):
    splits = reader.synthetic(n, np.random.default_rng(5))
    check_format(splits)
    assert (len(splits.train.x), len(splits.val.x)) == (n, n_val)
    assert splits.classes == reader.CLASSES
    assert splits.origin == "synthetic"


def test_synthetic_is_the_seeds():
    first, again, other = (mnist.synthetic(20, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.train.x, again.train.x)
    np.testing.assert_array_equal(first.val.y, again.val.y)
    assert (first.train.x != other.train.x).any()
    assert (first.train.x[:4] != first.val.x).any()


def test_synthetic_can_be_learned_and_two_draws_are_of_one_distribution():
    first, other = (mnist.synthetic(500, np.random.default_rng(seed)) for seed in (5, 6))
    assert nearest_mean_accuracy(first) > 0.9
    assert nearest_mean_accuracy(Splits(first.train, other.val)) > 0.9
    assert first.train.x.std() > 30


@pytest.mark.parametrize("n", [0, -3])
def test_synthetic_needs_one(n: int):
    with pytest.raises(UsageError, match=f"n is {n}; a synthetic set needs at least 1"):
        mnist.synthetic(n, np.random.default_rng(0))


def test_digits():
    splits = digits.load()
    check_format(splits)
    assert (len(splits.train.x), len(splits.val.x)) == (1437, 360)
    assert splits.origin == "embedded"
    assert splits.train.x.max() == 255
    assert nearest_mean_accuracy(splits) > 0.85


def test_digits_are_sklearns_each_once():
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    splits = digits.load()
    x, y = (np.concatenate(pair) for pair in zip(splits.train, splits.val, strict=True))
    order = np.random.default_rng(0).permutation(1797)
    np.testing.assert_array_equal(y, labels[order])
    centres = x[:, 0, 3:27:3, 3:27:3].reshape(-1, 64).astype(float)
    np.testing.assert_array_equal(np.round(centres * 16 / 255), images[order])


def test_digits_are_enlarged():
    image = np.arange(64).reshape(1, 8, 8) % 17
    result = digits.enlarge(image)
    assert result.shape == (1, 1, 28, 28)
    assert result.dtype == np.uint8
    for row in range(28):
        for column in range(28):
            inside = 2 <= row < 26 and 2 <= column < 26
            value = image[0, (row - 2) // 3, (column - 2) // 3] if inside else 0
            assert result[0, 0, row, column] == round(int(value) * 255 / 16)


@pytest.mark.parametrize(
    ("reader", "first_labels", "first_sum"), [(mnist, [5, 0, 4, 1, 9], 27525), (fashion_mnist, None, None)]
)
def test_real_files(real_data: Path, reader: ModuleType, first_labels: list[int] | None, first_sum: int | None):
    folder = real_data / reader.__name__.rpartition(".")[2]
    if not folder.is_dir():
        pytest.skip(f"no {folder.name} in the real data")
    splits = reader.load(folder)
    check_format(splits)
    assert (len(splits.train.x), len(splits.val.x)) == (60_000, 10_000)
    assert set(splits.val.y.tolist()) == set(range(10))
    if first_labels:
        assert splits.train.y[:5].tolist() == first_labels
        assert int(splits.train.x[0].sum()) == first_sum
