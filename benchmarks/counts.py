"""Count what `Model.fit` of each port asks of JAX, and stop with exit status 1 where that is not what the table says.

    python benchmarks/counts.py                    # every port: about two minutes
    python benchmarks/counts.py digits titanic
    python benchmarks/counts.py --but resnet unet  # these two take as long as all others
    python benchmarks/counts.py titanic --ways     # in every way to dispatch, not the engine's choice alone

Counts and not times: it may run beside other work. The numbers and their reasons are in jaxport/bench/count_limits.py.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence

import jax

from jaxport import ports
from jaxport.bench.count_fits import EPOCHS, FitCounts, count_fit, problems, step_problems
from jaxport.bench.count_limits import LIMITS
from jaxport.errors import JaxportError

COLUMNS = (
    "port",
    "way",
    "programs",
    "other compilations",
    "compiled later",
    "dispatches",
    "to device",
    "to host",
    "donated bytes used again",
)


def per_fit_and_epoch(found: FitCounts, what: str) -> str:
    """Return "a + b E": what a fit of E epochs counts."""
    counts = [getattr(found.fits[epochs], what) for epochs in EPOCHS]
    if None in counts:
        return "?"
    few, many = (count.total() if isinstance(count, Counter) else count for count in counts)
    epoch = (many - few) / (EPOCHS[1] - EPOCHS[0])
    return f"{few - EPOCHS[0] * epoch:g} + {epoch:g} E"


def row(found: FitCounts) -> list[str]:
    """Return a line of the table."""
    names = {program.name for program in found.programs} | ({"read"} & set(found.first))
    training = max(found.programs, key=lambda program: program.donated)
    later = sum(counts.compilations.total() for counts in found.fits.values())
    return [
        found.port,
        found.kind,
        " ".join(sorted(names)),
        str(sum(count for name, count in found.first.items() if name not in names)),
        str(later),
        *(per_fit_and_epoch(found, what) for what in ("dispatches", "to_device", "to_host")),
        f"{training.reused} of {training.donated} B",
    ]


def line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> int:
    """Count, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="ports; all where none is named")
    parser.add_argument("--but", nargs="+", default=[], metavar="NAME", help="ports to leave out")
    parser.add_argument("--ways", action="store_true", help="count every way to dispatch")
    options = parser.parse_args(arguments)
    left_out = {ports.get(name).name for name in options.but}
    chosen = [port for port in map(ports.get, options.names or ports.names()) if port.name not in left_out]
    start = time.perf_counter()
    print(line(COLUMNS), line(["---"] * len(COLUMNS)), sep="\n")
    wrong: list[str] = []
    for port in chosen:
        wrong += step_problems(port)
        for way in LIMITS if options.ways else (None,):
            found = count_fit(port, way)
            wrong += problems(found)
            print(line(row(found)), flush=True)
    print(*(["", *wrong] if wrong else ["", "all as in the table"]), sep="\n")
    print(f"{time.perf_counter() - start:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    # Most of the time is the compiler's, which optimises machine code that is hardly run; no count depends on it.
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        sys.exit(main(sys.argv[1:]))
    except JaxportError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
