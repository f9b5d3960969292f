"""MNIST: handwritten digits, 60,000 to train on and 10,000 to validate on."""

from pathlib import Path

import numpy as np

from jaxport.data import idx_images
from jaxport.data.splits import Splits

FILES = idx_images.FILES
CLASSES = tuple("0123456789")


def load(folder: str | Path) -> Splits:
    """Read MNIST's four IDX files, each plain or with `.gz`, from `folder`.

    x: uint8 (N, 1, 28, 28), channels first, 0 (paper) to 255 (ink). y: int32 (N,), the digit.
    A smaller set in the same files is read as well.

    Raises:
        DataError: a file is missing, damaged, of another shape or dtype, or disagrees with its partner.

    Source: Y. LeCun, C. Cortes, C. Burges, http://yann.lecun.com/exdb/mnist/.
    """
    return idx_images.load(folder, CLASSES)


def synthetic(n: int, rng: np.random.Generator) -> Splits:
    """Make `n` training and max(1, ⌊n/5⌋) validation images in MNIST's format: ten noisy, shifted patterns.

    Raises:
        UsageError: n is less than 1.
    """
    return idx_images.synthetic(n, rng, CLASSES)
