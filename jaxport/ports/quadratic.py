"""The minimum of x² - 2x + 1 by gradient descent."""

from functools import partial

from jaxport import metrics, optim
from jaxport.models import quadratic
from jaxport.port import Port

PORT = Port(
    name="quadratic",
    title="minimum of x² - 2x + 1",
    source="How to eat PyTorch in 20 days, 2-2 and 5-4",
    model=quadratic.build,
    input_shape=(3,),
    parameters=1,
    dataset="quadratic",
    loss=partial(quadratic.Value),
    optimizer=partial(optim.SGD, lr=0.01),
    metrics=(metrics.MeanAbsoluteError(),),
    epochs=500,
    # The tutorial prints y = 0 and x = 1.0000.
    expected={"val_loss": (-5e-5, 5e-5)},
)
