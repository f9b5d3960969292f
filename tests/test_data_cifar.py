"""CIFAR-2 and CIFAR-10: their files as published, made-up ones that can be learned, and pickles that hold more."""

import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import (
    BATCHES,
    cifar10_arrays,
    cifar10_binary,
    cifar10_python,
    image_bytes,
    picture,
    python2_pickle,
    tar_bytes,
    write_cifar2,
)

from jaxport import data
from jaxport.data import cifar2, cifar10, cifar_pickle
from jaxport.data.splits import Splits
from jaxport.errors import DataError, UsageError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAXPORT_DATA", raising=False)


def test_cifar2_from_files(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    folder = write_cifar2(tmp_path / "sets" / "cifar2")
    assert data.find("cifar2", tmp_path / "sets") == folder
    for _ in range(2):  # decoded, then mapped
        splits = data.load("cifar2", tmp_path / "sets")
        assert splits.classes == ("0_airplane", "1_automobile")
        assert splits.origin == str(folder)
        assert splits.train.x.shape == (5, 3, 32, 32)
        assert splits.val.x.shape == (2, 3, 32, 32)
        assert splits.train.y.tolist() == [0, 0, 0, 1, 1]
        assert (splits.train.x.dtype, splits.train.y.dtype) == (np.uint8, np.int32)
    assert len(list((tmp_path / "cache" / "jaxport" / "images").iterdir())) == 2
    shutil.rmtree(folder / "test" / "1_automobile")
    with pytest.raises(DataError, match=r"incomplete in .*: missing test/1_automobile/"):
        data.load("cifar2", tmp_path / "sets")


def test_cifar2_of_something_else(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    folder = write_cifar2(tmp_path / "a")
    (folder / "train" / "2_bird").mkdir()
    (folder / "train" / "2_bird" / "1.png").write_bytes(image_bytes(picture(1)))
    with pytest.raises(DataError, match="has the class folders 0_airplane, 1_automobile, 2_bird; it must have 0_air"):
        cifar2.load(folder)
    folder = write_cifar2(tmp_path / "b")
    for path in (folder / "test").rglob("*.jpg"):
        path.write_bytes(image_bytes(picture(1, 30, 31), "jpeg"))
    with pytest.raises(DataError, match="has images of 31 × 30 pixels; they must have 32 × 32"):
        cifar2.load(folder, tmp_path / "other")


def test_real_cifar2(real_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    splits = data.load("cifar2", real_data)
    assert splits.train.x.shape == (10_000, 3, 32, 32)
    assert splits.val.x.shape == (2_000, 3, 32, 32)
    assert np.bincount(splits.train.y).tolist() == [5_000, 5_000]
    assert np.bincount(splits.val.y).tolist() == [1_000, 1_000]
    folder = data.image_folder.ImageFolder(real_data / "cifar2" / "train")
    assert folder.class_to_idx == {"0_airplane": 0, "1_automobile": 1}
    for at in (0, 1, 5_000, 9_999):
        np.testing.assert_array_equal(splits.train.x[at], folder[at][0])
        assert splits.train.y[at] == folder[at][1]


def write_binary(folder: Path) -> None:
    folder = folder / "cifar-10-batches-bin"
    folder.mkdir()
    for name, content in cifar10_binary().items():
        (folder / name).write_bytes(content)


def write_python(folder: Path) -> None:
    folder = folder / "cifar-10-batches-py"
    folder.mkdir()
    for name, content in cifar10_python().items():
        (folder / name).write_bytes(content)
    (folder / "batches.meta").write_bytes(b"not looked at")


def write_binary_archive(folder: Path) -> None:
    members = {f"cifar-10-batches-bin/{name}": content for name, content in cifar10_binary().items()}
    members["cifar-10-batches-bin/readme.html"] = b"hello"
    (folder / "cifar-10-binary.tar.gz").write_bytes(tar_bytes(members))


def write_python_archive(folder: Path) -> None:
    members = {f"cifar-10-batches-py/{name}": content for name, content in reversed(cifar10_python().items())}
    (folder / "cifar-10-python.tar.gz").write_bytes(tar_bytes(members))


def write_as_published(folder: Path) -> None:
    members = {f"cifar-10-batches-py/{name}": python2_pickle(*batch) for name, batch in cifar10_arrays().items()}
    (folder / "cifar-10-python.tar.gz").write_bytes(tar_bytes(members))


VERSIONS = (write_binary, write_python, write_binary_archive, write_python_archive, write_as_published)


@pytest.mark.parametrize("write", VERSIONS, ids=lambda write: write.__name__)
def test_cifar10_from_files(tmp_path: Path, write) -> None:
    write(tmp_path)
    assert data.find("cifar10", tmp_path) == tmp_path
    splits = data.load("cifar10", tmp_path)
    batches = cifar10_arrays()
    x, y = (np.concatenate([batches[name][at] for name in BATCHES[:5]]) for at in range(2))
    np.testing.assert_array_equal(splits.train.x, x.reshape(20, 3, 32, 32))
    np.testing.assert_array_equal(splits.train.y, y)
    np.testing.assert_array_equal(splits.val.x.reshape(4, 3072), batches["test_batch"][0])
    np.testing.assert_array_equal(splits.val.y, batches["test_batch"][1])
    assert (splits.train.x.dtype, splits.train.y.dtype) == (np.uint8, np.int32)
    assert len(splits.classes) == 10
    assert splits.classes[:2] == ("airplane", "automobile")
    assert len(list(tmp_path.iterdir())) == 1  # nothing is unpacked there


def test_cifar10_that_is_not_there(tmp_path: Path) -> None:
    assert data.find("cifar10", tmp_path) is None
    for load in (cifar10.load, lambda folder: data.load("cifar10", folder)):
        with pytest.raises(
            DataError, match=r"cifar-10-binary.tar.gz or cifar-10-python.tar.gz or cifar-10-batches-bin/"
        ):
            load(tmp_path)
    write_binary(tmp_path)
    (tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_3\.bin: no such file"):
        cifar10.load(tmp_path)


def batch(**changes: Any) -> bytes:
    good = {"data": picture(1, 2, 3072, 1), "labels": [3, 9]} | changes
    return pickle.dumps({name: value for name, value in good.items() if value is not None}, 2)


class Runs:
    """Pickles into a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


BAD_BINARY = {
    "empty": (b"", "has 0 bytes; it must have 3073 for each image"),
    "cut": (bytes(3072), "has 3072 bytes"),
    "long": (bytes(3074), "has 3074 bytes"),
    "label": (bytes(3073) + b"\x0a" + bytes(3072), "label 10 at position 1; labels are 0 to 9"),
}
BAD_PYTHON = {
    "good": (batch(), None),
    "bytes as keys": (pickle.dumps({b"data": picture(1, 2, 3072, 1), b"labels": [3, 9]}, 4), None),
    "label": (batch(labels=[3, 10]), "label 10 at position 1; labels are 0 to 9"),
    "negative label": (batch(labels=[3, -1]), "labels are 0 to 9"),
    "huge label": (batch(labels=[3, 2**70]), "labels are 0 to 9"),
    "label of text": (batch(labels=[3, "9"]), "labels is a list of 2; it must be a list of 2 integers"),
    "a label missing": (batch(labels=[3]), "labels is a list of 1; it must be a list of 2 integers"),
    "no labels": (batch(labels=None), "labels is a NoneType"),
    "no data": (batch(data=None), "data is a NoneType; it must be uint8 of shape"),
    "shape": (batch(data=picture(1, 2, 3071, 1)), r"data is a ndarray of shape \(2, 3071\)"),
    "no rows": (python2_pickle(np.zeros((0, 3072), np.uint8), np.zeros(0, np.uint8)), r"shape \(0, 3072\)"),
    "dtype": (batch(data=np.zeros((2, 3072), np.int16)), "holds an array of dtype 'i2'; u1 is known: refused"),
    "objects": (batch(data=np.array([[], 1], object)), "holds an array of dtype 'O8'"),
    "order": (batch(data=np.asfortranarray(picture(1, 2, 3072, 1))), "not of bytes in C order"),
    "a list": (pickle.dumps([1, 2], 2), "holds a list; it must be a dict"),
    "a float": (batch(more=0.5), "the pickle instruction BINFLOAT"),
    "runs": (batch(more=Runs(eval, "1/0")), r"holds __builtin__\.eval, which is neither"),
    "runs by protocol 4": (pickle.dumps(Runs(exec, "1/0"), 4), r"holds builtins\.exec"),
    "runs a program": (pickle.dumps(Runs(shutil.rmtree, "/nowhere"), 2), r"holds shutil\.rmtree"),
    "loads": (pickle.dumps(Runs(np.load, "x"), 2), r"holds numpy.*load"),
    "an object": (b"(i__main__\nRuns\n.", "the pickle instruction INST"),
    "by a class": (b"\x80\2cnumpy\nndarray\n)\x81.", "the pickle instruction NEWOBJ"),
    "writes into a function": (b"\x80\2cnumpy\ndtype\n(N}U\1xK\1stb.", "not a whole pickle"),
    "memo": (b"\x80\2]r\xff\xff\xff\x7f.", "holds place 2147483647 of the memo in"),
    "persistent": (b"\x80\2K\1Q.", "BINPERSID"),
    "other encoding": (b"\x80\2c_codecs\nencode\nU\1xU\3hex\x86R.", "encoded as 'hex'"),
    "array without content": (
        b"\x80\2}U\4datacnumpy.core.multiarray\n_reconstruct\nK\1K\1K\1\x87Rs.",
        "not a whole pickle",
    ),
    "cut": (batch()[:-50], "is not a whole pickle"),
    "empty": (b"", "is not a whole pickle"),
    "text": (b"hello", "is not a whole pickle|the pickle instruction"),
}


@pytest.mark.parametrize(
    ("parse", "content", "message"),
    [
        pytest.param(parse, *row, id=f"{parse.__name__}: {name}")
        for parse, table in ((cifar10.parse_binary, BAD_BINARY), (cifar10.parse_python, BAD_PYTHON))
        for name, row in table.items()
    ],
)
def test_bad_batches(parse, content: bytes, message: str | None) -> None:
    path = Path("some/data_batch_1")
    if message is None:
        assert parse(path, content).y.tolist() == [3, 9]
        return
    with pytest.raises(DataError, match=f"{re.escape(str(path))}: .*({message})"):
        parse(path, content)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickles_of_every_protocol(protocol: int) -> None:
    value = {"a": [1, 300, 70_000, -5, 2**40, True, None], "b": b"\xff\0", "c": ("x", "é"), "d": picture(1)}
    result = cifar_pickle.loads("x", pickle.dumps(value, protocol))
    np.testing.assert_array_equal(result.pop("d"), value.pop("d"))
    assert result == value


def learned(splits: Splits) -> float:
    """Return how much of `val` the nearest mean of `train` gets right."""
    train, val = (part.x.reshape(len(part.x), -1).astype(np.float64) for part in (splits.train, splits.val))
    means = np.stack([train[splits.train.y == label].mean(0) for label in range(len(splits.classes))])
    distances = ((val[:, None] - means) ** 2).sum(-1)
    return float((distances.argmin(1) == splits.val.y).mean())


@pytest.mark.parametrize("name", ["cifar2", "cifar10"])
def test_synthetic(name: str) -> None:
    splits = data.DATASETS[name].synthetic(400, np.random.default_rng(0))
    assert splits.train.x.shape == (400, 3, 32, 32)
    assert splits.val.x.shape == (80, 3, 32, 32)
    assert (splits.train.x.dtype, splits.train.y.dtype, splits.origin) == (np.uint8, np.int32, "synthetic")
    assert learned(splits) > 0.95
    again = data.DATASETS[name].synthetic(400, np.random.default_rng(0))
    np.testing.assert_array_equal(splits.val.x, again.val.x)
    with pytest.raises(UsageError, match="n is 0; a synthetic set needs at least 1 example"):
        data.DATASETS[name].synthetic(0, np.random.default_rng(0))
