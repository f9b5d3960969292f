"""A line through five points by gradient descent on the sum of squares."""

from functools import partial

from jaxport import metrics, nn, optim
from jaxport.models import linreg_matrix
from jaxport.port import Port

PORT = Port(
    name="linreg_matrix",
    title="line through five points, y = Xw",
    source="PyTorch basics, 3.2",
    model=linreg_matrix.build,
    input_shape=(2,),
    parameters=2,
    dataset="points",
    loss=partial(nn.MSELoss, reduction="sum"),
    optimizer=partial(optim.SGD, lr=1e-4),
    metrics=(metrics.MeanAbsoluteError(),),
    epochs=10_000,
    expected={"val_loss": (8.20, 8.26)},
)
