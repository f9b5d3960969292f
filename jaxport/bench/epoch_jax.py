"""JAX's whole epoch: `Model.fit` as a user calls it, from the data set's arrays to new weights, loss and metrics."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import jax
from flax import nnx

from jaxport.engine import Model
from jaxport.interop.state_dict import load_state_dict

from .epoch_inputs import GATE_SEED
from .inputs import Inputs
from .jax_side import device_facts
from .process import WorkerError

if TYPE_CHECKING:
    from jaxport.nn import Module
    from jaxport.port import Port


class JaxEpoch:
    """A port's training by ``Model.fit`` with the port's recipe and the engine's defaults.

    Args:
        port: which port.
        inputs: weights and examples.
    """

    def __init__(self, port: Port, inputs: Inputs) -> None:
        self.port, self.inputs, self.steps = port, inputs, inputs.steps
        self.model = self._model(port.build(0))
        self.losses: list[float] = []

    def facts(self) -> dict[str, Any]:
        """Return the row's fields that describe this side; its first call is of one epoch."""
        start = time.perf_counter()
        self._fit(len(self.inputs.x), 1)
        first = time.perf_counter() - start
        assert self.model.history is not None
        history = self.model.history
        self._fit(len(self.inputs.x), self.steps)
        facts = device_facts()  # before the gate's run, which is not part of the memory
        self.values()
        return facts | {
            "compile_s": history.compile_seconds,
            "variant": f"Model.fit, {history.dispatch}",
            "first_epoch_s": first,
        }

    def one_pass(self) -> tuple[float, list[float]]:
        """Fit over the epochs of a pass from the initial weights; return the seconds, and the gate's losses."""
        self._reset()
        start = time.perf_counter()
        self._fit(len(self.inputs.x), self.steps)
        seconds = time.perf_counter() - start
        self._check_pass()
        return seconds, self.values()

    def values(self) -> list[float]:
        """Return what the gate compares: the mean loss of each epoch of its short run, which is made once.

        It is the same call on fewer examples, shuffled by the same code, of a model without dropout.
        """
        if not self.losses:
            assert self.inputs.order is not None
            epochs, rows = self.inputs.order.shape
            model = self._model(without_dropout(nnx.clone(self.model.module)))
            history = self._fit(rows, epochs, model, GATE_SEED)
            self.losses = [float(loss) for loss in history.columns["loss"]]
        return self.losses

    def first_step(self) -> None:
        """Fit on the examples of one batch."""
        self._fit(self.inputs.batch, 1)

    def first_epoch(self) -> None:
        """Fit over one epoch."""
        self._fit(len(self.inputs.x), 1)

    def _fit(self, rows: int, epochs: int, model: Model | None = None, seed: int | None = None) -> Any:
        inputs, model = self.inputs, model or self.model
        data = inputs.x[:rows], inputs.y[:rows]
        history = model.fit(data, epochs, batch_size=inputs.batch, shuffle=self.port.shuffle, seed=seed, verbose=0)
        jax.block_until_ready(model._state)
        return history

    def _check_pass(self) -> None:
        """Refuse a call that did not take all steps, or whose losses are not finite."""
        history, steps = self.model.history, self.steps * -(-len(self.inputs.x) // self.inputs.batch)
        assert history is not None
        losses = history.columns["loss"]
        if history.steps != steps or len(losses) != self.steps or not all(map(math.isfinite, losses)):
            raise WorkerError(f"the timed call took {history.steps} of {steps} steps; losses {losses[:3]}")

    def _reset(self) -> None:
        """Put the initial weights back, and the optimiser to its start; nothing is compiled anew."""
        load_state_dict(self.model.module, self.inputs.weights)
        self.model._state = None

    def _model(self, module: Module) -> Model:
        load_state_dict(module, self.inputs.weights)
        model, port = Model(module), self.port
        precision: Any = self.inputs.dtype
        model.compile(port.loss(), port.make_optimizer(), port.metrics, prepare=port.prepare, precision=precision)
        return model


def without_dropout(module: Module) -> Module:
    """Return the module with every dropout's rate 0."""
    for part in module.modules():
        if "Dropout" in type(part).__name__:
            part.p = 0.0  # type: ignore[attr-defined]
    return module
