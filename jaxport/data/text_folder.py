"""Texts that lie in a file each: a data set of them, and the tutorial's way from a table to such a folder."""

import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxport.data.dataset import MapDataset
from jaxport.data.files import read_bytes
from jaxport.errors import DataError, UsageError

LABELS = ("0", "1")
ON_ERROR = ("raise", "skip")


class TextFolder(MapDataset):
    """A folder with one text a file: example i is (text, class number), files in natural order (2.txt before 10.txt).

    folder: either class folders, ``folder/CLASS/*.txt``, the folder's name being the class (as aclImdb); or
        ``folder/*.txt``, each file ``label<TAB>text`` (as the custom IMDB set of the tutorial).
    classes: the classes in the order of their numbers; None: the names of all folders, sorted, or "0" and "1".
    transform: what is applied to the text, such as `Vocabulary.encode`.
    on_error: "raise" reports a damaged file when it is asked for; "skip" reads all files once at the beginning, leaves
        out the damaged ones, and lists them with the reason in `skipped`.

    Raises:
        DataError: the folder or a class folder is missing or has no such file; a file is missing, is not UTF-8, or has
            no label.
        UsageError: on_error is something else.

    Source: Eat PyTorch in 20 days, 5-1.
    """

    def __init__(
        self,
        folder: str | Path,
        classes: Sequence[str] | None = None,
        transform: Callable[[str], Any] | None = None,
        on_error: str = "raise",
    ) -> None:
        if on_error not in ON_ERROR:
            raise UsageError(f"on_error is {on_error!r}; it must be one of {', '.join(ON_ERROR)}")
        self.folder, self.transform = Path(folder), transform
        inside = _entries(self.folder)
        flat = any(path.suffix == ".txt" and path.is_file() for path in inside)
        self.classes = tuple(classes or (LABELS if flat else (path.name for path in inside if path.is_dir())))
        # The class of each file; None where the file itself says it.
        self.samples: list[tuple[Path, int | None]] = [
            (path, None if flat else number)
            for number, place in enumerate([self.folder] if flat else [self.folder / name for name in self.classes])
            for path in _texts(place)
        ]
        if not self.samples:
            raise DataError(f"{folder}: has no .txt file and no class folder with one; one file per text is needed")
        self.skipped: list[tuple[Path, str]] = []
        if on_error == "skip":
            self.samples = list(self._readable())

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return (text, class number), the text transformed.

        Raises:
            DataError: the file is damaged.
        """
        text, label = self._read(*self.samples[self.place(index)])
        return (self.transform(text) if self.transform else text), label

    def _read(self, path: Path, label: int | None) -> tuple[str, int]:
        text = decode(path, read_bytes(path))
        if label is not None:
            return text, label
        found, tab, text = text.partition("\t")
        if not tab or found not in self.classes:
            wanted = ", ".join(self.classes)
            raise DataError(f"{path}: begins with {found[:20]!r}; it must be a label ({wanted}), a tab and the text")
        return text, self.classes.index(found)

    def _readable(self) -> Iterator[tuple[Path, int | None]]:
        for sample in self.samples:
            try:
                self._read(*sample)
            except DataError as error:
                self.skipped.append((sample[0], str(error)))
            else:
                yield sample


def decode(path: str | Path, content: bytes) -> str:
    """Return UTF-8 bytes as text; all line ends become line feeds, as in a file that Python opens as text.

    Raises:
        DataError: they are not UTF-8; `path` names the file.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = f"byte {content[error.start]:02x} at position {error.start}"
        raise DataError(f"{path}: is not UTF-8 text ({bad}); save it as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def read_tsv(path: str | Path, labels: Sequence[str] = LABELS) -> tuple[list[str], list[int]]:
    """Read lines ``label<TAB>text``: the texts, each with its line feed, and the labels' places in `labels`.

    There is no header, and quotation marks are part of the text. Blank lines are skipped.

    Raises:
        DataError: the file is missing, not UTF-8 or has no line; a line has no tab or several, or another label.
    """
    texts, numbers = [], []
    for line, content in enumerate(io.StringIO(decode(path, read_bytes(path)), newline="\n"), start=1):
        label, *rest = content.split("\t")
        if not rest and label in ("", "\n"):
            continue
        if len(rest) != 1:
            raise DataError(f"{path}, line {line}: has {len(rest)} tabs; it must be label<TAB>text, with one tab")
        if label not in labels:
            raise DataError(f"{path}, line {line}: the label is {label[:20]!r}; it must be one of {', '.join(labels)}")
        texts.append(rest[0])
        numbers.append(labels.index(label))
    if not texts:
        raise DataError(f"{path}: is empty; lines of label<TAB>text are needed")
    return texts, numbers


def split_samples(
    path: str | Path,
    folder: str | Path,
    transform: Callable[[str], str] | None = None,
    labels: Sequence[str] = LABELS,
) -> int:
    """Write line i of a table ``label<TAB>text`` as `folder`/i.txt, i from 0, and return how many were written now.

    Each file appears whole or not at all. A file that has the right content already stays: an interrupted call can be
    repeated and goes on. `transform` is applied to each text, for one that writes its numbers, say.

    Raises:
        DataError: the table is not what `read_tsv` reads.
        UsageError: the folder cannot be written, or holds .txt files that this table does not give.
    """
    texts, numbers = read_tsv(path, labels)
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        present = {entry.name for entry in folder.iterdir() if entry.suffix == ".txt"}
        if foreign := present - {f"{i}.txt" for i in range(len(texts))}:
            raise UsageError(
                f"folder is {str(folder)!r}, which holds {len(foreign)} other .txt files, such as {min(foreign)}; "
                "an empty folder is needed"
            )
        lines = (
            f"{labels[n]}\t{transform(text) if transform else text}" for n, text in zip(numbers, texts, strict=True)
        )
        return sum(put(folder / f"{i}.txt", line.encode()) for i, line in enumerate(lines))
    except OSError as error:
        raise UsageError(
            f"folder={str(folder)!r} cannot be written: {error.strerror or error}; a writable folder is needed"
        ) from error


def put(path: Path, content: bytes) -> bool:
    """Write a file under another name and rename it, unless it is there already; tell whether it was written.

    It does not wait for the disk: after a power cut the file may be damaged, and must be one that is checked when read.
    """
    if path.is_file() and path.read_bytes() == content:
        return False
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda path: natural(path.name))
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); a folder of texts is needed") from None


def _texts(folder: Path) -> list[Path]:
    found = [path for path in _entries(folder) if path.suffix == ".txt" and not path.name.startswith(".")]
    if not found:
        raise DataError(f"{folder}: has no .txt file; one file per text is needed")
    return found


def natural(name: str) -> list[Any]:
    """Return a key that sorts the numbers in names by size: "2.txt" before "10.txt"."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", name)]
