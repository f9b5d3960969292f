"""Python source for the call that makes a layer: literals, functions, dtypes and nested layers."""

from __future__ import annotations

import enum
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np

from jaxport.errors import UsageError


class NoCallError(Exception):
    """The call that made something cannot be told from what it holds."""


@dataclass
class Source:
    """Writes expressions, and keeps what they import.

    Attributes:
        layer: writes the call of a nested layer; it returns None for what is no layer.
        modules: names of the modules that the expressions need.
    """

    layer: Callable[[Source, Any], str | None]
    modules: set[str] = field(default_factory=set)

    def named(self, thing: Any) -> str:
        """Return the dotted name under which a class or function can be imported.

        Raises:
            UsageError: it was defined in a script or in a function, so that nobody else can import it.
        """
        module, name = thing.__module__, thing.__qualname__
        if module == "__main__" or "<" in name:
            raise UsageError(f"{name} of {module} cannot be imported by a script: define it at the top of a module")
        for public in (
            "torch.nn",
            "torch.nn.functional",
            "flax.nnx",
            "flax.linen",
            "equinox.nn",
            "jax.nn",
            "jax.numpy",
            "jax.lax",
        ):
            if getattr(sys.modules.get(public), name, None) is thing:
                module = public
                break
        self.modules.add(module)
        return f"{module}.{name}"

    def value(self, value: Any) -> str:
        """Return the source of an argument.

        Raises:
            NoCallError: there is none.
        """
        if (call := self.layer(self, value)) is not None:
            return call
        if value is ...:
            return "..."
        if value is None or (isinstance(value, bool | str | bytes | int) and not isinstance(value, enum.Enum)):
            return repr(value)
        if isinstance(value, float):
            return repr(value) if math.isfinite(value) else f'float("{value}")'
        if isinstance(value, enum.Enum):
            return f"{self.named(type(value))}.{value.name}"
        if isinstance(value, Mapping):
            return "{" + ", ".join(f"{self.value(k)}: {self.value(v)}" for k, v in value.items()) + "}"
        if isinstance(value, Sequence):
            return self._sequence(value)
        return self._name(value)

    def _sequence(self, value: Sequence[Any]) -> str:
        parts = [self.value(part) for part in value]
        if isinstance(value, tuple):
            return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
        return f"[{', '.join(parts)}]"

    def _name(self, value: Any) -> str:
        if isinstance(value, FunctionType | BuiltinFunctionType):
            return self.named(value)
        if (dtype := _dtype(value)) is not None:
            self.modules.add("jax.numpy")
            return f"jax.numpy.{dtype}"
        if type(value).__module__ == "torch" and type(value).__name__ == "dtype":
            return str(value)
        if hasattr(value, "__module__") and hasattr(value, "__qualname__"):
            return self.named(value)
        raise NoCallError(f"no source for {value!r}")

    def call(self, cls: type, held: Mapping[str, Any], extra: str = "", skip: Callable[[str], bool] = bool) -> str:
        """Return the call of a class whose arguments it keeps under their names; those left at their default are not
        written.

        Raises:
            NoCallError: an argument is not kept.
        """
        written = []
        for name, parameter in arguments(cls).items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or skip(name):
                continue
            if name not in held:
                raise NoCallError(f"{cls.__name__} does not keep its argument {name}")
            if not _same(held[name], parameter.default):
                written.append(f"{name}={self.value(held[name])}")
        return f"{self.named(cls)}({', '.join([*written, *filter(None, [extra])])})"


def _dtype(value: Any) -> str | None:
    try:
        dtype = np.dtype(value)
    except TypeError:
        return None
    return None if dtype.kind == "O" else dtype.name  # any class is "object" to NumPy


def arguments(cls: type) -> dict[str, inspect.Parameter]:
    """Return what a class's constructor takes; a metaclass of its own, such as NNX has, would hide it."""
    return dict(list(inspect.signature(cls.__init__).parameters.items())[1:])


def _same(value: Any, default: Any) -> bool:
    try:
        return type(value) is type(default) and bool(value == default)
    except Exception:  # arrays and the like: then it is written, or refused
        return False


PLAIN = (bool, int, float, str, type(None))


def plain(value: Any) -> bool:
    """Whether it is a number, text, or tuples of these: what two layers of the same making must share."""
    if isinstance(value, tuple):
        return all(plain(part) for part in value)
    return isinstance(value, PLAIN)


def same_settings(a: Mapping[str, Any], b: Mapping[str, Any], ignore: Sequence[str] = ()) -> bool:
    """Whether two objects hold the same plain values under the same names."""
    left, right = ({k: v for k, v in x.items() if plain(v) and k not in ignore} for x in (a, b))
    return left.keys() == right.keys() and all(repr(left[k]) == repr(right[k]) for k in left)
