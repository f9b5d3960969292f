"""How a script makes a PyTorch layer again."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxport.errors import UsageError

from .calls import Source, plain, same_settings
from .rebuild import Recipe, make, recipe


def torch_recipe(layer: Any) -> Recipe:
    """Return how a `torch.nn.Module` is made."""
    import torch

    module = getattr(layer, "module", layer)
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"torch_layer: a torch.nn.Module is needed, got {type(module).__name__}")
    arrays = {key: stored(value) for key, value in module.state_dict().items()}
    after = (
        "layer = layer.to(torch.float64)\n"
        "layer.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()})\n"
        f"return layer.train({module.training})"
    )
    source = Source(_torch_call)
    made = make(lambda: source.value(module), source, lambda made: _alike_torch(module, made), module, "torch_layer")
    return recipe(type(module), made, after, arrays, source)


def _torch_call(source: Source, value: Any) -> str | None:
    import torch

    from jaxport.parity.describe_torch import settings_of

    if not isinstance(value, torch.nn.Module):
        return None
    cls = type(value)
    if cls in (torch.nn.Sequential, torch.nn.ModuleList):
        parts = ", ".join(source.value(part) for part in value.children())
        return f"{source.named(cls)}({parts})" if cls is torch.nn.Sequential else f"{source.named(cls)}([{parts}])"
    held = {name: getattr(value, name) for name in vars(value) if plain(getattr(value, name))}
    if isinstance(value, torch.nn.RNNBase):
        # Its arguments are its parent's; all of them are kept.
        kept = settings_of(value) | ({"nonlinearity": value.nonlinearity} if cls is torch.nn.RNN else {})
        unlike = [(k, v) for k, v in kept.items() if k != "mode" and (k, v) != ("proj_size", 0)]
        written = ", ".join(f"{k}={source.value(v)}" for k, v in unlike)
        return f"{source.named(cls)}({written})"
    held |= dict(value._modules) | settings_of(value)
    return source.call(cls, held, skip=lambda name: name in ("device", "dtype", "_weight", "_freeze"))


def _alike_torch(module: Any, made: Any) -> bool:
    """Whether what was made has the parameters and the settings of the module, at every depth."""
    old, new = ({name: tuple(v.shape) for name, v in m.state_dict().items()} for m in (module, made))
    pairs = zip(module.named_modules(), made.named_modules(), strict=True)
    return old == new and all(
        a == b and type(x) is type(y) and same_settings(vars(x), vars(y), ("training", "_is_full_backward_hook"))
        for (a, x), (b, y) in pairs
    )


def stored(value: Any) -> np.ndarray:
    """Return a tensor's values as NumPy can store them: half precisions become float32, which holds them."""
    array = value.detach().cpu()
    return (array.float() if str(array.dtype) in ("torch.bfloat16", "torch.float16") else array).numpy().copy()
