"""Benchmark the ports afresh, and put the table between the markers of Markdown files.

    python benchmarks/run.py                                  # print it
    python benchmarks/run.py --write README.md docs/benchmarks.md
    python benchmarks/run.py digits mnist_cnn --rounds 11

Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxport import bench
from jaxport.errors import JaxportError, UsageError

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions(rows: Sequence[bench.Row]) -> str:
    """Return every package's version that the rows name, and Python's."""
    found = {name: version for row in rows for name, version in row.versions.items()}
    return ", ".join(f"{name} {version}" for name, version in {**found, "Python": platform.python_version()}.items())


def load() -> str:
    """Return what else was running, where the system tells it: a busy machine measures its other work too."""
    return f", load average {os.getloadavg()[0]:.1f} before the run" if hasattr(os, "getloadavg") else ""


def section(rows: Sequence[bench.Row], command: str, busy: str = "") -> str:
    """Return the table with what one must know to read and to repeat it."""
    rounds = max((row.rounds for row in rows), default=0)
    return (
        f"{bench.to_markdown(rows)}\n"
        f"Milliseconds per training step (forward, loss, backward, optimiser), median of {rounds} rounds in turns, "
        "data in memory, same weights, batches and dropout masks; a ratio above 1 is faster than the best PyTorch, "
        "and stands only where the losses of the timed steps are PyTorch's up to PyTorch's own rounding.\n\n"
        f"`{command}` on {processor()}, {os.cpu_count()} cores, {platform.system()}{busy}; {versions(rows)}.\n"
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


def main(arguments: Sequence[str]) -> None:
    """Run, print, and write where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="ports; all where none is named")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", type=Path, nargs="+", default=[], help="Markdown files that have the markers")
    options = parser.parse_args(arguments)
    for path in options.write:  # a missing marker is better known before the run than after it
        replace_section(path.read_text(), "", path)
    busy = load()
    rows = bench.run(
        options.names,
        rounds=options.rounds,
        on_progress=lambda p: print(f"[{p.done + 1}/{p.total}] {p.text}", file=sys.stderr),
    )
    chosen = [*options.names, *(["--rounds", str(options.rounds)] if options.rounds != 7 else [])]
    text = section(rows, shlex.join(["python", "benchmarks/run.py", *chosen]), busy)
    print(text)
    for path in options.write:
        path.write_text(replace_section(path.read_text(), text, path))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (JaxportError, OSError) as error:
        sys.exit(f"error: {error}")
