"""Module: PyTorch's ``nn.Module`` interface over a Flax NNX module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from .recording import note_output


class Parameter(nnx.Param[jax.Array]):
    """An array that is trained; with ``requires_grad=False`` it is frozen: kept, stored, and left alone by training.

    Args:
        data: the initial value.
        requires_grad: whether it is trained. Set it later on the parameter itself, or on all of a module with
            `Module.requires_grad_`. It is structure, not data: functions that are compiled already are compiled again.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html
    """

    def __init__(self, data: Any, requires_grad: bool = True, **metadata: Any) -> None:
        super().__init__(data, **metadata)
        self.requires_grad = requires_grad

    @property
    def requires_grad(self) -> bool:
        """Whether this parameter is trained."""
        return _requires_grad(self)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise ValueError(f"requires_grad must be True or False, got {value!r}")
        if value != self.requires_grad:
            self.set_metadata(requires_grad=value)


class Buffer(nnx.Variable[jax.Array]):
    """An array of a module's state that is not trained (running statistics, counters), stored in its state_dict.

    Args:
        data: the initial value.
        persistent: whether it belongs to the state_dict.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Buffer.html
    """

    def __init__(self, data: Any, persistent: bool = True, **metadata: Any) -> None:
        super().__init__(data, **metadata)
        if not persistent:
            self.set_metadata(persistent=False)

    @property
    def persistent(self) -> bool:
        """Whether this buffer belongs to the state_dict."""
        return self.get_metadata().get("persistent", True)


def _requires_grad(variable: nnx.Variable) -> bool:
    return variable.get_metadata().get("requires_grad", True)


def trainable(path: Any, variable: Any) -> bool:
    """Whether a variable is a parameter that is not frozen: the filter for ``nnx.split`` and ``nnx.DiffState``.

    ``graph, params, rest = nnx.split(model, nn.trainable, ...)`` puts frozen parameters into `rest`, so that neither
    gradients nor an optimiser see them.
    """
    del path
    return isinstance(variable, nnx.Param) and _requires_grad(variable)


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

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        super().__setattr__("_order", tuple(other for other in self._order if other != name))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the module: calls `forward`."""
        output = self.forward(*args, **kwargs)
        note_output(self, output)
        return output

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
        return self._named_variables(nnx.Param, prefix, remove_duplicate)  # type: ignore[return-value]

    def parameters(self) -> Iterator[nnx.Param]:
        """Yield every parameter below this module, in PyTorch's order."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, nnx.Variable]]:
        """Yield every buffer below this module with its dotted path, in PyTorch's order."""
        return self._named_variables(Buffer, prefix, remove_duplicate)

    def buffers(self) -> Iterator[nnx.Variable]:
        """Yield every buffer below this module, in PyTorch's order."""
        return (buffer for _, buffer in self.named_buffers())

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child under `name`, as ``self.name = module`` does; names may be any text without a dot.

        Raises:
            TypeError: `module` is not a jaxport module, or `name` is not a string.
            KeyError: `name` is empty, has a dot or is an attribute already.
        """
        self._check_name(name)
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"module {name!r} must be a jaxport.nn.Module, got {type(module).__name__}")
        setattr(self, name, module)

    register_module = add_module

    def register_parameter(self, name: str, param: nnx.Param | None) -> None:
        """Add a parameter under `name`, as ``self.name = param`` does.

        Raises:
            TypeError: `param` is not a Parameter, or `name` is not a string.
            KeyError: `name` is empty, has a dot or is an attribute already.
        """
        self._check_name(name)
        if param is not None and not isinstance(param, nnx.Param):
            raise TypeError(f"param {name!r} must be a jaxport.nn.Parameter, got {type(param).__name__}")
        setattr(self, name, param)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Add a buffer under `name`; one that is not `persistent` stays out of the state_dict.

        Raises:
            TypeError: `name` is not a string.
            KeyError: `name` is empty, has a dot or is an attribute already.
        """
        self._check_name(name)
        setattr(self, name, None if tensor is None else Buffer(jnp.asarray(tensor), persistent))

    def _check_name(self, name: str) -> None:
        owner = type(self).__name__
        if not isinstance(name, str):
            raise TypeError(f"{owner}: name must be a string, got {name!r}")
        if not name or "." in name:
            raise KeyError(f"{owner}: name must be non-empty and without dots, got {name!r}")
        if hasattr(self, name) and name not in self._order:
            raise KeyError(f"{owner}: {name!r} is an attribute of {owner} already; choose another name")

    def get_submodule(self, target: str) -> Module:
        """Return the module at a dotted path; the empty path is this module.

        Raises:
            AttributeError: nothing, or no module, is there.
        """
        found = dict(self.named_modules(remove_duplicate=False)).get(target)
        if found is None:
            raise AttributeError(f"{type(self).__name__} has no module {target!r}")
        return found

    def get_parameter(self, target: str) -> nnx.Param:
        """Return the parameter at a dotted path.

        Raises:
            AttributeError: no parameter is there.
        """
        found = dict(self.named_parameters(remove_duplicate=False)).get(target)
        if found is None:
            raise AttributeError(f"{type(self).__name__} has no parameter {target!r}")
        return found

    def get_buffer(self, target: str) -> nnx.Variable:
        """Return the buffer at a dotted path.

        Raises:
            AttributeError: no buffer is there.
        """
        found = dict(self.named_buffers(remove_duplicate=False)).get(target)
        if found is None:
            raise AttributeError(f"{type(self).__name__} has no buffer {target!r}")
        return found

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module below and then on this one, and return self; typically to set initial values."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze (False) or train (True) every parameter below, and return self.

        Frozen parameters get no gradient and no optimiser state: see `trainable`.
        """
        if not isinstance(requires_grad, bool):
            raise ValueError(f"requires_grad must be True or False, got {requires_grad!r}")
        for parameter in self.parameters():
            parameter.set_metadata(requires_grad=requires_grad)
        return self

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

    def float(self) -> Self:
        """Cast every floating parameter and buffer to float32, in place, and return self."""
        return self.to(jnp.float32)

    def double(self) -> Self:
        """Cast every floating parameter and buffer to float64 (needs x64), in place, and return self."""
        return self.to(jnp.float64)

    def half(self) -> Self:
        """Cast every floating parameter and buffer to float16, in place, and return self."""
        return self.to(jnp.float16)

    def bfloat16(self) -> Self:
        """Cast every floating parameter and buffer to bfloat16, in place, and return self."""
        return self.to(jnp.bfloat16)

    def extra_repr(self) -> str:
        """Return what stands between the parentheses of a leaf's repr; subclasses override it."""
        return ""

    def __repr__(self) -> str:
        extra = [line for line in self.extra_repr().split("\n") if line]
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        if len(extra) <= 1 and not children:
            return f"{self._get_name()}({''.join(extra)})"
        return f"{self._get_name()}(\n  " + "\n  ".join([*extra, *children]) + "\n)"

    def _get_name(self) -> str:
        return type(self).__name__

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
