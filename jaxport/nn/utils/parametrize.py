"""Parametrisations: a parameter that is computed from others each time it is read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from flax import nnx

from jaxport.nn.container import ModuleDict
from jaxport.nn.module import Buffer, Module, Parameter

Attributes = dict[str, Any]
Reader = Callable[[Any, str], "Computed"]


class Computed:
    """Stands where a layer reads a variable, as in ``self.weight[...]``, and computes the array then."""

    def __init__(self, compute: Any, shape: tuple[int, ...], dtype: Any) -> None:
        self._compute, self.shape, self.dtype = compute, shape, dtype
        self.ndim = len(shape)

    def __getitem__(self, index: Any) -> jax.Array:
        return self._compute()[index]

    def get_value(self) -> jax.Array:
        """Return the array."""
        return self._compute()

    def __repr__(self) -> str:
        return f"Computed(shape={self.shape}, dtype={self.dtype})"


class ParametrizationList(Module):
    """The parametrisations of one tensor, applied in order to `original` (or `original0`, `original1`, …).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.ParametrizationList.html
    """

    def __init__(self, modules: Sequence[Module], original: nnx.Variable, unsafe: bool = False) -> None:
        if not modules:
            raise ValueError("ParametrizationList: modules must be one or more modules, got none")
        self.unsafe = unsafe
        self.shape = tuple(original.shape)
        values = _inverse(modules, original[...], strict=False)
        self.ntensors = 1 if isinstance(values, jax.Array) else len(values)
        self.is_tensor = isinstance(values, jax.Array)
        if isinstance(values, jax.Array):
            original.set_value(values)
            self.original = original
        else:
            for number, value in enumerate(values):
                setattr(self, f"original{number}", _like(original, value))
        for number, module in enumerate(modules):
            setattr(self, str(number), module)

    def originals(self) -> list[nnx.Variable]:
        """Return the variables that the tensor is computed from."""
        return [self.original] if self.is_tensor else [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def append(self, module: Module) -> None:
        """Apply `module` after the others."""
        setattr(self, str(len(self)), module)

    def right_inverse(self, value: jax.Array) -> None:
        """Set the originals so that the tensor becomes `value`.

        Raises:
            ValueError: a parametrisation has no `right_inverse`.
        """
        values = _inverse(list(self), value, strict=True)
        for variable, new in zip(self.originals(), [values] if self.is_tensor else values, strict=True):
            variable.set_value(new)

    def forward(self) -> jax.Array:
        """Return the tensor."""
        first, *others = self
        x = first(*(variable[...] for variable in self.originals()))
        for module in others:
            x = module(x)
        return x

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int) -> Module:
        return list(self)[index]


def _inverse(modules: Sequence[Module], value: Any, strict: bool) -> Any:
    """Return what the modules, last to first, make `value` from; without `strict`, one that cannot is passed over."""
    for module in reversed(modules):
        inverse = getattr(module, "right_inverse", None)
        if inverse is None and strict:
            raise ValueError(f"right_inverse: {type(module).__name__} must have a right_inverse to be assigned to")
        try:
            value = value if inverse is None else inverse(value)
        except NotImplementedError:
            if strict:
                raise
    return value


def _like(variable: nnx.Variable, value: jax.Array) -> nnx.Variable:
    """Return a new parameter or buffer, as `variable` is one; a frozen one stays frozen."""
    if isinstance(variable, nnx.Param):
        return Parameter(value, variable.get_metadata().get("requires_grad", True))
    return Buffer(value)


@functools.cache
def computed_class(
    base: type[Module], name: str, computed: tuple[str, ...], read: Reader, extras: Callable[[type[Module]], Attributes]
) -> type[Module]:
    """Return a subclass of `base` whose attributes `computed` are what `read` gives (the same class each time)."""

    def reader(attribute: str) -> property:
        return property(lambda self: read(self, attribute))

    attributes = {attribute: reader(attribute) for attribute in computed}
    # No mixin: with one, Python would not let an object change its class.
    return type(name, (base,), {"__module__": base.__module__, "_base": base, **extras(base), **attributes})


def _read(module: Any, name: str) -> Computed:
    tensor: ParametrizationList = module.parametrizations[name]
    return Computed(tensor, tensor.shape, tensor.originals()[0].dtype)


def _extras(base: type[Module]) -> Attributes:
    def set_attribute(self: Any, name: str, value: Any) -> None:
        if not is_parametrized(self, name):
            return base.__setattr__(self, name, value)
        value = value[...] if isinstance(value, nnx.Variable) else value
        return self.parametrizations[name].right_inverse(value)

    return {"__setattr__": set_attribute}


def _lists(module: Any) -> Any:
    return module.parametrizations


def _set_class(module: Module, base: type[Module], names: tuple[str, ...]) -> None:
    made = computed_class(base, f"Parametrized{base.__name__}", names, _read, _extras) if names else base
    object.__setattr__(module, "__class__", made)


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Compute `tensor_name` of `module` by `parametrization` from now on, each time it is read.

    The parameter moves to ``module.parametrizations.<tensor_name>.original`` (``original0``, ``original1``, … where
    `right_inverse` gives several), as in PyTorch's state_dict; more parametrisations are applied one after the other.

    Args:
        module: changed in place, its class included, and returned.
        tensor_name: of a parameter or buffer.
        parametrization: a module that maps the original to the tensor; its `right_inverse`, if it has one, gives the
            original that belongs to the present value.
        unsafe: whether shape and dtype may change.

    Raises:
        ValueError: there is no such parameter, or shape or dtype change.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.register_parametrization.html
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        before = getattr(module, tensor_name)[...]
        _check_same(before, parametrization(before), unsafe)
        _lists(module)[tensor_name].append(parametrization)
        return module
    original = getattr(module, tensor_name, None)
    if not isinstance(original, nnx.Variable):
        raise ValueError(f"{type(module).__name__} has no parameter or buffer {tensor_name!r}")
    before = original[...]
    tensor = ParametrizationList([parametrization], original, unsafe)
    if not unsafe:
        _check_same(before, tensor(), unsafe)
    names = tuple(_lists(module)) if is_parametrized(module) else ()
    base = type_before_parametrizations(module)
    delattr(module, tensor_name)
    if not names:
        module.parametrizations = ModuleDict()
    _lists(module)[tensor_name] = tensor
    _set_class(module, base, (*names, tensor_name))
    return module


def _check_same(before: jax.Array, after: jax.Array, unsafe: bool) -> None:
    if not unsafe and (after.shape, after.dtype) != (before.shape, before.dtype):
        raise ValueError(
            f"register_parametrization: the tensor must stay {before.dtype} of shape {before.shape} "
            f"unless unsafe=True, got {after.dtype} of shape {after.shape}"
        )


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a tensor of `module` (any, or `tensor_name`) is parametrised.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.is_parametrized.html
    """
    found = module.__dict__.get("parametrizations")
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def type_before_parametrizations(module: Module) -> type[Module]:
    """Return the class that `module` had before it was parametrised."""
    return type(module)._base if is_parametrized(module) else type(module)  # pyright: ignore[reportAttributeAccessIssue]


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make `tensor_name` a parameter again: of its present value, or of the original's (`leave_parametrized` False).

    Raises:
        ValueError: it is not parametrised, or the original is several tensors and ``leave_parametrized=False``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.remove_parametrizations.html
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"remove_parametrizations: {type(module).__name__} has no parametrisation of {tensor_name!r}")
    tensor: ParametrizationList = _lists(module)[tensor_name]
    if not tensor.is_tensor and not leave_parametrized:
        raise ValueError(
            "remove_parametrizations: leave_parametrized must be True where the original is several tensors"
        )
    variable = tensor.originals()[0]
    value = tensor() if leave_parametrized else variable[...]
    if tensor.is_tensor:
        variable.set_value(value)
    else:
        variable = _like(variable, value)
    base = type_before_parametrizations(module)
    del _lists(module)[tensor_name]
    names = tuple(_lists(module))
    _set_class(module, base, names)
    if not names:
        del module.parametrizations
    setattr(module, tensor_name, variable)
    return module
