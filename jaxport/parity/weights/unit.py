"""Unit: arrays that are transferred together; PyTorch's names and layouts are the common form of both sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

Shape = tuple[int, ...]
Arrays = Sequence[np.ndarray]
Move = Callable[[Arrays], Arrays]

UNCOUNTED = "num_batches_tracked"
"""BatchNorm's counter, that only PyTorch and jaxport.nn have: it matters where momentum is None alone."""


def _counts(family: str, name: str) -> bool:
    """Say whether an array tells layers apart: of recurrent layers each side may have biases that the other has not."""
    return name != UNCOUNTED and not (family in ("lstm", "gru", "rnn") and name.startswith("bias"))


@dataclass(frozen=True)
class Slot:
    """One array of a PyTorch unit: a tensor of the state dict, or some rows of it.

    Attributes:
        key: its key.
        shape: its own shape, of the rows where it is some, and in the order of `order`.
        rows: first row, row after the last, and number of rows of the tensor; None for a whole tensor.
        order: the order of the tensor's axes in which it is read, where a user's map says so; None for its own.
    """

    key: str
    shape: Shape
    rows: tuple[int, int, int] | None = None
    order: tuple[int, ...] | None = None

    @property
    def whole_shape(self) -> Shape:
        """The shape of the tensor."""
        part = self.shape if self.order is None else tuple(self.shape[axis] for axis in np.argsort(self.order))
        return part if self.rows is None else (self.rows[2], *part[1:])

    def read(self, array: np.ndarray) -> np.ndarray:
        """Return its part of the tensor."""
        part = array if self.rows is None else array[self.rows[0] : self.rows[1]]
        return part if self.order is None else part.transpose(self.order)

    def write(self, part: np.ndarray) -> np.ndarray:
        """Return the rows of the tensor that the part is."""
        return part if self.order is None else part.transpose(tuple(int(axis) for axis in np.argsort(self.order)))


@dataclass(frozen=True, eq=False)
class Rule:
    """How some arrays of a JAX unit are made of PyTorch's and back.

    Attributes:
        keys: paths of the JAX leaves.
        names: PyTorch's names in the unit, ``weight``.
        shapes: PyTorch's shapes.
        to_jax: PyTorch's arrays → the leaves.
        to_torch: the leaves → PyTorch's arrays.
        text: what it does, in a few words.
        gradient: the leaves' gradients → those of PyTorch's arrays; None if it is `to_torch`.
    """

    keys: tuple[str, ...]
    names: tuple[str, ...]
    shapes: tuple[Shape, ...]
    to_jax: Move
    to_torch: Move
    text: str
    gradient: Move | None = None


@dataclass(frozen=True, eq=False)
class TorchUnit:
    """A PyTorch layer, or the part of one that a JAX layer may stand for.

    Attributes:
        path: where it is: the module's path, with ``.l0`` for a layer of an LSTM, ``.query`` for a part of attention.
        family: what may be paired with it: "linear", "conv2", "batchnorm"…
        slots: its arrays by name.
        module: path of its module.
        whole: whether it is all arrays of the module.
        parts: what it falls into, if it finds no partner.
        heads: number of attention heads.
        reverse: whether it reads a sequence from its end.
    """

    path: str
    family: str
    slots: Mapping[str, Slot]
    module: str
    whole: bool = True
    parts: tuple[TorchUnit, ...] = ()
    heads: int = 0
    reverse: bool = False

    @property
    def place(self) -> str:
        """The path by which it is aligned."""
        return self.path

    @property
    def signature(self) -> dict[str, Shape]:
        """Its shapes by name."""
        return {name: slot.shape for name, slot in self.slots.items() if _counts(self.family, name)}


@dataclass(frozen=True, eq=False)
class JaxUnit:
    """A JAX layer, in PyTorch's terms.

    Attributes:
        path: path of the module.
        family: as in `TorchUnit`.
        rules: how its arrays are transferred.
        module: path of the module that is observed: of the RNN for its cell.
        whole: whether it is all arrays of that module.
        parts: what it falls into, if it finds no partner.
        heads: number of attention heads.
        reverse: whether it reads a sequence from its end.
        zeros: names of PyTorch's arrays that it has no place for, so that they must be zero, with what to do.
        problems: what else PyTorch has in such a layer that it has no place for.
    """

    path: str
    family: str
    rules: tuple[Rule, ...]
    module: str
    whole: bool = True
    parts: tuple[JaxUnit, ...] = ()
    heads: int = 0
    reverse: bool = False
    zeros: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The path by which it is aligned."""
        return self.module if self.whole else self.path

    @property
    def signature(self) -> dict[str, Shape]:
        """The shapes that PyTorch's arrays must have, by name."""
        return {
            name: shape
            for rule in self.rules
            for name, shape in zip(rule.names, rule.shapes, strict=True)
            if _counts(self.family, name)
        }

    @property
    def keys(self) -> tuple[str, ...]:
        """Paths of all its leaves."""
        return tuple(key for rule in self.rules for key in rule.keys)
