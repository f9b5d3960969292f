"""A cubic curve through 10,000 points with one hidden layer."""

from functools import partial

from jaxport import metrics, nn, optim
from jaxport.models import cubic
from jaxport.port import Port

PORT = Port(
    name="cubic",
    title="one hidden layer on a cubic curve",
    source="PyTorch basics, 4",
    model=cubic.build,
    input_shape=(1,),
    parameters=61,
    dataset="cubic",
    loss=partial(nn.MSELoss),
    optimizer=partial(optim.SGD, lr=0.01),
    metrics=(metrics.R2Score(),),
    epochs=10_000,
    expected={"val_r2": (0.99, 1.0)},
)
