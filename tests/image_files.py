"""Writers of small image sets and archives for the tests: the readers' formats, built from their definition."""

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")


def picture(seed: int, height: int = 32, width: int = 32, channels: int = 3) -> np.ndarray:
    """Return random pixels, uint8 (H, W, C), or (H, W) for one channel."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def image_bytes(pixels: np.ndarray, kind: str = "png", **options: Any) -> bytes:
    """Encode pixels with Pillow."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, {"jpg": "jpeg"}.get(kind, kind), **options)
    return buffer.getvalue()


def write_folder(root: Path, counts: dict[str, int], kind: str = "png", side: int = 32) -> Path:
    """Write random images, `counts[name]` in class folder `name`, called 0.png, 1.png, …"""
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for at in range(count):
            content = image_bytes(picture(100 * number + at, side, side), kind)
            (root / name / f"{at}.{kind}").write_bytes(content)
    return root


def write_cifar2(folder: Path) -> Path:
    """Write a small CIFAR-2: 3 + 2 images to train on and 1 + 1 to validate."""
    write_folder(folder / "train", {"0_airplane": 3, "1_automobile": 2}, "jpg")
    write_folder(folder / "test", {"0_airplane": 1, "1_automobile": 1}, "jpg")
    return folder


def cifar10_arrays(n: int = 4) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return (pixels uint8 (n, 3072), labels (n,)) of each batch."""
    rng = np.random.default_rng(5)
    return {
        name: (rng.integers(0, 256, (n, 3072), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8))
        for name in BATCHES
    }


def cifar10_binary(n: int = 4) -> dict[str, bytes]:
    """Return the binary version's files."""
    batches = cifar10_arrays(n)
    return {f"{name}.bin": np.column_stack((y, x)).tobytes() for name, (x, y) in batches.items()}


def cifar10_python(n: int = 4, protocol: int = 2) -> dict[str, bytes]:
    """Return the Python version's files, as today's Python pickles them."""
    return {
        name: pickle.dumps(
            {
                "batch_label": f"training {name}",
                "labels": y.tolist(),
                "data": x,
                "filenames": [f"{at}.png" for at in range(n)],
            },
            protocol,
        )
        for name, (x, y) in cifar10_arrays(n).items()
    }


def python2_pickle(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    """Return a batch as Python 2's cPickle writes it in protocol 2, as the published files are: text is bytes."""

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()

    rows = b"".join(b"K" + bytes([label]) for label in labels.tolist())
    raw = pixels.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + text("b") + b"\x87R"
        b"(K\1J" + struct.pack("<i", len(pixels)) + b"M\0\x0c\x86cnumpy\ndtype\n" + text("u1") + b"K\0K\1\x87R"
        b"(K\3"
        + text("|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T"
        + struct.pack("<i", len(raw))
        + raw
        + b"tb"
    )
    body = text("data") + array + text("labels") + b"](" + rows + b"e" + text("batch_label") + text("batch 1 of 5")
    return b"\x80\2}(" + body + b"u."


def tar_bytes(members: dict[str, bytes | tarfile.TarInfo], compress: bool = True) -> bytes:
    """Return a tar of files, or of the headers given, with gzip or without."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return gzip.compress(buffer.getvalue(), 1, mtime=0) if compress else buffer.getvalue()


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    """Return the header of a link, a device or a folder."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zip_bytes(members: dict[str, bytes], modes: dict[str, int] | None = None) -> bytes:
    """Return a zip of files; `modes` are Unix file modes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (modes or {}).get(name, 0o100644) << 16
            archive.writestr(info, content)
    return buffer.getvalue()
