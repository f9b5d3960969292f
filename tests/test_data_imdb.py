"""IMDB: both forms of its files, its cache, and its word numbers beside those of the tutorials' own procedure."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_files import write_imdb

from jaxport.data import imdb
from jaxport.data.splits import Splits
from jaxport.data.text import count_words
from jaxport.data.text_folder import read_tsv
from jaxport.errors import DataError, UsageError

STYLES = ("custom", "torchtext")


def same(a: Splits, b: Splits) -> bool:
    arrays = zip((*a.train, *a.val), (*b.train, *b.val), strict=True)
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in arrays)


def test_small_tables(tmp_path: Path):
    folder = write_imdb(tmp_path)
    vocabulary = imdb.load_vocabulary(folder, cache=False)
    # fine 4, "" 4 (line ends), a 2, film 2, dull 1, no 1
    assert vocabulary.words == ("<unk>", "<pad>", "fine", "", "a", "film", "dull", "no")
    splits = imdb.load(folder, length=7, cache=False)
    assert splits.train.x.tolist() == [
        [1, 1, 4, 2, 5, 2, 3],
        [1, 1, 1, 4, 6, 5, 3],
        [1, 1, 1, 1, 2, 2, 3],
        [1, 1, 1, 1, 1, 7, 3],
    ]
    assert splits.val.x.tolist() == [[1, 1, 1, 1, 6, 6, 3], [1, 1, 1, 0, 0, 0, 3]]
    assert splits.train.y.tolist() == [[1], [0], [1], [0]]
    assert (splits.train.x.dtype, splits.train.y.dtype) == (np.int32, np.float32)
    assert splits.classes == ("negative", "positive")
    other = imdb.load(folder, "torchtext", length=4, num_words=4, cache=False)
    assert imdb.load_vocabulary(folder, "torchtext", 4, cache=False).words[2:] == ("fine", "a")
    assert other.train.x.tolist() == [[3, 2, 0, 2], [3, 0, 0, 1], [2, 2, 1, 1], [0, 1, 1, 1]]


def write_published(folder: Path, tables: Path) -> Path:
    for part, table in (("train", "train.tsv"), ("test", "test.tsv")):
        for number, (text, label) in enumerate(zip(*read_tsv(tables / table), strict=True)):
            path = folder / "aclImdb" / part / ("neg", "pos")[label] / f"{number}_{10 * label}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.removesuffix("\n"), encoding="utf-8")
    (folder / "aclImdb" / "train" / "unsup").mkdir()
    return folder


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("inside", [True, False])
def test_published_folder(tmp_path: Path, style: str, inside: bool):
    folder = write_published(tmp_path / "folder", write_imdb(tmp_path / "tables"))
    found = imdb.load(folder / "aclImdb" if inside else folder, style, cache=False)
    assert found.train.y.ravel().tolist() == [0, 0, 1, 1]
    tables = tmp_path / "sorted"
    tables.mkdir()
    for name in imdb.FILES:
        lines = (tmp_path / "tables" / name).read_text("utf-8").splitlines(keepends=True)
        (tables / name).write_text("".join(sorted(lines, key=lambda line: line[0])), "utf-8")
    assert same(found, imdb.load(tables, style, cache=False))


def test_published_folder_is_named(tmp_path: Path):
    folder = write_published(tmp_path / "folder", write_imdb(tmp_path / "tables"))
    (folder / "aclImdb/train/pos/0_10.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"train/pos/0_10\.txt: is not UTF-8 text"):
        imdb.load(folder, cache=False)
    shutil.rmtree(folder / "aclImdb/test/neg")
    with pytest.raises(DataError, match=r"train/pos/0_10\.txt|test/neg: cannot be listed"):
        imdb.load(folder, cache=False)


def test_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, cache = write_imdb(tmp_path / "tables"), tmp_path / "cache"
    fresh = imdb.load(folder, cache=False)
    assert same(imdb.load(folder, cache=cache), fresh)
    (kept,) = cache.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(imdb.Vocabulary, "build", None)  # nothing is counted again
        assert same(imdb.load(folder, cache=cache), fresh)
        shutil.copytree(folder, tmp_path / "copy")
        assert same(imdb.load(tmp_path / "copy", cache=cache), fresh)
        assert imdb.load_vocabulary(folder, cache=cache).words[2] == "fine"
    for content in (b"", kept.read_bytes()[:-30], bytes(200)):
        kept.write_bytes(content)
        assert same(imdb.load(folder, cache=cache), fresh)
        assert kept.stat().st_size > 200  # written anew
    damaged = bytearray(kept.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    kept.write_bytes(damaged)
    assert same(imdb.load(folder, cache=cache), fresh)
    for options in ({"vocabulary": "torchtext"}, {"num_words": 5}, {"length": 9}):
        imdb.load(folder, cache=cache, **options)
    (folder / "test.tsv").write_text("1\tnew\n")
    assert imdb.load(folder, cache=cache).val.x.shape == (1, 200)
    assert len(list(cache.iterdir())) == 5


def test_cache_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    fresh = imdb.load(write_imdb(tmp_path / "tables"))
    assert len(list((tmp_path / "home/jaxport/imdb").glob("*.cache"))) == 1
    (tmp_path / "file").touch()  # a cache that cannot be written
    assert same(imdb.load(tmp_path / "tables", cache=tmp_path / "file"), fresh)


def test_wrong_use(tmp_path: Path):
    for options in ({"vocabulary": "glove"}, {"num_words": 1}, {"length": 0}):
        with pytest.raises(UsageError, match=f"{next(iter(options))} is|length {options.get('length')}"):
            imdb.load(write_imdb(tmp_path), cache=False, **options)
    with pytest.raises(DataError, match=r"absent: has no train\.tsv and test\.tsv, nor aclImdb; one of the two"):
        imdb.load(tmp_path / "absent", cache=False)
    (tmp_path / "test.tsv").unlink()
    with pytest.raises(DataError, match=r"test\.tsv: no such file"):
        imdb.load(tmp_path, cache=False)


def test_synthetic():
    splits = imdb.synthetic(400, np.random.default_rng(0))
    assert (splits.train.x.shape, splits.val.x.shape) == ((400, 200), (80, 200))
    assert (splits.train.x.dtype, splits.train.y.dtype) == (np.int32, np.float32)
    assert splits.train.x.min() == 1
    assert splits.train.x.max() < 10_000
    for part in (splits.train, splits.val):  # to be learnt: the sign of a difference of counts
        counts = [((part.x >= first) & (part.x < first + 10)).sum(1) for first in (2, 12)]
        assert ((counts[1] > counts[0]) == part.y.ravel()).mean() > 0.99
    again = imdb.synthetic(400, np.random.default_rng(0))
    assert same(splits, again)


# Written for this test alone, from what the chapters do; numpy's processor-specific sorts are switched off, as the
# tutorial's numpy had none.
PROCEDURE = r"""
import re, string, sys
import numpy as np
folder, out = sys.argv[1:]
def lines(name):
    with open(folder + "/" + name, encoding="utf-8") as file:
        return [line.split("\t") for line in file]
def save(name, rows):
    np.save(out + "/" + name, np.array(rows))
train, test = lines("train.tsv"), lines("test.tsv")
save("labels", [[float(label)] for label, _ in train + test])

everything = "[" + re.escape(string.punctuation) + "]"
def cut(text):
    return re.sub(everything, "", re.sub("<br />", " ", text.lower().replace("\n", " "))).split(" ")
count = {}
for _, text in train:
    for word in cut(text):
        count[word] = count.get(word, 0) + 1
import pandas
ranked = pandas.DataFrame(pandas.Series(count, name="count")).sort_values(by="count", ascending=False)
number = {word: 2 + place for place, word in enumerate(ranked.index[:9998])}
rows = []
for _, text in train + test:
    ids = [number.get(word, 0) for word in cut(text)]
    rows.append([1] * (200 - len(ids)) + ids[-200:])
save("custom", rows)

unescaped = "[" + string.punctuation + "]"
def tokens(text):
    return [word.lower() for word in re.sub(unescaped, "", text.rstrip("\n")).split(" ")]
frequency = {}
for _, text in train:
    for word in tokens(text):
        frequency[word] = frequency.get(word, 0) + 1
by_letters = sorted(frequency.items())
by_letters.sort(key=lambda pair: pair[1], reverse=True)
number = {word: 2 + place for place, (word, _) in enumerate(by_letters)}
rows = []
for _, text in train + test:
    ids = [number.get(word, 0) for word in tokens(text)][:200]
    rows.append([place if place < 10000 else 0 for place in ids + [1] * (200 - len(ids))])
save("torchtext", rows)
"""


@pytest.fixture(scope="module")
def procedure(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pandas")
    out = tmp_path_factory.mktemp("procedure")
    features = " ".join(np._core._multiarray_umath.__cpu_dispatch__)  # pyright: ignore[reportAttributeAccessIssue]
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": features}
    command = [sys.executable, "-W", "ignore", "-c", PROCEDURE, str(real_data / "imdb"), str(out)]
    subprocess.run(command, check=True, env=environment, timeout=600)
    return out


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache that the tests of this file share."""
    return tmp_path_factory.mktemp("kept")


@pytest.mark.parametrize("style", STYLES)
def test_numbers_of_the_tutorials_procedure(real_data: Path, procedure: Path, kept: Path, style: str):
    splits = imdb.load(real_data / "imdb", style, cache=kept)
    assert same(splits, imdb.load(real_data / "imdb", style, cache=kept))
    assert (splits.train.x.shape, splits.val.x.shape) == ((20_000, 200), (5_000, 200))
    assert (splits.train.y.shape, splits.val.y.shape) == ((20_000, 1), (5_000, 1))
    assert splits.train.y.mean() == splits.val.y.mean() == 0.5
    expected = np.load(procedure / f"{style}.npy")
    assert np.array_equal(np.concatenate([splits.train.x, splits.val.x]), expected)
    assert np.array_equal(np.concatenate([splits.train.y, splits.val.y]), np.load(procedure / "labels.npy"))


def test_numbers_of_the_chapters(real_data: Path, kept: Path):
    """The chapter's own split is not published; what does not depend on it is the same here."""
    vocabulary = imdb.load_vocabulary(real_data / "imdb", cache=kept)
    assert len(vocabulary) == 10_000
    assert vocabulary.words[8] == ""  # each row printed in 5-1 ends in 8: the line feed
    splits = imdb.load(real_data / "imdb", cache=kept)
    assert (splits.train.x[:, -1] == 8).all()
    assert splits.train.x[:20].shape == (20, 200)
    counts = count_words(read_tsv(real_data / "imdb/train.tsv")[0], "torchtext")
    assert len(counts) + 2 == 107_664  # 108,197 in 1-3's split
    assert (counts["a"], counts["good"], counts.get("<unk>", 0)) == (129_822, 11_679, 0)  # 129,453, 11,457 and 0
