"""The command line; each verb is a few lines over the Python API."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__, cli_bench, cli_compare, cli_parity
from .errors import JaxportError, UsageError

if TYPE_CHECKING:
    from rich.console import Console


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 done, 1 a comparison failed, 2 wrong input, 130 interrupted."""
    options = _parse(arguments)
    try:
        return options.verb(options)
    except JaxportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`jaxport list | head -1`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["parity"] and given[1:2] and given[1] in cli_parity.VERBS:
        return cli_parity.parse(given[1], given[2:])
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if hasattr(options, "inputs"):  # until Python 3.12, argparse leaves over the INPUTs that stand behind an option
        options.inputs = [*options.inputs, *(text for text in rest if text == "-" or not text.startswith("-"))]
        rest = [text for text in rest if text not in options.inputs]
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options


def _parser() -> argparse.ArgumentParser:
    """Build the parser; nothing heavy is imported for it."""
    parser = argparse.ArgumentParser(
        prog="jaxport", description="The PyTorch tutorials in JAX, each proved equal to PyTorch."
    )
    parser.add_argument("--version", action="version", version=f"jaxport {__version__}")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, verb: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        command = verbs.add_parser(name, help=help, description=help)
        command.set_defaults(verb=verb)
        return command

    command = add("list", _list, "list the ports: source chapter, parameters, data set, whether its data is here")
    command.add_argument("--data", metavar="DIR", help="folder of the data sets (default: $JAXPORT_DATA)")
    command.add_argument("--variants", action="store_true", help="with their variants: other levels, depths, recipes")
    command.add_argument("--json", action="store_true", help="print JSON")

    command = add("run", _run, "train and evaluate a port, and save weights, history, picture and result")
    command.add_argument("name", metavar="NAME", help="a port, see `jaxport list`")
    command.add_argument("--data", metavar="DIR", help="folder of the data sets (default: $JAXPORT_DATA)")
    command.add_argument("--epochs", type=_positive, metavar="N", help="passes over the data (default: the recipe's)")
    command.add_argument("--seed", type=_natural, default=0, metavar="S", help="of weights, order and dropout (0)")
    command.add_argument("--out", metavar="DIR", help="where to write (default: runs/NAME/TIME)")
    command.add_argument("--devices", type=_positive, metavar="N", help="train on so many devices (1; of hosts, all)")
    command.add_argument("--hosts", metavar="HOST:PORT", help="join a run of several processes: where number 0 listens")
    command.add_argument("--host-count", type=_positive, metavar="N", help="how many processes there are")
    command.add_argument("--host-index", type=_natural, metavar="I", help="which of them this one is, from 0")
    command.add_argument("--checkpoint-every", type=_positive, metavar="N", help="save all in OUT/checkpoints (epochs)")
    command.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in OUT/checkpoints")
    command.add_argument("--profile", metavar="DIR", help="write a profile of the training, for TensorBoard")
    command.add_argument("--json", action="store_true", help="print the result as one JSON object")

    command = add("predict", _predict, "predict new inputs with a trained port: classes and probabilities")
    command.add_argument("name", metavar="NAME", help="a port, see `jaxport list`")
    command.add_argument("inputs", nargs="*", metavar="INPUT", help="images and folders of images, CSV files, or texts")
    command.add_argument("--weights", required=True, metavar="FILE", help=".safetensors or .pt, as `jaxport run` wrote")
    command.add_argument("--top", type=_positive, metavar="K", help="classes shown of each input (1; with --json all)")
    command.add_argument("--text", action="append", default=[], metavar="TEXT", help="imdb: a review itself")
    command.add_argument("--vocabulary", metavar="FILE", help="imdb: words' numbers (default: beside the weights)")
    command.add_argument("--invert", action="store_true", help="pictures are dark on light, as ink on paper")
    command.add_argument("--days", type=_positive, default=200, metavar="N", help="covid19: how many to forecast (200)")
    command.add_argument("--data", metavar="DIR", help="covid19: folder of the data sets (default: $JAXPORT_DATA)")
    command.add_argument("--out", metavar="DIR", help="covid19: where forecast.csv and forecast.png go")
    command.add_argument("--json", action="store_true", help="print a JSON list")

    command = add("data", _data, "fetch a published data set, or go on where that stopped, and check it")
    command.add_argument("name", metavar="NAME", help="mnist, fashion_mnist, cifar10 or imdb")
    command.add_argument("--data", metavar="DIR", help="folder of the data sets (default: $JAXPORT_DATA)")

    command = add("summary", _summary, "show a port's layers, output shapes and parameters")
    command.add_argument("name", metavar="NAME", help="a port, see `jaxport list`")

    command = add("parity", _parity, "compare ports with their PyTorch references; exit 0 only if everything holds")
    command.epilog = f"jaxport parity {' | '.join(cli_parity.VERBS)} … are for models of your own: --help says how."
    command.add_argument("names", nargs="*", metavar="NAME", help="ports (default: all)")
    command.add_argument("--steps", type=_positive, default=20, metavar="N", help="training steps compared (20)")
    command.add_argument("--seed", type=_natural, default=0, metavar="S", help="of weights, batches and masks (0)")
    command.add_argument(
        "--data", metavar="DIR", help="compare on batches of the data sets in DIR, not on made-up ones"
    )
    command.add_argument("--json", action="store_true", help="print every check as JSON")

    command = add("compare", _compare, "compare any JAX model with any PyTorch model; exit 0 if they are the same")
    cli_compare.add_arguments(command)

    command = add("bench", _bench, "time ports beside PyTorch at its best, each framework in its own process")
    cli_bench.add_arguments(command, _positive)

    command = add(
        "convert", _convert, "convert weights between .pt/.pth/.pkl (a state dict) and .safetensors, bit for bit"
    )
    command.add_argument("source", metavar="SRC")
    command.add_argument("target", metavar="DST")

    command = add("rosetta", _rosetta, "say what a PyTorch expression is in JAX: the rows that speak of a word")
    command.add_argument("word", metavar="WORD", help="gather, view, masked_fill, in-place, …")
    command.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text!r}")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"must be an integer from 0 to 4294967295, got {text!r}")
    return int(text)


def _print_json(value: Any) -> None:
    from .viz.table import to_json

    print(to_json(value))


def _console() -> Console:
    """Return where progress is drawn: standard error, and nothing unless it is a terminal."""
    from rich.console import Console

    return Console(stderr=True, quiet=not sys.stderr.isatty())


def _print_table(table: Any) -> None:
    from rich.console import Console

    # Written to a file or a pipe, a table is as wide as it needs to be.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table)


def _use_compilation_cache() -> None:
    """Keep compiled programs between runs, unless the user has a cache of their own or none can be written."""
    import jax

    if getattr(jax.config, "jax_compilation_cache_dir", None) is None:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(root / "jaxport" / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _list(options: argparse.Namespace) -> int:
    from . import data, ports

    rows = []
    for port in map(ports.get, ports.names(options.variants)):
        dataset = data.DATASETS[port.dataset]
        here = "embedded" if dataset.embedded else str(data.find(port.dataset, options.data) or "")
        rows.append(
            {
                "name": port.name,
                "title": port.title,
                "source": port.source,
                "parameters": port.parameters,
                "dataset": port.dataset,
                "available": bool(here),
                "data": here or None,
            }
        )
    if options.json:
        _print_json(rows)
        return 0
    from rich.markup import escape
    from rich.table import Table

    table = Table("port", "what", "source", "parameters", "data set", "data here", title="ports")
    table.columns[3].justify = "right"
    for row in rows:
        here = str(row["data"] or "no")
        table.add_row(row["name"], row["title"], row["source"], f"{row['parameters']:,}", row["dataset"], escape(here))
    _print_table(table)
    return 0


def _run(options: argparse.Namespace) -> int:
    from . import ports

    port = ports.get(options.name)
    _use_compilation_cache()
    from .engine import distributed
    from .engine.callbacks.processes import writes
    from .run import run_port

    names = ("devices", "checkpoint_every", "resume", "profile")
    choices = options.data, options.epochs, options.seed, options.out, _console()
    with distributed.joined(options.hosts, options.host_count, options.host_index):
        outcome = run_port(port, *choices, **{name: getattr(options, name) for name in names})
    if not writes():
        return 0
    if options.json:
        _print_json(outcome.result)
    else:
        print(outcome.text())
    if outcome.history.interrupted:
        print(f"interrupted after {outcome.history.steps} steps; saved in {outcome.folder}", file=sys.stderr)
        return 130
    return 0


def _predict(options: argparse.Namespace) -> int:
    from . import ports

    port = ports.get(options.name)
    _use_compilation_cache()
    from . import predict

    module = predict.load_port(port, options.weights)
    if port.dataset == "covid" and not options.inputs:
        return _forecast(options, predict.roll_forward(port, module, options.data, options.days))
    from .predict_inputs import read_inputs

    choices = {name: getattr(options, name) for name in ("vocabulary", "weights", "invert")}
    inputs = read_inputs(port, options.inputs, texts=options.text, **choices)
    rows = predict.predict(port, module, inputs, options.top or (None if options.json else 1))
    if options.json:
        _print_json([row.as_dict() for row in rows])
    else:
        _print_table(predict.table(port, rows))
    return 0


def _forecast(options: argparse.Namespace, forecast: Any) -> int:
    if options.out:
        from .run import prepare_folder

        forecast.save(prepare_folder(Path(options.out)))
    if options.json:
        _print_json(forecast.rows())
    else:
        print(forecast.text() + (f"\n  forecast.csv, forecast.png in {options.out}" if options.out else ""))
    return 0


def _data(options: argparse.Namespace) -> int:
    from .data.download import download, target

    for path in download(options.name, target(options.name, options.data), _console()):
        print(path)
    return 0


def _summary(options: argparse.Namespace) -> int:
    from . import ports
    from .viz import summary

    port = ports.get(options.name)
    print(summary(port.build(0), port.input_shape, port.input_dtype))
    return 0


def _selected(names: list[str]) -> list[str]:
    from . import ports

    return [ports.get(name).name for name in names] or ports.names()


def _needs_torch(extra: str) -> None:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise UsageError(f'this command compares with PyTorch, which is not installed: pip install "jaxport[{extra}]"')


def _parity(options: argparse.Namespace) -> int:
    names = _selected(options.names)
    _needs_torch("parity")
    from . import parity, ports

    checks = []
    console = _console()
    for number, name in enumerate(names, 1):
        with console.status(f"{name} ({number} of {len(names)})"):
            checks += parity.check_port(ports.get(name), options.steps, options.seed, options.data)
    equal = all(check.ok for check in checks)
    if options.json:
        _print_json([check.as_dict() for check in checks])
    else:
        _print_table(parity.summary_table(checks))
        if not equal:
            _print_table(parity.failures_table(checks))
    return 0 if equal else 1


def _compare(options: argparse.Namespace) -> int:
    _needs_torch("parity")
    _use_compilation_cache()
    return cli_compare.run(options)


def _bench(options: argparse.Namespace) -> int:
    return cli_bench.run(options, _needs_torch)


def _rosetta(options: argparse.Namespace) -> int:
    from rich.markup import escape
    from rich.table import Table

    from . import rosetta

    rows = rosetta.find(options.word)
    if not rows:
        raise UsageError(f"no row speaks of {options.word!r}; docs/rosetta.md has them all, by PyTorch's names")
    if options.json:
        _print_json([dataclasses.asdict(row) for row in rows])
        return 0
    table = Table("PyTorch", "JAX", "note", "under jit", title=options.word, show_lines=True)
    for row in rows:
        under_jit = ("raises" if row.jax_raises else "yes") if row.jit else "no"
        table.add_row(*map(escape, (row.torch, row.jax, row.note, under_jit)))
    _print_table(table)
    return 0


def _convert(options: argparse.Namespace) -> int:
    from .interop import convert

    count = convert(options.source, options.target)
    print(f"wrote {count} tensors to {options.target}")
    return 0
