"""Training: the handle on a run that callbacks and the loop share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxport import optim
from jaxport.errors import UsageError

from .history import History
from .state import evaluated

if TYPE_CHECKING:
    from jaxport.nn import Module

    from .callbacks import Callback
    from .state import Totals, TrainState
    from .step import Task


class Training:
    """A run in progress.

    Attributes:
        task: what is trained: structure, loss, optimiser, metrics.
        state: parameters, buffers, optimiser state. The next step takes its arrays over: copy what is to be kept.
        history: the record so far.
        epochs: how many there will be.
        steps_per_epoch: steps of each, None when the data does not say.
        epoch: the current epoch, from 0; after the last it equals `epochs`.
        step: steps taken over all epochs.
        step_in_epoch: steps taken in the current epoch.
        verbose: 0 silent, 1 progress, 2 also what was decided.
        known_loss: the last loss that is on the host already, None before the first.
        bad_step: the first step that was not finite, where a callback watches for it; None while there is none.
        bad_tensor: what was not finite there first.
        stop_reason: why the run was asked to stop.
        owed: (hook, callbacks that it was not called for yet) while a hook around epochs is being called.
    """

    def __init__(
        self,
        task: Task,
        state: TrainState,
        history: History,
        epochs: int,
        steps_per_epoch: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.task, self.state, self.history = task, state, history
        self.epochs, self.steps_per_epoch, self.verbose = epochs, steps_per_epoch, verbose
        self.epoch = self.step_in_epoch = 0
        self.step = int(state.step)
        self.stop_reason: str | None = None
        self.known_loss: float | None = None
        self.bad_step: int | None = None
        self.bad_tensor: str | None = None
        self.read_logs: Callable[[], dict[str, float]] = dict
        # Of the epoch that is not done yet: its sums, and what its row of the history has already (at its end all).
        self.totals: Totals | None = None
        self.epoch_row: dict[str, float] = {}
        # Set by the run: where batches come from, the shapes of their inputs, how, where the loader stood at the start.
        self.source: Any = None
        self.input_spec: Any = None
        self.options: Any = None
        self.plan: Any = None
        self.loader_position: dict[str, int] | None = None
        self.empty_totals: Callable[[], Totals] = no_totals
        self.callbacks: Sequence[Callback] = ()
        self.owed: tuple[str, list[Callback]] | None = None
        self.diagnose: Callable[[], str] = str

    def stop(self, reason: str) -> None:
        """Ask the loop to stop where it stands; the first reason is kept in the history."""
        self.stop_reason = self.stop_reason or reason

    def logs(self) -> dict[str, float]:
        """Return loss and metrics of the current epoch so far, {"loss": …, metric: …}; waits for the device."""
        return self.read_logs()

    # --------------------------------------------------------------------------------------------------- the weights

    @property
    def module(self) -> Module:
        """A copy of the model with the weights that are evaluated (the average, if one is kept), in evaluation mode.

        On one device, also of a parallel run.
        """
        weights = evaluated(self.state), self.state.rest
        if self.options is not None:
            weights = self.options.place.whole(weights)
        return nnx.merge(self.task.eval_graph, *weights, copy=True)

    def get_weights(self) -> list[jax.Array]:
        """Return copies of all parameters and buffers, and of the averaged parameters if any, in a fixed order."""
        return [jnp.copy(leaf) for leaf in jax.tree.leaves(self._weights())]

    def _weights(self) -> Any:
        return self.state.params, self.state.rest, self.state.average

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Put back what `get_weights` returned.

        Raises:
            UsageError: their number or a shape does not fit.
        """
        leaves, tree = jax.tree.flatten(self._weights())
        shapes = [[jnp.shape(leaf) for leaf in group] for group in (weights, leaves)]
        if shapes[0] != shapes[1]:
            raise UsageError(f"weights has {len(weights)} arrays of shapes {shapes[0]}; needed are {shapes[1]}")
        # A copy: the next step takes these arrays over, and the caller's stay.
        new = [jax.device_put(jnp.copy(jnp.asarray(w)), leaf.sharding) for w, leaf in zip(weights, leaves, strict=True)]
        params, rest, average = jax.tree.unflatten(tree, new)
        self.state = self.state._replace(params=params, rest=rest, average=average)

    # --------------------------------------------------------------------------------------------- the learning rate

    @property
    def lr(self) -> tuple[float, ...] | None:
        """The learning rates, one for each parameter group; None for an optimiser that keeps none in its state."""
        try:
            return tuple(float(lr) for lr in optim.get_lr(self.state.opt_state))
        except ValueError:
            return None

    @lr.setter
    def lr(self, value: float | Sequence[float]) -> None:
        self.state = self.state._replace(opt_state=optim.set_lr(self.state.opt_state, value))
        if self.options is not None:
            self.state = self.options.place.put_state(self.state)


def no_totals() -> Totals:
    """Stand in for what a run sets."""
    raise AssertionError("the run sets this")
