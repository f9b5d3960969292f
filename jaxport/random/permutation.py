"""Many exchanges in a row at once: the shuffle of Fisher and Yates without a loop over its steps."""

from __future__ import annotations

import numpy as np


def exchanged(partners: np.ndarray) -> np.ndarray:
    """Return 0 … n - 1 after exchanging elements i and partners[i] for i = 0, 1, … n - 1, where partners[i] ≥ i.

    Step i reads position p = partners[i], which holds what the last step k < i with partners[k] = p has put there, or
    still p. Step k put there what it found at position k: v(k), which in turn is v(k') for the last k' < k with
    partners[k'] = k, or still k. So each v is the root of a chain of ever smaller k, found for all in parallel by
    pointers that skip twice as far in each round.

    Args:
        partners: int64 (n,).
    """
    n = len(partners)
    steps = np.arange(n)
    found = _roots(_last_writer(partners, steps))
    previous = _previous_equal(partners, steps)
    return np.where(previous >= 0, found[previous], partners)


def _last_writer(partners: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return for each position the last step before its own that wrote there, or the position itself."""
    moved = partners != steps
    writer = steps.copy()
    writer[partners[moved]] = steps[moved]  # of equal positions NumPy keeps the last, the greatest step
    return writer


def _roots(pointers: np.ndarray) -> np.ndarray:
    while True:
        further = pointers[pointers]
        if np.array_equal(further, pointers):
            return pointers
        pointers = further


def _previous_equal(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return for each i the greatest k < i with values[k] = values[i], or -1."""
    keys = np.sort((values << 32) | steps)
    places, groups = keys & 0xFFFFFFFF, keys >> 32
    previous = np.full(len(values), -1)
    repeated = np.flatnonzero(groups[1:] == groups[:-1])
    previous[places[repeated + 1]] = places[repeated]
    return previous
