"""A small stand-in for the training loop: a real `Training` whose epochs follow a script."""

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxport import engine, nn, optim
from jaxport.engine.callbacks import Callback
from jaxport.engine.history import History
from jaxport.engine.training import Training

STEPS = 3  # in each epoch
Rows = Sequence[dict[str, float]]


def new_training(epochs: int, lr: Any = 0.5, verbose: int = 0, optimizer: Any = None) -> Training:
    """A linear layer's run that has not begun."""
    module = nn.Linear(2, 1, rngs=0)
    task = engine.make_task(module, nn.MSELoss(), optimizer or optim.SGD(lr=lr), ())
    return Training(task, engine.create_state(module, task.optimizer), History(), epochs, STEPS, verbose)


def step(training: Training) -> None:
    """One step that depends on the weights and the learning rate: w ← w · (1 - lr / 10) + 1."""
    rate = 0.0 if training.lr is None else training.lr[0]
    new = jax.tree.map(lambda w: w * jnp.asarray(1 - rate / 10, w.dtype) + jnp.ones_like(w), training.state.params)
    training.state = training.state._replace(params=new, step=training.state.step + 1)
    training.step += 1


def drive(
    training: Training, callbacks: Sequence[Callback], rows: Rows, until: int | None = None, end: bool = True
) -> Training:
    """Run the epochs that are left, up to `until`; row i holds what epoch i measures."""
    for callback in callbacks:
        callback.on_train_begin(training)
    for epoch in range(training.epoch, training.epochs if until is None else until):
        if training.stop_reason is not None:
            break
        run_epoch(training, callbacks, dict(rows[epoch]))
    if end:
        training.history.stop_reason = training.stop_reason
        for callback in callbacks:
            callback.on_train_end(training)
    return training


def run_epoch(training: Training, callbacks: Sequence[Callback], values: dict[str, float]) -> None:
    training.read_logs = lambda: {name: value for name, value in values.items() if not name.startswith("val_")}
    for callback in callbacks:
        callback.on_epoch_begin(training)
    rate = (training.lr or (0.0,))[0]
    for _ in range(STEPS):
        step(training)
        for callback in callbacks:
            callback.on_steps_end(training)
    row = {"epoch": training.epoch + 1, **values, "lr": rate, "seconds": 0.25}
    training.history.append({name: [value] for name, value in row.items()})
    training.epoch += 1
    for callback in callbacks:
        callback.on_epoch_end(training, dict(row))


def through_a_file(state: Any) -> Any:
    """What a checkpoint gives back: arrays through .npz, everything else through JSON."""
    arrays: dict[str, np.ndarray] = {}

    def out(value: Any) -> Any:
        if isinstance(value, (jax.Array, np.ndarray)):
            arrays[f"a{len(arrays)}"] = np.asarray(value)
            return {"array": f"a{len(arrays) - 1}"}
        if isinstance(value, dict):
            return {key: out(item) for key, item in value.items()}
        return [out(item) for item in value] if isinstance(value, (list, tuple)) else value

    def back(value: Any) -> Any:
        if isinstance(value, dict):
            return stored[value["array"]] if set(value) == {"array"} else {k: back(v) for k, v in value.items()}
        return [back(item) for item in value] if isinstance(value, list) else value

    text, file = json.dumps(out(state), allow_nan=False), io.BytesIO()
    np.savez(file, **arrays)
    stored = np.load(io.BytesIO(file.getvalue()))
    return back(json.loads(text))


def drive_with_a_crash(
    make: Callable[[], Sequence[Callback]], rows: Rows, saved: int, crashed: int, **options: Any
) -> tuple[Training, Sequence[Callback]]:
    """Save after epoch `saved`, go on up to `crashed`, lose everything in memory, and resume to the end."""
    first, callbacks = new_training(len(rows), **options), make()
    drive(first, callbacks, rows, until=saved, end=False)
    kept = through_a_file([callback.state_dict() for callback in callbacks])
    history, arrays = through_a_file(first.history.to_dict()), [np.asarray(a) for a in jax.tree.leaves(first.state)]
    for epoch in range(saved, crashed):
        if first.stop_reason is None:
            run_epoch(first, callbacks, dict(rows[epoch]))
    for callback in callbacks:
        callback.close()  # what it wrote after the checkpoint is on the disk
    second, fresh = new_training(len(rows), **options), make()
    second.state = jax.tree.unflatten(jax.tree.structure(second.state), [jnp.asarray(a) for a in arrays])
    second.history, second.epoch, second.step = History.from_dict(history), saved, saved * STEPS
    for callback, state in zip(fresh, kept, strict=True):
        callback.load_state_dict(state)
    drive(second, fresh, rows)
    return second, fresh


def weights_of(training: Training) -> list[np.ndarray]:
    return [np.asarray(w) for w in training.get_weights()]


def same_weights(a: Training, b: Training) -> None:
    for one, other in zip(weights_of(a), weights_of(b), strict=True):
        np.testing.assert_array_equal(one, other)
