"""Any CSV by a specification: features, names, what is learnt from a file, errors; Titanic's fifteen among them."""

import re
from pathlib import Path

import numpy as np
import pytest
from data_files import titanic_csv

from jaxport.data import titanic
from jaxport.data.table import Column, Features, Label, Missing, Numeric, OneHot, Target, read_table
from jaxport.errors import DataError, UsageError

TITANIC: dict[str, Column] = {
    "Pclass": OneHot(("1", "2", "3")),
    "Sex": OneHot(("female", "male")),
    "Age": Numeric(fill=0, missing_flag=True),
    "SibSp": Numeric(),
    "Parch": Numeric(),
    "Fare": Numeric(),
    "Cabin": Missing(),
    "Embarked": OneHot(("C", "Q", "S", "")),
    "Survived": Label(("0", "1")),
}


def read(folder: Path, content: str | bytes, columns: dict[str, Column], **options) -> Features:
    (folder / "t.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(folder / "t.csv", columns, **options)


@pytest.mark.parametrize("learnt", [False, True], ids=["categories given", "categories from the file"])
def test_fifteen_features_of_titanic(real_data: Path, learnt: bool):
    splits, columns = titanic.load(real_data / "titanic"), dict(TITANIC)
    if learnt:
        columns |= {"Pclass": OneHot(), "Sex": OneHot(), "Embarked": OneHot(), "Survived": Label()}
    train = read_table(real_data / "titanic/train.csv", columns)
    val = read_table(real_data / "titanic/test.csv", train.columns)
    assert train.names == val.names == titanic.FEATURES
    for found, expected in ((train, splits.train), (val, splits.val)):
        assert found.x.dtype == expected.x.dtype == np.float32
        assert found.x.tobytes() == expected.x.tobytes()
        assert found.y is not None
        assert np.array_equal(found.y[:, None], expected.y)
    assert (train.x.shape, val.x.shape) == ((712, 15), (179, 15))


def test_titanic_in_small(tmp_path: Path):
    found = read(tmp_path, titanic_csv(), TITANIC)
    assert found["Age"].tolist() == [22, 38.5, 0]
    assert found["Age_null"].tolist() == [0, 0, 1]
    assert found["Embarked_nan"].tolist() == [0, 0, 1]
    assert found.classes == ("0", "1")


CSV = "a,b,c,d\n1,x,10,yes\n,y,9,no\n4,,9,no\n5,x,-1.5,yes\n"


@pytest.mark.parametrize(
    ("column", "names", "features"),
    [
        ({"a": Numeric("median")}, ["a"], [[1, 4, 4, 5]]),
        ({"a": Numeric("mean")}, ["a"], [[1, 10 / 3, 4, 5]]),
        ({"a": Numeric(-1.5, missing_flag=True)}, ["a", "a_null"], [[1, -1.5, 4, 5], [0, 1, 0, 0]]),
        ({"a": Missing()}, ["a_null"], [[0, 1, 0, 0]]),
        ({"b": OneHot()}, ["b_x", "b_y", "b_nan"], [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]),
        (
            {"b": OneHot(["y", "", "x", "z"])},
            ["b_y", "b_nan", "b_x", "b_z"],
            [[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1], [0] * 4],
        ),
        ({"c": OneHot()}, ["c_-1.5", "c_9", "c_10"], [[0, 0, 0, 1], [0, 1, 1, 0], [1, 0, 0, 0]]),
        ({"c": Numeric(), "a": Missing()}, ["c", "a_null"], [[10, 9, 9, -1.5], [0, 1, 0, 0]]),
    ],
)
def test_features(tmp_path: Path, column: dict[str, Column], names: list[str], features: list[list[float]]):
    found = read(tmp_path, CSV, column)
    assert found.names == tuple(names)
    assert found.x.dtype == np.float32
    assert np.array_equal(found.x, np.array(features, np.float32).T)
    assert found.y is None
    assert all(np.array_equal(found[name], found.x[:, i]) for i, name in enumerate(names))


def test_answers(tmp_path: Path):
    label = read(tmp_path, CSV, {"d": Label(), "a": Numeric(0)})
    assert label.y is not None
    assert (label.y.tolist(), label.y.dtype, label.classes) == ([1, 0, 0, 1], np.int32, ("no", "yes"))
    target = read(tmp_path, CSV, {"c": Target()})
    assert target.y is not None
    assert (target.y.tolist(), target.y.dtype, target.classes) == ([10, 9, 9, -1.5], np.float32, ())
    assert target.x.shape == (4, 0)


def test_what_was_learnt_is_used_again(tmp_path: Path):
    train = read(tmp_path, CSV, {"a": Numeric("median"), "b": OneHot(), "d": Label()})
    assert train.columns == {"a": Numeric(4.0), "b": OneHot(("x", "y", "")), "d": Label(("no", "yes"))}
    test = read(tmp_path, "d,b,a\nyes,y,\n", train.columns)
    assert test.x.tolist() == [[4, 0, 1, 0]]
    assert test.y is not None
    assert test.y.tolist() == [1]
    with pytest.raises(DataError, match=r"t\.csv, line 2, column b: is 'z'; it must be one of x, y, nothing"):
        read(tmp_path, "d,b,a\nyes,z,\n", train.columns)


def test_other_files(tmp_path: Path):
    columns: dict[str, Column] = {"größe": Numeric(0), "art": OneHot()}
    for encoding in ("latin-1", "utf-16", "cp1252"):
        content = "größe;art\n1;ä\nNA;ö\n".encode(encoding)
        found = read(tmp_path, content, columns, delimiter=";", encoding=encoding, missing=("", "NA"))
        assert found.x.tolist() == [[1, 1, 0], [0, 0, 1]]


A: dict[str, Column] = {"a": Numeric(), "b": OneHot()}
DAMAGED = {
    "empty": ("", A, ": is empty; its first line must name the columns a, b"),
    "only a header": ("a,b\n", A, ": has a header and no rows"),
    "columns": ("c,d\n1,2\n", A, ": has no column a, b; its columns are c, d"),
    "ragged": ("a,b\n1,2\n1,2,3\n", A, ", line 3: has 3 values; the header names 2 columns"),
    "open quote": ('a,b\n1,2\n"1,2\n', A, ", line 3: is not CSV"),
    "nan": ("a,b\nNaN,2\n", A, ", line 2, column a: is 'NaN'; it must be a finite number"),
    "missing": ("a,b\n1,2\n,2\n", A, ", line 3, column a: is empty; it must be a finite number"),
    "words": ("a,b\none,2\n", A, ", line 2, column a: is 'one'; it must be a finite number"),
    "large": ("a,b\n1e39,2\n", A, ": has a number that float32 cannot hold"),
    "latin-1": (b"a,b\n1,\xe9\n", A, ": is not UTF-8 text (byte e9 at position 6); save it as UTF-8"),
    "no value": ("a,b\n,2\n", {"a": Numeric("mean")}, ", column a: has no value; its mean needs at least one"),
    "no label": ("a,b\n1,2\n2,\n", {"b": Label()}, ", line 3, column b: is empty; it must be one of 2"),
    "target": ("a,b\n,2\n", {"a": Target()}, ", line 2, column a: is empty"),
}


@pytest.mark.parametrize(("content", "columns", "message"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged(tmp_path: Path, content: str | bytes, columns: dict[str, Column], message: str):
    with pytest.raises(DataError, match=re.escape(f"t.csv{message}")):
        read(tmp_path, content, columns)


@pytest.mark.parametrize("encoding", ["ascii", "utf-16", "utf-32", "utf-7", "undefined"])
def test_another_encoding(tmp_path: Path, encoding: str):
    with pytest.raises(DataError, match=rf"t\.csv: is not {encoding} text \(.*\); save it as {encoding}"):
        read(tmp_path, "a,b\n1,é+\xff".encode("latin-1"), A, encoding=encoding)


WRONG = {
    "encoding is 'klingon'; it must be one that Python knows": lambda p: read(p, CSV, A, encoding="klingon"),
    "encoding is 'a\\x00b'": lambda p: read(p, CSV, A, encoding="a\0b"),
    "encoding is 'zip'": lambda p: read(p, CSV, A, encoding="zip"),
    "delimiter is ';;'; it must be one character": lambda p: read(p, CSV, A, delimiter=";;"),
    "delimiter is ''": lambda p: read(p, CSV, A, delimiter=""),
    "delimiter is '\"'": lambda p: read(p, CSV, A, delimiter='"'),
    "fill is 'mode'; it must be a finite number, None, 'median' or 'mean'": lambda p: Numeric("mode"),
    "fill is nan": lambda p: Numeric(float("nan")),
    "columns['a'] is <class": lambda p: read(p, CSV, {"a": Numeric}),  # pyright: ignore[reportArgumentType]
    "columns has 0 columns": lambda p: read(p, CSV, {}),
    "to predict ['a', 'd']": lambda p: read(p, CSV, {"a": Target(), "d": Label()}),
    "name is 'e'; the features are a, b_x, b_y, b_nan": lambda p: read(p, CSV, {**A, "a": Numeric(0)})["e"],
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_use(tmp_path: Path, message: str):
    with pytest.raises(UsageError, match=re.escape(message)):
        WRONG[message](tmp_path)
