"""The CSV reader, Titanic's features and the five points."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from data_files import TITANIC_HEADER, TITANIC_ROWS, titanic_csv, write_titanic

from jaxport.data import points, titanic
from jaxport.data.csv_table import read_table
from jaxport.errors import DataError, UsageError

LOW, HIGH, LOST = TITANIC_ROWS


def table_from(folder: Path, text: str | bytes, *names: str):
    path = folder / "table.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_table(path, names)


READABLE = {
    "plain": b"b,a,c\n1,2.5,x\n3,4,y\n",
    "quoted": b'b,"a",c\n1,"2.5","x, or ""y""\nor z"\n3,4,\n',
    "windows lines": b"b,a\r\n1,2.5\r\n3,4\r\n",
    "byte order mark": b"\xef\xbb\xbfa,b\n2.5,1\n4,3\n",
    "no last newline": b"a,b\n2.5,1\n4,3",
    "spaces, blank lines": b"\na , b\n 2.5, 1\n\n4 ,3\n\n",
    "gzip": gzip.compress(b"a,b\n2.5,1\n4,3\n"),
    "numbers as others write them": b"a,b\n+25e-1,01\n4.,3.0E0\n",
}


@pytest.mark.parametrize("content", READABLE.values(), ids=READABLE.keys())
def test_columns_by_name(tmp_path: Path, content: bytes):
    table = table_from(tmp_path, content, "a", "b")
    assert table.numbers("a").dtype == np.float64
    assert table.numbers("a").tolist() == [2.5, 4]
    assert table.numbers("b").tolist() == [1, 3]


def test_missing_values(tmp_path: Path):
    table = table_from(tmp_path, "a,b\n1,x\n ,y\n3,\n", "a", "b")
    assert table.numbers("a", missing=-7).tolist() == [1, -7, 3]
    assert table.is_missing("a").tolist() == [False, True, False]
    assert table.one_hot("b", ("y", "", "x", "z")).tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]]


UNREADABLE = {
    "empty": ("", "is empty; its first line must name the columns a, b"),
    "blank": ("\n\n", "is empty"),
    "only a header": ("a,b\n", "has a header and no rows"),
    "no column": ("a,c,d\n1,2,3\n", "has no column b; its columns are a, c, d"),
    "no columns": ("c\n1\n", "has no column a, b; its columns are c"),
    "column twice": ("a,b,a\n1,2,3\n", "has column a more than once; its columns are a, b, a"),
    "short row": ("a,b,c\n1,2,3\n\n1,2\n", "line 4: has 2 values; the header names 3 columns"),
    "long row": ("a,b\n1,2\n1,2,3\n", "line 3: has 3 values; the header names 2 columns"),
    "open quote": ('a,b\n1,2\n"1,2\n', "line 3: is not CSV"),
    "stray quote": ('a,b\n"1"x,2\n', "line 2: is not CSV"),
    "latin-1": (
        "a,b\n1,caf\u00e9\n".encode("latin-1"),
        r"is not UTF-8 text \(byte e9 at position 9\); save it as UTF-8",
    ),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), "is not UTF-8 text .*position 0"),
    "truncated gzip": (gzip.compress(b"a,b\n1,2\n")[:-10], "the gzip data end too early"),
}


@pytest.mark.parametrize(("content", "message"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_unreadable_tables(tmp_path: Path, content: str | bytes, message: str):
    with pytest.raises(DataError, match=r"table\.csv(:|,) " + message):
        table_from(tmp_path, content, "a", "b")


def test_missing_table(tmp_path: Path):
    with pytest.raises(DataError, match=r"absent\.csv: no such file"):
        read_table(tmp_path / "absent.csv", ["a"])


@pytest.mark.parametrize(
    ("value", "found"),
    [("old", "'old'"), ("", "empty"), ("1_000", "'1_000'"), ("nan", "'nan'"), ("-inf", "'-inf'"), ("1;5", "'1;5'")],
)
def test_not_a_number(tmp_path: Path, value: str, found: str):
    table = table_from(tmp_path, f'a,b\n1,"two\nlines"\n{value},3\n', "a", "b")
    with pytest.raises(DataError, match=rf"table\.csv, line 4, column a: is {found}; it must be a finite number"):
        table.numbers("a")


def test_not_a_category(tmp_path: Path):
    table = table_from(tmp_path, "a\nx\ny\nz\n", "a")
    with pytest.raises(DataError, match=r"line 4, column a: is 'z'; it must be one of x, y, nothing"):
        table.one_hot("a", ("x", "y", ""))


def test_titanic_features(tmp_path: Path):
    splits = titanic.load(write_titanic(tmp_path))
    expected = [
        [0, 0, 1, 0, 1, 22, 0, 1, 0, 7.25, 1, 0, 0, 1, 0],
        [1, 0, 0, 1, 0, 38.5, 0, 1, 2, 71.2833, 0, 1, 0, 0, 0],
        [0, 1, 0, 1, 0, 0, 1, 0, 0, 13, 1, 0, 0, 0, 1],
    ]
    np.testing.assert_array_equal(splits.train.x, np.array(expected, np.float32))
    np.testing.assert_array_equal(splits.train.y, np.array([[0], [1], [1]], np.float32))
    assert splits.train.x.dtype == splits.train.y.dtype == np.float32
    assert splits.classes == ("died", "survived")
    assert splits.origin == str(tmp_path)
    assert len(titanic.FEATURES) == 15


def test_titanic_files_may_be_gzip(tmp_path: Path):
    for name in ("train.csv", "test.csv"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(titanic_csv().encode()))
    assert titanic.load(tmp_path).val.x.shape == (3, 15)


@pytest.mark.parametrize("row", TITANIC_ROWS)
def test_titanic_has_fifteen_columns_whatever_is_there(tmp_path: Path, row: str):
    everyone = titanic.load(write_titanic(tmp_path / "all"))
    alone = titanic.load(write_titanic(tmp_path / "one", titanic_csv(row)))
    np.testing.assert_array_equal(alone.train.x, everyone.train.x[[TITANIC_ROWS.index(row)]])


BAD_ROWS = {
    "survived": (LOW.replace("1,0,3", "1,2,3"), "line 3, column Survived: is '2'; it must be one of 0, 1"),
    "no outcome": (LOW.replace("1,0,3", "1,,3"), "line 3, column Survived: is empty"),
    "class": (LOW.replace("1,0,3", "1,0,4"), "line 3, column Pclass: is '4'; it must be one of 1, 2, 3"),
    "sex": (LOW.replace("male", "Male"), "line 3, column Sex: is 'Male'; it must be one of female, male"),
    "no sex": (LOW.replace("male", ""), "line 3, column Sex: is empty; it must be one of female, male"),
    "age": (LOW.replace("22.0", "old"), "line 3, column Age: is 'old'; it must be a finite number"),
    "siblings": (LOW.replace("22.0,1", "22.0,"), "line 3, column SibSp: is empty; it must be a finite number"),
    "parents": (LOW.replace("1,0,A/5", "1,x,A/5"), "line 3, column Parch: is 'x'"),
    "fare": (LOW.replace("7.25", "£7"), "line 3, column Fare: is '£7'"),
    "no fare": (LOW.replace("7.25", ""), "line 3, column Fare: is empty"),
    "port": (LOW.replace(",S", ",X"), "line 3, column Embarked: is 'X'; it must be one of C, Q, S, nothing"),
}


@pytest.mark.parametrize(("row", "message"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_titanic_bad_values(tmp_path: Path, row: str, message: str):
    write_titanic(tmp_path, titanic_csv(HIGH, row, LOST))
    with pytest.raises(DataError, match=rf"{re.escape(str(tmp_path))}/train\.csv, {message}"):
        titanic.load(tmp_path)


@pytest.mark.parametrize("column", titanic.COLUMNS)
def test_titanic_needs_its_columns(tmp_path: Path, column: str):
    header = TITANIC_HEADER.replace(column, "Other")
    write_titanic(tmp_path, titanic_csv(header=header))
    with pytest.raises(DataError, match=rf"train\.csv: has no column {column}; its columns are {header[:11]}, "):
        titanic.load(tmp_path)


def test_titanic_missing_file(tmp_path: Path):
    (write_titanic(tmp_path) / "test.csv").unlink()
    with pytest.raises(DataError, match=r"test\.csv: no such file, nor test\.csv\.gz"):
        titanic.load(tmp_path)


@pytest.mark.parametrize(("file", "rows"), [("train", 712), ("test", 179)])
def test_titanic_is_the_tutorials(real_data: Path, file: str, rows: int):
    pd = pytest.importorskip("pandas")
    folder = real_data / "titanic"
    if not folder.is_dir():
        pytest.skip("no titanic in the real data")
    frame = pd.read_csv(folder / f"{file}.csv")
    ports = pd.get_dummies(frame["Embarked"], dummy_na=True)
    parts = {
        **{f"Pclass_{name}": column for name, column in pd.get_dummies(frame["Pclass"]).items()},
        **{f"Sex_{name}": column for name, column in pd.get_dummies(frame["Sex"]).items()},
        "Age": frame["Age"].fillna(0),
        "Age_null": pd.isna(frame["Age"]),
        **{name: frame[name] for name in ("SibSp", "Parch", "Fare")},
        "Cabin_null": pd.isna(frame["Cabin"]),
        **{f"Embarked_{name}": ports[name] for name in ports.columns},
    }
    splits = titanic.load(folder)
    part = splits.train if file == "train" else splits.val
    assert tuple(parts) == titanic.FEATURES
    assert part.x.shape == (rows, 15)
    np.testing.assert_array_equal(part.x, np.column_stack(list(parts.values())).astype(np.float32))
    np.testing.assert_array_equal(part.y[:, 0], frame["Survived"].to_numpy(np.float32))


def test_titanic_synthetic():
    splits = titanic.synthetic(1000, np.random.default_rng(2))
    x, y = splits.train
    assert (x.shape, y.shape, splits.val.x.shape) == ((1000, 15), (1000, 1), (200, 15))
    assert x.dtype == y.dtype == np.float32
    for group in (slice(0, 3), slice(3, 5), slice(11, 15)):
        np.testing.assert_array_equal(x[:, group].sum(axis=1), 1)
        assert x[:, group].any(axis=0).all()
    assert np.isin(x[:, [6, 10]], (0, 1)).all()
    np.testing.assert_array_equal(x[:, 5] == 0, x[:, 6] == 1)
    women = x[:, 3] == 1
    assert y[women].mean() > 0.6 > 0.4 > y[~women].mean()
    assert 0.2 < y.mean() < 0.8


def test_points():
    splits = points.load()
    assert splits.train.x.tolist() == np.array([[x, 1] for x in (1.4, 5, 11, 16, 21)], np.float32).tolist()
    assert splits.train.y.tolist() == np.array([14.4, 29.6, 62, 85.5, 113.4], np.float32).tolist()
    assert splits.train.x.dtype == splits.train.y.dtype == np.float32
    np.testing.assert_array_equal(splits.val.x, splits.train.x)
    np.testing.assert_array_equal(splits.val.y, splits.train.y)


def test_points_give_the_tutorials_line():
    x, y = (np.asarray(array, np.float64) for array in points.load().train)
    w, loss = np.zeros(2), 0.0
    for _ in range(10_000):
        residual = x @ w - y
        loss = (residual**2).sum()
        w -= 1e-4 * 2 * x.T @ residual
    np.testing.assert_allclose([loss, *w], [8.248255, 5.084395, 5.578614], atol=2e-5)


def test_points_synthetic():
    splits = points.synthetic(200, np.random.default_rng(4))
    assert (splits.train.x.shape, splits.train.y.shape, splits.val.x.shape) == ((200, 2), (200,), (40, 2))
    assert splits.train.x.dtype == splits.train.y.dtype == np.float32
    assert (splits.train.x[:, 1] == 1).all()
    line = np.linalg.lstsq(splits.train.x, splits.train.y, rcond=None)[0]
    assert 0.5 < (splits.val.x @ line - splits.val.y).std() < 1.5


@pytest.mark.parametrize("reader", [points, titanic])
def test_synthetic_needs_one(reader):
    with pytest.raises(UsageError, match="n is 0; a synthetic set needs at least 1"):
        reader.synthetic(0, np.random.default_rng(0))
