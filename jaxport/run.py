"""run_port: train a port as the command line does, and write what came out."""

from __future__ import annotations

import math
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from . import engine, interop, viz
from .data import Splits
from .data.imdb import load_vocabulary
from .engine.callbacks.processes import writes
from .engine.debugging import debugging
from .errors import UsageError
from .port import Port
from .predict_inputs import VOCABULARY
from .viz.table import to_json, write_atomic


@dataclass(frozen=True)
class Outcome:
    """What a run left behind.

    Attributes:
        port: what was trained.
        folder: where its files are.
        history: the record of the run.
        result: what `result.json` holds.
    """

    port: Port
    folder: Path
    history: engine.History
    result: dict[str, Any]

    def text(self) -> str:
        """Return the result for a reader."""
        lines = [f"{self.port.name}: {self.port.title}"]
        for part in ("train", "val"):
            values = self.result[part]
            shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items()) if values else "no whole epoch"
            lines.append(f"  {part:<6}{shown}")
        seconds = self.result["seconds"]
        lines.append(
            f"  {self.history.steps:,} steps in {seconds['train']:.1f} s, and {seconds['compile']:.1f} s compiling, "
            f"on {self.result['device']}"
        )
        if not self.history.interrupted and self.result["epochs"] == self.port.epochs:
            lines += [f"  MISSED: {line}" for line in self.result["unmet"]] or ["  as expected"]
        lines.append(f"  {', '.join(self.result['files'])} in {self.folder}")
        return "\n".join(lines)


def run_port(
    port: Port,
    data: str | None,
    epochs: int | None,
    seed: int,
    out: str | None,
    console: Console,
    *,
    devices: int | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    profile: str | None = None,
) -> Outcome:
    """Train and evaluate `port`, and write weights.safetensors, history.csv, history.png and result.json.

    `imdb` has vocabulary.json too.

    Args:
        port: what to train.
        data: folder of the data sets, None for $JAXPORT_DATA.
        epochs: None for the recipe's.
        seed: of the initial weights, the order of the examples and dropout.
        out: folder to write to, made if it is not there; None for runs/NAME/TIME.
        console: where the progress is drawn.
        devices: data parallel over so many; of several processes, over all of theirs, and the first one writes.
        checkpoint_every: epochs from one checkpoint in OUT/checkpoints to the next; None for none.
        resume: go on from the newest checkpoint there, if there is one.
        profile: folder for a profile of the training, None for none.

    Raises:
        DataError: the data is not there, or damaged.
        UsageError: the folder cannot be written, or the checkpoint is of another run; found before the training starts.
    """
    if resume and not out:
        raise UsageError("--resume needs --out DIR: the folder of the run that goes on")
    with console.status(f"reading {port.dataset}"):
        splits = port.load(data)
    place = engine.make_placement(devices=devices)
    folder = Path(out) if out else Path("runs") / port.name / time.strftime("%Y%m%d-%H%M%S")
    folder = prepare_folder(folder) if writes() else folder
    module = port.build(seed)
    callbacks = []
    if checkpoint_every or resume:
        callbacks = [engine.Checkpoint(folder / "checkpoints", checkpoint_every or 1, resume=resume)]
    options = {"epochs": epochs, "seed": seed, "callbacks": callbacks, "place": place}
    with debugging(profile=profile):
        history = _train(port, module, splits, console, options)
    if not writes():
        return Outcome(port, folder, history, {})
    return _write(port, folder, module, splits, history, seed)


def prepare_folder(folder: Path) -> Path:
    """Make `folder` and prove that it can be written.

    Raises:
        UsageError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"--out {str(folder)!r} cannot be written: {reason}; give a folder that can") from None
    return folder


def _train(port: Port, module: Any, splits: Splits, console: Console, options: dict[str, Any]) -> engine.History:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("compiling", total=None)

        def show(progress: engine.Progress) -> None:
            loss = f" loss {progress.loss:.4f}" if progress.loss is not None else ""
            bar.update(task, description=f"epoch {progress.epoch}{loss}", completed=progress.step, total=progress.steps)
            if progress.row is not None:
                values = "  ".join(f"{name} {value:.4f}" for name, value in progress.row.items())
                bar.console.print(f"epoch {progress.epoch}  {values}", highlight=False)

        return port.fit(module, splits, on_progress=show, **options)


def _write(port: Port, folder: Path, module: Any, splits: Splits, history: engine.History, seed: int) -> Outcome:
    import jax

    interop.save_file(interop.state_dict(module), folder / "weights.safetensors")
    files = ["weights.safetensors"]
    if port.dataset.startswith("imdb"):  # the numbers mean nothing without the words
        load_vocabulary(splits.origin, port.dataset.partition("_")[2] or "custom").save(folder / VOCABULARY)
        files.append(VOCABULARY)
    if len(history):
        viz.write_csv(history.columns, folder / "history.csv")
        files.append("history.csv")
        try:
            viz.plot_history(history.columns, folder / "history.png", f"{port.name}: {port.title}")
            files.append("history.png")
        except UsageError as error:
            print(f"no history.png: {error}", file=sys.stderr)
    device = jax.devices()[0]
    result = {
        "name": port.name,
        "epochs": len(history),
        "steps": history.steps,
        "parameters": sum(math.prod(parameter.shape) for parameter in module.parameters()),
        "train": history.last() if len(history) else None,
        "val": history.last("val_") if len(history) else None,
        "seconds": {"compile": history.compile_seconds, "train": history.train_seconds},
        "device": f"{device.platform} ({device.device_kind})",
        "data": splits.origin,
        "seed": seed,
        "dispatch": history.dispatch,
        "interrupted": history.interrupted,
        "unmet": port.unmet(history) if len(history) else [],
        "files": [*files, "result.json"],
    }
    write_atomic(folder / "result.json", (to_json(result) + "\n").encode())
    return Outcome(port, folder, history, result)
