"""jaxport: the PyTorch tutorials in JAX, each proved equal to PyTorch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import chapter as chapter
    from . import data as data
    from . import engine as engine
    from . import interop as interop
    from . import metrics as metrics
    from . import nn as nn
    from . import optim as optim
    from . import parity as parity
    from . import ports as ports
    from . import rosetta as rosetta
    from . import viz as viz
    from .engine import Model as Model
    from .engine import evaluate as evaluate
    from .engine import fit as fit
    from .engine import load_exported as load_exported
    from .interop import convert as convert
    from .interop import load_file as load_file
    from .interop import load_state_dict as load_state_dict
    from .interop import save_file as save_file
    from .interop import state_dict as state_dict
    from .viz import summary as summary

_MODULES = {
    "bench",
    "chapter",
    "data",
    "engine",
    "errors",
    "interop",
    "metrics",
    "nn",
    "optim",
    "parity",
    "port",
    "ports",
    "rosetta",
    "viz",
}
_FUNCTIONS = {
    "Model": "engine",
    "evaluate": "engine",
    "fit": "engine",
    "load_exported": "engine",
    "convert": "interop",
    "load_file": "interop",
    "load_state_dict": "interop",
    "save_file": "interop",
    "state_dict": "interop",
    "summary": "viz",
}


def __getattr__(name: str) -> Any:
    # Imported when first used: `import jaxport` takes no time, and the command line parses before it loads jax.
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _FUNCTIONS:
        return getattr(import_module(f"{__name__}.{_FUNCTIONS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_MODULES, *_FUNCTIONS, "__version__"])
