"""A plane through a million points, all of them in every step: work for an accelerator."""

from functools import partial

from jaxport import metrics, nn, optim
from jaxport.models import linreg_million
from jaxport.port import Port

PORT = Port(
    name="linreg_million",
    title="plane through 1,000,000 points",
    source="How to eat PyTorch in 20 days, 6-3",
    model=linreg_million.build,
    input_shape=(2,),
    parameters=3,
    dataset="million",
    loss=partial(nn.MSELoss),
    optimizer=partial(optim.Adam, lr=0.1),
    metrics=(metrics.MeanAbsoluteError(),),
    epochs=500,
    # The noise has variance 4; the tutorial prints 3.9965 and 3.9983.
    expected={"val_loss": (3.98, 4.02)},
)
