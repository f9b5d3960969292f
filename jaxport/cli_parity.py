"""`jaxport parity record`, `check` and `prove`: goldens, and whether a suite catches known mistakes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from . import cli_compare
from .errors import UsageError
from .parity import named


def parse(verb: str, arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of one of `VERBS`."""
    run, fill, text = VERBS[verb]
    command = argparse.ArgumentParser(prog=f"jaxport parity {verb}", description=text)
    command.set_defaults(verb=run)
    fill(command)
    given = list(arguments)
    at = given.index("--") if verb == "prove" and "--" in given else len(given)
    options = command.parse_args(given[:at])
    options.command = given[at + 1 :]
    return options


def _add_record(command: argparse.ArgumentParser) -> None:
    command.add_argument("torch", metavar="TORCH", help="package.module:Name of the PyTorch model")
    command.add_argument("file", metavar="FILE", help="the golden, which ends in .safetensors")
    command.add_argument("--input", action="append", default=[], metavar="SPEC", help=named.INPUT_HELP)
    command.add_argument("--torch-args", default="{}", metavar="JSON", help="arguments of the model's class")
    command.add_argument("--torch-weights", metavar="FILE", help="its state dict (.pt, .safetensors)")
    command.add_argument("--mode", choices=("eval", "train", "both"), default="eval", help="which passes (eval)")
    command.add_argument("--keep-state", action="store_true", help="leave zero biases, unit scales… as they are")
    command.add_argument("--seed", type=int, default=0, metavar="S", help="of weights, inputs, cotangents, masks (0)")
    command.add_argument("--traceback", action="store_true", help="show where the model raised")


def _record(options: argparse.Namespace) -> int:
    import numpy as np

    if not options.input:
        raise UsageError(f"--input: one for each argument of the model is needed: {named.INPUT_HELP}")
    rng = np.random.default_rng(options.seed)
    inputs = tuple(named.make_input(text, rng) for text in options.input)
    with cli_compare.strangers(options):
        arguments = cli_compare.json_arguments("--torch-args", options.torch_args)
        model = named.make_torch(options.torch, arguments, options.seed)
        if options.torch_weights:
            named.load_weights(model, options.torch_weights)
        if not options.keep_state:
            _randomise(model, options.seed)
        from .parity.golden_record import record

        modes = ("eval", "train") if options.mode == "both" else (options.mode,)
        record(model, inputs, options.file, modes=modes, seed=options.seed, title=options.torch)
    print(f"recorded {options.torch} in {options.file}")
    return 0


def _randomise(model: object, seed: int) -> None:
    """Replace what would hide mistakes in a fresh model."""
    import torch

    from .parity import guards
    from .parity.describe_torch import describe_torch

    assert isinstance(model, torch.nn.Module)
    state = {key: value.detach().numpy() for key, value in model.state_dict().items()}
    drawn = guards.randomise(state, describe_torch(model), seed)
    model.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in drawn.items()})


def _add_check(command: argparse.ArgumentParser) -> None:
    command.add_argument("jax", metavar="JAX", help="package.module:Name of the JAX model, its class or a function")
    command.add_argument("file", metavar="FILE", help="what `jaxport parity record` wrote")
    command.add_argument("--jax-args", default="{}", metavar="JSON", help="arguments of the JAX model's class")
    command.add_argument("--map", metavar="FILE", help="YAML: JAX path → PyTorch path, for layers not aligned")
    command.add_argument("--seed", type=int, default=0, metavar="S", help="with which the model is made (0)")
    cli_compare.add_output(command)


def _check(options: argparse.Namespace) -> int:
    from .parity import golden
    from .parity.golden_check import check
    from .parity.mapping import load_map

    recorded = golden.read(options.file)
    arguments = cli_compare.json_arguments("--jax-args", options.jax_args)
    mapping = load_map(options.map) if options.map else None
    with cli_compare.strangers(options):
        model = named.make_jax(options.jax, arguments, options.seed, recorded.inputs)
        report = check(model, recorded, mapping=mapping, title=f"{options.jax} against the recorded {recorded.title}")
    cli_compare.show(report, options)
    return 0 if report.ok else 1


def _add_prove(command: argparse.ArgumentParser) -> None:
    from .parity.prove.command import add_arguments

    add_arguments(command)


def _prove(options: argparse.Namespace) -> int:
    from .parity.prove import command

    return command.run(options)


VERBS: dict[str, tuple[Callable[..., int], Callable[..., None], str]] = {
    "record": (_record, _add_record, "Record a PyTorch model: its inputs, weights, outputs, gradients and rounding."),
    "check": (_check, _add_check, "Compare a JAX model with what was recorded; needs no PyTorch."),
    "prove": (_prove, _add_prove, "Plant each known mistake in PyTorch's side and say which ones a suite catches."),
}
"""Verb → what it does, its arguments, its help."""
