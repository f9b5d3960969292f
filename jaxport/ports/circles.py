"""Which of two rings a point is on, trained in the tutorial's high-level style."""

from functools import partial

from jaxport import metrics, nn, optim
from jaxport.data.generated import RINGS
from jaxport.models import circles
from jaxport.port import Port

PORT = Port(
    name="circles",
    title="small network on two rings",
    source="How to eat PyTorch in 20 days, 3-1, 3-2, 3-3",
    model=circles.build,
    input_shape=(2,),
    parameters=61,
    dataset="circles",
    loss=partial(nn.BCELoss),
    optimizer=partial(optim.Adam, lr=0.01),
    metrics=(metrics.BinaryAccuracy(),),
    epochs=100,
    batch_size=100,
    classes=RINGS,
    expected={"val_accuracy": (0.92, 0.94)},
)
