"""The compiled programs of a run: several epochs, some steps of data on the device, some batches from the host."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxport import optim

from . import small_loop
from .checks import Facts
from .dispatch import compile_function
from .sharding import Placement
from .sources import Resident
from .state import Batch, Totals, TrainState, copies, empty_totals, evaluated, read_totals
from .step import Task, eval_step, train_step


class Programs:
    """Compiles what a run needs, once for each shape, and says when a shape made it compile again.

    Attributes:
        compile_seconds: spent so far.
        compilations: programs compiled so far.
    """

    def __init__(self, task: Task, place: Placement, facts: Facts, eager: bool = False) -> None:
        self.task, self.place, self.extra, self.eager = place.gathering(task), place, facts.extra, eager
        self.loss, self.eval_extra = facts.loss, facts.eval_extra
        self.compile_seconds, self.compilations = 0.0, 0
        self._made: dict[Any, dict[Any, Callable[..., Any]]] = {}
        self._current: dict[Any, Callable[..., Any]] = {}
        self._empty: dict[tuple[int, bool], Totals] = {}

        def read(totals: Totals) -> dict[str, jax.Array]:
            return read_totals(totals, task.metrics, task.summed)

        # Loss and metrics of an epoch's sums.
        self.read = jax.jit(read)

    def begin(self) -> None:
        """Begin a run: the shapes of every program's first call are looked at again."""
        self._current.clear()
        self.compile_seconds = 0.0

    def call(
        self, name: str, function: Callable[..., Any], *args: Any, donate: tuple[int, ...] = (), fixed: Any = None
    ) -> Any:
        """Call the compiled form of `function`.

        Args:
            name: what it is, for messages.
            function: what it computes; all functions of one `name` and one `fixed` must compute the same.
            args: its arguments.
            donate: which of them are taken over.
            fixed: everything else that `function` depends on (hashable).
        """
        if self.eager:
            return function(*args)
        current = self._current.get((name, fixed))
        if current is not None and name not in _CHANGING:
            return self.place.settled(current(*args))  # within a run its arguments never change their shapes
        key = tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(args))
        made = self._made.setdefault((name, fixed), {})
        if key not in made:
            if made and name in _CHANGING:
                _warn(name, next(reversed(made)), key, len(made) + 1)
            if jax.config.jax_debug_nans:  # pyright: ignore[reportAttributeAccessIssue]
                # jax.jit runs a program that made a NaN again, operation by operation; its inputs must be there.
                made[key], seconds = jax.jit(function), 0.0
            else:
                outputs = self.place.outputs(2 if name == "epochs" else 3, *args)
                made[key], seconds = compile_function(function, *args, donate=donate, outputs=outputs, name=name)
            self.compile_seconds, self.compilations = self.compile_seconds + seconds, self.compilations + 1
        self._current[name, fixed] = made[key]
        return self.place.settled(made[key](*args))

    def empty(self, rows: int, evaluation: bool = False) -> Totals:
        """Return the sums of an epoch that has not begun."""
        extra = self.eval_extra if evaluation else self.extra
        if self.place.mesh is not None:
            return self.place.put(empty_totals(self.task.metrics, rows, extra))
        key = rows, evaluation
        if key not in self._empty:
            self._empty[key] = self.place.put(empty_totals(self.task.metrics, rows, extra))
        # Copies, as a step takes its sums over: zeros made anew would be a dispatch and a transfer for each of them.
        return copies(self._empty[key])

    # ------------------------------------------------------------------------------------------- data on the device

    def one(
        self, source: Resident, state: TrainState, totals: Totals, data: Batch, order: Any, epoch: Any, i: Any
    ) -> Any:
        """Take one step; traceable."""
        batch = self.place.batch(source.take(data, order, epoch, i))
        state, totals, loss = train_step(self.task, state, totals, batch)
        return self.place.state(state), self.place.replicated(totals), loss

    def some(
        self, source: Resident, state: TrainState, totals: Totals, data: Batch, order: Any, epoch: Any, first: Any,
        end: Any,
    ) -> Any:  # fmt: skip
        """Take the steps from `first` to before `end`; traceable."""

        def body(i: Any, carry: Any) -> Any:
            state, totals, _ = carry
            return self.one(source, state, totals, data, order, epoch, i)

        return small_loop.fori_loop(first, end, body, (state, totals, jnp.zeros(self.loss.shape, self.loss.dtype)))

    def measure_one(
        self, source: Resident, totals: Totals, params: Any, rest: Any, data: Batch, order: Any, i: Any
    ) -> Totals:
        """Measure one step's batch in evaluation mode; traceable."""
        batch = self.place.batch(source.take(data, order, jnp.int32(0), i))
        return self.place.replicated(eval_step(self.task, params, rest, totals, batch))

    def measure(self, source: Resident, totals: Totals, params: Any, rest: Any, data: Batch, order: Any) -> Totals:
        """Measure all steps in evaluation mode; traceable."""

        def body(totals: Totals, i: Any) -> tuple[Totals, None]:
            return self.measure_one(source, totals, params, rest, data, order, i), None

        return small_loop.scan(body, totals, jnp.arange(source.steps, dtype=jnp.int32))[0]

    def epochs(
        self, source: Resident, validation: Resident | None, per_call: int, state: TrainState, data: Batch, val: Any,
        key: Any, first: Any, count: Any,
    ) -> Any:  # fmt: skip
        """Run `count` whole epochs with their validation, and return the state and the rows; traceable."""
        task, source = self.task, source.with_key(key)

        def row_of(lr: dict[str, jax.Array], totals: Totals, val_totals: Totals | None) -> dict[str, jax.Array]:
            row = lr | read_totals(totals, task.metrics, task.summed)
            return row if val_totals is None else row | read_totals(val_totals, task.metrics, task.summed, "val_")

        def empty() -> tuple[Totals, Totals | None]:
            val_totals = validation and empty_totals(task.metrics, validation.rows, self.eval_extra)
            return empty_totals(task.metrics, source.rows, self.extra), val_totals

        def one_epoch(state: TrainState, epoch: Any) -> tuple[TrainState, Any]:
            lr, order, (totals, val_totals) = lr_of(state.opt_state), source.order(epoch), empty()

            def body(carry: Any, i: Any) -> Any:
                return self.one(source, carry[0], carry[1], data, order, epoch, i)[:2], None

            (state, totals), _ = small_loop.scan(body, (state, totals), jnp.arange(source.steps, dtype=jnp.int32))
            if validation is not None and val_totals is not None:
                order, params = validation.order(jnp.int32(0)), evaluated(state)
                val_totals = self.measure(validation, val_totals, params, state.rest, val, order)
            return state, row_of(lr, totals, val_totals)

        # The shapes of a row without a trace of the steps, which is slow.
        shapes = jax.eval_shape(lambda state: row_of(lr_of(state.opt_state), *empty()), state)
        rows = jax.tree.map(lambda leaf: jnp.zeros((per_call,), leaf.dtype), shapes)

        def body(i: Any, carry: Any) -> Any:
            state, rows = carry
            state, row = one_epoch(state, first + i)
            return state, jax.tree.map(lambda column, value: column.at[i].set(value), rows, row)

        return lax.fori_loop(0, count, body, (state, rows))

    # ------------------------------------------------------------------------------------------ batches from the host

    def batch(self, state: TrainState, totals: Totals, batch: Batch) -> Any:
        """Take one step on a batch; traceable."""
        state, totals, loss = train_step(self.task, state, totals, self.place.batch(batch))
        return self.place.state(state), self.place.replicated(totals), loss

    def chunk(self, state: TrainState, totals: Totals, batches: Batch, count: Any) -> Any:
        """Take `count` steps on batches that are stacked (steps, B, …); traceable."""

        def body(i: Any, carry: Any) -> Any:
            state, totals, _ = carry
            one = jax.tree.map(lambda array: lax.dynamic_index_in_dim(array, i, 0, False), batches)
            return self.batch(state, totals, one)

        return small_loop.fori_loop(0, count, body, (state, totals, jnp.zeros(self.loss.shape, self.loss.dtype)))

    def measure_batch(self, totals: Totals, params: Any, rest: Any, batch: Batch) -> Totals:
        """Measure one batch in evaluation mode; traceable."""
        return self.place.replicated(eval_step(self.task, params, rest, totals, self.place.batch(batch)))


# Programs whose batches come from outside, and may therefore change their shape.
_CHANGING = ("batch", "chunk", "validation batch", "predict")


def lr_of(opt_state: optax.OptState) -> dict[str, jax.Array]:
    """Return {"lr": …}, that of the first parameter group; nothing for an optimiser that keeps none in its state."""
    try:
        return {"lr": optim.get_lr(opt_state)[0]}
    except ValueError:
        return {}


def _warn(name: str, old: Any, new: Any, count: int) -> None:
    changed = [(a, b) for a, b in zip(old, new, strict=False) if a != b][:3]
    text = ", ".join(f"{_shape(a)} became {_shape(b)}" for a, b in changed)
    warnings.warn(
        f"{name}: {text}, so it is compiled again (program {count}); keep the shapes of batches the same",
        UserWarning,
        stacklevel=2,
    )


def _shape(key: Any) -> str:
    return f"{key[1]}{list(key[0])}"
