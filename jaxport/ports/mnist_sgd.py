"""Handwritten digits with one hidden layer and stochastic gradient descent by hand."""

from functools import partial
from typing import Any

from jaxport import metrics, nn, optim
from jaxport.data import to_float
from jaxport.models import mnist_sgd
from jaxport.port import Port


def to_signed(x: Any) -> Any:
    """Bring pixels from 0..255 to [-1, 1]: (x / 255 - 0.5) / 0.5."""
    return (to_float(x) - 0.5) / 0.5


PORT = Port(
    name="mnist_sgd",
    title="one hidden layer on MNIST, SGD by hand",
    source="PyTorch in practice, 4",
    model=mnist_sgd.build,
    input_shape=(1, 28, 28),
    parameters=159_010,
    dataset="mnist",
    loss=partial(nn.CrossEntropyLoss),
    optimizer=partial(optim.SGD, lr=1e-2),
    metrics=(metrics.Accuracy(),),
    epochs=1,
    batch_size=100,
    prepare=to_signed,
    classes=tuple("0123456789"),
    # The mean of the training loss over the one epoch, which the tutorial prints as 0.905.
    expected={"loss": (0.875, 0.935)},
)
