"""Models and inputs by name: ``package.module:Name``, or what makes them; ``8,3,32,32``, an array of random numbers."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxport.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

INPUT_HELP = "8,3,32,32 (normal numbers), 8,16@int1000 (0 to 999), 8,16@bool, or a .npy file; once for each argument"


def make_input(text: str, rng: np.random.Generator) -> np.ndarray:
    """Return an input that is described on the command line.

    Raises:
        UsageError: it is neither a shape nor a file.
    """
    import numpy as np

    if text.endswith(".npy"):
        try:
            return np.load(text, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UsageError(f"--input: {text} cannot be read: {error}") from None
    shape_text, _, kind = text.partition("@")
    sizes = shape_text.split(",")
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise UsageError(f"--input: {text!r} is no shape; {INPUT_HELP}")
    shape = tuple(int(size) for size in sizes)
    if kind in ("", "float"):
        # Not of mean zero: that would hide mistakes in means.
        return (rng.standard_normal(shape) + 0.3).astype(np.float32)
    if kind == "bool":
        return rng.random(shape) < 0.5
    if kind.startswith("int") and kind[3:].isdecimal() and int(kind[3:]) > 0:
        return rng.integers(0, int(kind[3:]), shape).astype(np.int32)
    raise UsageError(f"--input: {kind!r} is no kind of numbers; {INPUT_HELP}")


def find(name: Any) -> Any:
    """Return what ``package.module:Name`` means; the current folder is looked in first, as `python -m` does.

    What is no text is returned as it is.

    Raises:
        UsageError: there is no such module or no such name.
    """
    if not isinstance(name, str):
        return name
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise UsageError(f"{name!r}: package.module:Name is needed")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        value: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        raise UsageError(f"{name!r}: {error}") from None
    for part in attribute.split("."):
        if not hasattr(value, part):
            near = [n for n in vars(value) if not n.startswith("_")] if hasattr(value, "__dict__") else []
            raise UsageError(f"{name!r}: {module_name} has no {part!r}; it has {', '.join(near[:12])}")
        value = getattr(value, part)
    return value


def make_torch(name: Any, arguments: Mapping[str, Any], seed: int) -> Any:
    """Return the PyTorch model that a name means: a module, or what the class or function makes."""
    import torch

    value = find(name)
    if isinstance(value, torch.nn.Module):
        return value
    torch.manual_seed(seed)
    model = _called(name, value, arguments)
    if not isinstance(model, torch.nn.Module):
        raise UsageError(f"{name!r}: a torch.nn.Module is needed, got {type(model).__name__}")
    return model


def load_weights(model: Any, path: str) -> None:
    """Fill a PyTorch model from a file, without unpickling anything but tensors; strict in keys and shapes."""
    import numpy as np
    import torch

    from jaxport.interop import load_file

    state = {key: torch.from_numpy(np.array(value)) for key, value in load_file(path).items()}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UsageError(f"--torch-weights: {path}: {' '.join(str(error).split())[:400]}") from None


def make_jax(name: Any, arguments: Mapping[str, Any], seed: int, inputs: Sequence[np.ndarray]) -> Any:
    """Return the JAX model that a name means, made with `rngs` or `key` if it takes one; Linen is initialised."""
    import flax.linen
    import jax
    from flax import nnx

    from .foreign import Linen

    value = find(name)
    if inspect.isclass(value) or (inspect.isfunction(value) or inspect.ismethod(value)):
        # A class's own signature is its metaclass's, in nnx.
        names = inspect.signature(value.__init__ if inspect.isclass(value) else value).parameters
        extra: dict[str, Any] = {}
        if "rngs" in names and "rngs" not in arguments:
            extra["rngs"] = nnx.Rngs(seed)
        if "key" in names and "key" not in arguments:
            extra["key"] = jax.random.key(seed)
        value = _called(name, value, {**arguments, **extra})
    if isinstance(value, flax.linen.Module):
        return _initialised(value, inputs, seed, Linen)
    return value


def _initialised(module: Any, inputs: Sequence[np.ndarray], seed: int, wrapper: Any) -> Any:
    """Return a Linen module with variables, of inputs as they are or with the channels last."""
    import jax

    from .subjects import mode_arguments
    from .views import moved_last

    key = {"params": jax.random.key(seed), "dropout": jax.random.key(seed)}
    kwargs = mode_arguments(type(module).__call__, False)
    last = [moved_last(x) if x.dtype.kind == "f" else x for x in inputs]
    errors = []
    for given in [last, inputs] if any(x.ndim > 3 for x in inputs) else [inputs, last]:
        try:
            return wrapper(module, module.init(key, *given, **kwargs))
        except Exception as error:  # whatever a stranger's model raises on arguments of another layout
            errors.append(f"{type(error).__name__}: {first_line(error)}")
    raise UsageError(f"the Linen module cannot be initialised: {errors[0]}")


def _called(name: Any, value: Any, arguments: Mapping[str, Any]) -> Any:
    if not callable(value):
        return value
    try:
        return value(**arguments)
    except TypeError as error:
        raise UsageError(f"{name!r} cannot be made: {error}; give its arguments as JSON") from None


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip().splitlines() or ["no message"])[0][:300]
