"""A picture of a benchmark: how many times as fast as the best PyTorch, on a logarithmic axis, losses in red."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxport.errors import UsageError

from .rows import Row
from .tasks import TASKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers tell apart; a form each besides.
WIN, LOSS, TORCH, KERAS = "#0072b2", "#d55e00", "#9a9a9a", "#333333"
_NAMES = {
    "step": "training step",
    "epoch": "whole epoch",
    "infer-1": "inference, batch 1",
    "infer-256": "inference, batch 256",
}
# Inches: of a port's line, of a panel, of the names beside, of what stands above and below a panel, and all of them.
_LINE, _PANEL, _SIDE, _TITLE, _EDGES = 0.3, 3.6, 1.5, 0.9, 0.9
_ACROSS = 4


def check(path: str | Path) -> None:
    """Say before anything is measured whether a picture can be drawn.

    Raises:
        UsageError: the name does not end in `.png`, or matplotlib is not installed.
    """
    from importlib.util import find_spec

    if Path(path).suffix.lower() != ".png":
        raise UsageError(f"path={str(path)!r} must end in .png")
    if find_spec("matplotlib") is None:
        raise UsageError("plots need matplotlib: pip install 'jaxport[viz]'")


def save(rows: Sequence[Row], path: str | Path, title: str | None = None) -> None:
    """Draw rows into a PNG; the file appears when it is complete.

    Raises:
        UsageError: it cannot be drawn or written; no row has a ratio.
    """
    from jaxport.viz.history import save_figure

    check(path)
    save_figure(draw(rows, title), path)


def draw(rows: Sequence[Row], title: str | None = None) -> Figure:
    """Return a figure with a panel for each task and precision, and a line for each port, largest loss above.

    Raises:
        UsageError: matplotlib is not installed; no row has a ratio.
    """
    if not any(row.ratio_to_best_torch is not None for row in rows):
        raise UsageError("there is nothing to draw: no row has a ratio to PyTorch")
    try:
        from jaxport.viz.figure import figure_class

        figure_type = figure_class()
    except ImportError as error:
        raise UsageError("plots need matplotlib: pip install 'jaxport[viz]'") from error
    panels, ports = _panels(rows), _ports(rows)
    across = min(_ACROSS, len({row.task for row in rows}))  # a line of panels for each precision
    down = math.ceil(len(panels) / across)
    size = max(6.5, _SIDE + _PANEL * across), _EDGES + down * (_TITLE + _LINE * max(3, len(ports)))
    figure = figure_type(figsize=size, dpi=150, layout="constrained")
    figure.suptitle(title or "times as fast as PyTorch at its best", fontsize=12, parse_math=False)
    axes: Any = figure.subplots(down, across, sharey=True, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (name, part) in zip(axes.flat, panels.items(), strict=False):
        _panel(axis, name, part, ports)
        _limits(axis, part)
    _legend(figure, rows)
    return figure


def _panels(rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    """Return the rows by task and precision, in their usual order."""
    order = sorted({(row.dtype, row.task) for row in rows}, key=lambda key: (key[0] != "float32", TASKS.index(key[1])))
    several = len({dtype for dtype, _ in order}) > 1 or order[0][0] != "float32"
    return {
        _NAMES[task] + (f"\n{dtype}" if several else ""): [r for r in rows if (r.dtype, r.task) == (dtype, task)]
        for dtype, task in order
    }


def _ports(rows: Sequence[Row]) -> list[str]:
    """Return the ports, the one with jaxport's worst ratio first; those without one last."""
    worst: dict[str, float] = {}
    for row in rows:
        ratio = row.ratio_to_best_torch if row.framework == "jax" else None
        worst[row.port] = min(worst.get(row.port, float("inf")), float("inf") if ratio is None else ratio)
    return sorted(worst, key=lambda port: worst[port])


def _panel(axes: Axes, name: str, rows: Sequence[Row], ports: Sequence[str]) -> None:
    axes.set_xscale("log")
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_yticks(range(len(ports)), ports, fontsize=9)
    axes.set_ylim(len(ports) - 0.4, -0.6)
    for row in rows:
        _mark(axes, row, ports.index(row.port))
    ratios = [row.ratio_to_best_torch for row in rows if row.framework == "jax" and row.ratio_to_best_torch is not None]
    behind = sum(ratio < 1 for ratio in ratios)
    axes.set_title(f"{name}\n{len(ratios) - behind} ahead, {behind} behind", fontsize=10, parse_math=False)
    axes.grid(axis="x", which="major", color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _mark(axes: Axes, row: Row, line: int) -> None:
    """Draw PyTorch's own as strokes, Keras as a square, ours as a bar from 1 to a mark with its number."""
    ratio = row.ratio_to_best_torch
    if row.framework == "jax":
        _bar(axes, ratio, line)
    elif ratio is not None and row.framework == "keras":
        axes.plot([ratio], [line + 0.25], "s", color=KERAS, markersize=3.5, fillstyle="none", zorder=3)
    elif ratio is not None:
        axes.plot([ratio], [line], marker="|", color=TORCH, markersize=7, linestyle="none", zorder=2)


def _bar(axes: Axes, ratio: float | None, line: int) -> None:
    """Draw a bar; the number stands right of it and of 1, where PyTorch's strokes never are."""
    colour = "#555555" if ratio is None else WIN if ratio >= 1 else LOSS
    text = "no ratio" if ratio is None else f"{ratio:.3g}" if ratio < 999.5 else f"{ratio:.0f}"
    if ratio is not None:
        axes.plot([1, ratio], [line, line], color=colour, linewidth=3, alpha=0.55, zorder=1, solid_capstyle="butt")
        axes.plot([ratio], [line], "o", color=colour, markersize=5.5, zorder=3)
    axes.annotate(
        text, (max(1.0, ratio or 1.0), line), (7, 0), textcoords="offset points", fontsize=8, va="center", color=colour
    )


def _limits(axes: Axes, rows: Sequence[Row]) -> None:
    """Leave room for the numbers, and at least a factor of 4 around 1."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ratios = [row.ratio_to_best_torch for row in rows if row.ratio_to_best_torch]
    low, high = min(0.5, *ratios, 1.0) / 1.2, max(2.0, *ratios, 1.0)
    axes.set_xlim(low, high * (high / low) ** 0.25)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 50 else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvspan(low, 1.0, color="#fbeee6", zorder=0)


def _legend(figure: Figure, rows: Sequence[Row]) -> None:
    from matplotlib.lines import Line2D

    def entry(label: str, **style: Any) -> Line2D:
        return Line2D([], [], linestyle="none", label=label, **style)

    entries = [
        entry("jaxport, ahead", marker="o", color=WIN),
        entry("jaxport, behind", marker="o", color=LOSS),
        entry("PyTorch's own ways (the best is 1)", marker="|", color=TORCH, markersize=8),
    ]
    if any(row.framework == "keras" and row.ratio_to_best_torch is not None for row in rows):
        entries.insert(2, entry("Keras 3 on JAX", marker="s", color=KERAS, fillstyle="none", markersize=4))
    figure.legend(
        handles=entries,
        loc="outside lower center",
        ncols=len(entries) if figure.get_figwidth() > 8 else 2,
        fontsize=8,
        frameon=False,
    )
