"""What a JAX model may be that a comparison is given: nnx and Equinox modules as they are, others in a wrapper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Linen:
    """A Flax Linen module with its variables, as ``module.init`` returns them.

    Attributes:
        module: the `flax.linen.Module`.
        variables: collections by name: ``{"params": …, "batch_stats": …}``.
        training: arguments of the call that mean training mode, for modules that take one: ``{"train": True}``.
        evaluating: arguments that mean evaluation mode: ``{"train": False}``.
    """

    module: Any
    variables: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)
    evaluating: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Function:
    """A pure function ``apply(params, *inputs)`` with its parameters, any pytree of arrays.

    Attributes:
        apply: the function; it returns the output, or (output, {name: intermediate value}).
        params: nested dictionaries (or any pytree) of arrays.
        training: the same in training mode, where that differs.
    """

    apply: Callable[..., Any]
    params: Any
    training: Callable[..., Any] | None = None
