"""A small run with everything in it that a checkpoint must hold, for the tests of checkpoints."""

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxport import data, engine, nn, optim
from jaxport.engine.arrays import flatten
from jaxport.engine.callbacks import Callback, Checkpoint, CSVLogger, EarlyStopping, LearningRateScheduler
from jaxport.metrics import Accuracy
from jaxport.optim import lr_scheduler

EPOCHS, STEPS, EXAMPLES, BATCH = 4, 5, 36, 8
WAYS: dict[str, dict[str, Any]] = {
    "scan": {"dispatch": "scan"},
    "chunks": {"dispatch": "chunks", "steps_per_call": 3},
    "steps": {"dispatch": "steps"},
    "loader": {"dispatch": "chunks", "steps_per_call": 2},
}


class Net(nn.Module):
    """Dropout and BatchNorm between two linear layers."""

    def __init__(self, rngs: Any = 0, width: int = 6, norm: bool = True) -> None:
        rngs = nn_rngs(rngs)
        self.fc1, self.norm = nn.Linear(4, width, rngs=rngs), nn.BatchNorm1d(width) if norm else nn.Identity()
        self.drop, self.fc2 = nn.Dropout(0.3, rngs=rngs), nn.Linear(width, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc2(self.drop(self.norm(self.fc1(x))))


def nn_rngs(rngs: Any) -> Any:
    from flax import nnx

    return nnx.Rngs(rngs) if isinstance(rngs, int) else rngs


def examples(count: int = EXAMPLES) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 4)).astype(np.float32), rng.integers(0, 3, count).astype(np.int32)


def collated(rows: list[Any]) -> tuple[np.ndarray, ...]:
    """A collate function of one's own: the loader's batches are streamed."""
    return tuple(np.stack(part) for part in zip(*rows, strict=True))


def source(way: str, count: int = EXAMPLES) -> Any:
    if way != "loader":
        return examples(count)
    return data.DataLoader(examples(count), BATCH, shuffle=True, seed=3, collate=collated, to_device=False)


class Runs:
    """Runs of one task, which share their compiled programs."""

    def __init__(self, optimizer: Any = None, width: int = 6, norm: bool = True, **options: Any) -> None:
        self.make, self.average = lambda rngs: Net(rngs, width, norm), options.get("average") is not None
        self.guard = options.get("guard", False)
        optimizer = optim.Adam(lr=0.05) if optimizer is None else optimizer
        self.task = engine.make_task(self.make(0), nn.CrossEntropyLoss(), optimizer, (Accuracy(),), **options)
        self.programs: Any = None

    def begin(self, rngs: int = 0) -> engine.TrainState:
        return engine.create_state(self.make(rngs), self.task.optimizer, average=self.average, guard=self.guard)

    def programs_of(self, *args: Any) -> Any:
        from jaxport.engine.programs import Programs

        self.programs = self.programs or Programs(*args)
        return self.programs

    def train(
        self,
        way: str,
        callbacks: Sequence[Callback],
        epochs: int = EPOCHS,
        train_data: Any = None,
        validation: bool = True,
        rngs: int = 0,
        **options: Any,
    ) -> dict[str, Any]:
        """Train, and return everything that must be equal."""
        options = {"batch_size": BATCH, "seed": 1, **WAYS[way], **options}
        train_data = source(way) if train_data is None else train_data
        state, history = engine.train(
            self.task,
            self.begin(rngs),
            train_data,
            engine.Options(epochs=epochs, **options),
            examples() if validation else None,
            callbacks,
            programs_of=self.programs_of,
        )
        return outcome(state, history, callbacks)


def outcome(state: engine.TrainState, history: engine.History, callbacks: Sequence[Callback]) -> dict[str, Any]:
    columns = {name: column for name, column in history.columns.items() if name != "seconds"}
    states = [host(callback.state_dict()) for callback in callbacks]
    arrays = {name: np.asarray(array) for name, array in flatten(state).items()}
    return {"state": arrays, "columns": columns, "callbacks": states, "steps": history.steps}


def host(value: Any) -> Any:
    """Every array on the host, random keys as numbers."""
    if isinstance(value, dict):
        return {name: host(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [host(item) for item in value]
    if isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        return np.asarray(jax.random.key_data(value))
    return np.asarray(value) if isinstance(value, jax.Array) else value


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Paths at which two outcomes differ, bit by bit."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [line for name in a for line in differences(a[name], b[name], f"{path}/{name}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [line for i, pair in enumerate(zip(a, b, strict=True)) for line in differences(*pair, f"{path}/{i}")]
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        same = a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    else:
        same = repr(a) == repr(b)
    return [] if same else [path]


def the_callbacks(folder: Path) -> list[Callback]:
    """Those with a memory, which a checkpoint keeps."""
    return [
        EarlyStopping("val_loss", patience=20),
        LearningRateScheduler(lr_scheduler.ExponentialLR(0.8)),
        CSVLogger(folder.parent / f"{folder.name}.csv"),
    ]


# ------------------------------------------------------------------------------------ runs in processes that are killed


def train_until_killed(way: str, folder: str, kind: str, moment: float, cache: str, result: str) -> None:
    """Run in a process of its own: it is killed at a moment, or writes its outcome to `result`."""
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    path = Path(folder)
    killer = Killer(kind, moment, path)
    callbacks = [*the_callbacks(path), killer, Checkpoint(path, every_steps=2, keep=2)]
    made = Runs().train(way, callbacks)
    killer.armed = False
    Path(result).write_bytes(pickle.dumps(made))
    sys.stdout.flush()
    os._exit(0)  # nothing that was written needs the interpreter's end


class Killer(Callback):
    """Ends the process as a power cut would: at an event, while a checkpoint is written, or after a time."""

    def __init__(self, kind: str, moment: float, folder: Path) -> None:
        self.kind, self.moment, self.folder = kind, moment, folder
        self.events, self.armed = 0, kind != "none"
        if kind in ("save", "time"):
            threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self.kind == "save" and not any("tmp" in path.name for path in self.folder.glob("*")):
            time.sleep(0.0005)
        time.sleep(self.moment)
        self._kill()

    def _kill(self) -> None:
        if self.armed:
            os.kill(os.getpid(), signal.SIGKILL)

    def _event(self) -> None:
        self.events += 1
        if self.kind == "event" and self.events > self.moment:
            self._kill()

    def on_train_begin(self, training: Any) -> None:
        self._event()

    def on_epoch_begin(self, training: Any) -> None:
        self._event()

    def on_epoch_end(self, training: Any, logs: dict[str, float]) -> None:
        self._event()

    def on_steps_end(self, training: Any) -> None:
        self._event()


class At(Callback):
    """Does something once, at the n-th call of a hook."""

    def __init__(self, hook: str, count: int, action: Callable[[Any], None]) -> None:
        self.left = count

        def called(training: Any, *args: Any) -> None:
            self.left -= 1
            if self.left == 0:
                action(training)

        setattr(self, hook, called)
