"""Pictures of clothes with a multilayer perceptron."""

from functools import partial

from jaxport import metrics, nn, optim
from jaxport.data import to_float
from jaxport.data.fashion_mnist import CLASSES
from jaxport.models import fashion_mnist
from jaxport.port import Port

PORT = Port(
    name="fashion_mnist",
    title="multilayer perceptron on Fashion-MNIST",
    source="PyTorch notes, quick start",
    model=fashion_mnist.build,
    input_shape=(1, 28, 28),
    parameters=669_706,
    dataset="fashion_mnist",
    loss=partial(nn.CrossEntropyLoss),
    optimizer=partial(optim.SGD, lr=1e-3),
    metrics=(metrics.Accuracy(),),
    epochs=5,
    batch_size=64,
    shuffle=False,
    prepare=to_float,
    classes=CLASSES,
    expected={"val_accuracy": (0.63, 0.67), "val_loss": (1.044, 1.104)},
)
