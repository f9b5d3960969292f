"""Containers of parameters: ParameterList, ParameterDict. They appear in the state_dict under index or key."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from .module import Module, Parameter


def _as_member(value: Any) -> Any:
    """Turn a floating array into a parameter; variables and everything else stay as they are."""
    if isinstance(value, (jax.Array, np.ndarray)):
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise TypeError(f"a parameter must have a floating dtype, got {value.dtype}; wrap it in nn.Buffer")
        return Parameter(jnp.asarray(value))
    return value


def _described(key: Any, value: Any) -> str:
    if not isinstance(value, nnx.Variable):
        return f"  ({key}): Object of type: {type(value).__name__}"
    kind = "Parameter" if isinstance(value, nnx.Param) else "Buffer"
    size = "x".join(map(str, value.shape))
    return f"  ({key}): {kind} containing: [{jnp.dtype(value.dtype).name} of size {size}]"


class ParameterList(Module):
    """Hold parameters in a list. Floating arrays become parameters; other objects are kept as they are.

    Args:
        values: any iterable.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ParameterList.html
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        self._size = 0
        if values is not None:
            self.extend(values)

    def append(self, value: Any) -> Self:
        """Append `value` and return self."""
        setattr(self, str(self._size), _as_member(value))
        self._size += 1
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        """Append every value and return self.

        Raises:
            TypeError: `values` is not an iterable, or is a single array.
        """
        if isinstance(values, (jax.Array, np.ndarray, nnx.Variable)) or not isinstance(values, Iterable):
            raise TypeError(f"ParameterList: values must be an iterable of arrays, got {type(values).__name__}")
        for value in values:
            self.append(value)
        return self

    def pop(self, idx: int = -1) -> Any:
        """Remove and return the value at position `idx`; what follows is renumbered."""
        values = list(self)
        value = values.pop(self._position(idx))
        for index in range(self._size):
            delattr(self, str(index))
        self._size = 0
        self.extend(values)
        return value

    def _position(self, idx: Any) -> int:
        position = operator.index(idx)
        if not -self._size <= position < self._size:
            raise IndexError(f"ParameterList: index must lie in [{-self._size}, {self._size - 1}], got {idx}")
        return position % self._size

    @overload
    def __getitem__(self, idx: int) -> Any: ...
    @overload
    def __getitem__(self, idx: slice) -> ParameterList: ...
    def __getitem__(self, idx: int | slice) -> Any:
        if isinstance(idx, slice):
            return ParameterList(list(self)[idx])
        return getattr(self, str(self._position(idx)))

    def __setitem__(self, idx: int, value: Any) -> None:
        setattr(self, str(self._position(idx)), _as_member(value))

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, str(index)) for index in range(self._size))

    def __len__(self) -> int:
        return self._size

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)

    def extra_repr(self) -> str:
        """Return a line for each value."""
        return "\n".join(_described(index, value) for index, value in enumerate(self))


class ParameterDict(Module):
    """Hold parameters under keys, in the order of insertion. Floating arrays become parameters.

    Args:
        parameters: a mapping or an iterable of (key, value).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ParameterDict.html
    """

    def __init__(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        self._names: tuple[str, ...] = ()
        if parameters is not None:
            self.update(parameters)

    def update(self, parameters: Mapping[str, Any] | ParameterDict | Iterable[tuple[str, Any]]) -> None:
        """Add or replace values from a mapping or from pairs (key, value)."""
        if isinstance(parameters, (str, nnx.Variable)) or not isinstance(parameters, (Iterable, ParameterDict)):
            raise TypeError(f"ParameterDict: parameters must be a mapping or pairs, got {type(parameters).__name__}")
        pairs: Any = parameters.items() if isinstance(parameters, (Mapping, ParameterDict)) else parameters
        for key, value in pairs:
            self[key] = value

    def _dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names}

    def keys(self) -> Iterable[str]:
        """Return the keys."""
        return self._dict().keys()

    def values(self) -> Iterable[Any]:
        """Return the values."""
        return self._dict().values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return the pairs of key and value."""
        return self._dict().items()

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value under `key`, or `default`."""
        return self._dict().get(key, default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value under `key`, after storing `default` there if there was none."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str) -> Any:
        """Remove and return the value under `key`."""
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Remove and return the last pair."""
        if not self._names:
            raise KeyError("ParameterDict: it is empty")
        key = self._names[-1]
        return key, self.pop(key)

    def clear(self) -> None:
        """Remove every value."""
        for name in self._names:
            del self[name]

    def copy(self) -> ParameterDict:
        """Return a dictionary of the same parameters."""
        return ParameterDict(self._dict())

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """Return a dictionary with `default` under each key."""
        return ParameterDict((key, default) for key in keys)

    def __getitem__(self, key: str) -> Any:
        if key not in self._names:
            raise KeyError(f"ParameterDict: no parameter {key!r}; there are {', '.join(self._names) or 'none'}")
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in self._names:
            self._check_name(key)
            self._names = (*self._names, key)
        setattr(self, key, _as_member(value))

    def __delitem__(self, key: str) -> None:
        self[key]
        delattr(self, key)
        self._names = tuple(name for name in self._names if name != key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, key: Any) -> bool:
        return key in self._names

    def __or__(self, other: Mapping[str, Any] | ParameterDict) -> ParameterDict:
        joined = self.copy()
        joined.update(other)
        return joined

    def __ior__(self, other: Mapping[str, Any] | ParameterDict) -> Self:
        self.update(other)
        return self

    def extra_repr(self) -> str:
        """Return a line for each value."""
        return "\n".join(_described(key, value) for key, value in self.items())
