"""The Mersenne twister as PyTorch's CPU generator keeps it: seeding, raw draws, and the bytes of its state."""

from __future__ import annotations

import operator

import numpy as np

from jaxport.errors import UsageError

_N = 624
_STATE = np.dtype(
    [
        ("seed", "<u8"),
        ("left", "<i4"),
        ("seeded", "<i4"),
        ("next", "<u8"),
        ("key", "<u8", (_N,)),
        ("unused_x", "<f8"),
        ("normal", "<f8"),
        ("unused_rho", "<f8"),
        ("has_normal", "<i4"),
        ("padding", "<i4"),
        ("single_normal", "<f4"),
        ("has_single_normal", "<i4"),
    ]
)


def checked_seed(seed: int) -> int:
    """Return a seed as PyTorch keeps it, from 0 to 2⁶⁴ - 1; a negative one counts from 2⁶⁴.

    Raises:
        UsageError: it is no integer, or not from -2⁶³ to 2⁶⁴ - 1.
    """
    try:
        number = operator.index(seed)
    except TypeError:
        raise UsageError(f"seed is {seed!r}; it must be an integer") from None
    if not -(2**63) <= number < 2**64:
        raise UsageError(f"seed is {number}; it must be from -2**63 to 2**64 - 1")
    return number % 2**64


def _seeded_key(seed: int) -> np.ndarray:
    """Return the 624 words that Knuth's recurrence x[i] = 1812433253 (x[i-1] ^ (x[i-1] >> 30)) + i gives."""
    words = [seed & 0xFFFFFFFF]
    for i in range(1, _N):
        words.append((1812433253 * (words[-1] ^ (words[-1] >> 30)) + i) & 0xFFFFFFFF)
    return np.array(words, np.uint32)


class Engine:
    """mt19937 with the seeding of `at::mt19937` (the seed's low 32 bits), and the second normal of a pair, kept.

    Source: Matsumoto and Nishimura 1998, https://doi.org/10.1145/272991.272995; the recurrence is run by
    ``numpy.random.MT19937``.
    """

    def __init__(self, seed: int) -> None:
        self.seed = checked_seed(seed)
        self.cached_normal: float | None = None
        self._bits = np.random.MT19937(0)
        self._untouched = True
        self._place(_seeded_key(self.seed), _N)

    def _place(self, key: np.ndarray, position: int) -> None:
        self._bits.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": position}}

    def draw32(self, n: int) -> np.ndarray:
        """Return the next `n` 32-bit words, as uint64 (n,)."""
        self._untouched = self._untouched and n == 0
        return self._bits.random_raw(n)

    def draw64(self, n: int) -> np.ndarray:
        """Return the next `n` 64-bit words, each of two 32-bit ones, the high one first; uint64 (n,)."""
        words = self.draw32(2 * n)
        return (words[0::2] << np.uint64(32)) | words[1::2]

    def get_state(self) -> np.ndarray:
        """Return the state as the 5056 bytes of ``torch.Generator.get_state``, uint8."""
        inner = self._bits.state["state"]
        state = np.zeros((), _STATE)
        state["seed"], state["seeded"] = self.seed, 1
        state["left"], state["next"] = _N + 1 - inner["pos"], 0 if self._untouched else inner["pos"]
        state["key"] = inner["key"]
        if self.cached_normal is not None:
            state["normal"], state["has_normal"] = self.cached_normal, 1
        return np.frombuffer(state.tobytes(), np.uint8).copy()

    def set_state(self, state: np.ndarray) -> None:
        """Take the 5056 bytes of `get_state`, ours or PyTorch's.

        Raises:
            UsageError: it is no uint8 array of that size, or no state of a seeded mt19937.
        """
        array = np.asarray(state)
        if array.dtype != np.uint8 or array.shape != (_STATE.itemsize,):
            raise UsageError(
                f"state is {array.dtype} of shape {array.shape}; it must be uint8 of shape ({_STATE.itemsize},)"
            )
        fields = np.frombuffer(array.tobytes(), _STATE)[0]
        if fields["seeded"] != 1 or not 1 <= fields["left"] <= _N or fields["next"] > _N or fields["key"].max() >> 32:
            raise UsageError("state is not that of a seeded mt19937; it must come from get_state")
        self.seed = int(fields["seed"])
        self.cached_normal = float(fields["normal"]) if fields["has_normal"] else None
        self._untouched = bool(fields["next"] == 0)
        self._place(fields["key"].astype(np.uint32), _N + 1 - int(fields["left"]))
