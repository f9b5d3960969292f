"""What MNIST and Fashion-MNIST share: four IDX files of 28×28 grey images in ten classes, and a stand-in for them."""

from pathlib import Path

import numpy as np

from jaxport.data.files import locate
from jaxport.data.idx import read_idx
from jaxport.data.splits import Arrays, Splits, synthetic_sizes
from jaxport.errors import DataError

SIDE = 28
NUM_CLASSES = 10
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def load(folder: str | Path, classes: tuple[str, ...]) -> Splits:
    """Read the four files, each plain or with `.gz`, from `folder`.

    x: uint8 (N, 1, 28, 28), channels first, 0 to 255. y: int32 (N,), 0 to 9. Any N is
    accepted if the files agree on it.

    Raises:
        DataError: a file is missing, damaged, of another shape or dtype, or disagrees with its partner.
    """
    paths = [locate(folder, name) for name in FILES]
    return Splits(_read_pair(*paths[:2]), _read_pair(*paths[2:]), classes, str(folder))


def synthetic(n: int, rng: np.random.Generator, classes: tuple[str, ...]) -> Splits:
    """Make `n` training and max(1, ⌊n/5⌋) validation images in the real ones' format that can be learned.

    image = clip(template[y] shifted by up to 2 pixels each way, around the edge, + N(0, 24²), 0, 255)

    The ten templates are smooth, random and the same for every `rng`, so that two draws are of one distribution.
    Shapes and dtypes are those of `load`.

    Raises:
        UsageError: n is less than 1.
    """
    train, val = (_draw(size, rng) for size in synthetic_sizes(n))
    return Splits(train, val, classes, "synthetic")


def _read_pair(image_path: Path, label_path: Path) -> Arrays:
    images, labels = read_idx(image_path), read_idx(label_path)
    _check_array(image_path, images, f"(N, {SIDE}, {SIDE})", images.shape[1:] == (SIDE, SIDE))
    _check_array(label_path, labels, "(N,)", labels.ndim == 1)
    if len(images) != len(labels):
        raise DataError(
            f"{image_path} holds {len(images)} images and {label_path} holds {len(labels)} labels; they must be as many"
        )
    if len(images) == 0:
        raise DataError(f"{image_path}: holds 0 images; at least one is needed")
    wrong = np.flatnonzero(labels >= NUM_CLASSES)
    if wrong.size:
        at = int(wrong[0])
        raise DataError(f"{label_path}: label {labels[at]} at position {at}; labels are 0 to {NUM_CLASSES - 1}")
    return Arrays(images[:, None], labels.astype(np.int32))


def _check_array(path: Path, array: np.ndarray, shape: str, shape_is_right: bool) -> None:
    if array.dtype != np.uint8 or not shape_is_right:
        raise DataError(f"{path}: holds {array.dtype} of shape {array.shape}; it must be uint8 of shape {shape}")


def _templates() -> np.ndarray:
    """Ten 28×28 pictures: random 5×5 grids, enlarged by linear interpolation."""
    grids = np.random.default_rng(0).uniform(0, 255, (NUM_CLASSES, 5, 5))
    at = np.linspace(0, 4, SIDE)
    hat = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(5)))  # (28, 5): each row the weights of its two grid points
    return (hat @ grids @ hat.T).astype(np.float32)


def _draw(n: int, rng: np.random.Generator) -> Arrays:
    labels = rng.integers(0, NUM_CLASSES, n, dtype=np.int32)
    down, right = rng.integers(-2, 3, (2, n, 1))
    rows, columns = (np.arange(SIDE) + down) % SIDE, (np.arange(SIDE) + right) % SIDE
    images = _templates()[labels[:, None, None], rows[:, :, None], columns[:, None, :]]
    images += 24 * rng.standard_normal(images.shape, dtype=np.float32)
    return Arrays(images.clip(0, 255).astype(np.uint8)[:, None], labels)
