"""Printed: one number, tensor, size or line that a tutorial prints, with its place and how JAX computes it."""

from __future__ import annotations

from dataclasses import dataclass

# What each kind of row is. The last three do not come out as printed: there, ours must be what PyTorch 2.13 gives.
KINDS = {
    "exact": "whole numbers, truth values and text",
    "digits": "a number with digits behind the point",
    "float32": "a loss after many float32 steps, printed to its last bit: judged by the float64 value",
    "shape": "the size of a tensor",
    "dtype": "a number's type",
    "count": "how many parameters, layers, bytes, examples",
    "draw": "random numbers after a stated seed",
    "misprint": "the page shows something else than its code gives",
    "old_version": "PyTorch printed or computed it otherwise then",
    "notebook": "the cells had not been run in the order of the page",
}
DIFFERENT = ("misprint", "old_version", "notebook")


@dataclass(frozen=True)
class Printed:
    """One entry.

    Attributes:
        place: tutorial, section and line of its text, as "002 4-2:5284".
        what: what the tutorial prints, in its own terms.
        compute: the JAX expression; its names are those of the module that holds the row.
        printed: the text that the tutorial shows.
        kind: a key of `KINDS`.
        x64: compute with `jax.enable_x64`: the tutorial names int64 or float64.
        reach: the result comes from a printed tensor, which is known to half a unit of its fourth digit; how far the
            result moves for each unit of that, at most.
        data: the data set that it needs; `compute` then finds its folder as `folder`.
        torch: the PyTorch expression, for the kinds of `DIFFERENT`.
        truth: the expression in float64, for the kind "float32".
        became: (then, now): in `printed`, that text alone is another one today.
        reason: why it does not come out.
    """

    place: str
    what: str
    compute: str
    printed: str
    kind: str = "exact"
    x64: bool = False
    reach: float = 0.0
    data: str = ""
    torch: str = ""
    truth: str = ""
    became: tuple[str, str] | None = None
    reason: str = ""

    @property
    def tutorial(self) -> str:
        """The tutorial's number, three digits."""
        return self.place[:3]

    @property
    def line(self) -> int:
        """The line of the tutorial's text."""
        return int(self.place.rpartition(":")[2])


def lines(place: str, what: str, compute: str, text: str, kind: str = "count") -> tuple[Printed, ...]:
    """Return one row for each line of a printed table that has a number; the expression's `{}` is the line's number.

    place: that of the block's first line.
    """
    head, _, first = place.rpartition(":")
    rows = []
    for number, line in enumerate(text.strip("\n").splitlines()):
        if any(character.isdigit() for character in line):
            rows.append(Printed(f"{head}:{int(first) + number}", what, compute.format(number), line.strip(), kind))
    return tuple(rows)


def was(place: str, what: str, compute: str, printed: str, torch: str) -> Printed:
    """Return the row of a network with a Flatten layer, which had no arguments in print() then."""
    became = ("Flatten()", "Flatten(start_dim=1, end_dim=-1)")
    reason = "nn.Flatten printed no arguments in PyTorch 1.5"
    return Printed(place, what, compute, printed, "old_version", torch=torch, became=became, reason=reason)
