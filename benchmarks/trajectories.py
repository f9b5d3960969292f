"""Let every port train freely beside PyTorch for 100 steps in float64, and write docs/trajectories.md and its picture.

    python benchmarks/trajectories.py [NAME ...] [--steps 100] [--seed 0]

Both sides start from the same weights, get the same batches and dropout masks and are never set back. With names only
those are run and printed, and nothing is written. The exit status is 1 if a port drifts further than design allows.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track

from jaxport import ports
from jaxport.errors import JaxportError, UsageError
from jaxport.parity import Trajectory, run_free, tolerances
from jaxport.viz.table import write_atomic

ROOT = Path(__file__).parents[1]
PAGE, PICTURE = ROOT / "docs" / "trajectories.md", ROOT / "docs" / "images" / "trajectories.png"
LONG = {"resnet-34", "resnet-50", "resnet-101", "resnet-152", "unet-64"}
"""Variants whose training in float64 takes minutes a step."""


def shown(steps: int) -> list[int]:
    """Return the steps that the table shows."""
    return [step for step in (1, 3, 10, 30, 100, 300, 1000) if step <= steps]


def row(run: Trajectory) -> list[str]:
    """Return a port's line: losses' worst, drift after some steps, what has no gradient, verdict."""
    drifts = [f"{max(run.parameters[:step]):.0e}" for step in shown(len(run.loss))]
    zero = f"{len(run.zero_gradients)}, {run.apart:.0e} apart" if run.zero_gradients else ""
    own = f"{max(run.own_parameters):.0e}"
    return [f"`{run.port}`", f"{max(run.loss):.0e}", *drifts, own, zero, verdict(run)]


def verdict(run: Trajectory) -> str:
    """Return "equal", or "as PyTorch itself" where PyTorch drifts as far from itself, or "DIFFERENT"."""
    small = max(run.loss) <= tolerances.FREE_RUN_LOSS_RTOL and max(run.parameters) <= tolerances.FREE_RUN_PARAMETER_RTOL
    return ("equal" if small else "as PyTorch itself") if run.ok else "DIFFERENT"


def page(runs: list[Trajectory], steps: int) -> str:
    """Return docs/trajectories.md."""
    header = [
        "port",
        "losses",
        *(f"step {step}" for step in shown(steps)),
        "PyTorch itself",
        "without gradient",
        "verdict",
    ]
    lines = [
        "# Free runs beside PyTorch",
        "",
        f"Each port trained for {steps} steps in float64, in JAX and in PyTorch from the same weights, on the same",
        "batches and dropout masks, never set back. Written by `python benchmarks/trajectories.py`; do not edit.",
        "",
        "*losses* is the largest difference of any step's loss, *step N* that of any parameter or buffer in steps 1 to",
        f"N, both relative. Allowed are {tolerances.FREE_RUN_LOSS_RTOL:.0e} and"
        f" {tolerances.FREE_RUN_PARAMETER_RTOL:.0e}:",
        "rounding grows from step to step, fastest where an optimiser divides by a gradient's size. *PyTorch itself*",
        "is how far two runs of PyTorch drift from the first when their weights' last bits are changed; four times",
        "that is allowed too. *without gradient*",
        "counts the parameters whose true gradient is zero (biases in front of a batch normalisation), and says how",
        "far they drifted, in units of the learning rate: what moves them is rounding, in either framework.",
        "",
        f"| {' | '.join(header)} |",
        f"|---|{'---:|' * (len(header) - 2)}---|",
        *(f"| {' | '.join(row(run))} |" for run in runs),
        "",
        "![Growth of the difference over the steps](images/trajectories.png)",
        "",
        "Parameters without a gradient:",
        "",
        *(f"- `{run.port}`: `{'`, `'.join(run.zero_gradients)}`" for run in runs if run.zero_gradients),
    ]
    return "\n".join(lines) + "\n"


def draw(runs: list[Trajectory], path: Path) -> None:
    """Draw the largest difference so far over the steps, a line for each port."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for run in runs:
        drift = np.maximum.accumulate(run.parameters)
        line = axes.loglog(np.arange(1, len(drift) + 1), np.maximum(drift, 1e-17), linewidth=1)[0]
        if drift[-1] > 1e-12:
            axes.annotate(run.port, (len(drift), drift[-1]), fontsize=7, color=line.get_color())
    axes.axhline(tolerances.FREE_RUN_PARAMETER_RTOL, color="0.4", linestyle="--", linewidth=1)
    axes.set(xlabel="step", ylabel="largest relative difference of a parameter", title="free runs in float64")
    axes.set_xlim(1, 1.6 * max(len(run.loss) for run in runs))
    figure.savefig(path)


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description="Free runs beside PyTorch, in float64.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="ports or variants (default: all that are not long)")
    parser.add_argument("--steps", type=int, default=100, metavar="N", help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of weights, batches and masks (%(default)s)")
    options = parser.parse_args()
    console = Console(stderr=True, quiet=not sys.stderr.isatty())
    try:
        if options.steps < 1:
            raise UsageError(f"--steps must be at least 1, got {options.steps}")
        chosen = [ports.get(name).name for name in options.names]
        names = chosen or [name for name in ports.names(variants=True) if name not in LONG]
    except JaxportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    runs = []
    for name in track(names, "running", console=console, transient=True):
        runs.append(run_free(ports.get(name), options.steps, options.seed))
        print("  ".join(row(runs[-1])), flush=True)
    if not chosen:
        write_atomic(PAGE, page(runs, options.steps).encode())
        draw(runs, PICTURE)
    return 0 if all(run.ok for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
