"""Loss and metrics over a whole source, in evaluation mode."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from .programs import Programs
from .sources import Resident, Source, Streamed
from .state import Batch, Totals, evaluated


class Evaluator:
    """Measures loss and metrics over a source, in evaluation mode.

    Args:
        programs: what is called.
        source: where batches come from.
        single: whether each call is one step.
    """

    def __init__(self, programs: Programs, source: Source, single: bool) -> None:
        self.programs, self.source, self.single = programs, source, single
        self._order: jax.Array | None = None

    def run(self, state: Any) -> dict[str, float]:
        """Return {"loss": …, metric: …} of a state."""
        params, rest = evaluated(state), state.rest
        totals = self._resident(params, rest) if isinstance(self.source, Resident) else self._streamed(params, rest)
        row = jax.device_get(self.programs.read(totals))
        names = ["loss", *(metric.name for metric in self.programs.task.metrics), *self.programs.eval_extra]
        return {name: float(row[name]) for name in names}

    def _resident(self, params: Any, rest: Any) -> Totals:
        source, programs = self.source, self.programs
        assert isinstance(source, Resident)
        if self._order is None:
            self._order = programs.place.put(source.first_order())

        def measure(totals: Any, params: Any, rest: Any, data: Any, order: Any) -> Any:
            return programs.measure(source, totals, params, rest, data, order)

        def one(totals: Any, params: Any, rest: Any, data: Any, order: Any, i: Any) -> Any:
            return programs.measure_one(source, totals, params, rest, data, order, i)

        totals, given = programs.empty(source.rows, evaluation=True), (params, rest, source.data, self._order)
        if not self.single:
            return programs.call("validation", measure, totals, *given, donate=(0,), fixed=source.fixed)
        for i in range(source.steps):
            totals = programs.call("validation step", one, totals, *given, np.int32(i), donate=(0,), fixed=source.fixed)
        return totals

    def _streamed(self, params: Any, rest: Any) -> Totals:
        source, programs = self.source, self.programs
        assert isinstance(source, Streamed)
        totals: Totals | None = None
        for batch in source.epoch(0, 0):
            totals = programs.empty(rows_of(source, batch), evaluation=True) if totals is None else totals
            arguments = (totals, params, rest, programs.place.put_batch(batch, own=source.own))
            totals = programs.call("validation batch", programs.measure_batch, *arguments, donate=(0,))
        assert totals is not None
        return totals


def rows_of(source: Streamed, batch: Batch) -> int:
    """Return the rows of an epoch, padding included; 0 if the data does not say how many batches there are."""
    return source.rows or (source.steps or 0) * len(jax.tree.leaves(batch.x)[0])
