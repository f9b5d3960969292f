"""One picture of noise and ten random numbers that LeNet learns to answer it with."""

from functools import partial

from jaxport import metrics, nn, optim
from jaxport.models import lenet32
from jaxport.port import Port

PORT = Port(
    name="lenet32",
    title="LeNet on a picture of noise",
    source="PyTorch notes, 60-minute part",
    model=lenet32.build,
    input_shape=(1, 32, 32),
    parameters=61_706,
    dataset="noise",
    loss=partial(nn.MSELoss),
    optimizer=partial(optim.SGD, lr=0.01),
    metrics=(metrics.MeanAbsoluteError(),),
    # The tutorial takes one step and prints the loss of other noise before it, 1.0263.
    epochs=100,
    expected={"val_loss": (0.0, 1.0)},
)
