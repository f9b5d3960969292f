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
    lenet32,
    linreg_100k,
    linreg_matrix,
    linreg_million,
    linreg_note,
    linreg_plane,
    linreg_points,
    mnist_cnn,
    mnist_convnet,
    mnist_logistic,
    mnist_mlp,
    mnist_sgd,
    quadratic,
    resnet,
    three_clusters,
    titanic,
    two_clusters,
    unet,
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
    lenet32,
    resnet,
    unet,
    linreg_million,
    quadratic,
)
PORTS: dict[str, Port] = {module.PORT.name: module.PORT for module in _MODULES}
VARIANTS: dict[str, Port] = {port.name: port for module in _MODULES for port in getattr(module, "VARIANTS", ())}
"""A port's other levels, depths and recipes: ``linreg_plane-low``, ``resnet-50``. They share its four files."""


def names(variants: bool = False) -> list[str]:
    """Return the names of all ports, and with `variants` those of their variants too, each behind its port."""
    if not variants:
        return list(PORTS)
    return [name for port in PORTS for name in (port, *(other for other in VARIANTS if of(other) == port))]


def of(name: str) -> str:
    """Return the name of the port that `name` is a variant of; a port's own name is returned unchanged."""
    return name.partition("-")[0]


def get(name: str) -> Port:
    """Return the port or variant of that name.

    Raises:
        UsageError: there is none; the message names the nearest, or the variants of the port that was meant.
    """
    known = PORTS | VARIANTS
    if name in known:
        return known[name]
    others = [other for other in VARIANTS if of(other) == of(str(name))]
    if others and str(name) != of(str(name)):
        raise UsageError(f"{of(str(name))} has no variant {name!r}; there are {', '.join([of(str(name)), *others])}")
    near = get_close_matches(str(name), known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UsageError(f"there is no port {name!r}; {hint}The ports are {', '.join(PORTS)}")
