"""Handwritten digits with logistic regression."""

from functools import partial

from jaxport import metrics, nn, optim
from jaxport.data import to_float
from jaxport.models import mnist_logistic
from jaxport.port import Port

PORT = Port(
    name="mnist_logistic",
    title="logistic regression on MNIST",
    source="PyTorch notes, logistic regression",
    model=mnist_logistic.build,
    input_shape=(1, 28, 28),
    parameters=7_850,
    dataset="mnist",
    loss=partial(nn.CrossEntropyLoss),
    optimizer=partial(optim.SGD, lr=1e-3),
    metrics=(metrics.Accuracy(),),
    epochs=5,
    batch_size=100,
    prepare=to_float,
    classes=tuple("0123456789"),
    expected={"val_accuracy": (0.82, 0.84)},
)
