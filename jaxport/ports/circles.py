"""Which of two rings a point is on, in the tutorial's three levels: the high one is the port, two are variants."""

from dataclasses import replace
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

VARIANTS = (
    replace(
        PORT,
        name="circles-low",
        title="small network on two rings, of raw arrays",
        source="How to eat PyTorch in 20 days, 3-1",
        model=circles.build_low,
        dataset="whole_circles",
        loss=partial(circles.ClampedBCE),
        optimizer=partial(optim.SGD, lr=0.01),
        epochs=1_000,
        batch_size=20,
    ),
    replace(
        PORT,
        name="circles-mid",
        title="small network on two rings, of layers and an optimiser",
        source="How to eat PyTorch in 20 days, 3-2",
        dataset="whole_circles",
        # The tutorial's model makes a new Adam each time it is asked for one, so its averages never grow old; this is
        # the Adam that it means.
        optimizer=partial(optim.Adam, lr=1e-3),
        epochs=300,
        batch_size=10,
    ),
)
