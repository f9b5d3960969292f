"""Writers of small data files for the tests: the readers' formats, built from their definition."""

import gzip
import struct
from datetime import date, timedelta
from pathlib import Path

import numpy as np

IDX_CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}
IMAGES = ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte")
LABELS = ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte")
TITANIC_HEADER = "PassengerId,Survived,Pclass,Name,Sex,Age,SibSp,Parch,Ticket,Fare,Cabin,Embarked"
TITANIC_ROWS = (
    '1,0,3,"Low, Mr. A",male,22.0,1,0,A/5 1,7.25,,S',
    '2,1,1,"High, Mrs. B",female,38.5,1,2,PC 2,71.2833,C85,C',
    '3,1,2,"Lost, ""Miss"" C",female,,0,0,3,13.0,,',
)


def idx_bytes(array: np.ndarray) -> bytes:
    """Encode an array as IDX."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, IDX_CODES[array.dtype.name], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx(path: Path, array: np.ndarray) -> Path:
    """Write an array as IDX, with gzip if the name ends in .gz."""
    content = idx_bytes(array)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def write_images(folder: Path, suffix: str = "", counts: tuple[int, int] = (6, 3)) -> Path:
    """Write a small set of four IDX files: random images, labels 0, 1, 2, … modulo 10."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    for images, labels, n in zip(IMAGES, LABELS, counts, strict=True):
        write_idx(folder / f"{images}{suffix}", rng.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        write_idx(folder / f"{labels}{suffix}", (np.arange(n) % 10).astype(np.uint8))
    return folder


def titanic_csv(*rows: str, header: str = TITANIC_HEADER) -> str:
    """Return the text of a passenger list."""
    return "\n".join((header, *(rows or TITANIC_ROWS))) + "\n"


def write_imdb(folder: Path) -> Path:
    """Write four reviews as train.tsv and two as test.tsv."""
    folder.mkdir(parents=True, exist_ok=True)
    train = '1\tA fine film.<br />Fine!\n0\tA dull film\n1\tfine, "fine"\n0\tNo\n'
    (folder / "train.tsv").write_bytes(train.encode())
    (folder / "test.tsv").write_bytes("0\tdull, dull\n1\tune bonne idée\n".encode())
    return folder


def covid_tsv(days: int = 12) -> str:
    """Return the text of a series whose day d has 100·d², d² and d cases."""
    first = date(2020, 1, 24)
    rows = [f"{first + timedelta(days=d)}\t{100 * d * d}.0\t{d * d}.0\t{d}.0" for d in range(days)]
    return "\n".join(("date\tconfirmed_num\tcured_num\tdead_num", *rows)) + "\n"


def write_covid(folder: Path) -> Path:
    """Write twelve days as covid-19.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "covid-19.csv").write_text(covid_tsv(), encoding="utf-8")
    return folder


def write_titanic(folder: Path, train: str | None = None) -> Path:
    """Write a small passenger list as train.csv and test.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.csv").write_text(titanic_csv() if train is None else train, encoding="utf-8")
    (folder / "test.csv").write_text(titanic_csv(), encoding="utf-8")
    return folder
