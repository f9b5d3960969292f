"""Shapes: pictures of discs, boxes and triangles in noise, each with the mask of what is shape and what is not."""

from pathlib import Path

import numpy as np

from jaxport.data.splits import Arrays, Splits, synthetic_sizes

SIDE = 64
TRAIN, VAL = 512, 128
CLASSES = ("background", "shape")


def load(folder: str | Path | None = None) -> Splits:
    """Return 512 pictures to train on and 128 to validate on, drawn from seed 0; `folder` is not used.

    x: uint8 (N, 3, 64, 64). y: float32 (N, 1, 64, 64), 1 where a shape covers the pixel.
    """
    rng = np.random.default_rng(0)
    return Splits(draw(TRAIN, rng), draw(VAL, rng), CLASSES, "embedded")


def synthetic(n: int, rng: np.random.Generator, side: int = SIDE) -> Splits:
    """Draw `n` training and max(1, ⌊n/5⌋) validation pictures of `side` pixels, a multiple of 16.

    Raises:
        UsageError: n is less than 1.
    """
    train, val = (draw(size, rng, side) for size in synthetic_sizes(n))
    return Splits(train, val, CLASSES, "synthetic")


def draw(n: int, rng: np.random.Generator, side: int = SIDE) -> Arrays:
    """Draw `n` pictures: two to four shapes each, of colours of their own, on a shaded ground, in noise.

    picture = clip(ground + slope · position, or a shape's colour where one is, + N(0, 20²), 0, 255)

    A shape is a disc, a box or a triangle, 1/8 to 1/4 of the side in radius, anywhere in the picture. Its colour is as
    likely darker than the ground as lighter: no threshold finds it.
    """
    across = np.linspace(-1, 1, side, dtype=np.float32)
    row, column = np.meshgrid(across, across, indexing="ij")
    images, masks = np.empty((n, 3, side, side), np.uint8), np.zeros((n, 1, side, side), np.float32)
    for image, mask in zip(images, masks, strict=True):
        slope = rng.uniform(-30, 30, (3, 2, 1, 1))
        canvas = rng.uniform(90, 165, (3, 1, 1)) + slope[:, 0] * row + slope[:, 1] * column
        for _ in range(rng.integers(2, 5)):
            inside = _shape(row, column, rng)
            colour = rng.choice([rng.uniform(0, 70, 3), rng.uniform(185, 255, 3)])
            canvas = np.where(inside, colour[:, None, None], canvas)
            mask[0][inside] = 1
        image[:] = (canvas + 20 * rng.standard_normal(canvas.shape)).clip(0, 255)
    return Arrays(images, masks)


def _shape(row: np.ndarray, column: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return which pixels one random shape covers, in coordinates from -1 to 1."""
    (down, right), size = rng.uniform(-0.8, 0.8, 2), rng.uniform(0.25, 0.5)
    y, x = row - down, column - right
    kind = rng.integers(3)
    if kind == 0:
        return x**2 + y**2 <= size**2
    if kind == 1:
        return (np.abs(x) <= size) & (np.abs(y) <= size * rng.uniform(0.5, 1))
    return (y <= size) & (y >= 2 * np.abs(x) - size)
