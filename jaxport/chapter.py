"""What every example's command line does, so that the file itself holds only the chapter: command, and show."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import JaxportError

if TYPE_CHECKING:
    from .data import Splits
    from .engine import Progress
    from .nn import Module

Bounds = tuple[float, float]
"""The least and the largest value that counts as met."""


@dataclass(frozen=True)
class Options:
    """What the reader asked for.

    Attributes:
        data: folder of the data sets, None for $JAXPORT_DATA.
        out: where pictures and weights go; it exists.
        smoke: a few seconds on a little data; the score does not count.
        level: which of the chapter's levels or styles, "" if it has one only.
    """

    data: str | None
    out: Path
    smoke: bool
    level: str

    def load(self, name: str, smoke: int) -> Splits:
        """Return data set `name`; of a smoke run, made-up data of its form, `smoke` examples and a fifth to validate.

        Raises:
            DataError: the files are not found, or not what they should be.
        """
        from . import data

        if self.smoke:
            return data.DATASETS[name].synthetic(smoke, np.random.default_rng(0))
        return data.load(name, self.data)


@dataclass(frozen=True)
class Command:
    """A chapter's command line; calling it returns the exit status.

    Attributes:
        run: does the chapter's steps and returns the scores by name.
        name: of the file, and of the folder under runs/examples.
        title: one line for --help.
        expected: score → (least, largest); of a chapter with levels, level → such a mapping.
        levels: the chapter's levels or styles, the usual one first.
    """

    run: Callable[[Options], Mapping[str, float]]
    name: str
    title: str
    expected: Mapping[str, Bounds] | Mapping[str, Mapping[str, Bounds]]
    levels: tuple[str, ...] = ()

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Run the chapter and return 0, 1 if a score is missed, or 2 if it could not run."""
        options = self._parse(arguments)
        there = options.out.exists()
        try:
            options.out.mkdir(parents=True, exist_ok=True)
            scores = self.run(options)
        except (JaxportError, OSError) as error:
            if not there and options.out.is_dir() and not any(options.out.iterdir()):
                options.out.rmdir()
            print(f"error: {error}", file=sys.stderr)
            return 2
        missed = self._missed(scores, options)
        for line in missed:
            print(f"missed: {line}", file=sys.stderr)
        return 1 if missed else 0

    def start(self, module: str) -> None:
        """Run and exit if `module`, the file's ``__name__``, is "__main__"; in a notebook, run and go on."""
        if module != "__main__":
            return
        if "ipykernel" in sys.modules:  # sys.argv is the kernel's
            self([])
        else:
            sys.exit(self())

    def bounds(self, level: str = "") -> Mapping[str, Bounds]:
        """Return score → (least, largest) of a level."""
        return self.expected[level] if self.levels else self.expected  # pyright: ignore[reportReturnType]

    def _parse(self, arguments: Sequence[str] | None) -> Options:
        parser = argparse.ArgumentParser(prog=f"{self.name}.py", description=self.title)
        parser.add_argument("--data", metavar="DIR", help="folder of the data sets (default: $JAXPORT_DATA)")
        out = Path("runs/examples") / self.name
        parser.add_argument("--out", metavar="DIR", type=Path, default=out, help="pictures and weights (%(default)s)")
        parser.add_argument("--smoke", action="store_true", help="a few seconds, no files; the score does not count")
        if self.levels:
            parser.add_argument("--level", choices=self.levels, default=self.levels[0], help="(%(default)s)")
        options = parser.parse_args(arguments)
        return Options(options.data, options.out, options.smoke, getattr(options, "level", ""))

    def _missed(self, scores: Mapping[str, float], options: Options) -> list[str]:
        """Return a line for every score out of bounds; of a smoke run, for every one that is not a finite number."""
        bounds = self.bounds(options.level)
        if absent := bounds.keys() - scores.keys():
            raise KeyError(f"{self.name}: the chapter returns no {', '.join(sorted(absent))}, only {list(scores)}")
        if options.smoke:
            return [f"{name} {value} is not finite" for name, value in scores.items() if not math.isfinite(value)]
        return [
            f"{name} {scores[name]:.4f} is outside [{low:g}, {high:g}]"
            for name, (low, high) in bounds.items()
            if not low <= scores[name] <= high
        ]


def command(
    title: str,
    expected: Mapping[str, Bounds] | Mapping[str, Mapping[str, Bounds]] | None = None,
    levels: Sequence[str] = (),
) -> Callable[[Callable[[Options], Mapping[str, float]]], Command]:
    """Return a decorator that makes a chapter's function its command line.

    Args:
        title: one line for --help.
        expected: score → (least, largest); with `levels`, level → such a mapping.
            The exit status is 1 if one is missed.
        levels: names for --level, the usual one first.

    Returns:
        A decorator of ``run(options) → {score: value}``. The name is that of the file that `run` stands in.

    Raises:
        ValueError: `expected` has not the levels.
    """
    if levels and set(expected or ()) != set(levels):
        raise ValueError(f"expected must have the levels {list(levels)}, got {list(expected or ())}")

    def decorate(run: Callable[[Options], Mapping[str, float]]) -> Command:
        return Command(run, Path(run.__code__.co_filename).stem, title, expected or {}, tuple(levels))

    return decorate


def save(net: Module, other: Module, x: Any, path: Path) -> None:
    """Write the weights of `net`, read them into `other`, a new net of its kind, and see that both predict the same.

    Args:
        net: trained.
        other: its weights are replaced.
        x: inputs (N, …) as the nets take them; both are in evaluation mode.
        path: the file, `.safetensors`.

    Raises:
        AssertionError: a prediction differs, in whatever bit.
    """
    from .interop import load_file, load_state_dict, save_file, state_dict

    save_file(state_dict(net), path)
    load_state_dict(other, load_file(path))
    np.testing.assert_array_equal(other.eval()(x), net.eval()(x))
    names = list(state_dict(net))
    what = ", ".join(names) if len(names) <= 12 else f"{len(names)} arrays"
    print(f"saved {what}; the reloaded net predicts the same")


def print_epoch(progress: Progress) -> None:
    """Print the row of an epoch that is over: ``fit(on_progress=chapter.print_epoch)``."""
    if progress.row is not None:
        values = "  ".join(f"{name} {value:.4f}" for name, value in progress.row.items())
        print(f"epoch {progress.epoch:2}  {values}")


def show(code: str, value: object) -> None:
    """Print `code` on the left and `value`, which it gives, on the right; for chapters of many short lines."""
    for left, right in zip_longest([code], str(value).splitlines(), fillvalue=""):
        print(f"{left:<39} {right}".rstrip())
