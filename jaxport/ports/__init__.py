"""The ports by name: ``jaxport.ports.get("digits")``."""

from __future__ import annotations

from difflib import get_close_matches

from jaxport.errors import UsageError
from jaxport.port import Port as Port

from . import (
    cifar2,
    circles,
    circles_focal,
    covid19,
    cubic,
    digits,
    fashion_mnist,
    imdb,
    lenet,
    linreg_100k,
    linreg_matrix,
    linreg_note,
    linreg_plane,
    linreg_points,
    mnist_cnn,
    mnist_convnet,
    mnist_logistic,
    mnist_mlp,
    mnist_sgd,
    three_clusters,
    titanic,
    two_clusters,
)

_MODULES = (
    digits,
    mnist_cnn,
    fashion_mnist,
    titanic,
    cifar2,
    imdb,
    covid19,
    linreg_points,
    linreg_matrix,
    linreg_100k,
    linreg_note,
    linreg_plane,
    cubic,
    two_clusters,
    three_clusters,
    circles,
    circles_focal,
    mnist_logistic,
    mnist_sgd,
    mnist_mlp,
    mnist_convnet,
    lenet,
)
PORTS: dict[str, Port] = {module.PORT.name: module.PORT for module in _MODULES}


def names() -> list[str]:
    """Return the names of all ports."""
    return list(PORTS)


def get(name: str) -> Port:
    """Return the port of that name.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    if name not in PORTS:
        near = get_close_matches(str(name), PORTS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"there is no port {name!r}; {hint}The ports are {', '.join(PORTS)}")
    return PORTS[name]
