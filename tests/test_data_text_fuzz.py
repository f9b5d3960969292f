"""Damaged files of every text and table format: read, or refused with DataError; nothing else, and no hang.

300 variants a format; JAXPORT_FUZZ sets another number.
"""

import faulthandler
import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import covid_tsv, titanic_csv, write_imdb

from jaxport.data import covid, imdb
from jaxport.data.table import Column, Label, Missing, Numeric, OneHot, read_table
from jaxport.data.text import Vocabulary
from jaxport.data.text_folder import TextFolder, split_samples
from jaxport.errors import DataError

COUNT = int(os.environ.get("JAXPORT_FUZZ", "300"))
SECONDS = 300  # a hang: everything is stopped, with a traceback
SPECIAL = (
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b'"',
    b"\t",
    b"\r",
    b"\n",
    b",",
    b"\x1f\x8b",
    b"1e999",
    b"nan",
    b"\\u",
    b"[",
)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut, change, insert, repeat, remove or replace; sometimes twice."""
    for _ in range(rng.integers(1, 3)):
        place, end = sorted(rng.integers(0, len(content) + 1, 2).tolist())
        match rng.integers(0, 7):
            case 0:
                content = content[:place]
            case 1 if content:
                changed = np.frombuffer(content, np.uint8).copy()
                where = rng.integers(0, len(content), rng.integers(1, 9))
                changed[where] ^= 1 << rng.integers(0, 8, len(where), dtype=np.uint8)
                content = changed.tobytes()
            case 2:
                content = content[:place] + SPECIAL[rng.integers(len(SPECIAL))] * rng.integers(1, 4) + content[place:]
            case 3:
                content = content[:place] + rng.bytes(rng.integers(1, 40)) + content[place:]
            case 4:
                content = content[:place] + content[end:]
            case 5:
                content = content[:end] + content[place:]
            case _:
                content = rng.bytes(rng.integers(0, 300))
    return content


CATEGORIES: dict[str, Column] = {
    "Pclass": OneHot(),
    "Sex": OneHot(("female", "male")),
    "Age": Numeric("median", missing_flag=True),
    "Fare": Numeric(),
    "Cabin": Missing(),
    "Survived": Label(),
}


def read_folder(path: Path, on_error: str) -> None:
    dataset = TextFolder(path.parent, on_error=on_error)
    for number in range(len(dataset)):
        dataset[number]


def read_skipping(path: Path) -> None:
    """Nothing may be raised for a damaged file that is to be skipped."""
    dataset = TextFolder(path.parent, on_error="skip")
    assert len(dataset) + len(dataset.skipped) == 2
    assert all(isinstance(dataset[number][1], int) for number in range(len(dataset)))


def labelled(folder: Path) -> Path:
    (folder / "2.txt").write_text("0\tundamaged")
    return folder / "1.txt"


def published(folder: Path) -> Path:
    for part in ("train", "test"):
        for name in ("neg", "pos"):
            (folder / part / name).mkdir(parents=True)
            (folder / part / name / "0_1.txt").write_text("A fine film.<br />Fine!")
    return folder / "train/pos/0_1.txt"


def cached(folder: Path) -> Path:
    imdb.load(write_imdb(folder), cache=folder)
    return next(folder.glob("*.cache"))


def read_cached(path: Path) -> None:
    """A damaged cache is computed again."""
    found, fresh = imdb.load(path.parent, cache=path.parent), imdb.load(path.parent, cache=False)
    assert np.array_equal(found.train.x, fresh.train.x)


def tokens(folder: Path) -> Path:
    Vocabulary.build(["a fine film", "a « dull » one"]).save(folder / "words.json")
    return folder / "words.json"


Case = tuple[Callable[[Path], Path], Callable[[Path], Any]]
CASES: dict[str, Case] = {
    "vocabulary": (tokens, Vocabulary.load),
    "IMDB table": (lambda folder: write_imdb(folder) / "train.tsv", lambda path: imdb.load(path.parent, cache=False)),
    "IMDB torchtext": (
        lambda folder: write_imdb(folder) / "train.tsv",
        lambda path: imdb.load(path.parent, "torchtext", cache=False),
    ),
    "aclImdb": (published, lambda path: imdb.load(path.parents[2], cache=False)),
    "IMDB cache": (cached, read_cached),
    "labelled files": (labelled, lambda path: read_folder(path, "raise")),
    "skipped files": (labelled, read_skipping),
    "split": (lambda folder: write_imdb(folder) / "test.tsv", lambda path: split_samples(path, path.parent / "s")),
    "COVID": (lambda folder: folder / "covid-19.csv", lambda path: covid.load(path.parent)),
    "COVID gzip": (lambda folder: folder / "covid-19.csv.gz", lambda path: covid.load(path.parent)),
    "CSV": (lambda folder: folder / "t.csv", lambda path: read_table(path, CATEGORIES)),
    "CSV utf-16": (lambda folder: folder / "t16.csv", lambda path: read_table(path, CATEGORIES, encoding="utf-16")),
}
CONTENTS = {
    "1.txt": b"1\tA fine film, \xc3\xa9t\xc3\xa9",
    "covid-19.csv": covid_tsv().encode(),
    "covid-19.csv.gz": gzip.compress(covid_tsv().encode(), mtime=0),
    "t.csv": titanic_csv().encode(),
    "t16.csv": titanic_csv().encode("utf-16"),
}


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("name", CASES)
def test_damaged_files(tmp_path: Path, name: str):
    prepare, read = CASES[name]
    path = prepare(tmp_path)
    if path.name in CONTENTS:
        path.write_bytes(CONTENTS[path.name])
    content = path.read_bytes()
    read(path)
    refused, rng = [], np.random.default_rng(7)
    for number in range(COUNT):
        path.write_bytes(variant := damaged(content, rng))
        if name == "split":
            shutil.rmtree(path.parent / "s", ignore_errors=True)
        try:
            read(path)
        except DataError as error:
            refused.append(str(error))
        except Exception as error:
            pytest.fail(f"variant {number} of {name}: {error!r}\n{variant!r}")
    assert all(path.name in message or path.parent.name in message for message in refused)
    assert (not refused) == (name in ("IMDB cache", "skipped files"))
