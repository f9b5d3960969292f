"""Layer: what is known of one module of anyone's model, on either side, before anything is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Layer:
    """One module of a model.

    Attributes:
        path: dotted path from the model, "" for the model itself: ``encoder.layers.0.attn``.
        kind: its class with the framework in front: ``torch.nn.Conv2d``, ``flax.nnx.Conv``, ``flax.linen.Conv``,
            ``equinox.nn.Conv2d``; a user's class has its own module's name; ``array`` for arrays of a bare pytree.
        settings: what it was constructed with, by the framework's own names: ``eps``, ``padding``, ``use_bias``…
        arrays: the parameters and buffers that are its own (not those of its children), by the framework's name; the
            values are the framework's own arrays.
        module: the module itself, None for a bare pytree.
        children: whether it has modules of its own.
    """

    path: str
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Any] = field(default_factory=dict)
    module: Any = None
    children: bool = False

    @property
    def name(self) -> str:
        """The last part of the kind: ``Conv2d``."""
        return self.kind.rsplit(".", 1)[-1]

    def key(self, array: str) -> str:
        """Return the path of one of its arrays: ``encoder.conv.kernel``."""
        return f"{self.path}.{array}" if self.path else array


Layers = Mapping[str, Layer]
"""The modules of a model by path, in the order in which they were defined, the model itself first."""


@dataclass(frozen=True)
class Pair:
    """A module of the JAX model and the one of the PyTorch model that it stands for.

    Attributes:
        jax_path: path of the one.
        torch_path: path of the other.
        rule: what aligned them: "path", "class and shape", "order", "map" or "leaves" (the same pairs below both).
    """

    jax_path: str
    torch_path: str
    rule: str
