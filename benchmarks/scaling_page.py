"""docs/scaling.md, from what benchmarks/scaling.py stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np
from scaling_points import FULL

from jaxport import ports
from jaxport.bench.floor import Cost, floor_of
from jaxport.bench.growth import Growth, fit_growth
from jaxport.bench.limits import Limits

State = Mapping[str, Any]
NAMES = {"jax": "jaxport", "torch": "best PyTorch"}


class Axis(NamedTuple):
    """What a chapter of the page says: title, the size's name, what is timed, and the text above its picture."""

    title: str
    size: str
    timed: str
    text: str


CHAPTERS = {
    "batch": Axis(
        "Batch size",
        "examples in a batch",
        "a training step",
        "The recipe's network and optimiser with other batch sizes.",
    ),
    "depth": Axis(
        "Depth",
        "linear layers",
        "a training step",
        "An MLP on MNIST, 784-128-…-128-10 with ReLU, Adam, batches of 64.",
    ),
    "data": Axis(
        "Data",
        "training examples",
        "an epoch",
        "Whole epochs over examples in memory, shuffled, at the recipe's batch size. jaxport: the engine's `fit`, with"
        " its metrics; PyTorch: one permutation an epoch and one gather a batch from tensors of floats, without"
        " DataLoader: faster than the tutorials' loops.",
    ),
    "devices": Axis(
        "Devices",
        "emulated devices",
        "an epoch",
        "Data-parallel training by the engine's own sharding over *emulated* devices: one CPU taken for 1, 2, 4 or 8,"
        " which all share its few cores (above). One device uses every core already, so there is nothing to gain here;"
        " what grows is the cost of partitioning (smaller pieces, sums over devices, calls that wait for each other)."
        " The batch of 256 stays as it is. It says nothing about speed-up on real devices.",
    ),
}


class Line(NamedTuple):
    """One framework's points of a series: sizes, median milliseconds, examples, and how it ran."""

    sizes: list[int]
    ms: list[float]
    examples: list[int]
    variants: list[str | None]


def series(state: State, axis: str) -> dict[str, dict[int, Any]]:
    """Return an axis' series → size → point, in the order of the table and of their sizes."""
    found: dict[str, dict[int, Any]] = {name: {} for name in FULL.get(axis, ports.names())}
    for key, point in state["points"].items():
        of, name, n = key.split("/")
        if of == axis:
            found.setdefault(name, {})[int(n)] = point
    return {name: dict(sorted(points.items())) for name, points in found.items() if points}


def line(points: Mapping[int, Any], side: str) -> Line:
    """Return a framework's points that may be compared."""
    kept = [(n, p) for n, p in points.items() if side in p["sides"] and p["reason"] is None]
    ms = [median(p["sides"][side]["ms"]) for _, p in kept]
    return Line(
        [n for n, _ in kept], ms, [p["examples"] for _, p in kept], [p["sides"][side]["variant"] for _, p in kept]
    )


def growth(found: Line) -> Growth | None:
    """Return the fit of a line, None for less than three points."""
    return fit_growth(found.sizes, found.ms) if len(found.sizes) > 2 else None


def floor_of_point(point: Mapping[str, Any], limits: Limits) -> tuple[float, str]:
    """Return the least milliseconds of all a point's steps, and what bounds them."""
    floor = floor_of(Cost(*point["cost"]), limits)
    return point["steps"] * floor.ms, floor.bound


# ----------------------------------------------------------------------------------------------------------- the text


def page(state: State) -> str:
    """Return docs/scaling.md."""
    limits = Limits.from_json(state["limits"])
    parts = [introduction(state), limits_table(limits, state["limits"].get("load"))]
    parts += [chapter(state, axis, limits) for axis in CHAPTERS if series(state, axis)]
    if series(state, "ports"):
        parts.append(ports_table(state, limits))
    return "\n\n".join(part.strip() for part in parts) + "\n"


BUSY = "\n**The machine was busy with other work: these figures show what is measured, and are no result.**"
LOAD = "The processes that measure are part of it, up to the number of cores; more is other work, and slows both sides."


def introduction(state: State) -> str:
    m, loads = state["machine"], [p["load"] for p in state["points"].values() if p["load"] is not None]
    versions = ", ".join(f"{name} {m[name]}" for name in ("jax", "torch", "numpy") if name in m)
    load = f" Load average while measuring: {min(loads):.1f} to {max(loads):.1f}.\n{LOAD}" if loads else ""
    load += BUSY if loads and max(loads) > 2 * int(m["cores"]) else ""
    how = QUICK if state["quick"] else COMPILED
    return f"""# Scaling

How the time of training grows with batch size, depth, data and devices, in JAX and in PyTorch at its best, beside
what this machine can do at all. Written by `python benchmarks/scaling.py`; do not edit.

{m["processor"]}, {m["cores"]} cores; {versions}, Python {m["python"]}.{load}

{fill(READING.format(how), 120)}"""


COMPILED = "channels last, and torch.compile of the fastest"
QUICK = "and channels last; torch.compile was not tried (`--quick`)"
READING = (
    "Each figure is the median of the rounds, both frameworks in turns, compilation apart. PyTorch is the fastest"
    " of eager with its plain, foreach and fused optimisers, one thread and all, {}; a point is shown only where"
    " both computed the same losses. *Fit*: t = a + b·nᶜ by least squares of the relative errors; a is what a call"
    " costs whatever its size, b·nᶜ what grows, c is 1 unless another exponent explains the times clearly better,"
    " and *off by* is the root mean square of the relative errors. *From* is the size at which the growing part"
    " overtakes the fixed one (*always*: at every size; *never*: nothing grows). *Floor*: the greater of"
    " operations ÷ the fastest matrix product and bytes ÷ bandwidth (below)."
)


def table(header: list[str], rows: list[list[str]], left: int = 1) -> str:
    """Return a Markdown table whose first `left` columns are text."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in [header, rule, *rows]]
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


def limits_table(limits: Limits, load: float | None) -> str:
    products = [[f"{dtype} product", f"{rate.size} × {rate.size}", f"{rate.value / 1e9:.0f} GFLOP/s", rate.by]
                for dtype, rate in limits.flops.items()]  # fmt: skip
    memory = [["memory", amount(rate.size), f"{rate.value / 1e9:.0f} GB/s", rate.by] for rate in limits.bandwidth]
    busy = "" if load is None else f" (load average {load:.1f})"
    return f"""## The limits of this machine

{fill(REACHED.format(busy), 120)}

{table(["what", "size", "rate", "by"], products + memory)}

The floor takes the bandwidth of the size that a step's weights, optimiser state and batch have. Its operations are
XLA's count of the step (padding counts nothing, a scan's body as often as it runs), its bytes what no program saves:
weights, buffers and optimiser state read and written once, the batch read once. Activations count no bytes, so large
convolutional steps can be fast and still far above it; algorithms that multiply less (Winograd's) could go below."""


REACHED = (
    "The best that JAX, PyTorch and NumPy reached{}: products of square matrices, and b ← b/2 + c over two arrays of"
    " the given size together (small ones stay in caches, the largest is main memory)."
)


def number(value: float) -> str:
    """Return three digits, without an exponent where the number is large."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def amount(size: float) -> str:
    """Return bytes in a unit that reads well."""
    power = min(3, int(np.log2(max(size, 1)) // 10))
    return f"{size / 1024**power:.3g} {('B', 'KiB', 'MiB', 'GiB')[power]}"


def chapter(state: State, axis: str, limits: Limits) -> str:
    what = CHAPTERS[axis]
    rows = [row for name, points in series(state, axis).items() for row in point_rows(name, points, limits)]
    fits = [row for name, points in series(state, axis).items() for row in fit_rows(name, points)]
    torch = any(line(points, "torch").sizes for points in series(state, axis).values())
    header = ["network", what.size, *HEADER] if torch else ["network", what.size, HEADER[0], *HEADER[3:5]]
    rows = rows if torch else [[*row[:3], *row[5:7]] for row in rows]
    fitted = table(["network", "framework", "a, ms", "b, µs", "c", "off by", "from"], fits, 2) if fits else ""
    picture = f"![{what.title}](images/scaling_{axis}.png)"
    return "\n\n".join(
        part for part in (f"## {what.title}", fill(what.text, 120), picture, fitted, table(header, rows)) if part
    )


HEADER = ["jaxport, ms", "PyTorch, ms", "ratio", "floor, ms", "jaxport ÷ floor", "PyTorch ran"]


def point_rows(name: str, points: Mapping[int, Any], limits: Limits) -> Iterator[list[str]]:
    """Yield a line for each size; one that was refused has its reason."""
    for n, point in points.items():
        if point["reason"] is not None:
            yield [name, f"{n:,}", "", "", "", "", "", point["reason"]]
            continue
        jax, torch = (point["sides"].get(side) for side in ("jax", "torch"))
        ours, (floor, bound) = median(jax["ms"]), floor_of_point(point, limits)
        theirs = median(torch["ms"]) if torch else None
        compared = [number(theirs), f"{theirs / ours:.2f}"] if theirs else ["", ""]
        variant = torch["variant"] if torch else ""
        yield [name, f"{n:,}", number(ours), *compared, f"{floor:.2g} ({bound})", number(ours / floor), variant]


def overtakes(fit: Growth) -> str:
    """Return the size, of 1 and more, at which the growing part overtakes the fixed one."""
    if fit.half is None or fit.a <= 0 or fit.half < 1:
        return "always" if fit.b > 0 else "never"
    return number(fit.half)


def fit_rows(name: str, points: Mapping[int, Any]) -> Iterator[list[str]]:
    """Yield a line for each framework's fit."""
    for side, shown in NAMES.items():
        fit = growth(line(points, side))
        if fit is not None:
            half = overtakes(fit)
            yield [
                name,
                shown,
                number(fit.a),
                number(1000 * fit.b),
                f"{fit.c:.2f}",
                f"{100 * fit.residual:.0f} %",
                half,
            ]


def ports_table(state: State, limits: Limits) -> str:
    rows = []
    for name, points in series(state, "ports").items():
        for point in points.values():
            floor, bound = floor_of_point(point, limits)
            flops, size = point["cost"]
            ours = median(point["sides"]["jax"]["ms"]) if point["sides"] else None
            timed = [number(ours), number(ours / floor)] if ours else ["", ""]
            cells = [number(flops / 1e6), f"{size / 1e6:.3g}", f"{floor:.2g} ({bound})", *timed]
            rows.append([f"`{name}`", f"{point['batch']:,}", *cells])
    header = ["port", "batch", "MFLOP", "MB", "floor, ms", "jaxport, ms", "jaxport ÷ floor"]
    return f"""## The floor of each port

One training step at the recipe's batch size. A step of a small network is a chain of operations that wait for each
other, some tenths of a microsecond each, whatever the machine's rates: there the distance to the floor is latency.
Networks whose weights take long to draw are not timed here; `jaxport bench` does it.

{table(header, rows)}"""
