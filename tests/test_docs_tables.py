"""The documents' tables name what exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_difference_names_a_test_that_exists():
    rows = re.findall(r"^\| (\d+) \|.*\| `([\w/.]+)` ([^|]+) \|$", (ROOT / "docs/differences.md").read_text(), re.M)
    assert [int(number) for number, *_ in rows] == list(range(1, 34))
    for number, file, words in rows:
        text = (ROOT / file).read_text()
        assert words.removeprefix("test_") in text, f"difference {number}: {file} has no {words!r}"
        digits = re.search(r"\d+", words)
        if digits:
            assert digits[0] == number
            assert re.search(rf"{words}\b|{words}_", text)
