"""describe_torch: the modules of a PyTorch model, with their settings and arrays."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import torch

from .layer import Layer, Layers

_NOT_SETTINGS = {"self", "args", "kwargs", "device", "dtype"}


def describe_torch(module: torch.nn.Module) -> Layers:
    """Return the modules of a PyTorch model by path, in the order in which they were defined.

    Settings are the constructor's arguments as the module keeps them; ``bias`` and others that it keeps as a tensor are
    whether there is one. Arrays are the module's own parameters, then its buffers that the state dict has.

    Args:
        module: any model; a module that stands in two places is described at the first.
    """
    return {path: _layer(path, part) for path, part in module.named_modules()}


def _layer(path: str, module: torch.nn.Module) -> Layer:
    arrays = dict(module._parameters) | {
        name: buffer for name, buffer in module._buffers.items() if name not in module._non_persistent_buffers_set
    }
    found = {name: tensor for name, tensor in arrays.items() if tensor is not None}
    return Layer(path, kind_of(type(module)), settings_of(module), found, module, any(True for _ in module.children()))


def kind_of(cls: type) -> str:
    """Return the public name of a module's class: ``torch.nn.Conv2d``, or a user's ``package.module.Block``."""
    public = getattr(torch.nn, cls.__name__, None) is cls
    return f"torch.nn.{cls.__name__}" if public else f"{cls.__module__}.{cls.__qualname__}"


@cache
def _arguments(cls: type) -> tuple[str, ...]:
    """Return the constructor's arguments; those of its parents too where it takes ``*args`` (torch.nn.LSTM)."""
    names: dict[str, None] = {}
    for part in cls.__mro__:
        if part is torch.nn.Module:
            break
        if "__init__" in vars(part):
            parameters = inspect.signature(part.__init__).parameters
            names |= dict.fromkeys(parameters)
            if not any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters.values()):
                break
    return tuple(name for name in names if name not in _NOT_SETTINGS)


_KEPT_ELSEWHERE = {"bias": ("in_proj_bias", "bias_ih"), "add_bias_kv": ("bias_k",), "_weight": ("weight",)}


def settings_of(module: torch.nn.Module) -> dict[str, Any]:
    """Return what a module was constructed with, as far as it keeps it."""
    settings: dict[str, Any] = {}
    for name in _arguments(type(module)):
        for attribute in (name, *_KEPT_ELSEWHERE.get(name, ())):
            if hasattr(module, attribute):
                value = getattr(module, attribute)
                tensor = attribute != name or (value is None and name == "bias") or isinstance(value, torch.Tensor)
                if not isinstance(value, torch.nn.Module):
                    settings[name] = value is not None if tensor else value
                break
    settings.pop("_weight", None)
    return settings
