"""Module: PyTorch's ``nn.Module`` interface over a Flax NNX module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

Parameter = nnx.Param


class Buffer(nnx.Variable[jax.Array]):
    """An array of a module's state that is not trained (running statistics, counters), stored in its state_dict."""


class Module(nnx.Module):
    """Base class of every layer and model: write ``__init__`` and ``forward``, as in PyTorch.

    It is a Flax NNX module, so ``nnx.split``, ``nnx.merge``, ``nnx.jit`` and every JAX transformation apply. Children,
    parameters and buffers keep the order of their assignment, which is the order of PyTorch's state_dict.

    Attributes:
        training: True while training (the default), False for evaluation; set it with `train` and `eval`.

    Differs from PyTorch: layers with random initial values or masks take ``rngs`` (a ``flax.nnx.Rngs``), since JAX has
    no global generator.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html
    """

    training: bool = True
    _order: tuple[str, ...] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, (nnx.Variable, nnx.Module)):
            if name not in self._order:
                super().__setattr__("_order", (*self._order, name))
        elif name in self._order:
            super().__setattr__("_order", tuple(other for other in self._order if other != name))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the module: calls `forward`."""
        return self.forward(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every subclass defines it.

        Raises:
            NotImplementedError: the subclass does not.
        """
        raise NotImplementedError(f'{type(self).__name__} has no "forward": define forward(self, ...)')

    def _members(self) -> Iterator[tuple[str, Any]]:
        """Yield children, parameters and buffers of this module alone, in the order of their assignment."""
        return ((name, getattr(self, name)) for name in self._order)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules directly below this one with their names."""
        return ((name, member) for name, member in self._members() if isinstance(member, Module))

    def children(self) -> Iterator[Module]:
        """Yield the modules directly below this one."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it, depth first, with dotted paths (its own is `prefix`)."""
        seen: set[int] = set()

        def walk(module: Module, path: str) -> Iterator[tuple[str, Module]]:
            if remove_duplicate and id(module) in seen:
                return
            seen.add(id(module))
            yield path, module
            for name, child in module.named_children():
                yield from walk(child, f"{path}.{name}" if path else name)

        return walk(self, prefix)

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, depth first."""
        return (module for _, module in self.named_modules())

    def _named_variables(
        self, kind: type[nnx.Variable], prefix: str, remove_duplicate: bool
    ) -> Iterator[tuple[str, nnx.Variable]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix, remove_duplicate):
            for name, member in module._members():
                if isinstance(member, kind) and not (remove_duplicate and id(member) in seen):
                    seen.add(id(member))
                    yield (f"{path}.{name}" if path else name), member

    def named_parameters(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, nnx.Param]]:
        """Yield every parameter below this module with its dotted path, in PyTorch's order."""
        return self._named_variables(Parameter, prefix, remove_duplicate)  # type: ignore[return-value]

    def parameters(self) -> Iterator[nnx.Param]:
        """Yield every parameter below this module, in PyTorch's order."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, nnx.Variable]]:
        """Yield every buffer below this module with its dotted path, in PyTorch's order."""
        return self._named_variables(Buffer, prefix, remove_duplicate)

    def train(self, mode: bool = True, **attributes: Any) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Set training mode here and in every module below, and return self; `attributes` as NNX's train sets them."""
        if not isinstance(mode, bool):
            raise ValueError(f"mode must be True or False, got {mode!r}")
        for _, module in nnx.iter_modules(self):
            if isinstance(module, Module):
                module.training = mode
            elif isinstance(module, nnx.Module):
                flags = {"deterministic": not mode, "use_running_average": not mode, **attributes}
                module.set_attributes(**flags, raise_if_not_found=False)
        return self

    def eval(self, **attributes: Any) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Set evaluation mode here and in every module below, and return self."""
        return self.train(False, **attributes)

    def to(self, dtype: DTypeLike) -> Self:
        """Cast every floating parameter and buffer to `dtype`, in place, and return self.

        Differs from PyTorch: no device argument; use ``jax.device_put`` or shardings.
        """
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(f"dtype must be a floating dtype, got {dtype!r}")
        for _, variable in (*self.named_parameters(), *self.named_buffers()):
            if jnp.issubdtype(variable.dtype, jnp.floating):
                variable.set_value(variable[...].astype(dtype))
        return self

    def extra_repr(self) -> str:
        """Return what stands between the parentheses of a leaf's repr; subclasses override it."""
        return ""

    def __repr__(self) -> str:
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        extra = self.extra_repr()
        if not children:
            return f"{type(self).__name__}({extra})"
        lines = [extra, *children] if extra else children
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"

    __str__ = __repr__


def fresh_rngs(rngs: nnx.Rngs | int | None, owner: str) -> nnx.Rngs:
    """Return `rngs` as ``nnx.Rngs``, accepting a seed; `owner` names the caller in the error.

    Raises:
        TypeError: `rngs` is neither.
    """
    if isinstance(rngs, nnx.Rngs):
        return rngs
    if isinstance(rngs, int) and not isinstance(rngs, bool):
        return nnx.Rngs(rngs)
    raise TypeError(f"{owner}: rngs must be a flax.nnx.Rngs or an integer seed, got {rngs!r}")
