"""The ports' models in Keras 3: the same layers, weights, optimiser and loss; imports Keras when it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxport.errors import JaxportError
from jaxport.interop.state_dict import state_dict

from .inputs import Inputs

if TYPE_CHECKING:
    from jaxport.port import Port


def _dense(width: int, activation: str | None = None, maps: tuple[int, ...] | None = None) -> Any:
    """Return a linear layer; `maps` is (C, H, W) of what is flattened before it, which Keras flattens as (H, W, C)."""

    def weights(weight: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
        if maps is not None:
            weight = np.moveaxis(weight.reshape(-1, *maps), 1, -1).reshape(width, -1)
        return [weight.T, bias.reshape(-1)]

    return lambda layers: layers.Dense(width, activation), weights


def _conv(channels: int, size: int, activation: str | None = None, axes: int = 2) -> Any:
    def weights(weight: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
        return [np.moveaxis(weight, (0, 1), (-1, -2)), bias]

    return lambda layers: getattr(layers, f"Conv{axes}D")(channels, size, activation=activation), weights


def _plain(name: str, *arguments: Any) -> Any:
    """Return a layer without weights."""
    return lambda layers: getattr(layers, name)(*arguments), None


def _words(count: int, width: int, padding: int) -> Any:
    """Return vectors of words, of which padding's stays zero: a constraint, since Keras has no `padding_idx`."""

    def make(layers: Any) -> Any:
        keep = np.ones((count, 1), np.float32)
        keep[padding] = 0.0
        return layers.Embedding(count, width, embeddings_constraint=lambda table: table * keep)

    return make, lambda weight: [weight]


DROPOUT = "dropout"
_MLP = _plain("Flatten")
_POOL = _plain("MaxPooling2D", 2)
_CNN = (
    *(_conv(32, 3), _POOL, _conv(64, 5), _POOL, (DROPOUT, None), _plain("GlobalMaxPooling2D")),
    _dense(32, "relu"),
)
_LINE = (_dense(1),)
STACKS: Mapping[str, Sequence[Any]] = {
    "digits": (*_CNN, _dense(10)),
    "mnist_cnn": (*_CNN, _dense(10)),
    "cifar2": (*_CNN, _dense(1, "sigmoid")),
    "fashion_mnist": (_MLP, _dense(512, "relu"), _dense(512, "relu"), _dense(10)),
    "mnist_mlp": (_MLP, _dense(500, "relu"), _dense(10)),
    "mnist_sgd": (_MLP, _dense(200, "relu"), _dense(10)),
    "mnist_logistic": (_MLP, _dense(10)),
    "lenet": (
        *(_conv(6, 5, "sigmoid"), _POOL, _conv(16, 5, "sigmoid"), _POOL, _MLP),
        *(_dense(120, "sigmoid", (16, 4, 4)), _dense(84, "sigmoid"), _dense(10)),
    ),
    "imdb": (
        *(_words(10_000, 3, 1), _conv(16, 5, axes=1), _plain("MaxPooling1D", 2), _plain("ReLU")),
        *(_conv(128, 2, axes=1), _plain("MaxPooling1D", 2), _plain("ReLU")),
        *(_MLP, _dense(1, "sigmoid", (128, 48))),
    ),
    "titanic": (_dense(20, "relu"), _dense(15, "relu"), _dense(1, "sigmoid")),
    "circles": (_dense(4, "relu"), _dense(8, "relu"), _dense(1, "sigmoid")),
    "cubic": (_dense(20, "relu"), _dense(1)),
    "two_clusters": (_dense(2, "sigmoid"),),
    "three_clusters": (_dense(20, "relu"), _dense(3, "softmax")),
    "linreg_plane": _LINE,
    "linreg_note": _LINE,
    "linreg_100k": _LINE,
    "linreg_million": _LINE,
}
# What the ports' `prepare` does to bytes, as Keras's own layer: x · scale + offset.
_SCALES = {"to_float": (1 / 255, 0.0), "to_signed": (2 / 255, -1.0)}
# The rate of the one dropout layer that is in these models.
DROPOUT_RATE = 0.1


def check(port: Port) -> None:
    """Say why a port has no Keras side.

    Raises:
        JaxportError: its model, loss or optimiser is not written in Keras here.
    """
    if port.name not in STACKS:
        raise JaxportError("the model is not written in Keras here")
    for kind, name, known in (("loss", port.loss, LOSSES), ("optimiser", port.optimizer, OPTIMIZERS)):
        if name.func.__name__ not in known:
            raise JaxportError(f"the {kind} {name.func.__name__} is not written in Keras here")


def build(keras: Any, port: Port, inputs: Inputs, dropout: Any) -> Any:
    """Return a port's model with the inputs' weights; `dropout` stands where it has its dropout layer."""
    shape, dtype = moved(inputs.x, 2 if inputs.task != "epoch" else 1).shape, inputs.x.dtype.name
    parts = [(dropout if make == DROPOUT else make(keras.layers), weights) for make, weights in STACKS[port.name]]
    scale = _SCALES.get(port.prepare.__name__)
    front = [keras.layers.Rescaling(*scale)] if dtype == "uint8" and scale else []
    first = keras.Input(shape[2 if inputs.task != "epoch" else 1 :], dtype=dtype)
    model = keras.Sequential([first, *front, *(layer for layer, _ in parts)])
    # In the order of the layers: a file has them in that of their names.
    left = [inputs.weights[key] for key in state_dict(port.build(0))]
    for layer, weights in parts:
        if weights is not None:
            count = len(layer.weights)
            layer.set_weights(weights(*left[:count]))
            left = left[count:]
    return model


def moved(x: np.ndarray, batch_axes: int) -> np.ndarray:
    """Return pictures with their channels last, as Keras's layers want them on every device."""
    return np.ascontiguousarray(np.moveaxis(x, batch_axes, -1)) if x.ndim == batch_axes + 3 else x


def _adam(keras: Any, lr: float) -> Any:
    """Return Keras's Adam with PyTorch's arithmetic: ε beside the corrected root, and 1 - βᵗ to all its digits.

    Keras computes 1 - βᵗ from βᵗ in float32, which costs it four digits in the first steps; the gate would see that.
    """
    ops = keras.ops

    class Adam(keras.optimizers.Adam):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            step, i = ops.cast(self.iterations + 1, "float32"), self._get_variable_index(variable)
            first, second = (-ops.expm1(step * float(np.log(beta))) for beta in (self.beta_1, self.beta_2))
            m, v = self._momentums[i], self._velocities[i]
            self.assign(m, m + (gradient - m) * (1 - self.beta_1))
            self.assign(v, self.beta_2 * v + (1 - self.beta_2) * ops.square(gradient))
            root = ops.sqrt(v) / ops.sqrt(second) + self.epsilon
            self.assign_sub(variable, learning_rate / first * m / root)

    return Adam(lr, epsilon=1e-8)


def _adagrad(keras: Any, lr: float) -> Any:
    """Return Adagrad from zero; Keras has its ε under the root, so PyTorch's 1e-10 is squared."""
    return keras.optimizers.Adagrad(lr, initial_accumulator_value=0.0, epsilon=1e-20)


def _sgd(keras: Any, lr: float) -> Any:
    return keras.optimizers.SGD(lr)


OPTIMIZERS: Mapping[str, Callable[..., Any]] = {"Adam": _adam, "Adagrad": _adagrad, "SGD": _sgd}
LOSSES: Mapping[str, Callable[[Any], Any]] = {
    "MSELoss": lambda keras: keras.losses.MeanSquaredError(),
    "CrossEntropyLoss": lambda keras: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "BCELoss": lambda keras: keras.losses.BinaryCrossentropy(),
}
METRICS = {
    "Accuracy": "sparse_categorical_accuracy",
    "BinaryAccuracy": "binary_accuracy",
    "MeanAbsoluteError": "mean_absolute_error",
    "MeanAbsolutePercentageError": "mean_absolute_percentage_error",
}
