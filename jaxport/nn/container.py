"""Containers: Sequential."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Self, overload

from .module import Module


class Sequential(Module):
    """Apply modules one after the other, in its three spellings.

    ``Sequential(a, b)`` names them "0", "1"; ``Sequential(OrderedDict(first=a, second=b))`` by the keys;
    ``net = Sequential(); net.add_module("first", a)`` one at a time.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Sequential.html
    """

    def __init__(self, *args: Module | OrderedDict[str, Module]) -> None:
        if len(args) == 1 and isinstance(args[0], dict):
            for name, module in args[0].items():
                self.add_module(name, module)
            return
        for index, module in enumerate(args):
            self.add_module(str(index), module)

    def add_module(self, name: str, module: Any) -> None:
        """Append `module` under `name`.

        Raises:
            TypeError: `module` is not a jaxport module, or `name` is not a string.
            KeyError: `name` is empty, has a dot or is an attribute already.
        """
        if not isinstance(module, Module):
            raise TypeError(f"Sequential: module {name!r} must be a jaxport.nn.Module, got {type(module).__name__}")
        if not isinstance(name, str):
            raise TypeError(f"Sequential: name must be a string, got {name!r}")
        if not name or "." in name:
            raise KeyError(f"Sequential: name must be non-empty and without dots, got {name!r}")
        if hasattr(self, name) and name not in self._order:
            raise KeyError(f"Sequential: {name!r} is an attribute of Sequential already; choose another name")
        setattr(self, name, module)

    def append(self, module: Module) -> Self:
        """Append `module` under the next number and return self."""
        self.add_module(str(len(self)), module)
        return self

    def forward(self, input: Any) -> Any:
        """Apply every module in order."""
        for module in self:
            input = module(input)
        return input

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return Sequential(OrderedDict(list(self.named_children())[index]))
        if not -len(self) <= index < len(self):
            raise IndexError(f"index must lie in [{-len(self)}, {len(self) - 1}], got {index}")
        return list(self.children())[index]
