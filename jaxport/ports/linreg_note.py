"""A line through fifteen points, in 60 steps."""

from functools import partial

from jaxport import metrics, nn, optim
from jaxport.models import linreg_note
from jaxport.port import Port

PORT = Port(
    name="linreg_note",
    title="line through fifteen points, with a layer",
    source="PyTorch notes, linear regression",
    model=linreg_note.build,
    input_shape=(1,),
    parameters=2,
    dataset="fifteen",
    loss=partial(nn.MSELoss),
    optimizer=partial(optim.SGD, lr=1e-3),
    metrics=(metrics.MeanAbsoluteError(),),
    epochs=60,
    # The notes print no number: the loss falls at every step. It depends on the first weights;
    # PyTorch over 100 seeds: from 0.169 to 0.530.
    expected={"val_loss": (0.16, 0.65)},
)
