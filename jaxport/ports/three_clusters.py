"""Which of three clusters a point is in."""

from functools import partial

from jaxport import metrics, nn, optim
from jaxport.data.generated import THREE_CLUSTERS
from jaxport.models import three_clusters
from jaxport.port import Port

PORT = Port(
    name="three_clusters",
    title="one hidden layer on three clusters",
    source="PyTorch basics, 6",
    model=three_clusters.build,
    input_shape=(2,),
    parameters=123,
    dataset="three_clusters",
    loss=partial(nn.CrossEntropyLoss),
    optimizer=partial(optim.SGD, lr=0.02),
    metrics=(metrics.Accuracy(),),
    epochs=10_000,
    classes=THREE_CLUSTERS.classes,
    expected={"val_accuracy": (0.95, 1.0)},
)
