"""The embedded default: handwritten digits without any download."""

from functools import partial

from jaxport import metrics, nn, optim
from jaxport.data import to_float
from jaxport.models import digits
from jaxport.port import Port

PORT = Port(
    name="digits",
    title="convolutional network on scikit-learn's embedded digits",
    source="ours: the network of mnist_cnn on data that needs no download",
    model=digits.build,
    input_shape=(1, 28, 28),
    parameters=53_994,
    dataset="digits",
    loss=partial(nn.CrossEntropyLoss),
    optimizer=partial(optim.Adam, lr=0.001),
    metrics=(metrics.Accuracy(),),
    epochs=20,
    batch_size=32,
    prepare=to_float,
    classes=tuple("0123456789"),
    expected={"val_accuracy": (0.97, 1.0)},
)
