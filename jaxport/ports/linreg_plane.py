"""A plane through 400 points, in the tutorial's three levels: the high one is the port, the others its variants."""

from dataclasses import replace
from functools import partial

from jaxport import metrics, nn, optim
from jaxport.models import linreg_plane
from jaxport.port import Port

PORT = Port(
    name="linreg_plane",
    title="plane through points, y = Xw + b",
    source="How to eat PyTorch in 20 days, 3-1, 3-2, 3-3",
    model=linreg_plane.build,
    input_shape=(2,),
    parameters=3,
    dataset="plane",
    loss=partial(nn.MSELoss),
    optimizer=partial(optim.Adam, lr=0.01),
    metrics=(metrics.MeanAbsoluteError(), metrics.MeanAbsolutePercentageError()),
    epochs=200,
    batch_size=10,
    # The noise has variance 4; of 120 points, that is 4 ± 0.5.
    expected={"val_loss": (3.5, 4.5)},
)

VARIANTS = (
    replace(
        PORT,
        name="linreg_plane-low",
        title="plane through points, of raw arrays",
        source="How to eat PyTorch in 20 days, 3-1",
        model=linreg_plane.build_low,
        dataset="whole_plane",
        loss=partial(linreg_plane.HalfSquaredError),
        optimizer=partial(optim.SGD, lr=1e-3),
        epochs=1_000,
        expected={"val_loss": (1.7, 2.3)},  # half the noise's variance
    ),
    replace(
        PORT,
        name="linreg_plane-mid",
        title="plane through points, of a layer and an optimiser",
        source="How to eat PyTorch in 20 days, 3-2",
        dataset="whole_plane",
        optimizer=partial(optim.SGD, lr=0.01),
        expected={"val_loss": (3.4, 4.6)},  # of 400 points, 4 ± 0.6
    ),
)
