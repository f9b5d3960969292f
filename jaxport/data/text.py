"""Reviews as numbers: the tutorials' two ways of cutting a text into words, and the vocabularies built on them."""

from __future__ import annotations

import hashlib
import json
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np

from jaxport.data.files import read_bytes
from jaxport.errors import DataError, UsageError

UNKNOWN_ID, PADDING_ID = 0, 1
SPECIALS = ("<unk>", "<pad>")
NUM_WORDS, LENGTH = 10_000, 200

_PUNCTUATION = string.punctuation.encode()
# The torchtext chapter puts the punctuation into a regular expression's [...] as it is: there, \] is a bracket, and so
# the backslash stays in the text.
_PUNCTUATION_BUT_BACKSLASH = _PUNCTUATION.replace(b"\\", b"")


def torchtext_words(text: str) -> list[str]:
    """Cut a text into words as the torchtext chapter does: punctuation removed, cut at each space, lower-cased.

    A backslash stays, ``<br />`` becomes ``br``, and two spaces have the word "" between them. Line feeds at the end
    are removed.
    """
    return _without(text.rstrip("\n"), _PUNCTUATION_BUT_BACKSLASH).lower().split(" ")


def custom_words(text: str) -> list[str]:
    """Cut a text into words as the custom data set does: lower-cased, ``<br />`` a space, punctuation removed, cut.

    A line feed is a space, and a cut is made at each space: a line of a file, with its line feed, ends in the word "".
    """
    return _without(text.lower().replace("\n", " ").replace("<br />", " "), _PUNCTUATION).split(" ")


def _without(text: str, characters: bytes) -> str:
    """Remove ASCII characters; bytes.translate is several times faster than a regular expression."""
    return text.encode("utf-8", "surrogatepass").translate(None, characters).decode("utf-8", "surrogatepass")


def _alphabetical(counts: Mapping[str, int]) -> list[str]:
    """List the words, frequent ones first; equally frequent ones by their letters' code points."""
    return sorted(counts, key=lambda word: (-counts[word], word))


def _as_pandas(counts: Mapping[str, int]) -> list[str]:
    """List the words, frequent ones first; equally frequent ones as pandas' ``sort_values(ascending=False)`` does.

    That is numpy's quicksort of the reversed column, itself reversed: no order of its own among equals. For int64,
    numpy has several quicksorts and picks one by the processor. For timedelta64 it has only the portable one, which was
    also the only one when the tutorial was written: so the numbers are the same on every machine.
    """
    words = list(counts)
    frequency = np.fromiter(counts.values(), np.int64, len(words)).astype("timedelta64[ns]")
    order = np.argsort(frequency[::-1], kind="quicksort")[::-1]
    return [words[-1 - place] for place in order.tolist()]


@dataclass(frozen=True)
class Style:
    """One of the tutorials' ways from a text to numbers.

    words: text → words. ranked: counts in the order in which the words were first seen → words, frequent ones first.
    front: short texts are padded in front and long ones lose their beginning; else both happen at the end.
    """

    words: Callable[[str], list[str]]
    ranked: Callable[[Mapping[str, int]], list[str]]
    front: bool


STYLES: dict[str, Style] = {
    "custom": Style(custom_words, _as_pandas, front=True),
    "torchtext": Style(torchtext_words, _alphabetical, front=False),
}


def count_words(texts: Iterable[str], style: str = "custom") -> dict[str, int]:
    """Count how often each word occurs in the texts, words in the order in which they are first seen.

    Raises:
        UsageError: there is no such style.
    """
    words, counts = _style(style).words, Counter()
    for text in texts:
        counts.update(words(text))
    return counts


class Vocabulary:
    """Words with their numbers: 0 is a word that is not known, 1 is padding, 2 is the most frequent word.

    words: the words in the order of their numbers, the first two being `SPECIALS`.
    style: "custom" or "torchtext": how a text is cut into words, padded and shortened.

    Raises:
        UsageError: the words do not begin with `SPECIALS`, one is there twice, or there is no such style.

    Source: Eat PyTorch in 20 days, 1-3 (torchtext) and 5-1 (custom).
    """

    def __init__(self, words: Iterable[str], style: str = "custom") -> None:
        self.words, self.style = tuple(words), style
        self._style = _style(style)
        self._ids = {word: number for number, word in enumerate(self.words)}
        if self.words[:2] != SPECIALS or len(self._ids) < len(self.words):
            twice = [word for word, count in Counter(self.words).items() if count > 1]
            raise UsageError(
                f"words begins with {self.words[:2]} and has twice {twice[:5]}; it must begin with {SPECIALS} and have "
                "each word once"
            )

    @classmethod
    def build(cls, texts: Iterable[str], style: str = "custom", num_words: int = NUM_WORDS) -> Vocabulary:
        """Return the vocabulary of the num_words - 2 most frequent words, as the tutorial builds it.

        Raises:
            UsageError: num_words is less than 2, or there is no such style.
        """
        if num_words < 2:
            raise UsageError(f"num_words is {num_words}; it must be at least 2, the numbers 0 and 1 being taken")
        counts = count_words(texts, style)
        return cls((*SPECIALS, *_style(style).ranked(counts)[: num_words - 2]), style)

    def __len__(self) -> int:
        """Return how many numbers there are, 0 and 1 included."""
        return len(self.words)

    def __eq__(self, other: object) -> bool:
        """Tell whether words, numbers and style are the same."""
        return isinstance(other, Vocabulary) and (self.words, self.style) == (other.words, other.style)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def encode(self, text: str, length: int = LENGTH) -> np.ndarray:
        """Return the numbers of one text, int32 (length,).

        Raises:
            UsageError: length is less than 1.
        """
        return self.encode_batch((text,), length)[0]

    def encode_batch(self, texts: Sequence[str], length: int = LENGTH) -> np.ndarray:
        """Return the numbers of N texts, int32 (N, length), padded with 1 or shortened.

        custom: padding in front, the last `length` words are kept. torchtext: padding at the end, the first are kept.

        Raises:
            UsageError: length is less than 1.
        """
        if length < 1:
            raise UsageError(f"length is {length}; it must be at least 1")
        out = np.full((len(texts), length), PADDING_ID, np.int32)
        words, front, number = self._style.words, self._style.front, self._ids.get
        for row, text in zip(out, texts, strict=True):
            kept = words(text)[-length:] if front else words(text)[:length]
            place = slice(length - len(kept), None) if front else slice(len(kept))
            row[place] = list(map(number, kept, repeat(UNKNOWN_ID)))
        return out

    def decode(self, ids: Iterable[int]) -> str:
        """Return the words of a row of numbers with spaces between them, without padding.

        Raises:
            UsageError: a number is outside the vocabulary.
        """
        numbers = [int(number) for number in ids]
        if wrong := [number for number in numbers if not 0 <= number < len(self)]:
            raise UsageError(f"ids has {wrong[0]}; the numbers are 0 to {len(self) - 1}")
        return " ".join(self.words[number] for number in numbers if number != PADDING_ID)

    def save(self, path: str | Path) -> None:
        """Write the vocabulary as JSON; the file appears whole or not at all.

        Raises:
            UsageError: the file cannot be written.
        """
        from jaxport.viz.table import write_atomic

        write_atomic(path, (self.to_json() + "\n").encode())

    def to_json(self) -> str:
        """Return the vocabulary as JSON text."""
        saved = {"style": self.style, "sha256": self._digest(), "words": self.words}
        return json.dumps(saved, indent=0)

    def _digest(self) -> str:
        """Return a checksum of the words, so that a saved file with a changed letter is found out."""
        return hashlib.sha256("\n".join(self.words).encode("utf-8", "surrogatepass")).hexdigest()

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Read what `save` wrote.

        Raises:
            DataError: the file is missing, damaged or not a vocabulary.
        """
        return cls.from_json(read_bytes(path), str(path))

    @classmethod
    def from_json(cls, content: bytes, name: str = "vocabulary") -> Vocabulary:
        """Read JSON text in UTF-8; `name` is what errors call it.

        Raises:
            DataError: it is damaged or not a vocabulary.
        """
        try:
            saved = json.loads(content.decode("utf-8-sig"))
            words, style = saved["words"], saved["style"]
            if not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
                raise UsageError("words must be a list of strings")
            found = cls(words, style)
            if saved["sha256"] != found._digest():
                raise UsageError("its words do not fit its checksum")
            return found
        except (ValueError, TypeError, KeyError, RecursionError) as error:  # UsageError is a ValueError
            what = f"{type(error).__name__}: {error}"[:200]
            raise DataError(
                f"{name}: is not a vocabulary ({what}); a file that Vocabulary.save wrote is needed"
            ) from None


def _style(name: str) -> Style:
    if not isinstance(name, str) or name not in STYLES:
        raise UsageError(f"style is {name!r}; the styles are {', '.join(STYLES)}")
    return STYLES[name]
