"""Benchmark the ports, put the table between the markers of Markdown files, and write docs/benchmarks.md.

    python benchmarks/run.py                                          # measure training steps, print the table
    python benchmarks/run.py digits mnist_cnn --rounds 11 --write README.md
    jaxport bench --task all --out docs/benchmarks.json               # measure all of it, and keep it
    python benchmarks/run.py --page docs/benchmarks.json              # docs/benchmarks.md and its picture from that
    python benchmarks/run.py digits mnist_cnn --from docs/benchmarks.json --write README.md

Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jaxport import bench
from jaxport.bench import page, picture, store
from jaxport.errors import JaxportError, UsageError

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
# What the short table leaves to docs/benchmarks.md.
LONG = ("examples/s", "first epoch s", "second start s", "peak MB")


def section(result: store.Result) -> str:
    """Return the table of training steps with what one must know to read and to repeat it."""
    rows = [row for row in result.rows if (row.task, row.dtype) == ("step", "float32")]
    rounds = max((row.rounds for row in rows), default=0)
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    return (
        f"{bench.to_markdown(rows, LONG)}\n"
        f"Milliseconds per training step (forward, loss, backward, optimiser), median of {rounds} rounds in turns, "
        "data in memory, same weights, batches and dropout masks; a ratio above 1 is faster than the best PyTorch, "
        "and stands only where the losses of the timed steps are PyTorch's up to PyTorch's own rounding.\n\n"
        f"`{result.command}` on {result.machine.text()}; {versions}.\n"
    )


def replace_section(text: str, new: str, path: Path) -> str:
    """Return `text` with `new` between the markers.

    Raises:
        UsageError: the markers are not there, once each and in their order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after or END in after:
        raise UsageError(f"{path} must have {BEGIN} and {END} once each, in this order")
    return f"{before}{BEGIN}\n{new}{END}{after}"


def write_page(source: Path, target: Path) -> list[Path]:
    """Write the page of a stored result, and its picture beside it in images/; return both paths."""
    result = store.read(source)
    drawing = target.parent / "images" / f"{target.stem}.png"
    drawing.parent.mkdir(exist_ok=True)
    picture.save(result.rows, drawing)
    again = shlex.join(["python", "benchmarks/run.py", "--page", _from_root(source)])
    target.write_text(page.page(result, f"images/{drawing.name}", again))
    return [target, drawing]


def _from_root(path: Path) -> str:
    """Return the path as one gives it in the repository's folder."""
    whole = path.resolve()
    return str(whole.relative_to(ROOT) if whole.is_relative_to(ROOT) else path)


def measure(names: Sequence[str], rounds: int) -> store.Result:
    """Time training steps in float32."""
    chosen = [*names, *(["--rounds", str(rounds)] if rounds != 7 else [])]
    result = store.begin(shlex.join(["python", "benchmarks/run.py", *chosen]), {"rounds": rounds})
    told = lambda p: print(f"[{p.done + 1}/{p.total}] {p.text}", file=sys.stderr)  # noqa: E731
    return result.with_rows(bench.run(names, rounds=rounds, on_progress=told))


def stored(source: Path, names: Sequence[str]) -> store.Result:
    """Return a stored result, of the ports that are named; of all, where none is."""
    result = store.read(source)
    missing = [name for name in names if name not in {row.port for row in result.rows}]
    if missing:
        raise UsageError(f"{source} has no {missing[0]}")
    return replace(result, rows=tuple(row for row in result.rows if not names or row.port in names))


def main(arguments: Sequence[str]) -> None:
    """Run or read, print, and write where asked."""
    summary, _, usage = (__doc__ or "").partition("\n")
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=summary, epilog=usage, formatter_class=raw)
    parser.add_argument("names", nargs="*", help="ports; all where none is named")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", type=Path, nargs="+", default=[], help="Markdown files that have the markers")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE.json", help="a kept result; measure nothing")
    parser.add_argument("--page", type=Path, metavar="FILE.json", help="write docs/benchmarks.md from a kept result")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "benchmarks.md", help="another page to write")
    options = parser.parse_args(arguments)
    if options.page:
        print(*write_page(options.page, options.to), sep="\n")
        return
    for path in options.write:  # a missing marker is better known before the run than after it
        replace_section(path.read_text(), "", path)
    result = stored(options.source, options.names) if options.source else measure(options.names, options.rounds)
    text = section(result)
    print(text)
    for path in options.write:
        path.write_text(replace_section(path.read_text(), text, path))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (JaxportError, OSError) as error:
        sys.exit(f"error: {error}")
