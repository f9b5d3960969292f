"""Made-up colour pictures that can be learned."""

import numpy as np

from jaxport.data.splits import Arrays

CHANNELS = 3


def draw(n: int, num_classes: int, side: int, rng: np.random.Generator) -> Arrays:
    """Make `n` pictures, uint8 (n, 3, side, side), of classes int32 (n,).

    image = clip(template[y] shifted by up to 2 pixels each way, around the edge, + N(0, 24²), 0, 255)

    The templates are smooth, random and the same for every `rng`, so that two draws are of one distribution.
    """
    labels = rng.integers(0, num_classes, n, dtype=np.int32)
    down, right = rng.integers(-2, 3, (2, n, 1))
    rows, columns = (np.arange(side) + down) % side, (np.arange(side) + right) % side
    templates = _templates(num_classes, side)
    images = np.empty((n, CHANNELS, side, side), np.uint8)
    for at, label in enumerate(labels):  # one at a time: all of them as floats would be four times the result
        picture = templates[label][:, rows[at][:, None], columns[at]]
        picture = picture + 24 * rng.standard_normal(picture.shape, dtype=np.float32)
        images[at] = picture.clip(0, 255)
    return Arrays(images, labels)


def _templates(num_classes: int, side: int) -> np.ndarray:
    """Return float32 (num_classes, 3, side, side): random 5×5 grids, enlarged by linear interpolation."""
    grids = np.random.default_rng(0).uniform(0, 255, (num_classes, CHANNELS, 5, 5))
    at = np.linspace(0, 4, side)
    hat = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(5)))  # each row the weights of its two grid points
    return (hat @ grids @ hat.T).astype(np.float32)
