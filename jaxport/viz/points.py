"""What a model makes of points: a curve through them, or their classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxport.errors import UsageError

from .figure import figure_class
from .history import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILION = "#0072b2", "#d55e00"  # as in plot_history
# Okabe and Ito's colours, which colour-blind readers tell apart.
COLORS = (BLUE, VERMILION, "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MANY = 1000  # points of a curve that are drawn


def plot_fit(
    x: Any, y: Any, fitted: Any, losses: Sequence[Any] = (), path: str | os.PathLike[str] | None = None
) -> Figure:
    """Draw points with the curve that a model puts through them, and beside them its losses; a notebook shows it.

    Args:
        x: abscissas, (N,) or (N, 1).
        y: ordinates, (N,) or (N, 1).
        fitted: what the model gives for x, (N,) or (N, 1).
        losses: one an update, on logarithmic axes; without any there is no second panel.
        path: also written there; ends in `.png`; the file appears when it is complete.

    Of many points 1,000 are drawn, evenly chosen; the curve goes through all.

    Raises:
        UsageError: matplotlib is not installed; x, y and fitted differ in size; path does not end in `.png` or cannot
            be written.
    """
    columns = {"x": x, "y": y, "fitted": fitted}
    flat = {name: np.asarray(column).reshape(-1) for name, column in columns.items()}
    if len({len(column) for column in flat.values()}) > 1:
        shapes = ", ".join(f"{name} {np.shape(column)}" for name, column in columns.items())
        raise UsageError(f"x, y and fitted must have one number a point, got {shapes}")
    figure = _figure((10 if len(losses) else 5, 4))
    panels = figure.subplots(1, 2 if len(losses) else 1, squeeze=False)[0]
    some = np.linspace(0, len(flat["x"]) - 1, min(len(flat["x"]), MANY)).astype(int)
    order = np.argsort(flat["x"])
    panels[0].scatter(flat["x"][some], flat["y"][some], s=8, color=BLUE, label="points")
    panels[0].plot(flat["x"][order], flat["fitted"][order], color=VERMILION, linewidth=2, label="model")
    panels[0].set(xlabel="x", ylabel="y")
    panels[0].legend(frameon=False)
    if len(losses):
        panels[1].loglog(np.arange(1, len(losses) + 1), losses, color=BLUE)
        panels[1].set(title=f"{losses[-1]:.5g} after {len(losses):,} updates", xlabel="update", ylabel="loss")
        panels[1].grid(True, which="both", color="0.92")
    return _saved(figure, path)


def plot_classes(
    x: Any, truth: Any, guess: Any, path: str | os.PathLike[str] | None = None, *, classes: Sequence[str]
) -> Figure:
    """Draw points in the plane twice, in the colours of their classes: the true ones, and what a model takes them for.

    Args:
        x: points, (N, 2).
        truth: indices into `classes`, (N,) or (N, 1), or booleans.
        guess: the same, as predicted.
        path: also written there; ends in `.png`; the file appears when it is complete.
        classes: the names, at most six.

    Points that the model gets wrong have a black edge on the right, where the title says how many are right.

    Raises:
        UsageError: matplotlib is not installed; x is not (N, 2), or the labels are not N; more than six classes; path
            does not end in `.png` or cannot be written.
    """
    x, labels = np.asarray(x), [np.asarray(part).reshape(-1).astype(int) for part in (truth, guess)]
    if x.ndim != 2 or x.shape[1] != 2 or any(len(part) != len(x) for part in labels):
        raise UsageError(f"x must be (N, 2) with N labels, got {x.shape} with {len(labels[0])} and {len(labels[1])}")
    if len(classes) > len(COLORS):
        raise UsageError(f"classes has {len(classes)} names; at most {len(COLORS)} have a colour")
    figure = _figure((10, 5))
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    wrong = labels[0] != labels[1]
    _classes(left, x, labels[0], classes)
    _classes(right, x, labels[1], classes)
    right.scatter(*x[wrong].T, s=14, facecolors="none", edgecolors="black", linewidths=0.6, label="wrong")
    left.set_title("true")
    right.set_title(f"predicted, {1 - wrong.mean():.4f} right")
    for axes in (left, right):
        axes.set_aspect("equal")
        axes.legend(frameon=False)
    return _saved(figure, path)


def _classes(axes: Axes, x: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> None:
    for number, (name, color) in enumerate(zip(classes, COLORS, strict=False)):
        axes.scatter(*x[labels == number].T, s=8, color=color, label=name)


def _figure(size: tuple[float, float]) -> Figure:
    try:
        return figure_class()(figsize=size, dpi=120, layout="constrained")
    except ImportError as error:
        raise UsageError("pictures need matplotlib: pip install 'jaxport[viz]'") from error


def _saved(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    if path is not None:
        save_figure(figure, path)
    return figure
