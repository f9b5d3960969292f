"""Data sets by name: where files are found, and what is said when they are not."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_files import write_covid, write_images, write_imdb, write_titanic

from jaxport import data
from jaxport.errors import DataError, UsageError

WRITERS = {
    "mnist": write_images,
    "fashion_mnist": write_images,
    "titanic": write_titanic,
    "imdb": write_imdb,
    "covid": write_covid,
}
EMBEDDED = sorted(name for name, dataset in data.DATASETS.items() if not dataset.files)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
    monkeypatch.delenv("JAXPORT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_every_data_set_is_described():
    assert set(data.DATASETS) - set(EMBEDDED) == {"cifar2", "cifar10", "imdb_torchtext", *WRITERS}
    assert {"digits", "points", "fifteen", "circles", "shapes"} < set(EMBEDDED)
    for name, dataset in data.DATASETS.items():
        assert dataset.name == name
        assert dataset.description
        assert dataset.embedded == (not dataset.files)
        assert not any(file.endswith(".gz") for file in dataset.files)
        assert dataset.synthetic(3, np.random.default_rng(0)).origin == "synthetic"


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_sets_need_no_folder(tmp_path: Path, name: str):
    assert data.find(name) is data.find(name, tmp_path) is None
    assert data.load(name).origin == "embedded"


@pytest.mark.parametrize("given", ["argument", "environment"])
@pytest.mark.parametrize("inside", [True, False], ids=["DIR/NAME", "DIR"])
@pytest.mark.parametrize("name", WRITERS)
def test_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, inside: bool, given: str):
    folder = WRITERS[name](tmp_path / name if inside else tmp_path)
    if given == "environment":
        monkeypatch.setenv("JAXPORT_DATA", str(tmp_path))
    argument = tmp_path if given == "argument" else None
    assert data.find(name, argument) == folder
    assert data.load(name, argument).origin == str(folder)


def test_plain_and_gzip_may_be_mixed(tmp_path: Path):
    write_images(tmp_path / "mnist", ".gz")
    for file in data.DATASETS["mnist"].files[:2]:
        (tmp_path / "mnist" / f"{file}.gz").unlink()
    assert data.find("mnist", tmp_path) is None
    write_images(tmp_path / "plain")
    for file in data.DATASETS["mnist"].files[:2]:
        (tmp_path / "plain" / file).rename(tmp_path / "mnist" / file)
    assert len(data.load("mnist", str(tmp_path)).train.x) == 6


def test_order_of_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    monkeypatch.setenv("JAXPORT_DATA", str(second))
    write_titanic(second)
    assert data.find("titanic", first) == second
    write_titanic(second / "titanic")
    assert data.find("titanic", first) == second / "titanic"
    write_titanic(first)
    assert data.find("titanic", first) == first
    write_titanic(first / "titanic")
    assert data.find("titanic", first) == first / "titanic"


@pytest.mark.parametrize(("folder", "name"), [("mnist", "fashion_mnist"), ("fashion_mnist", "mnist")])
def test_one_data_set_is_not_taken_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, name: str):
    write_images(tmp_path / folder)
    assert data.find(folder, tmp_path / folder) == tmp_path / folder
    assert data.find(name, tmp_path / folder) is None
    assert data.find(name, tmp_path) is None
    monkeypatch.chdir(tmp_path / folder)
    assert data.find(name, ".") is None


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_titanic(tmp_path / "sets" / "titanic")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.find("titanic", "~/sets") == tmp_path / "sets" / "titanic"


def message_of(name: str, folder: Path | None) -> str:
    with pytest.raises(DataError) as caught:
        data.load(name, folder)
    message = str(caught.value)
    assert message.count("\n") <= 1
    assert "`jaxport run digits` needs no files" in message
    return message


@pytest.mark.parametrize("environment", [None, ""])
def test_no_folder_given(monkeypatch: pytest.MonkeyPatch, environment: str | None):
    if environment is not None:
        monkeypatch.setenv("JAXPORT_DATA", environment)
    assert data.find("titanic") is None
    message = message_of("titanic", None)
    assert "data set 'titanic' is not found: neither --data (data=) nor $JAXPORT_DATA names a folder" in message
    assert (
        "Put train.csv, test.csv (or each with .gz) in DIR/titanic and give --data DIR, "
        "or set JAXPORT_DATA=DIR" in message
    )


def test_not_found_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given, other = tmp_path / "given", tmp_path / "other"
    given.mkdir()
    monkeypatch.setenv("JAXPORT_DATA", str(other))
    message = message_of("mnist", given)
    assert f"'mnist' is not found in {given}/mnist, {given}, {other}/mnist, {other}\n" in message
    files = ", ".join(data.DATASETS["mnist"].files)
    assert f"Put {files} (or each with .gz) in {given}/mnist;" in message


@pytest.mark.parametrize("inside", [True, False], ids=["DIR/NAME", "DIR"])
def test_incomplete_names_what_is_missing(tmp_path: Path, inside: bool):
    folder = write_images(tmp_path / "mnist" if inside else tmp_path, ".gz")
    for file in ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"):
        (folder / f"{file}.gz").unlink()
    message = message_of("mnist", tmp_path)
    assert f"is incomplete in {folder}: missing train-labels-idx1-ubyte, t10k-images-idx3-ubyte\n" in message
    assert f"in {folder};" in message


@pytest.mark.parametrize("name", ["mnist", "digits"])
def test_data_must_be_a_folder(tmp_path: Path, name: str):
    file = tmp_path / "file"
    file.touch()
    for path in (tmp_path / "absent", file):
        for function in (data.find, data.load):
            with pytest.raises(DataError, match=f"data is {re.escape(repr(str(path)))}, which is not a folder"):
                function(name, path)


@pytest.mark.parametrize("function", [data.find, data.load])
def test_unknown_name(function):
    with pytest.raises(UsageError, match="name is 'minst'; the data sets are digits, points, mnist, fashion_mnist"):
        function("minst")


def test_damage_is_reported_through_the_lookup(tmp_path: Path):
    write_titanic(tmp_path / "titanic", "a,b\n1,2\n")
    with pytest.raises(DataError, match=r"train\.csv: has no column Survived"):
        data.load("titanic", tmp_path)


def test_import_is_light():
    heavy = {"jax", "pandas", "sklearn", "torch", "scipy", "flax"}
    code = f"import sys, jaxport.data; print(*sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
