"""Which of two clusters a point is in."""

from functools import partial

from jaxport import metrics, nn, optim
from jaxport.data.generated import TWO_CLUSTERS
from jaxport.models import two_clusters
from jaxport.port import Port

PORT = Port(
    name="two_clusters",
    title="logistic regression on two clusters",
    source="PyTorch basics, 5",
    model=two_clusters.build,
    input_shape=(2,),
    parameters=6,
    dataset="two_clusters",
    loss=partial(nn.CrossEntropyLoss),
    optimizer=partial(optim.SGD, lr=0.02),
    metrics=(metrics.Accuracy(),),
    epochs=1_000,
    classes=TWO_CLUSTERS.classes,
    expected={"val_accuracy": (0.99, 1.0)},
)
