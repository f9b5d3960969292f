"""Examples of an image data set as a picture."""

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxport.errors import UsageError

from .figure import figure_class
from .table import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INCHES = 1.5  # side of one image with its label


def show_samples(
    dataset: Any,
    n: int = 9,
    path: str | os.PathLike[str] | None = None,
    *,
    classes: Sequence[str] = (),
    seed: int | None = None,
) -> "Figure":
    """Draw `n` examples of a data set in a square, each with its label above; a notebook shows the returned figure.

    Args:
        dataset: anything with len() whose examples are (image, label), or a pair of arrays. An image is (H, W),
            (C, H, W) or (H, W, C) with 1 or 3 channels, of bytes or floats; floats are stretched from their least to
            their largest.
        n: how many, the first ones.
        path: also written there; ends in `.png`; the file appears when it is complete.
        classes: names of the labels; those of the data set (`dataset.classes`) if it has them.
        seed: draws the examples at random instead.

    Raises:
        UsageError: matplotlib is not installed; there are fewer than `n` examples; an example is no image with a label;
            path does not end in `.png` or cannot be written.
    """
    if path is not None and Path(path).suffix.lower() != ".png":
        raise UsageError(f"path={str(path)!r} must end in .png")
    pair = isinstance(dataset, tuple) and len(dataset) == 2
    size = len(dataset[0]) if pair else len(dataset)
    if not 1 <= n <= size:
        raise UsageError(f"n is {n}; it must be from 1 to the number of examples, {size}")
    try:
        figure_type = figure_class()
    except ImportError as error:
        raise UsageError("pictures need matplotlib: pip install 'jaxport[viz]'") from error
    chosen = np.arange(n) if seed is None else np.random.default_rng(seed).choice(size, n, replace=False)
    classes = classes or getattr(dataset, "classes", ())
    across = math.ceil(math.sqrt(n))
    figure = figure_type(
        figsize=(INCHES * across, INCHES * 1.15 * math.ceil(n / across)), dpi=150, layout="constrained"
    )
    for place, index in enumerate(chosen):
        example = (dataset[0][index], dataset[1][index]) if pair else dataset[int(index)]
        image, label = _example(int(index), example)
        axes = figure.add_subplot(math.ceil(n / across), across, place + 1)
        axes.imshow(image, cmap="gray" if image.ndim == 2 else None, interpolation="nearest")
        axes.set_title(_name(label, classes), fontsize=9, parse_math=False)
        axes.set_axis_off()
    if path is not None:
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        write_atomic(path, picture.getvalue())
    return figure


def show_predictions(
    images: Any,
    guess: Any,
    truth: Any,
    n: int = 9,
    path: str | os.PathLike[str] | None = None,
    *,
    classes: Sequence[str] = (),
) -> "Figure":
    """Draw `n` images with what a model takes them for, wrong ones first; a notebook shows the returned figure.

    Args:
        images: (N, …), each as `show_samples` takes them.
        guess: labels (N,), or scores (N, classes), of which the largest counts.
        truth: labels (N,); where the guess differs, the truth stands below it.
        n: how many.
        path: also written there; ends in `.png`; the file appears when it is complete.
        classes: names of the labels.

    Raises:
        UsageError: images, guess and truth differ in length; or what `show_samples` refuses.
    """
    scores, labels = np.asarray(guess), np.asarray(truth)
    found = scores.argmax(axis=1) if scores.ndim == 2 and scores.shape[1] > 1 else scores.reshape(-1)
    labels = labels.reshape(-1)
    if not len(images) == len(found) == len(labels):
        sizes = f"{len(images)}, {len(found)} and {len(labels)}"
        raise UsageError(f"images, guess and truth must be as many, got {sizes}")
    chosen = np.argsort(found == labels, kind="stable")[:n]
    names = [[_name(part[i], classes) for i in chosen] for part in (found, labels)]
    titles = [one if one == other else f"{one}\nis {other}" for one, other in zip(*names, strict=True)]
    return show_samples((np.asarray(images)[chosen], titles), n, path)


def _example(index: int, example: Any) -> tuple[np.ndarray, Any]:
    """Return an example's image as (H, W) or (H, W, 3) in 0..255 or [0, 1], and its label."""
    if not isinstance(example, (tuple, list)) or len(example) != 2:
        raise UsageError(f"example {index} is {type(example).__name__}; (image, label) is needed")
    image = np.asarray(example[0])
    if image.ndim == 3 and image.shape[0] in (1, 3):
        image = np.moveaxis(image, 0, -1)
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[-1] != 3):
        shape = np.shape(example[0])
        raise UsageError(f"example {index} has an image of shape {shape}; (H, W) with 1 or 3 channels is needed")
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = (image - low) / ((high - low) or 1.0)
    return image, example[1]


def _name(label: Any, classes: Sequence[str]) -> str:
    value = np.asarray(label)
    if value.dtype.kind in "OUS":
        return str(label)
    row = value.reshape(-1)
    number = float(row.argmax() if row.size > 1 else row[0])  # a row of a unit matrix, or the label itself
    return classes[int(number)] if number.is_integer() and 0 <= number < len(classes) else f"{number:g}"
