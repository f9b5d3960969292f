"""Pictures of clothes with LeNet."""

from functools import partial

from jaxport import metrics, nn, optim
from jaxport.data import to_float
from jaxport.data.fashion_mnist import CLASSES
from jaxport.models import lenet
from jaxport.port import Port

PORT = Port(
    name="lenet",
    title="LeNet on Fashion-MNIST",
    source="PyTorch notes, LeNet",
    model=lenet.build,
    input_shape=(1, 28, 28),
    parameters=44_426,
    dataset="fashion_mnist",
    loss=partial(nn.CrossEntropyLoss),
    optimizer=partial(optim.Adam, lr=1e-3),
    metrics=(metrics.Accuracy(),),
    epochs=5,
    batch_size=256,
    prepare=to_float,
    classes=CLASSES,
    expected={"val_accuracy": (0.72, 0.8)},
)
