"""`jaxport compare`: two models that are named on the command line, whatever project they are from."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import JaxportError, UsageError

if TYPE_CHECKING:
    import numpy as np

INPUT_HELP = "8,3,32,32 (normal numbers), 8,16@int1000 (0 to 999), 8,16@bool, or a .npy file; once for each argument"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add what `jaxport compare` takes."""
    command.add_argument("jax", metavar="JAX", help="package.module:Name of the JAX model, its class or a function")
    command.add_argument("torch", metavar="TORCH", help="the same of the PyTorch model")
    add_inputs(command)
    command.add_argument("--weights", choices=("torch", "jax", "none"), default="torch", help="whose weights both get")
    command.add_argument("--torch-weights", metavar="FILE", help="state dict of the PyTorch model (.pt, .safetensors)")
    command.add_argument("--map", metavar="FILE", help="YAML: JAX path → PyTorch path, for layers not aligned")
    command.add_argument("--mode", choices=("eval", "train", "both"), help="default: what the models distinguish")
    command.add_argument("--dtype", choices=("float64", "float32", "both"), default="both", help="precision (both)")
    command.add_argument("--no-gradients", action="store_true", help="compare forward only")
    command.add_argument("--keep-state", action="store_true", help="leave zero biases, unit scales… as they are")
    command.add_argument("--allow", action="append", default=[], metavar="RULE", help="a guard that need not hold")
    command.add_argument("--repro", metavar="DIR", help="write a script that reproduces the first difference")
    add_output(command)


def add_output(command: argparse.ArgumentParser) -> None:
    """Add how a report is shown."""
    command.add_argument("--full", action="store_true", help="show every layer")
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    command.add_argument("--html", metavar="FILE", help="write the report as a page")
    command.add_argument("--traceback", action="store_true", help="show where a model raised")


def add_inputs(command: argparse.ArgumentParser) -> None:
    """Add what says how models are made and called."""
    command.add_argument("--input", action="append", default=[], metavar="SPEC", help=INPUT_HELP)
    command.add_argument("--jax-args", default="{}", metavar="JSON", help="arguments of the JAX model's class")
    command.add_argument("--torch-args", default="{}", metavar="JSON", help="arguments of the PyTorch model's class")
    command.add_argument("--seed", type=int, default=0, metavar="S", help="of weights, inputs, cotangents, masks (0)")


def run(options: argparse.Namespace) -> int:
    """Compare, show, and return 0 if the two are the same, 1 if they differ; 2 is the caller's for errors."""
    if not options.input:
        raise UsageError(f"--input: one for each argument of the models is needed: {INPUT_HELP}")
    from rich.console import Console

    console = Console(stderr=True, quiet=not sys.stderr.isatty())
    with strangers(options), console.status("comparing"):
        report = _compare(options)
    show(report, options)
    return 0 if report.ok else 1


@contextmanager
def strangers(options: argparse.Namespace) -> Iterator[None]:
    """Say in a line what a stranger's model raises, whatever it is.

    Raises:
        UsageError: something was raised that is not jaxport's own.
    """
    try:
        yield
    except JaxportError:
        raise
    except Exception as error:
        if options.traceback:
            raise
        raise UsageError(f"could not compare: {type(error).__name__}: {_first_line(error)} (--traceback)") from None


def show(report: Any, options: argparse.Namespace) -> None:
    """Print a report, and write it where it is asked for."""
    from .parity.show.html import write_html
    from .parity.show.terminal import tree

    if options.html:
        write_html(report, options.html)
    if options.json:
        print(report.to_json())
        return
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 120).print(tree(report, full=options.full))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:300]


def _compare(options: argparse.Namespace) -> Any:
    import numpy as np

    from . import parity
    from .parity.mapping import load_map

    rng = np.random.default_rng(options.seed)
    inputs = [make_input(text, rng) for text in options.input]
    torch_model = make_torch(options.torch, json_arguments("--torch-args", options.torch_args), options.seed)
    if options.torch_weights:
        load_weights(torch_model, options.torch_weights)
    jax_model = make_jax(options.jax, json_arguments("--jax-args", options.jax_args), options.seed, inputs)
    dtypes = ("float64", "float32") if options.dtype == "both" else (options.dtype,)
    modes = {"both": ("eval", "train"), None: None}.get(options.mode, (options.mode,))
    arguments: dict[str, Any] = {
        "weights": None if options.weights == "none" else options.weights,
        "mapping": load_map(options.map) if options.map else None,
        "modes": modes,
        "dtypes": dtypes,
        "gradients": not options.no_gradients,
        "seed": options.seed,
        "randomise": options.weights != "none" and not options.keep_state,
        "allow": options.allow,
        "repro": options.repro,
        "title": f"{options.jax} against {options.torch}",
    }
    return parity.compare(jax_model, torch_model, tuple(inputs), **arguments)


def json_arguments(name: str, text: str) -> dict[str, Any]:
    """Return the arguments that a JSON object on the command line means."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f'{name}: a JSON object is needed, such as {{"width": 8}}: {error}') from None
    if not isinstance(value, dict):
        raise UsageError(f"{name}: a JSON object is needed, got {text!r}")
    return value


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


def find(name: str) -> Any:
    """Return what ``package.module:Name`` means; the current folder is looked in first, as `python -m` does.

    Raises:
        UsageError: there is no such module or no such name.
    """
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


def make_torch(name: str, arguments: Mapping[str, Any], seed: int) -> Any:
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

    from .interop import load_file

    state = {key: torch.from_numpy(np.array(value)) for key, value in load_file(path).items()}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UsageError(f"--torch-weights: {path}: {' '.join(str(error).split())[:400]}") from None


def make_jax(name: str, arguments: Mapping[str, Any], seed: int, inputs: Sequence[np.ndarray]) -> Any:
    """Return the JAX model that a name means, made with `rngs` or `key` if it takes one; Linen is initialised."""
    import flax.linen
    import jax
    from flax import nnx

    from .parity import Linen

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

    from .parity.subjects import mode_arguments
    from .parity.views import moved_last

    key = {"params": jax.random.key(seed), "dropout": jax.random.key(seed)}
    kwargs = mode_arguments(type(module).__call__, False)
    last = [moved_last(x) if x.dtype.kind == "f" else x for x in inputs]
    errors = []
    for given in [last, inputs] if any(x.ndim > 3 for x in inputs) else [inputs, last]:
        try:
            return wrapper(module, module.init(key, *given, **kwargs))
        except Exception as error:  # whatever a stranger's model raises on arguments of another layout
            errors.append(f"{type(error).__name__}: {_first_line(error)}")
    raise UsageError(f"the Linen module cannot be initialised: {errors[0]}")


def _called(name: str, value: Any, arguments: Mapping[str, Any]) -> Any:
    if not callable(value):
        return value
    try:
        return value(**arguments)
    except TypeError as error:
        raise UsageError(f"{name!r} cannot be made: {error}; give its arguments as JSON") from None
