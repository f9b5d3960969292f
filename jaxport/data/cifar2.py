"""CIFAR-2: CIFAR-10's airplanes and automobiles as JPEG files, 10,000 to train on and 2,000 to validate on."""

from pathlib import Path

import numpy as np

from jaxport.data.decoded import Decoded, decode_folder
from jaxport.data.files import cache_folder
from jaxport.data.pictures import draw
from jaxport.data.splits import Arrays, Splits, synthetic_sizes
from jaxport.errors import DataError

SIDE = 32
CLASSES = ("0_airplane", "1_automobile")
FILES = tuple(f"{part}/{name}/" for part in ("train", "test") for name in CLASSES)


def load(folder: str | Path, cache: str | Path | None = None) -> Splits:
    """Read the class folders in `train` and `test` (the validation part) of `folder`.

    x: uint8 (N, 3, 32, 32). y: int32 (N,), 0 for an airplane and 1 for an automobile.
    The images are decoded once and kept in the folder `cache`, by default the user's cache folder; see `decode_folder`.

    Raises:
        DataError: a folder is missing, empty or of other classes; an image is damaged or not of 32 × 32 pixels.
        UsageError: Pillow is not installed.

    Source: A. Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html (CIFAR-10, of which this is a part).
    """
    train, val = (_read(Path(folder) / part, cache or cache_folder()) for part in ("train", "test"))
    return Splits(train, val, CLASSES, str(folder))


def synthetic(n: int, rng: np.random.Generator) -> Splits:
    """Make `n` training and max(1, ⌊n/5⌋) validation images in the same format: two noisy, shifted patterns.

    Raises:
        UsageError: n is less than 1.
    """
    train, val = (draw(size, len(CLASSES), SIDE, rng) for size in synthetic_sizes(n))
    return Splits(train, val, CLASSES, "synthetic")


def _read(root: Path, cache: str | Path) -> Arrays:
    decoded = decode_folder(root, cache)
    _check(root, decoded)
    return Arrays(decoded.images, decoded.labels)


def _check(root: Path, decoded: Decoded) -> None:
    if decoded.classes != CLASSES:
        raise DataError(
            f"{root}: has the class folders {', '.join(decoded.classes)}; it must have {', '.join(CLASSES)}"
        )
    if decoded.images.shape[2:] != (SIDE, SIDE):
        height, width = decoded.images.shape[2:]
        raise DataError(f"{root}: has images of {width} × {height} pixels; they must have {SIDE} × {SIDE}")
