"""Digits: scikit-learn's 1,797 embedded handwritten digits in MNIST's format; nothing to download."""

from pathlib import Path

import numpy as np

from jaxport.data import idx_images
from jaxport.data.splits import Arrays, Splits

CLASSES = tuple("0123456789")
NUM_TRAIN = 1437  # four fifths of 1,797; the other 360 validate


def load(folder: str | Path | None = None) -> Splits:
    """Return the embedded digits, enlarged to MNIST's size; `folder` is not used.

    pixel = round(v · 255/16) for v in 0 to 16, repeated 3×3 (8×8 → 24×24), with a border of 2 zeros (28×28).

    x: uint8 (N, 1, 28, 28), channels first. y: int32 (N,), the digit. A fixed permutation (seed 0) gives
    1,437 training and 360 validation images.

    Source: https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_digits.html
    (UCI Optical Recognition of Handwritten Digits).
    """
    from sklearn.datasets import load_digits

    flat, labels = load_digits(return_X_y=True)
    images, labels = enlarge(np.asarray(flat).reshape(-1, 8, 8)), np.asarray(labels, np.int32)
    order = np.random.default_rng(0).permutation(len(images))
    train, val = order[:NUM_TRAIN], order[NUM_TRAIN:]
    return Splits(Arrays(images[train], labels[train]), Arrays(images[val], labels[val]), CLASSES, "embedded")


def enlarge(images: np.ndarray) -> np.ndarray:
    """Bring (N, 8, 8) images of values 0 to 16 to uint8 (N, 1, 28, 28): rescale, repeat each pixel 3×3, pad by 2."""
    pixels = np.round(images * 255 / 16).astype(np.uint8)
    repeated = pixels.repeat(3, axis=1).repeat(3, axis=2)
    return np.pad(repeated, ((0, 0), (2, 2), (2, 2)))[:, None]


def synthetic(n: int, rng: np.random.Generator) -> Splits:
    """Make `n` training and max(1, ⌊n/5⌋) validation images in the same format: ten noisy, shifted patterns.

    Raises:
        UsageError: n is less than 1.
    """
    return idx_images.synthetic(n, rng, CLASSES)
