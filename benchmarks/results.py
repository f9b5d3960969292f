"""Train every port on the real data, in PyTorch and in JAX, and write docs/results.md.

    python benchmarks/results.py [--data DIR] [--seeds 3] [--only NAME ...] [--torch-seeds 3] [--again] [--page]

Each run is a process of its own, one after the other. What is done is kept in docs/results.json after every run, so
that it can be interrupted and goes on where it was; --again forgets the runs of the ports chosen. --page only writes
the page from what is there. The variants that take hours on a CPU are run when --only names them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from ends import exit_status
from rich.console import Console
from rich.progress import Progress

from jaxport import ports
from jaxport.errors import UsageError
from jaxport.viz.table import write_atomic

ROOT = Path(__file__).parents[1]
STORE, PAGE = ROOT / "docs" / "results.json", ROOT / "docs" / "results.md"
LONG = {"resnet-34", "resnet-50", "resnet-101", "resnet-152", "unet-64"}
TIMEOUT_S = 4 * 3600.0

PRINTED = {
    "linreg_points": "loss 0.2205 at update 30, from its seed's w",
    "linreg_matrix": "sum of squares 8.2430",
    "linreg_100k": "loss 0.1209",
    "linreg_note": "no number",
    "cubic": "no number (a picture)",
    "two_clusters": "no number (a picture)",
    "three_clusters": "no number (a picture)",
    "linreg_plane": "loss 3.749, mae 1.534",
    "linreg_plane-low": "w 2.031, -2.965; b 10.078",
    "linreg_plane-mid": "loss 3.05 (its last batch)",
    "circles": "accuracy 0.926",
    "circles-low": "accuracy 0.9272 (training)",
    "circles-mid": "accuracy 0.9315 (training)",
    "circles_focal": "accuracy 0.983",
    "quadratic": "y 0, x 1.0000",
    "linreg_million": "loss 3.9965, 3.9983",
    "titanic": "accuracy 0.810",
    "cifar2": "AUC 0.925",
    "imdb": "accuracy 0.795",
    "imdb-torchtext": "accuracy 0.795",
    "covid19": "0 confirmed on day 50",
    "mnist_sgd": "mean training loss 0.905",
    "mnist_cnn": "accuracy 0.970",
    "mnist_cnn-functions": "accuracy 0.878",
    "mnist_cnn-class": "accuracy 0.975",
    "mnist_logistic": "no number",
    "mnist_mlp": "no number",
    "mnist_convnet": "no number",
    "lenet": "no number",
    "lenet32": "loss 1.0263 (one step, other noise)",
    "resnet": "no number",
    "unet": "no number",
    "fashion_mnist": "accuracy 0.65, loss 1.074",
    "digits": "(ours)",
}


def run(command: list[str]) -> dict[str, Any]:
    """Run a process and return the JSON of its last line.

    Raises:
        UsageError: it failed; the message is its last line.
    """
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT)
    if done.returncode:
        raise UsageError(f"{' '.join(command[1:4])} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout[done.stdout.index("{") :])


def run_jax(name: str, seed: int, data: str | None) -> dict[str, float]:
    """Train with `jaxport run` and return the validation's numbers, the training loss and the seconds."""
    with tempfile.TemporaryDirectory() as out:
        options = ["--seed", str(seed), "--out", out, "--json", *(["--data", data] if data else [])]
        result = run([sys.executable, "-m", "jaxport", "run", name, *options])
    values = {f"val_{key}": value for key, value in result["val"].items()}
    seconds = result["seconds"]
    return {"loss": result["train"]["loss"], **values, "seconds": seconds["train"], "compile": seconds["compile"]}


def run_torch(name: str, seed: int, data: str | None) -> dict[str, float]:
    """Train in PyTorch and return the same."""
    return run(
        [sys.executable, str(ROOT / "benchmarks" / "results_torch.py"), name, str(seed), *([data] if data else [])]
    )


def load() -> dict[str, Any]:
    """Return what was run before: name → side → seed → numbers, and the machine."""
    return json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {"runs": {}, "machine": {}}


def machine() -> dict[str, str]:
    """Return what the numbers depend on."""
    from importlib.metadata import version

    versions = {name: version(name) for name in ("jax", "flax", "optax", "torch", "numpy")}
    return {"python": platform.python_version(), "cores": str(os.cpu_count()), "system": platform.machine(), **versions}


def save(state: dict[str, Any]) -> None:
    """Write what was run, and the page."""
    write_atomic(STORE, (json.dumps(state, indent=1, sort_keys=True) + "\n").encode())
    write_atomic(PAGE, page(state).encode())


def shown(name: str) -> list[str]:
    """Return which numbers a port's row has: the bounded ones, and its first metric."""
    port = ports.get(name)
    return list(dict.fromkeys([*port.expected, f"val_{port.metrics[0].name}"]))


def page(state: dict[str, Any]) -> str:
    """Return docs/results.md."""
    m = state["machine"]
    lines = [
        "# Training results",
        "",
        "Every port trained by its tutorial's recipe on the tutorial's data (generated data where the tutorial draws",
        "it), in PyTorch and in JAX, each from its own framework's random numbers. Written by `python",
        "benchmarks/results.py`; do not edit.",
        "",
        f"Python {m.get('python')}, jax {m.get('jax')}, flax {m.get('flax')}, optax {m.get('optax')}, torch"
        f" {m.get('torch')}; {m.get('cores')} CPU cores ({m.get('system')}), shared with other work: the seconds are",
        "rough, and speed is compared in [performance.md](performance.md). PyTorch runs eagerly, as the tutorials do.",
        "Seconds are of training with the validation after each epoch; JAX's compilation is apart (with what an",
        "earlier run left in its cache). `val_` numbers are of the validation part, or of the training part where the",
        "tutorial has no other. *Allowed* is what `jaxport run` and the example hold a run to.",
        "",
        "| port | the tutorial printed | number | allowed | PyTorch, seeds 0, 1, … | JAX, seeds 0, 1, … | PyTorch, s"
        " | JAX, s | compiling, s |",
        "|---|---|---|---|---|---|---:|---:|---:|",
    ]
    for name in ports.names(variants=True):
        if name in state["runs"]:
            lines += rows(name, state["runs"][name])
    missing = [name for name in ports.names(variants=True) if name not in state["runs"]]
    if missing:
        lines += ["", f"Not run: {', '.join(f'`{name}`' for name in missing)}."]
    return "\n".join(lines) + "\n"


def rows(name: str, sides: dict[str, Any]) -> list[str]:
    """Return the port's lines, one for each number."""
    expected, lines = ports.get(name).expected, []
    for i, key in enumerate(shown(name)):
        cells = [f"`{name}`", PRINTED[name]] if i == 0 else ["", ""]
        allowed = "{:g} to {:g}".format(*expected[key]) if key in expected else ""
        values = [", ".join(f"{run[key]:.4f}" for _, run in ordered(sides, side)) for side in ("torch", "jax")]
        times = [average(sides, "torch", "seconds"), average(sides, "jax", "seconds"), average(sides, "jax", "compile")]
        lines.append("| " + " | ".join([*cells, key, allowed, *values, *(times if i == 0 else ["", "", ""])]) + " |")
    return lines


def ordered(sides: dict[str, Any], side: str) -> list[tuple[int, dict[str, float]]]:
    """Return a side's runs in the order of their seeds."""
    return sorted((int(seed), run) for seed, run in sides.get(side, {}).items())


def average(sides: dict[str, Any], side: str, key: str) -> str:
    """Return the mean over a side's runs, or nothing."""
    values = [run[key] for _, run in ordered(sides, side)]
    return f"{mean(values):.3g}" if values else ""


def work(options: argparse.Namespace) -> None:
    """Run what is asked for and is not there."""
    chosen = [ports.get(name).name for name in options.only or ()]
    names = chosen or [name for name in ports.names(variants=True) if name not in LONG]
    state = load()
    if options.again:
        state["runs"] = {name: runs for name, runs in state["runs"].items() if name not in names}
    if not options.page:
        state["machine"] = machine()
        run_missing(state, names, {"jax": options.seeds, "torch": options.torch_seeds}, options.data)
    save(state)


def run_missing(state: dict[str, Any], names: list[str], seeds: dict[str, int], data: str | None) -> None:
    """Run each port with as many seeds of each side as asked for, and keep each run."""
    missing = [
        (name, side, seed)
        for name in names
        for side, count in seeds.items()
        for seed in range(count)
        if str(seed) not in state["runs"].get(name, {}).get(side, {})
    ]
    with Progress(console=Console(stderr=True, quiet=not sys.stderr.isatty())) as bar:
        task = bar.add_task("", total=len(missing))
        for name, side, seed in missing:
            bar.update(task, description=f"{name}, {side}, seed {seed}")
            result = (run_jax if side == "jax" else run_torch)(name, seed, data)
            state["runs"].setdefault(name, {}).setdefault(side, {})[str(seed)] = result
            save(state)
            bar.advance(task)


def main() -> int:
    """Read the options and do the work."""
    parser = argparse.ArgumentParser(description="Train every port in PyTorch and in JAX.")
    parser.add_argument("--data", metavar="DIR", help="folder of the data sets (default: $JAXPORT_DATA)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="JAX's seeds 0 to N - 1 (%(default)s)")
    parser.add_argument("--torch-seeds", type=int, default=3, metavar="N", help="PyTorch's (%(default)s)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="ports or variants")
    parser.add_argument("--again", action="store_true", help="run what is there too")
    parser.add_argument("--page", action="store_true", help="only write the page")
    options = parser.parse_args()
    return exit_status(lambda: work(options), "docs/results.json")


if __name__ == "__main__":
    sys.exit(main())
