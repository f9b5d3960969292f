"""Which of many cases are run."""

from typing import Any


def spread(entries: list[Any], most: int | None) -> list[tuple[int, Any]]:
    """Return numbered entries: all, or `most` of them, evenly spread and always the same."""
    numbers = range(len(entries))
    if most is not None and len(entries) > most:
        numbers = sorted({round(i * (len(entries) - 1) / (most - 1)) for i in range(most)})
    return [(number, entries[number]) for number in numbers]
