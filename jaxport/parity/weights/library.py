"""Which class of a library a layer is."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jaxport.parity.layer import Layer


def library_name(layer: Layer, packages: Sequence[str]) -> tuple[str, str] | None:
    """Return package and name of the layer's class, or of the nearest one that it was made from.

    Args:
        layer: whose kind or module's class is looked at.
        packages: those that may have it: "flax.nnx".

    Returns:
        ("flax.nnx", "Linear") for a Linear and for a user's class that inherits from it; None for other classes.
    """
    for package in packages:
        if layer.kind.startswith(package + ".") and layer.kind.count(".") == package.count(".") + 1:
            return package, layer.name
    for cls in type(layer.module).__mro__[1:]:
        for package in packages:
            if getattr(sys.modules.get(package), cls.__name__, None) is cls and cls.__name__ != "Module":
                return package, cls.__name__
    return None
