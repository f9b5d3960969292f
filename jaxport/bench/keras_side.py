"""Keras 3 on JAX: a port's model, trained and called through Keras's own public functions."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxport.errors import JaxportError

from .inputs import Inputs
from .jax_side import device_facts
from .keras_models import DROPOUT_RATE, LOSSES, METRICS, OPTIMIZERS, build, check, moved

if TYPE_CHECKING:
    from jaxport.port import Port

# Keras calls its compiled step so many times between two looks at its callbacks; the faster one is taken.
_EXECUTIONS = (1, 64)
_TRIALS = 3


def import_keras(folder: str | None = None) -> Any:
    """Return Keras on JAX, whatever the user's settings are, and leave those alone.

    Raises:
        JaxportError: it is not installed, or was imported with another backend.
    """
    os.environ |= {"KERAS_BACKEND": "jax", "KERAS_HOME": folder or os.devnull}
    try:
        import keras  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise JaxportError("Keras is not installed: pip install 'jaxport[bench]'") from None
    if keras.backend.backend() != "jax":
        raise JaxportError(f"Keras was imported with the backend {keras.backend.backend()}")
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    return keras


class KerasSide:
    """A port in Keras: `fit` with its compiled step for training, `predict_on_batch` for inference.

    Weights, batches and dropout masks are the inputs'; ε and the first state of the optimiser are PyTorch's. In
    bfloat16 it is Keras's policy "mixed_bfloat16", whose variables are float32.

    Args:
        port: which port.
        inputs: weights and examples.

    Raises:
        JaxportError: Keras is not installed, or the port is not written in it.
    """

    def __init__(self, port: Port, inputs: Inputs) -> None:
        check(port)
        self.keras, self.port, self.inputs, self.steps = import_keras(), port, inputs, inputs.steps
        self.half = inputs.dtype == "bfloat16"
        _prefer_exact_products()
        self.keras.mixed_precision.set_dtype_policy("mixed_bfloat16" if self.half else "float32")
        self.task = "infer" if inputs.task.startswith("infer") else inputs.task
        self.x, self.y = self._examples()
        self.executions, self.losses = 1, []
        self._renew()

    def facts(self) -> dict[str, Any]:
        """Return the row's fields that describe this side; the first call is of one epoch."""
        start = time.perf_counter()
        self._call(1)
        first = time.perf_counter() - start
        found = device_facts()  # with the memory so far, before others are tried
        found["versions"] = {"keras": self.keras.__version__, **found["versions"]}
        found["compile_s"] = max(0.0, first - self._seconds(1))
        self._search()
        return found | {"variant": self._variant()} | ({"first_epoch_s": first} if self.task == "epoch" else {})

    def one_pass(self) -> tuple[float, Any]:
        """Work through a pass from the initial weights; return its seconds, and the values that the gate compares."""
        seconds = self._seconds(self.steps)
        return seconds, self.values()

    def values(self) -> Any:
        """Return what the gate compares: the last pass's losses or outputs; of whole epochs a short run's losses."""
        if self.task == "infer":
            return np.asarray(self.output, np.float64).ravel()
        if self.task == "step":
            return [float(loss) for loss in np.asarray(self.recorder.values.value)]
        self.losses = self.losses or self._gate()
        return self.losses

    def first_step(self) -> None:
        """Fit on the examples of one batch."""
        self._fit(self.x[: self.inputs.batch], self.y[: self.inputs.batch], 1)

    def first_epoch(self) -> None:
        """Fit over one epoch."""
        self._fit(self.x, self.y, 1)

    def _examples(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the examples in their order; the steps go round the distinct batches."""
        axes = 1 if self.task == "epoch" else 2
        x, y = moved(self.inputs.x, axes), self.inputs.y
        if self.task != "step":
            return (x, y) if self.task == "epoch" else (x[0], y[0])
        rounds = np.arange(self.steps) % len(x)
        return tuple(a[rounds].reshape(-1, *a.shape[2:]) for a in (x, y))  # pyright: ignore[reportReturnType]

    def _renew(self) -> None:
        """Make the model anew, as another number of steps in an execution needs."""
        masks = list(self.inputs.masks.values())
        dropout = _replay(self.keras, masks[0]) if masks else self.keras.layers.SpatialDropout2D(DROPOUT_RATE)
        self.model = build(self.keras, self.port, self.inputs, dropout)
        self._compile(self.model)

    def _compile(self, model: Any) -> None:
        keras, port = self.keras, self.port
        loss = LOSSES[port.loss.func.__name__](keras)
        if self.task == "step":
            self.recorder = _recorder(keras, loss, self.steps)
        metrics: list[Any] = [self.recorder] if self.task == "step" else _metrics(port)
        optimizer = OPTIMIZERS[port.optimizer.func.__name__](keras, **port.optimizer.keywords)
        options = {} if self.executions == 1 else {"steps_per_execution": self.executions}
        model.compile(optimizer, loss, metrics=metrics, **options)
        optimizer.build(model.trainable_variables)
        self.start = [(variable, np.array(variable.value)) for variable in (*model.variables, *optimizer.variables)]

    def _reset(self) -> None:
        for variable, value in self.start:
            variable.assign(value)

    def _seconds(self, count: int) -> float:
        self._reset()
        start = time.perf_counter()
        self._call(count)
        return time.perf_counter() - start

    def _call(self, count: int) -> None:
        if self.task == "infer":
            for _ in range(count):
                self.output = self.model.predict_on_batch(self.x)
        elif self.task == "step":  # what an epoch is here
            self._fit(self.x, self.y, 1)
        else:
            self._fit(self.x, self.y, count)

    def _fit(self, x: np.ndarray, y: np.ndarray, epochs: int, shuffle: bool | None = None) -> list[float]:
        size = len(self.x) // self.steps if self.task == "step" else self.inputs.batch
        shuffle = self.port.shuffle and self.task == "epoch" if shuffle is None else shuffle
        return self.model.fit(x, y, size, epochs, shuffle=shuffle, verbose=0).history["loss"]

    def _gate(self) -> list[float]:
        """Return the mean losses of the gate's epochs, in its order, without dropout."""
        order, whole = self.inputs.order, self.model
        assert order is not None
        self.model = build(self.keras, self.port, self.inputs, self.keras.layers.Identity())
        start = self.start
        self._compile(self.model)
        losses = [self._fit(self.x[rows], self.y[rows], 1, shuffle=False)[0] for rows in order]
        self.model, self.start = whole, start
        return losses

    def _search(self) -> None:
        """Try how many steps an execution has; inference has none."""
        found = {}
        for count in _EXECUTIONS if self.task != "infer" else ():
            if count > 1:
                self.executions = count
                self._renew()
                self._call(1)
            found[count] = median(self._seconds(1) for _ in range(_TRIALS))
        if found and (best := min(found, key=lambda count: found[count])) != self.executions:
            self.executions = best
            self._renew()
            self._call(1)

    def _variant(self) -> str:
        if self.task == "infer":
            return "predict_on_batch"
        return "fit" if self.executions == 1 else f"fit, {self.executions} steps in an execution"


def _prefer_exact_products() -> None:
    """Ask for float32 products without TF32, as all others compute them."""
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")


def _replay(keras: Any, masks: np.ndarray) -> Any:
    """Return a layer that multiplies by the step's mask / (1 - p); masks: (steps, N, C, 1, 1)."""
    scales = (np.moveaxis(masks, 2, -1) / (1.0 - DROPOUT_RATE)).astype(np.float32)

    class Replay(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.count = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)

        def call(self, x: Any, training: bool = False) -> Any:
            if not training:
                return x
            scale = keras.ops.take(keras.ops.convert_to_tensor(scales, x.dtype), self.count % len(scales), axis=0)
            self.count.assign(self.count + 1)
            return x * scale

    return Replay()


def _metrics(port: Port) -> list[str]:
    """Return Keras's names of a port's metrics.

    Raises:
        JaxportError: Keras has none that computes the same.
    """
    names = [type(metric).__name__ for metric in port.metrics]
    missing = [name for name in names if name not in METRICS]
    if missing:
        raise JaxportError(f"Keras has no metric that computes what {', '.join(missing)} does")
    return [METRICS[name] for name in names]


def _recorder(keras: Any, loss: Callable[..., Any], steps: int) -> Any:
    """Return a metric that keeps the loss of every step, since `fit` itself reports their running mean alone."""

    class Recorder(keras.metrics.Metric):
        def __init__(self) -> None:
            super().__init__(name="recorder")
            self.values = self.add_variable((steps,), "zeros", name="values")
            self.count = self.add_variable((), "zeros", dtype="int32", name="count")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            value = keras.ops.reshape(loss(y_true, y_pred), (1,))
            self.values.assign(keras.ops.slice_update(self.values.value, (self.count.value,), value))
            self.count.assign(self.count + 1)

        def result(self) -> Any:
            return keras.ops.cast(self.count, "float32")

    return Recorder()
