"""Where data sets are fetched from: the rows we carry, and those of an installed tensorflow-datasets."""

import sys
from pathlib import Path

import pytest

from jaxport import cli
from jaxport.data.sources import SOURCES, Source, parse_table, sources
from jaxport.errors import UsageError


def test_known_files() -> None:
    assert list(SOURCES) == ["mnist", "fashion_mnist", "cifar10", "imdb"]
    assert [len(files) for files in SOURCES.values()] == [4, 4, 1, 1]
    for files in SOURCES.values():
        for source in files:
            assert source.url.endswith(f"/{source.file}")
            assert len(source.sha256) == 64
    with pytest.raises(UsageError, match="name is 'cifar2'; the data sets that can be fetched are mnist"):
        sources("cifar2")


def test_an_installed_table_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "tensorflow_datasets"
    (package / "url_checksums").mkdir(parents=True)
    (package / "datasets" / "imdb_reviews").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    row = f"https://host/x/cifar-10-binary.tar.gz\t7\t{'a' * 64}"
    (package / "url_checksums" / "cifar10.txt").write_text(f"{row}\nhttps://host/other.gz\t1\t{'b' * 64}\nnonsense\n")
    (package / "datasets" / "imdb_reviews" / "checksums.tsv").write_text(
        f"http://host/y\t8\t{'c' * 64}\taclImdb_v1.tar.gz\n"
    )
    monkeypatch.delitem(sys.modules, "tensorflow_datasets", raising=False)  # found where it was imported from, else
    monkeypatch.syspath_prepend(tmp_path)
    (source,) = sources("cifar10")
    assert source == Source("https://host/x/cifar-10-binary.tar.gz", 7, "a" * 64, "cifar-10-binary.tar.gz")
    assert sources("imdb") == (Source("http://host/y", 8, "c" * 64, "aclImdb_v1.tar.gz"),)
    assert sources("mnist") == SOURCES["mnist"]


def test_rows_that_are_left_out() -> None:
    good = f"http://h/f\t1\t{'0' * 64}"
    bad = (f"file:///etc/passwd\t1\t{'0' * 64}", f"http://h/f\tx\t{'0' * 64}", "http://h/f\t1\tabc", "", "a b c")
    assert [source.file for source in parse_table("\n".join((*bad, good)))] == ["f"]


USAGE = {
    "nothing": "name is 'nothing'; the data sets that can be fetched are mnist, fashion_mnist, cifar10, imdb",
    "digits": "data set 'digits' is part of jaxport: it needs no files",
    "titanic": "data set 'titanic' is not published in this form: put train.csv, test.csv in DIR/titanic",
    "mnist": "no folder for data set 'mnist': give --data DIR, or set JAXPORT_DATA=DIR",
}


@pytest.mark.parametrize(("name", "message"), USAGE.items(), ids=USAGE.keys())
def test_wrong_use(name: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.delenv("JAXPORT_DATA", raising=False)
    assert cli.main(["data", name]) == 2
    assert message in capsys.readouterr().err
