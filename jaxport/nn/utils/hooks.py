"""The older weight_norm and spectral_norm, whose parameters stand beside the layer's own."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx

from jaxport.nn.checks import positive_int
from jaxport.nn.init_draw import draw_normal
from jaxport.nn.module import Buffer, Module, Parameter, fresh_rngs

from . import algebra
from .parametrize import Attributes, Computed, computed_class

_KINDS = ("_weight_norms", "_spectral_norms")


def _read(module: Any, name: str) -> Computed:
    if name in getattr(module, "_weight_norms", {}):
        v = getattr(module, f"{name}_v")
        return Computed(lambda: _weight_normed(module, name), tuple(v.shape), v.dtype)
    original = getattr(module, f"{name}_orig")
    return Computed(lambda: _spectral_normed(module, name), tuple(original.shape), original.dtype)


def _extras(base: type[Module]) -> Attributes:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Improve u and v while training, then compute as usual."""
        if self.training:
            for name in getattr(self, "_spectral_norms", {}):
                _iterate(self, name)
        return base.forward(self, *args, **kwargs)

    return {"forward": forward}


def _weight_normed(module: Any, name: str) -> jax.Array:
    dim = module._weight_norms[name]
    return algebra.weight_norm(getattr(module, f"{name}_v")[...], getattr(module, f"{name}_g")[...], dim)


def _spectral_normed(module: Any, name: str) -> jax.Array:
    weight, u, v = (getattr(module, f"{name}_{part}")[...] for part in ("orig", "u", "v"))
    return algebra.spectral_norm(weight, u, v, module._spectral_norms[name][1])


def _iterate(module: Any, name: str) -> None:
    times, dim, eps = module._spectral_norms[name]
    weight, u, v = (getattr(module, f"{name}_{part}") for part in ("orig", "u", "v"))
    matrix = algebra.as_matrix(weight[...], dim)
    new_u, new_v = algebra.power_iterations(matrix, u[...], v[...], times, eps, u_first=False)
    u.set_value(new_u)
    v.set_value(new_v)


def _names(module: Module) -> tuple[str, ...]:
    return tuple(name for kind in _KINDS for name in getattr(module, kind, {}))


def _set_settings(module: Any, kind: str, settings: dict[str, Any]) -> None:
    base = type(module)._base if _names(module) else type(module)
    setattr(module, kind, nnx.static(settings) if settings else nnx.static({}))
    names = _names(module)
    made = computed_class(base, base.__name__, names, _read, _extras) if names else base
    object.__setattr__(module, "__class__", made)


def _parameter(owner: str, module: Module, name: str) -> nnx.Variable:
    if name in _names(module):
        raise ValueError(f"{owner}: {name!r} of {type(module).__name__} is normalised already")
    weight = getattr(module, name, None)
    if not isinstance(weight, nnx.Param):
        raise ValueError(f"{owner}: {type(module).__name__} has no parameter {name!r}")
    return weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train length and direction of a weight apart: w = g · v / ‖v‖, with parameters <name>_g and <name>_v.

    Deprecated in PyTorch in favour of `parametrizations.weight_norm`.

    Args:
        module: changed in place and returned.
        name: of the parameter.
        dim: the axis with a length for each index; None means one length for all.

    Raises:
        ValueError: there is no such parameter, or it is normalised already.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.weight_norm.html
    """
    weight = _parameter("weight_norm", module, name)
    axis = -1 if dim is None else dim
    delattr(module, name)
    setattr(module, f"{name}_g", Parameter(algebra.norm_except_dim(weight[...], axis)))
    setattr(module, f"{name}_v", Parameter(weight[...]))
    _set_settings(module, "_weight_norms", {**getattr(module, "_weight_norms", {}), name: axis})
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make a weight one parameter again, of its present value.

    Raises:
        ValueError: its weight is not normalised.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.remove_weight_norm.html
    """
    return _remove("weight_norm", module, name, "_weight_norms", _weight_normed, ("g", "v"))


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
    *,
    rngs: nnx.Rngs | int,
) -> Module:
    """Divide a weight by its largest singular value: w = W / σ, with <name>_orig and the buffers <name>_u, <name>_v.

    Deprecated in PyTorch in favour of `parametrizations.spectral_norm`. Each forward pass in training makes
    `n_power_iterations` power iterations first.

    Args:
        module: changed in place and returned.
        name: of the parameter.
        n_power_iterations: each time.
        eps: the least norm to divide by.
        dim: axis of the weight's outputs; None means 1 for transposed convolutions and 0 otherwise.
        rngs: for the first u and v (stream ``params``).

    Raises:
        ValueError: there is no such parameter, it is normalised already, or `n_power_iterations` is not positive.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.spectral_norm.html
    """
    positive_int("spectral_norm", "n_power_iterations", n_power_iterations)
    weight = _parameter("spectral_norm", module, name)
    axis = algebra.default_dim(module) if dim is None else dim
    matrix, keys = algebra.as_matrix(weight[...], axis), fresh_rngs(rngs, "spectral_norm")
    u, v = (algebra.normalize(draw_normal(keys.params(), (n,), weight.dtype), eps) for n in matrix.shape)
    delattr(module, name)
    setattr(module, f"{name}_orig", weight)
    setattr(module, f"{name}_u", Buffer(u))
    setattr(module, f"{name}_v", Buffer(v))
    settings = {**getattr(module, "_spectral_norms", {}), name: (n_power_iterations, axis, eps)}
    _set_settings(module, "_spectral_norms", settings)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make a weight one parameter again, of its present value.

    Raises:
        ValueError: its weight is not normalised.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.remove_spectral_norm.html
    """
    return _remove("spectral_norm", module, name, "_spectral_norms", _spectral_normed, ("orig", "u", "v"))


def _remove(owner: str, module: Any, name: str, kind: str, compute: Any, parts: tuple[str, ...]) -> Module:
    settings = dict(getattr(module, kind, {}))
    if name not in settings:
        raise ValueError(f"remove_{owner}: {name!r} of {type(module).__name__} has no {owner}")
    value = compute(module, name)
    for part in parts:
        delattr(module, f"{name}_{part}")
    del settings[name]
    _set_settings(module, kind, settings)
    setattr(module, name, Parameter(value))
    return module
