"""Images in one folder per class."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jaxport.data.dataset import MapDataset
from jaxport.data.images import EXTENSIONS, load_image
from jaxport.errors import DataError, UsageError

Transform = Callable[[Any], Any]
ON_ERROR = ("raise", "skip")
NAMED = 5  # how many of several wrong files a message names


class ImageFolder(MapDataset):
    """The images below `root`, whose folders are the classes: ``root/class/…/name.jpg``.

    Example i: (image, label), an image being uint8 (3, H, W) and a label an int, unless transformed.
    Classes and images are sorted by name. Folders inside a class folder belong to it; hidden files do not differ from
    others; files without an image's extension are not looked at.

    transform, target_transform: applied to the image and to the label. loader: path → image.
    on_error: what a damaged image does: "raise" an error where it is read, or "skip": all images are decoded once at
    the start, and those that cannot be are left out and listed in `skipped`.

    classes: the names. class_to_idx: name → label. samples: (path, label) of each example. targets: the labels.
    skipped: what was left out, and why.

    Raises:
        DataError: `root` is no folder or has no folder in it, a class has no (readable) image, an image is damaged.
        UsageError: on_error is neither of the two; Pillow is not installed.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html
    """

    def __init__(
        self,
        root: str | Path,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        loader: Callable[[str], Any] = load_image,
        on_error: str = "raise",
    ) -> None:
        check_on_error(on_error)
        self.root, self.loader = str(root), loader
        self.transform, self.target_transform = transform, target_transform
        self.classes = list(find_classes(root))
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        self.samples = list_samples(root, self.classes)
        self.skipped: list[str] = []
        if on_error == "skip":
            self.samples, self.skipped = readable(self.samples, loader)
        check_no_class_is_empty(root, self.classes, [label for _, label in self.samples], self.skipped)

    @property
    def targets(self) -> list[int]:
        """Return the labels."""
        return [label for _, label in self.samples]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return one image and its label."""
        path, label = self.samples[self.place(index)]
        image = self.loader(path)
        return (
            image if self.transform is None else self.transform(image),
            label if self.target_transform is None else self.target_transform(label),
        )


def find_classes(root: str | Path) -> tuple[str, ...]:
    """Return the names of the folders in `root`, sorted.

    Raises:
        DataError: `root` is no folder, cannot be read or has no folder in it.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    except OSError as error:
        raise DataError(f"root is {str(root)!r}: {error.strerror}; it must be a folder of class folders") from None
    if not names:
        raise DataError(f"root is {str(root)!r}, which has no folder in it; it must have one for each class")
    return tuple(names)


def list_samples(root: str | Path, classes: Sequence[str]) -> list[tuple[str, int]]:
    """Return (path, label) of every file below the class folders that is called like an image, in order."""
    samples = []
    for label, name in enumerate(classes):
        for folder, _, files in sorted(os.walk(os.path.join(root, name), followlinks=True)):
            wanted = sorted(file for file in files if file.lower().endswith(EXTENSIONS))
            samples += [(os.path.join(folder, file), label) for file in wanted]
    return samples


def check_no_class_is_empty(
    root: str | Path, classes: Sequence[str], labels: Sequence[int], skipped: Sequence[str] = ()
) -> None:
    """Raise DataError if a class has no label among `labels`."""
    there = set(labels)
    if empty := [name for label, name in enumerate(classes) if label not in there]:
        more = f"; {len(skipped)} damaged files were skipped: {named(skipped)}" if skipped else ""
        raise DataError(
            f"root is {str(root)!r}: no image in class folder {named(empty)}; "
            f"each needs at least one file that ends in {', '.join(EXTENSIONS)}{more}"
        )


def readable(
    samples: Sequence[tuple[str, int]], loader: Callable[[str], Any]
) -> tuple[list[tuple[str, int]], list[str]]:
    """Decode all images once and return the samples that can be read, and what is wrong with the others."""

    def problem(sample: tuple[str, int]) -> str | None:
        try:
            loader(sample[0])
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        problems = list(pool.map(problem, samples))
    good = [sample for sample, error in zip(samples, problems, strict=True) if error is None]
    return good, [error for error in problems if error is not None]


def check_on_error(on_error: str) -> None:
    """Raise UsageError unless `on_error` is one of the two."""
    if on_error not in ON_ERROR:
        raise UsageError(f"on_error is {on_error!r}; it must be one of {', '.join(ON_ERROR)}")


def named(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
