"""Words, vocabularies, and folders with one text a file."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from jaxport.data import text_folder
from jaxport.data.text import SPECIALS, STYLES, Vocabulary, count_words, custom_words, torchtext_words
from jaxport.data.text_folder import TextFolder, read_tsv, split_samples
from jaxport.errors import DataError, UsageError

WORDS = [  # text, custom, torchtext
    ("A fine film", "a|fine|film", "a|fine|film"),
    ("Well-made, isn't it?", "wellmade|isnt|it", "wellmade|isnt|it"),
    ("line\n", "line|", "line"),
    ("one\ntwo", "one|two", "one\ntwo"),
    ("end.<br /><br />New", "end||new", "endbr|br|New".lower()),
    ("<BR />x<br/>", "|xbr", "br|xbr"),
    ("two  spaces ", "two||spaces|", "two||spaces|"),
    ("a\\b[c]^d_{e}|~`", "abcde", "a\\bcde"),
    ("!\"#$%&'()*+,-./:;<=>?@", "", ""),
    ("«Été» İx ΟΔΟΣ’ \t", "«été»|i̇x|οδος’|\t", "«été»|i̇x|οδος’|\t"),
    ("ΟΔΟΣ'Α", "οδοσα", "οδοσα"),
    ("ΟΔΟΣ-Α", "οδοςα", "οδοσα"),  # lower-cased before the hyphen goes, and after: a sigma at a word's end is another
    ("", "", ""),
]


@pytest.mark.parametrize(("text", "custom", "torchtext"), WORDS)
def test_words(text: str, custom: str, torchtext: str):
    assert custom_words(text) == custom.split("|")
    assert torchtext_words(text) == torchtext.split("|")


TEXTS = ("b a a\n", "c b a d\n", "e\n")


@pytest.mark.parametrize(
    ("style", "num_words", "words"),
    [
        ("custom", 100, ("a", "", "b", "c", "d", "e")),  # "a" and "" three times each; first seen comes first
        ("custom", 4, ("a", "")),
        ("torchtext", 100, ("a", "b", "c", "d", "e")),
        ("torchtext", 2, ()),
    ],
)
def test_frequent_words_first(style: str, num_words: int, words: tuple[str, ...]):
    vocabulary = Vocabulary.build(TEXTS, style, num_words)
    # numpy's quicksort keeps the order of equals among up to 16 words
    assert vocabulary.words == (*SPECIALS, *words)
    assert len(vocabulary) == len(words) + 2


def quicksorted(values: list[int]) -> list[int]:
    """Return the places of the values from small to large, as numpy's portable quicksort leaves equal ones.

    Quicksort by the median of three, the smaller part first; insertion for 16 values and fewer.
    """
    order, parts = list(range(len(values))), [(0, len(values) - 1)]

    def swap(i: int, j: int, if_less: bool = False) -> None:
        if not if_less or values[order[i]] < values[order[j]]:
            order[i], order[j] = order[j], order[i]

    while parts:
        low, high = parts.pop()
        while high - low > 15:
            middle = (low + high) // 2
            swap(middle, low, if_less=True)
            swap(high, middle, if_less=True)
            swap(middle, low, if_less=True)
            pivot = values[order[middle]]
            i, j = low, high - 1
            swap(middle, j)
            while True:
                i = next(k for k in range(i + 1, high + 1) if values[order[k]] >= pivot)
                j = next(k for k in range(j - 1, low - 1, -1) if values[order[k]] <= pivot)
                if i >= j:
                    break
                swap(i, j)
            swap(i, high - 1)
            smaller, larger = sorted([(low, i - 1), (i + 1, high)], key=lambda part: part[1] - part[0])
            parts.append(larger)
            low, high = smaller
        for i in range(low + 1, high + 1):
            for j in range(i, low, -1):
                if values[order[j]] >= values[order[j - 1]]:
                    break
                swap(j, j - 1)
    return order


@pytest.mark.parametrize("size", [3, 16, 17, 40, 1000, 20_000])
def test_order_of_equally_frequent_words(size: int):
    """The custom vocabulary of the tutorial: pandas reverses the column, sorts by quicksort and reverses the result."""
    rng = np.random.default_rng(size)
    counts = {f"w{i}": int(count) for i, count in enumerate(rng.integers(1, max(2, size // 8), size))}
    names = list(counts)[::-1]
    expected = [names[place] for place in reversed(quicksorted(list(counts.values())[::-1]))]
    assert STYLES["custom"].ranked(counts) == expected
    assert STYLES["torchtext"].ranked(counts) == [
        name for name, _ in sorted(counts.items(), key=lambda p: (-p[1], p[0]))
    ]


def test_counts():
    assert list(count_words(TEXTS).items()) == [("b", 2), ("a", 3), ("", 3), ("c", 1), ("d", 1), ("e", 1)]


@pytest.mark.parametrize(
    ("style", "text", "ids", "back"),
    [
        ("custom", "a b", [1, 1, 2, 4], "a b"),
        ("custom", "z z a b\n", [0, 2, 4, 3], "<unk> a b "),
        ("torchtext", "a b\n", [2, 3, 1, 1], "a b"),
        ("torchtext", "a z c d e", [2, 0, 4, 5], "a <unk> c d"),
        ("torchtext", "", [0, 1, 1, 1], "<unk>"),
    ],
)
def test_numbers_of_a_text(style: str, text: str, ids: list[int], back: str):
    vocabulary = Vocabulary.build(TEXTS, style)
    assert vocabulary.encode(text, 4).tolist() == ids
    batch = vocabulary.encode_batch([text, "a", text], 4)
    assert batch.dtype == np.int32
    assert batch[::2].tolist() == [ids, ids]
    assert vocabulary.decode(batch[0]) == back
    assert vocabulary.encode_batch([], 4).shape == (0, 4)


@pytest.mark.parametrize("style", ["custom", "torchtext"])
def test_saved_and_loaded(tmp_path: Path, style: str):
    vocabulary = Vocabulary.build([*TEXTS, 'été "q" \\ \u2028 \ud800'], style)
    vocabulary.save(tmp_path / "words.json")
    loaded = Vocabulary.load(tmp_path / "words.json")
    assert loaded == vocabulary
    assert loaded.encode("a b é", 5).tolist() == vocabulary.encode("a b é", 5).tolist()
    assert os.listdir(tmp_path) == ["words.json"]
    assert loaded != Vocabulary.build(TEXTS, style)


DAMAGED = {
    "empty": b"",
    "not UTF-8": b'{"words": ["\xff"]}',
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "no words": b'{"style": "custom"}',
    "words a string": b'{"style": "custom", "words": "ab"}',
    "numbers": b'{"style": "custom", "words": [1, 2]}',
    "no specials": b'{"style": "custom", "words": ["a", "b"]}',
    "twice": b'{"style": "custom", "words": ["<unk>", "<pad>", "a", "a"]}',
    "style": b'{"style": ["custom"], "words": ["<unk>", "<pad>"]}',
    "no checksum": b'{"style": "custom", "words": ["<unk>", "<pad>"]}',
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_vocabulary(tmp_path: Path, content: bytes):
    (tmp_path / "words.json").write_bytes(content)
    with pytest.raises(DataError, match=r"words\.json: is not a vocabulary \("):
        Vocabulary.load(tmp_path / "words.json")


def test_changed_word(tmp_path: Path):
    path = tmp_path / "words.json"
    Vocabulary.build(["fine"]).save(path)
    path.write_text(path.read_text().replace("fine", "fire"))
    with pytest.raises(DataError, match="its words do not fit its checksum"):
        Vocabulary.load(path)


WRONG = {
    "style is 'keras'; the styles are custom, torchtext": lambda: Vocabulary.build(TEXTS, "keras"),
    "num_words is 1; it must be at least 2": lambda: Vocabulary.build(TEXTS, num_words=1),
    "length is 0; it must be at least 1": lambda: Vocabulary.build(TEXTS).encode("a", 0),
    "ids has 8; the numbers are 0 to 7": lambda: Vocabulary.build(TEXTS).decode([2, 8]),
    "has twice ['a']": lambda: Vocabulary((*SPECIALS, "a", "a")),
    "path='absent/words.json' cannot be written": lambda: Vocabulary.build(TEXTS).save("absent/words.json"),
    "on_error is 'ignore'; it must be one of raise, skip": lambda: TextFolder(".", on_error="ignore"),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_use(message: str):
    with pytest.raises(UsageError, match=re.escape(message)):
        WRONG[message]()


def folder_of(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def test_class_folders(tmp_path: Path):
    files = {
        "pos/10.txt": "ten",
        "pos/9.txt": "nine\r\nlines",
        "neg/0_1.txt": "é",
        "neg/readme.md": "",
        "unsup/1.txt": "",
    }
    dataset = TextFolder(folder_of(tmp_path, files), ("neg", "pos"))
    assert dataset.classes == ("neg", "pos")
    assert [dataset[i] for i in range(len(dataset))] == [("é", 0), ("nine\nlines", 1), ("ten", 1)]
    assert dataset[-1] == ("ten", 1)
    assert TextFolder(tmp_path).classes == ("neg", "pos", "unsup")
    assert TextFolder(tmp_path, transform=len)[1] == (10, 1)


def test_labelled_files(tmp_path: Path):
    dataset = TextFolder(folder_of(tmp_path, {"10.txt": "1\ta\tb", "9.txt": "0\tc\n"}), transform=str.upper)
    assert [dataset[i] for i in range(2)] == [("C\n", 0), ("A\tB", 1)]
    assert len(dataset + dataset) == 4


def test_damaged_texts_are_named_or_skipped(tmp_path: Path):
    files = {"a/1.txt": "good", "a/2.txt": b"caf\xe9", "b/1.txt": b"\x1f\x8b bad gzip", "b/2.txt": "fine"}
    folder = folder_of(tmp_path, files)
    dataset = TextFolder(folder)
    assert dataset[0] == ("good", 0)
    with pytest.raises(DataError, match=r"a/2\.txt: is not UTF-8 text \(byte e9 at position 3\)"):
        dataset[1]
    kept = TextFolder(folder, on_error="skip")
    assert [kept[i] for i in range(len(kept))] == [("good", 0), ("fine", 1)]
    assert [path.relative_to(folder).as_posix() for path, _ in kept.skipped] == ["a/2.txt", "b/1.txt"]
    assert "is not UTF-8" in kept.skipped[0][1]


@pytest.mark.parametrize(
    ("files", "classes", "message"),
    [
        ({}, None, "has no .txt file and no class folder with one"),
        ({"a/1.md": ""}, None, "a: has no .txt file; one file per text is needed"),
        ({"a/1.txt": ""}, ("a", "b"), "b: cannot be listed (No such file or directory)"),
        ({"1.txt": "2\ttext"}, None, "1.txt: begins with '2'; it must be a label (0, 1), a tab and the text"),
        ({"1.txt": "no tab"}, None, "1.txt: begins with 'no tab'"),
    ],
)
def test_not_a_folder_of_texts(tmp_path: Path, files: dict[str, str], classes: tuple[str, ...] | None, message: str):
    with pytest.raises(DataError, match=re.escape(message)):
        TextFolder(folder_of(tmp_path, files), classes)[0]


def test_table_into_files(tmp_path: Path):
    table, folder = tmp_path / "train.tsv", tmp_path / "samples"
    table.write_text("1\tgood\n0\tbad\n0\tlast")
    assert split_samples(table, folder) == 3
    assert (folder / "1.txt").read_bytes() == b"0\tbad\n"
    dataset = TextFolder(folder)
    assert [dataset[i] for i in range(3)] == [("good\n", 1), ("bad\n", 0), ("last", 0)]
    (folder / "1.txt").unlink()
    (folder / "2.txt").write_text("0\tla")
    assert split_samples(table, folder) == 2  # what is missing or was cut short
    assert split_samples(table, folder) == 0
    assert sorted(os.listdir(folder)) == ["0.txt", "1.txt", "2.txt"]
    (folder / "7.txt").touch()
    with pytest.raises(UsageError, match=r"holds 1 other \.txt files, such as 7\.txt; an empty folder is needed"):
        split_samples(table, folder)


def test_tokens_into_files(tmp_path: Path):
    (tmp_path / "train.tsv").write_text("".join(f"{i % 2}\t{text}" for i, text in enumerate(TEXTS)))
    vocabulary = Vocabulary.build(TEXTS)
    split_samples(tmp_path / "train.tsv", tmp_path / "s", lambda text: " ".join(map(str, vocabulary.encode(text, 3))))
    assert (tmp_path / "s/0.txt").read_text() == "0\t2 2 3"
    dataset = TextFolder(tmp_path / "s", transform=lambda text: np.array(text.split(" "), np.int32))
    assert np.array_equal([dataset[i][0] for i in range(3)], vocabulary.encode_batch(TEXTS, 3))


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "t.tsv").write_text("1\tgood\n0\tbad\n")

    def replace(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(text_folder.os, "replace", replace)
    with pytest.raises(UsageError, match="cannot be written: No space left on device"):
        split_samples(tmp_path / "t.tsv", tmp_path / "s")
    assert os.listdir(tmp_path / "s") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": is empty; lines of label<TAB>text are needed"),
        (b"\n\n", ": is empty"),
        (b"1\ta\n\nno tab\n", ", line 3: has 0 tabs; it must be label<TAB>text"),
        (b"1\ta\tb\n", ", line 1: has 2 tabs"),
        (b"1\ta\nlabel\ttext\n", ", line 2: the label is 'label'; it must be one of 0, 1"),
        (b"1\tcaf\xe9\n", ": is not UTF-8 text (byte e9 at position 5); save it as UTF-8"),
    ],
)
def test_not_a_table_of_texts(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "t.tsv").write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"t.tsv{message}")):
        read_tsv(tmp_path / "t.tsv")


def test_lines_of_a_table(tmp_path: Path):
    (tmp_path / "t.tsv").write_bytes('\ufeff1\t"a\r\n0\tb"\u2028c\x85\x0cd\n1\t\n0\te'.encode())
    assert read_tsv(tmp_path / "t.tsv") == (['"a\n', 'b"\u2028c\x85\x0cd\n', "\n", "e"], [1, 0, 1, 0])
