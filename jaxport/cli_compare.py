"""`jaxport compare`: two models that are named on the command line, whatever project they are from."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .errors import JaxportError, UsageError
from .parity.named import INPUT_HELP, first_line, load_weights, make_input, make_jax, make_torch

if TYPE_CHECKING:
    pass


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
        raise UsageError(f"could not compare: {type(error).__name__}: {first_line(error)} (--traceback)") from None


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
