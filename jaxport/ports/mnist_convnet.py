"""Handwritten digits with convolutions and batch normalisation."""

from functools import partial

from jaxport import metrics, nn, optim
from jaxport.data import to_float
from jaxport.models import mnist_convnet
from jaxport.port import Port

PORT = Port(
    name="mnist_convnet",
    title="convolutional network with batch normalisation on MNIST",
    source="PyTorch notes, CNN",
    model=mnist_convnet.build,
    input_shape=(1, 28, 28),
    parameters=29_034,
    dataset="mnist",
    loss=partial(nn.CrossEntropyLoss),
    optimizer=partial(optim.Adam, lr=1e-3),
    metrics=(metrics.Accuracy(),),
    epochs=5,
    batch_size=100,
    prepare=to_float,
    classes=tuple("0123456789"),
    expected={"val_accuracy": (0.985, 1.0)},
)
