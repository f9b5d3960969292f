"""The ports by name: ``jaxport.ports.get("digits")``."""

from __future__ import annotations

from difflib import get_close_matches

from jaxport.errors import UsageError
from jaxport.port import Port as Port

from . import cifar2, covid19, digits, fashion_mnist, imdb, linreg_matrix, mnist_cnn, titanic

_MODULES = (digits, mnist_cnn, fashion_mnist, titanic, cifar2, imdb, covid19, linreg_matrix)
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
