"""Who survived the Titanic, from 15 features."""

from functools import partial

from jaxport import metrics, nn, optim
from jaxport.models import titanic
from jaxport.port import Port

PORT = Port(
    name="titanic",
    title="small network on the Titanic's passengers",
    source="How to eat PyTorch in 20 days, 1-1",
    model=titanic.build,
    input_shape=(15,),
    parameters=651,
    dataset="titanic",
    loss=partial(nn.BCELoss),
    optimizer=partial(optim.Adam, lr=0.01),
    metrics=(metrics.BinaryAccuracy(),),
    epochs=10,
    batch_size=8,
    expected={"val_accuracy": (0.78, 0.84)},
)
