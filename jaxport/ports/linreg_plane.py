"""A plane through 400 points, trained in the tutorial's high-level style."""

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
