"""One image file as an array, decoded by Pillow."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from jaxport.errors import DataError, UsageError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # torchvision's
MAX_PIXELS = 89_478_485  # Pillow warns from here on: 256 MiB of RGB


def load_image(path: str | Path) -> np.ndarray:
    """Decode an image file into uint8 (3, H, W), red, green, blue.

    Grey images are repeated three times, transparency is dropped, and a camera's orientation mark is not applied, as
    by torchvision's loader.

    Raises:
        DataError: the file is missing, is no image, is cut short or damaged, or has more than 89 million pixels.
        UsageError: Pillow is not installed.

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.folder.default_loader.html
    """
    pillow = _pillow()
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); a readable file is needed") from error
    try:
        with pillow.Image.open(io.BytesIO(content)) as image:
            return _decode(image)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # each of Pillow's formats raises errors of its own: OSError, SyntaxError, struct.error
        problem = "is not an image that Pillow knows" if isinstance(error, pillow.UnidentifiedImageError) else error
        raise DataError(f"{path}: cannot be decoded ({problem}); get the file again") from error


def _decode(image: Any) -> np.ndarray:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(f"has {width} × {height} pixels; at most {MAX_PIXELS} are decoded")
    if "transparency" in image.info:
        image = image.convert("RGBA")  # straight to RGB, Pillow warns
    return np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def _pillow() -> Any:
    try:
        import PIL.Image
    except ImportError:
        raise UsageError('images are decoded by Pillow, which is not installed: pip install "jaxport[data]"') from None
    return PIL
