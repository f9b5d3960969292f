"""predict: a trained port on new inputs, through one compiled function of a fixed shape."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from . import interop
from .data import covid
from .errors import UsageError, WeightsError
from .nn import Module
from .port import Port
from .ports.covid19 import forecast
from .predict_inputs import Inputs

BATCH = 256
"""Examples in a call at most; a last short batch is filled up with zeros."""


@dataclass(frozen=True)
class Prediction:
    """What a model says about one input.

    Attributes:
        input: the file, row or text.
        classes: (name, probability), the most probable first; empty for a regression.
        output: what the model returned.
    """

    input: str
    classes: tuple[tuple[str, float], ...]
    output: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        if not self.classes:
            return {"input": self.input, "output": list(self.output)}
        best, probability = self.classes[0]
        return {"input": self.input, "class": best, "probability": probability, "classes": dict(self.classes)}


def load_port(port: Port, weights: str | Path) -> Module:
    """Return a port's model in evaluation mode with the weights of a file (.safetensors, .pt, .pth or .pkl).

    Raises:
        WeightsError: the file is missing or damaged, or holds another model's weights: all offending keys are named.
    """
    module = port.build(0)
    arrays = interop.load_file(weights)
    try:
        interop.load_state_dict(module, arrays)
    except WeightsError as error:
        raise WeightsError(f"{weights} is not of {port.name}: {error}") from None
    return module.eval()


def predict(port: Port, module: Module, inputs: Inputs, top: int | None = None) -> list[Prediction]:
    """Return the model's word on every input, in their order.

    The probabilities of an input sum to 1: the softmax of logits (cross-entropy), p and 1 - p of a single output.

    Args:
        port: what the model is; its classes name the outputs.
        module: with trained weights; used in evaluation mode.
        inputs: of `predict_inputs.read_inputs`.
        top: how many classes of each are kept, None for all.

    Raises:
        WeightsError: an output is not a finite number.
    """
    outputs = _outputs(port, module, inputs)
    bad = ~np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1)
    if bad.any():
        raise WeightsError(f"the weights give no finite number for {inputs.names[int(bad.argmax())]}; train them again")
    shares = _probabilities(port, outputs) if port.classes else np.zeros((len(outputs), 0))
    return [
        Prediction(name, _best(port.classes, row, top), tuple(np.ravel(output).tolist()))
        for name, row, output in zip(inputs.names, shares, outputs, strict=True)
    ]


def _outputs(port: Port, module: Module, inputs: Inputs) -> np.ndarray:
    graph, state = nnx.split(module.eval())

    @jax.jit
    def call(state: nnx.State, x: jax.Array) -> jax.Array:
        return nnx.merge(graph, state, copy=True)(port.prepare(x))

    count = len(inputs.names)
    size, parts = min(BATCH, count), []
    for first in range(0, count, size):
        x = inputs.load(first, min(first + size, count))
        padding = [(0, size - len(x)), *((0, 0),) * (x.ndim - 1)]
        parts.append(np.asarray(call(state, jnp.asarray(np.pad(x, padding))))[: len(x)])
    return np.concatenate(parts)


def _probabilities(port: Port, outputs: np.ndarray) -> np.ndarray:
    """Return (N, classes) in float64: exact enough that every row sums to 1."""
    wide = outputs.astype(np.float64)
    if outputs.shape[1] == 1:
        return np.column_stack((1 - wide, wide))
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _best(classes: Sequence[str], shares: np.ndarray, top: int | None) -> tuple[tuple[str, float], ...]:
    order = map(int, np.argsort(-shares, kind="stable")[:top])
    return tuple((classes[i], float(shares[i])) for i in order)


def table(port: Port, rows: Sequence[Prediction]) -> Any:
    """Return the predictions as a rich table, one line for each class that was kept."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table("input", *(("class", "probability") if port.classes else ("output",)))
    shown.columns[-1].justify = "right"
    for row in rows:
        for i, (name, probability) in enumerate(row.classes):
            shown.add_row("" if i else escape(row.input), escape(name), f"{probability:.4f}")
        if not row.classes:
            shown.add_row(escape(row.input), "  ".join(f"{value:.6g}" for value in row.output))
    return shown


# -------------------------------------------------------------------------------------------------------- forecast


@dataclass(frozen=True, eq=False)
class Forecast:
    """How a series goes on.

    Attributes:
        days: the known days, then the predicted ones.
        values: float32 (D, 3): new confirmed cases, recoveries and deaths of each.
        known: how many of them are known.
    """

    days: tuple[date, ...]
    values: np.ndarray
    known: int

    def first_zero(self, column: str = "confirmed_num") -> int | None:
        """Return the number of the first predicted day on which `column` is 0, None if there is none.

        Days are counted from 0 and from the first known one, as in the tutorial: day 45 is 10 March 2020.
        """
        zeros = np.flatnonzero(self.values[:, covid.COLUMNS.index(column)] == 0)
        zeros = zeros[zeros >= self.known]
        return int(zeros[0]) if len(zeros) else None

    def rows(self) -> list[dict[str, Any]]:
        """Return the predicted days for JSON."""
        return [
            {"date": day.isoformat(), **dict(zip(covid.COLUMNS, map(float, row), strict=True))}
            for day, row in zip(self.days[self.known :], self.values[self.known :], strict=True)
        ]

    def text(self) -> str:
        """Return what the tutorial looks for: the first day without new cases, recoveries and deaths."""
        lines = [f"{len(self.days) - self.known} days after {self.days[self.known - 1]}"]
        for column in covid.COLUMNS:
            place = self.first_zero(column)
            when = "never 0" if place is None else f"first 0 on {self.days[place]}, day {place}"
            lines.append(f"  {column:<14}{when}")
        return "\n".join(lines)

    def save(self, folder: Path) -> list[str]:
        """Write forecast.csv and forecast.png into `folder`, and return the names of what was written."""
        from .viz.table import write_csv

        columns = {"date": [day.isoformat() for day in self.days]}
        columns |= {name: self.values[:, i].tolist() for i, name in enumerate(covid.COLUMNS)}
        write_csv(columns, folder / "forecast.csv")
        self.draw(folder / "forecast.png")
        return ["forecast.csv", "forecast.png"]

    def draw(self, path: Path) -> None:
        """Draw the three curves, known and predicted."""
        from matplotlib.dates import date2num
        from matplotlib.figure import Figure

        from .viz.table import write_atomic

        figure = Figure(figsize=(9, 4.5), dpi=120, layout="constrained")
        axes = figure.subplots()
        for i, name in enumerate(covid.COLUMNS):
            axes.plot(np.array(self.days, "datetime64[D]"), self.values[:, i], label=name)
        axes.axvline(date2num(self.days[self.known - 1]), color="0.6", linestyle="--", label="last known day")
        axes.set(title="new cases a day", ylabel="people")
        axes.legend(frameon=False)
        content = io.BytesIO()
        figure.savefig(content)
        write_atomic(path, content.getvalue())


def roll_forward(port: Port, module: Module, folder: str | None, days: int) -> Forecast:
    """Let a `covid19` model go on from the data's last day.

    Raises:
        DataError: the data is not there, or damaged.
        UsageError: the port is another one.
    """
    if port.dataset != "covid":
        raise UsageError(f"only covid19 forecasts; {port.name} takes INPUT")
    known, series = covid.differences(port.load(folder).origin)
    new = forecast(module.eval(), series, days)
    after = tuple(known[-1] + timedelta(days=i + 1) for i in range(days))
    return Forecast((*known, *after), np.concatenate([series, new]), len(known))
