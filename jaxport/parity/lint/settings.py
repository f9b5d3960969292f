"""Settings of a JAX layer in PyTorch's terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxport.parity.layer import Layer

Pads = tuple[tuple[int, int], ...]


def own(layer: Layer) -> bool:
    """Whether it is one of jaxport's layers, whose settings mean what PyTorch's mean."""
    return layer.kind.startswith("jaxport.nn")


def get(layer: Layer, *names: str) -> Any:
    """Return the first of these settings that the layer has, None if it has none."""
    return next((layer.settings[name] for name in names if name in layer.settings), None)


def eps(layer: Layer) -> float | None:
    """Return a norm's eps."""
    value = get(layer, "epsilon", "eps")
    return None if value is None else float(value)


def new_weight(layer: Layer) -> float | None:
    """Return the weight of the new value in running statistics: PyTorch's momentum, 1 − Flax's and Equinox's."""
    value = get(layer, "momentum")
    if value is None:
        return None
    return float(value) if own(layer) else 1.0 - float(value)


def has_bias(layer: Layer) -> bool | None:
    """Return whether the layer has a bias, None if its settings and arrays do not say."""
    value = get(layer, "use_bias", "bias")
    if isinstance(value, bool):
        return value
    return True if "bias" in layer.arrays else None


def numbers(value: Any, n: int) -> tuple[int, ...] | None:
    """Return an integer or a sequence of `n` integers as a tuple; None is 1."""
    if value is None:
        return (1,) * n
    if isinstance(value, int):
        return (value,) * n
    found = tuple(value) if isinstance(value, Sequence) else ()
    found = found * n if len(found) == 1 else found
    return found if len(found) == n and all(isinstance(v, int) for v in found) else None


def pads(value: Any, n: int) -> Pads | str | None:
    """Return a padding as pairs, or as the word that it is; None if it is neither."""
    if isinstance(value, str):
        return ((0, 0),) * n if value.upper() == "VALID" else value.upper()
    if isinstance(value, int):
        return ((value, value),) * n
    if not isinstance(value, Sequence):
        return None
    found = [(v, v) if isinstance(v, int) else tuple(v) for v in value]
    found = found * n if len(found) == 1 else found
    return tuple(found) if len(found) == n and all(len(p) == 2 for p in found) else None  # type: ignore[return-value]


def dimensions(layer: Layer) -> int:
    """Return how many spatial axes a PyTorch layer has, by its name; 0 if it does not say."""
    return int(layer.name[-2]) if layer.name[-1:] == "d" and layer.name[-2:-1].isdigit() else 0
