"""Handwritten digits with one hidden layer."""

from functools import partial

from jaxport import metrics, nn, optim
from jaxport.data import to_float
from jaxport.models import mnist_mlp
from jaxport.port import Port

PORT = Port(
    name="mnist_mlp",
    title="one hidden layer on MNIST",
    source="PyTorch notes, neural network",
    model=mnist_mlp.build,
    input_shape=(1, 28, 28),
    parameters=397_510,
    dataset="mnist",
    loss=partial(nn.CrossEntropyLoss),
    optimizer=partial(optim.Adam, lr=1e-3),
    metrics=(metrics.Accuracy(),),
    epochs=5,
    batch_size=100,
    prepare=to_float,
    classes=tuple("0123456789"),
    expected={"val_accuracy": (0.975, 1.0)},
)
