"""The pictures of docs/scaling.md."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scaling_page import CHAPTERS, NAMES, State, floor_of_point, growth, line, series

from jaxport.bench.growth import Growth
from jaxport.bench.limits import Limits
from jaxport.viz.table import write_atomic

COLOURS = {"jax": "#1f77b4", "torch": "#d9541e"}


def draw(state: State, folder: Path) -> None:
    """Draw a picture for each axis."""
    limits = Limits.from_json(state["limits"])
    folder.mkdir(exist_ok=True)
    for axis in CHAPTERS:
        if series(state, axis):
            picture = io.BytesIO()
            figure(state, axis, limits).savefig(picture, format="png", metadata={"Software": None})
            write_atomic(folder / f"scaling_{axis}.png", picture.getvalue())


def figure(state: State, axis: str, limits: Limits) -> Any:
    """Return the times above (left, of one series) and the throughputs below (right), a column for each series."""
    from matplotlib.figure import Figure

    what, found = CHAPTERS[axis], series(state, axis)
    one = len(found) == 1
    size = (8.8, 3.9) if one else (4.2 * len(found) + 0.4, 7.2)
    result = Figure(figsize=size, dpi=110, layout="constrained")
    panels = result.subplots(*((1, 2) if one else (2, len(found))), squeeze=False).reshape(2, -1)
    for column, (name, points) in enumerate(found.items()):
        above, below = panels[0][column], panels[1][column]
        floors = {n: floor_of_point(point, limits)[0] for n, point in points.items()}
        lines(above, points, floors, lambda ms, examples: ms)
        lines(below, points, floors, lambda ms, examples: 1000 * examples / ms)
        above.set(title=name, xlabel=what.size if one else "", ylabel=f"ms for {what.timed}")
        below.set(xlabel=what.size, ylabel="examples a second")
        above.legend(fontsize=8)
    return result


def lines(axes: Any, points: Mapping[int, Any], floors: Mapping[int, float], value: Callable[..., Any]) -> None:
    """Draw the measured points, their fit and the floor on logarithmic axes."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    sizes = list(points)
    counts = [point["examples"] for point in points.values()]
    for side, colour in COLOURS.items():
        found = line(points, side)
        if not found.sizes:
            continue
        shown = [value(ms, examples) for ms, examples in zip(found.ms, found.examples, strict=True)]
        fit = growth(found)
        axes.loglog(found.sizes, shown, "o", color=colour, markersize=5, label=None if fit else NAMES[side])
        if fit is not None:
            dense = np.geomspace(sizes[0], sizes[-1], 100)
            between = np.exp(np.interp(np.log(dense), np.log(sizes), np.log(counts)))
            curve = [value(fit(n), examples) for n, examples in zip(dense, between, strict=True)]
            axes.loglog(dense, curve, "-", color=colour, linewidth=1, label=f"{NAMES[side]}: {formula(fit)}")
    floor = [value(ms, examples) for ms, examples in zip(floors.values(), counts, strict=True)]
    axes.loglog(sizes, floor, "--", color="0.45", linewidth=1, label="floor of the machine")
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes], fontsize=8)
    axes.minorticks_off()
    low, high = axes.get_ylim()
    if high < 100 * low:  # powers of ten alone could leave one label or none
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.3g}" if y < 1000 else f"{y:,.0f}"))
    axes.grid(color="0.9", linewidth=0.6)


def formula(fit: Growth) -> str:
    """Return the fit as it stands in a legend."""
    power = "n" if fit.c == 1 else f"$n^{{{fit.c:.2f}}}$"
    return f"{fit.a:.2g} + {fit.b:.2g} {power}"
