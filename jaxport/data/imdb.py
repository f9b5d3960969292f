"""IMDB: film reviews, good or bad, as rows of word numbers."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np

from jaxport.data.files import is_present, locate
from jaxport.data.splits import Arrays, Splits, synthetic_sizes
from jaxport.data.text import LENGTH, NUM_WORDS, STYLES, Vocabulary
from jaxport.data.text_folder import TextFolder, put, read_tsv
from jaxport.errors import DataError, UsageError

FILES = ("train.tsv", "test.tsv")
EITHER = tuple(f"{name} or aclImdb/" for name in FILES)
CLASSES = ("negative", "positive")
PUBLISHED_CLASSES = ("neg", "pos")
_VERSION = "1"  # of the cached file: raise it when the same texts would give other numbers

Texts = tuple[list[str], list[int]]


def load(
    folder: str | Path,
    vocabulary: str = "custom",
    num_words: int = NUM_WORDS,
    length: int = LENGTH,
    cache: str | Path | bool = True,
) -> Splits:
    """Read the reviews as numbers of words; the vocabulary is that of the training part.

    folder: holds `train.tsv` and `test.tsv` (``label<TAB>text``; plain or with `.gz`), or is or holds the published
        `aclImdb` (``train/pos/*.txt``, ``train/neg/*.txt``, ``test/...``; negative ones come first).
    vocabulary: "custom" or "torchtext", as `Vocabulary`'s style.
    cache: where the result is kept, so that a second call is quick: a folder, True for the user's (`jaxport/imdb` in
        $XDG_CACHE_HOME or ~/.cache), or False. The file's name depends on all texts and arguments.

    x: int32 (N, length), 0 a word that is not among the num_words - 2 most frequent ones, 1 padding.
    y: float32 (N, 1), 1 for a good review.

    Raises:
        DataError: a file is missing, is not UTF-8 or is not ``label<TAB>text``.
        UsageError: vocabulary, num_words or length is not possible.

    Source: https://ai.stanford.edu/~amaas/data/sentiment/
    """
    return _load(folder, vocabulary, num_words, length, cache)[1]


def load_vocabulary(
    folder: str | Path, vocabulary: str = "custom", num_words: int = NUM_WORDS, cache: str | Path | bool = True
) -> Vocabulary:
    """Return the vocabulary that `load` uses, with the same arguments.

    Raises:
        DataError: as `load`.
        UsageError: as `load`.
    """
    return _load(folder, vocabulary, num_words, LENGTH, cache)[0]


def read_texts(folder: str | Path) -> tuple[Texts, Texts]:
    """Read the reviews' texts and labels: (texts, labels) of the training part, then of the test part.

    A text ends in a line feed, as a line of a table does: so both forms of the set give the same words.

    Raises:
        DataError: as `load`.
    """
    folder = Path(folder)
    roots = (folder / "aclImdb", folder)
    published = next((root for root in roots if (root / "train" / "pos").is_dir()), None)
    tables = [name for name in FILES if is_present(folder, name)]
    if published is None and not tables:
        raise DataError(f"{folder}: has no {' and '.join(FILES)}, nor aclImdb; one of the two is needed")
    if published is None or len(tables) == len(FILES):
        train, val = (read_tsv(locate(folder, name)) for name in FILES)
        return train, val
    train, val = (_read_published(published / part) for part in ("train", "test"))
    return train, val


def synthetic(n: int, rng: np.random.Generator) -> Splits:
    """Make `n` training and max(1, ⌊n/5⌋) validation reviews with the same shapes; some words speak for one side.

    A word is, with probability 0.15, one of ten that only reviews of its class have (2 to 11, 12 to 21), and else one
    of 22 to 9,999 with P(k) ∝ 1/k. Lengths vary from 20 to 200, padding in front.

    Raises:
        UsageError: n is less than 1.
    """
    train, val = (_draw(size, rng) for size in synthetic_sizes(n))
    return Splits(train, val, CLASSES, "synthetic")


def _draw(n: int, rng: np.random.Generator) -> Arrays:
    label = rng.integers(0, 2, (n, 1))
    chance = 1 / np.arange(22, NUM_WORDS)
    common = rng.choice(np.arange(22, NUM_WORDS), (n, LENGTH), p=chance / chance.sum())
    telling = 2 + 10 * label + rng.integers(0, 10, (n, LENGTH))
    words = np.where(rng.random((n, LENGTH)) < 0.15, telling, common)
    padding = np.arange(LENGTH) < rng.integers(0, LENGTH - 19, (n, 1))
    return Arrays(np.where(padding, 1, words).astype(np.int32), label.astype(np.float32))


def _read_published(folder: Path) -> Texts:
    dataset = TextFolder(folder, PUBLISHED_CLASSES)
    pairs = [dataset[number] for number in range(len(dataset))]
    return [f"{text}\n" for text, _ in pairs], [label for _, label in pairs]


def _load(
    folder: str | Path, style: str, num_words: int, length: int, cache: str | Path | bool
) -> tuple[Vocabulary, Splits]:
    if style not in STYLES:
        raise UsageError(f"vocabulary is {style!r}; it must be one of {', '.join(STYLES)}")
    if num_words < 2 or length < 1:
        raise UsageError(f"num_words is {num_words} and length {length}; they must be at least 2 and 1")
    train, val = read_texts(folder)
    path = _cache_path(cache, _digest(train, val, style, num_words, length))
    found = _read_cache(path) if path else None
    if found is None:
        words = Vocabulary.build(train[0], style, num_words)
        found = words, words.encode_batch(train[0], length), words.encode_batch(val[0], length)
        if path:
            _write_cache(path, *found)
    words, x_train, x_val = found
    y_train, y_val = (np.array(part[1], np.float32)[:, None] for part in (train, val))
    return words, Splits(Arrays(x_train, y_train), Arrays(x_val, y_val), CLASSES, str(folder))


def _digest(train: Texts, val: Texts, *options: object) -> str:
    """Return a name for what is computed from these texts with these options."""
    total = hashlib.sha256(repr((_VERSION, options)).encode())
    for texts, _ in (train, val):
        total.update(np.array([len(texts), *map(len, texts)], "<i8").tobytes())  # where one text ends
        total.update("".join(texts).encode())
    return total.hexdigest()


def _cache_path(cache: str | Path | bool, digest: str) -> Path | None:
    if cache is False:
        return None
    if cache is True:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxport" / "imdb"
    return Path(cache) / f"{digest}.cache"


def _read_cache(path: Path) -> tuple[Vocabulary, np.ndarray, np.ndarray] | None:
    """Return what was kept, or None if there is nothing or it is damaged: then it is computed again."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    checksum, arrays = content[:32], content[32:]
    if hashlib.sha256(arrays).digest() != checksum:
        return None
    with np.load(io.BytesIO(arrays), allow_pickle=False) as kept:
        words = Vocabulary.from_json(kept["words"].tobytes(), str(path))
        return words, kept["train"].astype(np.int32), kept["val"].astype(np.int32)


def _write_cache(path: Path, words: Vocabulary, train: np.ndarray, val: np.ndarray) -> None:
    """Keep a checksum and what was computed; a cache that cannot be written is no reason to stop."""
    small = np.uint16 if len(words) <= 2**16 else np.int32
    arrays = io.BytesIO()
    json = np.frombuffer(words.to_json().encode(), np.uint8)
    np.savez(arrays, words=json, train=train.astype(small), val=val.astype(small))
    content = arrays.getvalue()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        put(path, hashlib.sha256(content).digest() + content)
    except OSError:
        return
