"""The course of a training run as a picture."""

import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxport.errors import UsageError

from .figure import figure_class
from .table import check_lengths, write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIN, VALIDATION = "#0072b2", "#d55e00"  # blue and vermilion, which colour-blind readers tell apart (Okabe and Ito)
# Columns that say how an epoch was run, and not how good the model is.
ABOUT_THE_RUN = ("epoch", "lr", "seconds")
MARKED = 60  # epochs up to which each is marked with a dot; more of them run into one another
LOG_SPAN = 100.0  # largest over smallest loss from which its axis is logarithmic


def plot_history(
    columns: Mapping[str, Sequence[float | None]], path: str | os.PathLike[str], title: str | None = None
) -> None:
    """Draw each quantity of a training history against the epoch, training dashed and validation solid, into a PNG.

    Args:
        columns: lists of one length, one entry per epoch: "epoch" and any of "loss", metrics, and the same names with
            "val_" in front. Each quantity has a panel; the loss comes first, on a logarithmic axis if its values
            are positive and span more than two decades. None and values that are not finite are left out, and so are
            "lr" and "seconds", which say how an epoch was run.
        path: ends in `.png`; the file appears when it is complete.
        title: stands above the panels.

    Raises:
        UsageError: matplotlib is not installed; "epoch" or every other column is missing; the columns are empty or
            differ in length; path does not end in `.png` or cannot be written.

    Source: https://matplotlib.org/stable/api/figure_api.html
    """
    _check_path(Path(path))
    save_figure(draw_history(columns, title), path)


def draw_history(columns: Mapping[str, Sequence[float | None]], title: str | None = None) -> "Figure":
    """Return the figure that `plot_history` writes.

    Raises:
        UsageError: matplotlib is not installed; the columns are those that `plot_history` refuses.
    """
    _check(columns)
    try:
        figure_type = figure_class()
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise UsageError("plots need matplotlib: pip install 'jaxport[viz]'") from error
    series = {name: np.asarray(column, dtype=float) for name, column in columns.items()}
    quantities = _quantities(columns)
    rows, across = _grid(len(quantities))
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)  # inches around each panel
    figure = figure_type(figsize=(4.8 * across, 3.6 * rows), dpi=150, layout=layout)
    if title:
        figure.suptitle(title, fontsize=13, parse_math=False)
    for i, name in enumerate(quantities):
        _panel(figure.add_subplot(rows, across, i + 1), name, series)
    return figure


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG; the file appears when it is complete.

    Raises:
        UsageError: path does not end in `.png` or cannot be written.
    """
    _check_path(Path(path))
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_atomic(path, picture.getvalue())


def _check_path(path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise UsageError(f"path={str(path)!r} must end in .png")


def _check(columns: Mapping[str, Sequence[Any]]) -> None:
    if "epoch" not in columns or not _quantities(columns):
        raise UsageError(f"columns has {list(columns)}; 'epoch' and at least one quantity, such as 'loss', are needed")
    check_lengths(columns)
    if len(columns["epoch"]) == 0:
        raise UsageError("columns is empty: train for at least one epoch before plotting")


def _quantities(columns: Mapping[str, Any]) -> list[str]:
    """List what the columns measure, each once ("val_loss" is a loss), the loss first."""
    names = dict.fromkeys(name.removeprefix("val_") for name in columns if name not in ABOUT_THE_RUN)
    return sorted(names, key=lambda name: name != "loss")


def _grid(panels: int) -> tuple[int, int]:
    """Rows and columns: up to three panels side by side, more in a near-square."""
    across = panels if panels <= 3 else min(3, math.ceil(math.sqrt(panels)))
    return math.ceil(panels / across), across


def _panel(axes: "Axes", name: str, series: Mapping[str, np.ndarray]) -> None:
    from matplotlib.ticker import MaxNLocator

    epoch = series["epoch"]
    _line(axes, epoch, series.get(name), "train", TRAIN, "--")
    _line(axes, epoch, series.get(f"val_{name}"), "validation", VALIDATION, "-")
    axes.set_xlabel("epoch")
    axes.set_ylabel(name, parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    margin = 0.03 * (epoch.max() - epoch.min()) or 0.5  # one epoch alone stands in the middle
    axes.set_xlim(epoch.min() - margin, epoch.max() + margin)  # all epochs, also those whose values are not finite
    if name == "loss" and _spans_decades(series.get("loss"), series.get("val_loss")):
        axes.set_yscale("log")
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)  # above the data


def _line(axes: "Axes", epoch: np.ndarray, values: np.ndarray | None, label: str, color: str, style: str) -> None:
    if values is None:
        return
    known = np.isfinite(values)
    many = len(epoch) > MARKED
    marker = "" if many else "o"
    axes.plot(
        epoch[known], values[known], style, color=color, label=label, marker=marker, markersize=4,
        linewidth=0.8 if many else 1.6, alpha=0.8 if many else 1.0,
    )  # fmt: skip


def _spans_decades(*columns: np.ndarray | None) -> bool:
    values = np.concatenate([column[np.isfinite(column)] for column in columns if column is not None])
    return values.size > 0 and values.min() > 0 and values.max() / values.min() > LOG_SPAN
