"""20-day tutorial: how many examples there are and their sizes, read from the data sets."""

from functools import cache
from pathlib import Path

import numpy as np

from jaxport.data import ImageFolder, Splits, covid, mnist, titanic
from jaxport.data.collate import stacked
from jaxport.data.imdb import read_texts

from .printed_row import Printed


@cache
def passengers(folder: Path) -> Splits:
    """Return the Titanic's passengers."""
    return titanic.load(folder)


@cache
def digits(folder: Path) -> Splits:
    """Return the handwritten digits."""
    return mnist.load(folder)


@cache
def reviews(folder: Path) -> tuple[int, int]:
    """Return how many reviews there are to train on and to test on."""
    (train, _), (test, _) = read_texts(folder)
    return len(train), len(test)


@cache
def pictures(folder: Path) -> ImageFolder:
    """Return the aeroplanes and cars of one part."""
    return ImageFolder(folder)


def batch(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return fifty pictures and their labels, each label a row of one."""
    x, y = stacked([pictures(folder / "train")[number] for number in range(50)])
    return x, y[:, None]


def last_day(folder: Path) -> str:
    """Return the last day of the epidemic's numbers, counted from 0, and its date."""
    days = covid.differences(folder)[0]
    return f"{len(days) - 1}: {days[-1]}"


def labels(place: str) -> Printed:
    """Return the row of the classes' numbers."""
    printed = "{'0_airplane': 0, '1_automobile': 1}"
    return Printed(
        place, "ds_train.class_to_idx", 'str(pictures(folder / "train").class_to_idx)', printed, data="cifar2"
    )


def count(place: str, what: str, compute: str, printed: str, data: str) -> Printed:
    """Return the row of a number of examples."""
    return Printed(place, what, compute, printed, "count", data=data)


def shape(place: str, what: str, compute: str, printed: str, data: str) -> Printed:
    """Return the row of a size."""
    return Printed(place, what, compute, printed, "shape", data=data)


ROWS = (
    shape("002 1-1:320", "x_train.shape", "str(passengers(folder).train.x.shape)", "(712, 15)", "titanic"),
    shape("002 1-1:321", "x_test.shape", "str(passengers(folder).val.x.shape)", "(179, 15)", "titanic"),
    shape("002 1-1:322", "y_train.shape", "str(passengers(folder).train.y.shape)", "(712, 1)", "titanic"),
    shape("002 1-1:323", "y_test.shape", "str(passengers(folder).val.y.shape)", "(179, 1)", "titanic"),
    *(
        count(
            "002 1-2:755", f"{what}, of each class", f'pictures(folder / "{part}").targets.count({label})', n, "cifar2"
        )
        for part, what, n in (("train", "to train on", "5000"), ("test", "to test on", "1000"))
        for label in (0, 1)
    ),
    labels("002 1-2:798"),
    shape("002 1-2:843", "x.shape", "batch(folder)[0].shape", "torch.Size([50, 3, 32, 32])", "cifar2"),
    shape("002 1-2:843", "y.shape", "batch(folder)[1].shape", "torch.Size([50, 1])", "cifar2"),
    count("002 1-3:1253", "reviews to train on", "reviews(folder)[0]", "20000", "imdb"),
    count("002 1-3:1253", "reviews to test on", "reviews(folder)[1]", "5000", "imdb"),
    *(
        Printed(f"002 1-4:{line}", "the day of 10 March 2020", "last_day(folder)", "45: 2020-03-10", "count", data=".")
        for line in (1973, 1984, 1993)
    ),
    labels("002 5-1:6503"),
    shape("002 5-1:6526", "features.shape", "batch(folder)[0].shape", "torch.Size([50, 3, 32, 32])", "cifar2"),
    shape("002 5-1:6527", "labels.shape", "batch(folder)[1].shape", "torch.Size([50, 1])", "cifar2"),
    count("002 5-1:6700", "len(ds_train)", "reviews(folder)[0]", "20000", "imdb"),
    count("002 5-1:6701", "len(ds_test)", "reviews(folder)[1]", "5000", "imdb"),
    labels("002 5-4:8037"),
    labels("002 5-4:8076"),
    count("002 6-2:8678", "len(ds_train)", "len(digits(folder).train.y)", "60000", "mnist"),
    count("002 6-2:8679", "len(ds_valid)", "len(digits(folder).val.y)", "10000", "mnist"),
)
