"""The COVID series: differences, windows, and what is said of a damaged file."""

import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from data_files import covid_tsv, write_covid

from jaxport.data import covid
from jaxport.errors import DataError


def test_windows(tmp_path: Path):
    splits = covid.load(write_covid(tmp_path))
    days = np.arange(1, 12)
    new = np.stack([100 * (2 * days - 1), 2 * days - 1, np.ones(11)], 1)
    assert splits.train.x.tolist() == [new[i : i + 8].tolist() for i in range(3)]
    assert splits.train.y.tolist() == new[8:].tolist()
    assert splits.train.x.dtype == splits.train.y.dtype == np.float32
    assert splits.val is splits.train
    assert covid.differences(tmp_path)[0][::10] == (date(2020, 1, 25), date(2020, 2, 4))


def test_numbers_of_the_chapter(real_data: Path):
    days, new = covid.differences(real_data)
    assert (len(days), new.shape) == (46, (46, 3))
    assert new[:5].tolist() == [[457, 4, 16], [688, 11, 15], [769, 2, 24], [1771, 9, 26], [1459, 43, 26]]
    assert new[-1].tolist() == [19, 1297, 17]
    splits = covid.load(real_data)
    assert splits.train.x.shape == (38, 8, 3)  # the chapter's one batch of 38
    assert splits.train.y.shape == (38, 3)
    assert np.array_equal(splits.train.x[0], new[:8])
    assert np.array_equal(splits.train.y[-1], new[-1])
    rows = np.loadtxt(real_data / "covid-19.csv", delimiter="\t", skiprows=1, usecols=(1, 2, 3))
    for i in range(38):
        assert np.array_equal(splits.train.x[i], rows[i + 1 : i + 9] - rows[i : i + 8])
        assert np.array_equal(splits.train.y[i], rows[i + 9] - rows[i + 8])


TEXT = covid_tsv()
DAMAGED = {
    "empty": ("", ": is empty; its first line must name the columns date, confirmed_num, cured_num, dead_num"),
    "commas": (TEXT.replace("\t", ","), ": has no column date, confirmed_num, cured_num, dead_num"),
    "no column": (TEXT.replace("dead_num", "dead"), ": has no column dead_num; its columns are date, "),
    "short": (covid_tsv(9), ": has 9 days; at least 10 are needed"),
    "one": (covid_tsv(1), ": has 1 days; at least 10 are needed"),
    "nan": (TEXT.replace("\t9.0\t", "\tNaN\t"), ", line 5, column cured_num: is 'NaN'; it must be a finite number"),
    "missing": (TEXT.replace("\t9.0\t", "\t\t"), ", line 5, column cured_num: is empty"),
    "huge": (TEXT.replace("900.0", "1e300"), ": has numbers whose differences float32 cannot hold"),
    "no date": (
        TEXT.replace("2020-01-26", "26.1.2020"),
        ", line 4, column date: is '26.1.2020'; it must be 2020-01-26",
    ),
    "first date": (TEXT.replace("2020-01-24", "?"), ", line 2, column date: is '?'; it must be a date as 2020-01-24"),
    "gap": (re.sub("2020-01-26.*\n", "", TEXT), ", line 4, column date: is '2020-01-27'; it must be 2020-01-26"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged(tmp_path: Path, content: str, message: str):
    (tmp_path / "covid-19.csv").write_text(content)
    with pytest.raises(DataError, match=re.escape(f"covid-19.csv{message}")):
        covid.load(tmp_path)


def test_synthetic():
    splits = covid.synthetic(500, np.random.default_rng(0))
    assert (splits.train.x.shape, splits.train.y.shape, splits.val.x.shape) == ((500, 8, 3), (500, 3), (100, 8, 3))
    assert splits.train.x.dtype == splits.train.y.dtype == np.float32
    assert (splits.train.x >= 0).all()
    x, y = (array.reshape(len(array), -1) for array in splits.train)  # to be learnt: by a linear fit
    weights = np.linalg.lstsq(x, y, rcond=None)[0]
    x, y = (array.reshape(len(array), -1) for array in splits.val)
    assert (((x @ weights - y) ** 2).mean(0) < 0.05 * y.var(0)).all()
