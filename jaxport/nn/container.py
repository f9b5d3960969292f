"""Containers of modules: Sequential, ModuleList, ModuleDict. Children appear in the state_dict under index or key."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from itertools import groupby
from typing import Any, Self, overload

from .module import Module


class _ModuleSequence(Module):
    """Modules under the names "0", "1", … (or others, in a Sequential), with a list's methods."""

    def _replace(self, modules: Iterable[Module] | Mapping[str, Module]) -> None:
        """Hold these modules and no others; without names they are numbered."""
        named: Any = modules if isinstance(modules, Mapping) else {str(i): module for i, module in enumerate(modules)}
        named = dict(named)
        for name in self._order:
            delattr(self, name)
        for name, module in named.items():
            self.add_module(name, module)

    def _require(self, module: Any, name: Any) -> Module:
        if not isinstance(module, Module):
            owner = type(self).__name__
            raise TypeError(f"{owner}: module {name!r} must be a jaxport.nn.Module, got {type(module).__name__}")
        return module

    def _require_all(self, modules: Any) -> list[Module]:
        if isinstance(modules, (str, Mapping)) or not isinstance(modules, Iterable):
            owner = type(self).__name__
            raise TypeError(f"{owner}: modules must be an iterable of modules, got {type(modules).__name__}")
        return [self._require(module, index) for index, module in enumerate(modules)]

    def _position(self, index: Any, end: int | None = None) -> int:
        """Return `index` counted from the start; `end` is the largest that is allowed, by default the last one's."""
        position = operator.index(index)
        last = len(self) - 1 if end is None else end
        if not -len(self) <= position <= last:
            raise IndexError(f"{type(self).__name__}: index must lie in [{-len(self)}, {last}], got {index}")
        return position + len(self) if position < 0 else position

    def add_module(self, name: str, module: Module | None) -> None:
        """Append `module` under `name`, or put it in the place of the one that has this name.

        Raises:
            TypeError: `module` is not a jaxport module, or `name` is not a string.
            KeyError: `name` is empty, has a dot or is an attribute already.
        """
        super().add_module(name, self._require(module, name))

    def append(self, module: Module) -> Self:
        """Append `module` under the next number and return self."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Append every module and return self."""
        for module in self._require_all(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Insert `module` before position `index`, renumber what follows, and return self."""
        modules = list(self)
        modules.insert(self._position(index, len(self)), self._require(module, index))
        self._replace(modules)
        return self

    def pop(self, key: int | slice) -> Module:
        """Remove and return the module at position `key`."""
        module = self[key]
        del self[key]
        return module

    @overload
    def __getitem__(self, idx: int) -> Module: ...
    @overload
    def __getitem__(self, idx: slice) -> Self: ...
    def __getitem__(self, idx: int | slice) -> Module:
        if isinstance(idx, slice):
            chosen = list(self.named_children())[idx]
            part = type(self)()
            part._replace(dict(chosen) if isinstance(self, Sequential) else [module for _, module in chosen])
            return part
        return list(self)[self._position(idx)]

    def __setitem__(self, idx: int, module: Module) -> None:
        setattr(self, self._order[self._position(idx)], self._require(module, idx))

    def __delitem__(self, idx: int | slice) -> None:
        modules = list(self)
        del modules[idx if isinstance(idx, slice) else self._position(idx)]
        self._replace(modules)

    def __iter__(self) -> Iterator[Module]:
        # Not children(), which leaves out what appears twice: a module that is applied twice is listed twice.
        return (getattr(self, name) for name in self._order)

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, module: Any) -> bool:
        return any(module is other for other in self)

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __add__(self, modules: Iterable[Module]) -> Self:
        joined = type(self)()
        joined._replace([*self, *self._require_all(modules)])
        return joined


class Sequential(_ModuleSequence):
    """Apply modules one after the other, in its three spellings.

    ``Sequential(a, b)`` names them "0", "1"; ``Sequential(OrderedDict(first=a, second=b))`` by the keys;
    ``net = Sequential(); net.add_module("first", a)`` one at a time. Indexing, slicing, ``append``, ``insert``,
    ``extend``, ``pop``, ``del``, ``+`` and ``*`` work as on a list; ``*`` repeats the same modules (shared weights).

    Raises:
        TypeError: something is not a jaxport module.
        KeyError: a name is empty, has a dot or is an attribute already.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Sequential.html
    """

    def __init__(self, *args: Module | OrderedDict[str, Module]) -> None:
        pairs: Any = enumerate(args)
        if len(args) == 1 and isinstance(args[0], dict):
            pairs = args[0].items()
        for name, module in pairs:
            self.add_module(str(name) if isinstance(name, int) else name, module)

    def forward(self, input: Any) -> Any:
        """Apply every module in order."""
        for module in self:
            input = module(input)
        return input

    def __mul__(self, other: int) -> Sequential:
        times = self._times(other)
        return Sequential(*(module for _ in range(times) for module in self))

    __rmul__ = __mul__

    def __imul__(self, other: int) -> Self:
        originals = list(self)
        for _ in range(self._times(other) - 1):
            self.extend(originals)
        return self

    def _times(self, other: Any) -> int:
        if isinstance(other, bool) or not isinstance(other, int):
            raise TypeError(f"Sequential: can be multiplied by an integer only, got {other!r}")
        if other <= 0:
            raise ValueError(f"Sequential: can be multiplied by a positive integer only, got {other}")
        return other


class ModuleList(_ModuleSequence):
    """Hold modules in a list; it has no forward of its own.

    Args:
        modules: any iterable of modules.

    Raises:
        TypeError: something is not a jaxport module.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ModuleList.html
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        if modules is not None:
            self.extend(modules)

    def __repr__(self) -> str:
        """Show equal neighbours once, with their count."""
        lines = []
        for text, run in groupby(enumerate(map(repr, self)), key=lambda pair: pair[1]):
            indices = [index for index, _ in run]
            many = f"({indices[0]}-{indices[-1]}): {len(indices)} x {text}"
            lines.append((many if len(indices) > 1 else f"({indices[0]}): {text}").replace("\n", "\n  "))
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)" if lines else f"{self._get_name()}()"

    __str__ = __repr__


class ModuleDict(Module):
    """Hold modules under keys, in the order of insertion; it has no forward of its own.

    Args:
        modules: a mapping or an iterable of (key, module).

    Raises:
        TypeError: something is not a jaxport module, or a key is not a string.
        KeyError: a key is empty, has a dot or is an attribute (such as "keys") already.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ModuleDict.html
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        if modules is not None:
            self.update(modules)

    def update(self, modules: Mapping[str, Module] | ModuleDict | Iterable[tuple[str, Module]]) -> None:
        """Add or replace modules from a mapping or from pairs (key, module)."""
        if isinstance(modules, str) or not isinstance(modules, (Iterable, ModuleDict)):
            raise TypeError(f"ModuleDict: modules must be a mapping or pairs, got {type(modules).__name__}")
        pairs: Any = modules.items() if isinstance(modules, (Mapping, ModuleDict)) else modules
        for pair in pairs:
            if len(pair) != 2:
                raise ValueError(f"ModuleDict: modules must be pairs of key and module, got {pair!r}")
            self[pair[0]] = pair[1]

    def _dict(self) -> dict[str, Module]:
        return {name: getattr(self, name) for name in self._order}

    def keys(self) -> KeysView[str]:
        """Return the keys."""
        return self._dict().keys()

    def values(self) -> ValuesView[Module]:
        """Return the modules."""
        return self._dict().values()

    def items(self) -> ItemsView[str, Module]:
        """Return the pairs of key and module."""
        return self._dict().items()

    def clear(self) -> None:
        """Remove every module."""
        for name in self._order:
            delattr(self, name)

    def pop(self, key: str) -> Module:
        """Remove and return the module under `key`."""
        module = self[key]
        del self[key]
        return module

    def __getitem__(self, key: str) -> Module:
        if key not in self._order:
            raise KeyError(f"ModuleDict: no module {key!r}; there are {', '.join(self._order) or 'none'}")
        return getattr(self, key)

    def __setitem__(self, key: str, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"ModuleDict: module {key!r} must be a jaxport.nn.Module, got {type(module).__name__}")
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        self[key]
        delattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, key: Any) -> bool:
        return key in self._order
