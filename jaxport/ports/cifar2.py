"""Airplane or automobile, from a small colour picture."""

from functools import partial

import numpy as np

from jaxport import metrics, nn, optim
from jaxport.data import to_float
from jaxport.models import cifar2
from jaxport.port import Port


def to_column(labels: np.ndarray) -> np.ndarray:
    """Return class numbers (N,) as float32 (N, 1), which BCE takes."""
    return labels[:, None].astype(np.float32)


PORT = Port(
    name="cifar2",
    title="convolutional network on CIFAR's airplanes and automobiles",
    source="How to eat PyTorch in 20 days, 1-2",
    model=cifar2.build,
    input_shape=(3, 32, 32),
    parameters=54_273,
    dataset="cifar2",
    loss=partial(nn.BCELoss),
    optimizer=partial(optim.SGD, lr=0.01),
    metrics=(metrics.BinaryAUC(), metrics.BinaryAccuracy()),
    epochs=20,
    batch_size=50,
    prepare=to_float,
    targets=to_column,
    classes=("airplane", "automobile"),
    expected={"val_auc": (0.91, 1.0)},
)
