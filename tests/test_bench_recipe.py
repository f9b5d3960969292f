"""The recipes that are measured: a port's own, but for a learning rate whose losses can be compared."""

from jaxport import ports
from jaxport.bench.recipe import benched, deviation


def test_another_learning_rate_changes_nothing_else_and_is_told():
    own = ports.get("resnet")
    measured = benched(own)
    assert measured.optimizer.func is own.optimizer.func
    assert measured.optimizer.keywords == own.optimizer.keywords | {"lr": 5e-4}
    assert own.optimizer.keywords == {"lr": 0.05, "momentum": 0.9}
    assert deviation("resnet") == "learning rate 0.0005, not the recipe's"


def test_other_ports_are_measured_as_they_train():
    assert benched(ports.get("lenet")) is ports.get("lenet")
    assert deviation("lenet") is None
