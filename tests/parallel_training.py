"""Train models on four CPU devices and on one; print how far apart everything ends, as JSON.

    python tests/parallel_training.py

A program of its own because the number of devices is fixed when JAX starts.
"""

import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jax.sharding import PartitionSpec as P

from jaxport import Model, interop, metrics, nn, optim
from jaxport.data import DataLoader
from jaxport.engine.callbacks import Callback, EarlyStopping, TerminateOnNaN
from jaxport.optim.swa_utils import get_ema_avg_fn

N, HIDDEN, CLASSES = 37, 256, 3


class Case(NamedTuple):
    """What is trained: module, arguments of `compile`, of `fit`, the data, and the devices."""

    module: Callable[[], nn.Module]
    compile: dict[str, Any]
    fit: dict[str, Any]
    data: Callable[[], Any]
    devices: Callable[[], dict[str, Any]] = lambda: {"devices": 4}
    again: bool = False


def dense() -> nn.Module:
    rngs = nnx.Rngs(0)
    return nn.Sequential(nn.Linear(6, HIDDEN, rngs=rngs), nn.Tanh(), nn.Linear(HIDDEN, CLASSES, rngs=rngs)).double()


def dense_with_dropout() -> nn.Module:
    rngs = nnx.Rngs(0)
    layers = [nn.Linear(6, HIDDEN, rngs=rngs), nn.Dropout(0.4, rngs=rngs), nn.Linear(HIDDEN, CLASSES, rngs=rngs)]
    return nn.Sequential(*layers).double()


def binary() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 1, rngs=0)).double()


def convolutional() -> nn.Module:
    """Return a network without a bias in front of BatchNorm, whose gradient is nothing but rounding."""
    rngs = nnx.Rngs(0)
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, bias=False, rngs=rngs),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, bias=False, rngs=rngs),
        nn.BatchNorm2d(16),
        nn.MaxPool2d(2),
        nn.Dropout2d(0.25, rngs=rngs),
        nn.Flatten(),
        nn.Linear(32, CLASSES, rngs=rngs),
    ).double()


def normalised() -> nn.Module:
    """Return a convolutional network without dropout: its masks depend on the padded size of a batch."""
    rngs = nnx.Rngs(0)
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, bias=False, rngs=rngs), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 30, CLASSES, rngs=rngs),
    ).double()  # fmt: skip


def examples(*shape: int, n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = 0.5 + rng.standard_normal((n, *shape))
    return x, (x.reshape(n, -1)[:, :6].sum(1) * 1.3).astype(np.int32) % CLASSES


def rows() -> tuple[np.ndarray, np.ndarray]:
    return examples(6)


def images() -> tuple[np.ndarray, np.ndarray]:
    return examples(4, 6, 5)


def weighted() -> tuple[np.ndarray, ...]:
    return *rows(), 0.5 + np.arange(N) % 5


def two_classes() -> tuple[np.ndarray, np.ndarray]:
    x, y = rows()
    return x, (y > 1)[:, None].astype(np.float64)


def loader() -> DataLoader:
    return DataLoader(rows(), 8, shuffle=True, seed=3)


class Reader:
    """A data set that is no array: its loader reads row by row."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = rows()
        return x[index], y[index]


def reading_loader() -> DataLoader:
    return DataLoader(Reader(), 8, shuffle=True, seed=3, to_device=False)


def image_batches() -> list[tuple[np.ndarray, np.ndarray]]:
    x, y = images()
    return [(x[first : first + 8], y[first : first + 8]) for first in range(0, N, 8)]


class Generated:
    """Batches of a size that four does not divide, and no len()."""

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        x, y = rows()
        for first in range(0, N, 10):
            yield x[first : first + 10], y[first : first + 10]


class Shards(Callback):
    """Notes during training how the arrays of the state lie, and puts weights back that it took."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Any]] = {}
        self.bytes: list[int] = []

    def on_epoch_end(self, training: Any, logs: dict[str, float]) -> None:
        leaves = jax.tree_util.tree_leaves_with_path((training.state.params, training.state.opt_state))
        for path, leaf in leaves:
            shapes = sorted({shard.data.shape for shard in leaf.addressable_shards})
            self.seen[jax.tree_util.keystr(path)] = [list(leaf.shape), [list(shape) for shape in shapes]]
        each: dict[Any, int] = {}
        for _, leaf in leaves:
            for shard in leaf.addressable_shards:
                each[shard.device] = each.get(shard.device, 0) + shard.data.nbytes
        self.bytes = list(each.values())
        training.set_weights(training.get_weights())
        training.lr = 0.5 * training.lr[0]


def mesh_of_two_axes() -> dict[str, Any]:
    """Return a mesh of 2 × 2 with the hidden units spread over the axis "model"."""
    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    rules = {"0.weight": P("model", None), "0.bias": P("model"), "2.weight": P(None, "model")}
    return {"mesh": mesh, "shard": lambda path, array: rules.get(path)}


def explicit_mesh() -> dict[str, Any]:
    """Return a mesh whose axis is of the kind that jax.make_mesh gives by default."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {"mesh": jax.make_mesh((4,), ("data",))}


def fsdp() -> dict[str, Any]:
    return {"devices": 4, "shard": "fsdp"}


def adam(**more: Any) -> dict[str, Any]:
    return {"optimizer": optim.Adam(lr=0.02), "metrics": (metrics.Accuracy(),), **more}


def sgd(**more: Any) -> dict[str, Any]:
    return {"optimizer": optim.SGD(lr=0.05, momentum=0.9), "metrics": (metrics.Accuracy(),), **more}


CASES: dict[str, Case] = {
    "dense scan": Case(dense, adam(), {"dispatch": "scan"}, rows, again=True),
    "dense chunks": Case(dense, sgd(class_weight={0: 1.0, 1: 2.0, 2: 0.3}), {"steps_per_call": 2}, weighted),
    "dense steps": Case(
        dense,
        sgd(optimizer=optim.SGD(lr=1.0, momentum=0.9)),
        {"dispatch": "steps", "callbacks": lambda: EarlyStopping("val_loss", patience=1), "epochs": 9},
        rows,
    ),
    "dense padded": Case(dense, adam(), {"batch_size": 10}, rows),
    "dense generated": Case(dense, sgd(), {}, Generated),
    "dense loader": Case(dense_with_dropout, sgd(), {"dispatch": "scan"}, loader, explicit_mesh),
    "dense reading loader": Case(dense_with_dropout, sgd(), {"dispatch": "chunks"}, reading_loader),
    "dense two axes": Case(dense, adam(), {"dispatch": "scan", "callbacks": Shards}, rows, mesh_of_two_axes),
    "dense fsdp": Case(dense, adam(), {"dispatch": "scan", "callbacks": Shards}, rows, fsdp, again=True),
    "dense eager": Case(dense, adam(run_eagerly=True), {"epochs": 1}, rows),
    "averages": Case(
        binary,
        {
            "loss": nn.BCEWithLogitsLoss(),
            "optimizer": optim.Adam(lr=0.1),
            "metrics": (metrics.BinaryAUC(),),
            "accumulate": 2,
            "clip_norm": 0.5,
            "average": get_ema_avg_fn(0.9),
        },
        {"dispatch": "scan"},
        two_classes,
    ),
    "conv scan": Case(convolutional, adam(), {"dispatch": "scan"}, images),
    "conv padded": Case(normalised, sgd(), {"callbacks": TerminateOnNaN, "batch_size": 10}, images),
    "conv fsdp": Case(convolutional, adam(), {"callbacks": Shards}, image_batches, fsdp),
}


def train(case: Case, devices: dict[str, Any]) -> dict[str, Any]:
    """Return everything that a run gives."""
    model = Model(case.module())
    model.compile(**{"loss": nn.CrossEntropyLoss(), **case.compile}, **devices)
    fit = {"epochs": 2, "batch_size": 8, "seed": 5, **case.fit}
    callbacks = [fit.pop("callbacks")()] if "callbacks" in fit else []
    data = case.data()
    x = data[0] if isinstance(data, tuple) else (images if case.module is convolutional else rows)()[0]
    validation = (x[:9], data[1][:9]) if isinstance(data, tuple) else data
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        history = model.fit(case.data(), validation=validation, callbacks=callbacks, verbose=0, **fit)
        if case.again:
            history = model.fit(case.data(), validation=validation, callbacks=callbacks, verbose=0, **fit)
    measured = model.evaluate(validation, batch_size=8)
    weights = interop.state_dict(model.module)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        model.save_weights(path)
        saved = interop.load_file(path)
    return {
        "history": {name: column for name, column in history.columns.items() if name != "seconds"},
        "measured": measured,
        "predicted": {"x": model.predict(x, batch_size=8)},
        "weights": weights,
        "saved": saved,
        "averaged": interop.state_dict(model.averaged) if "average" in case.compile else {},
        "warned": [str(warning.message) for warning in warned],
        "model": model,
        "callback": callbacks[0] if callbacks else None,
    }


def apart(found: dict[str, Any], wanted: dict[str, Any]) -> float:
    """Return the largest difference, over the largest magnitude of its array; infinity where something is missing."""
    if sorted(found) != sorted(wanted):
        return float("inf")
    worst = 0.0
    for name, value in wanted.items():
        a, b = np.asarray(found[name], np.float64), np.asarray(value, np.float64)
        if a.shape != b.shape or not np.isfinite(a).all():
            return float("inf")
        worst = max(worst, float(np.abs(a - b).max(initial=0) / (np.abs(b).max(initial=0) + 1e-30)))
    return worst


def program(model: Model) -> str:
    """Return what the step that was compiled last looks like on one of the devices."""
    texts = [
        compiled.as_text()
        for programs in model._programs.values() if hasattr(programs, "_made")
        for (name, _), made in programs._made.items() if name in ("epochs", "steps", "step", "batch", "chunk")
        for compiled in made.values()
    ]  # fmt: skip
    return texts[-1] if texts else ""


def compare(case: Case) -> dict[str, Any]:
    """Return how far four devices end from one, and how the arrays lay."""
    many, one = train(case, case.devices()), train(case, {})
    parts = ("history", "measured", "predicted", "weights", "saved", "averaged")
    found: dict[str, Any] = {part: apart(many[part], one[part]) for part in parts}
    leaves = jax.tree.leaves(nnx.state(many["model"].module))
    found["devices after"] = max(len(leaf.sharding.device_set) for leaf in leaves if isinstance(leaf, jax.Array))
    found["epochs"] = len(many["history"]["loss"]), len(one["history"]["loss"])
    found["dispatch"] = many["model"].history.dispatch, one["model"].history.dispatch
    found["program"] = program(many["model"])
    found["warned"], found["warned alone"] = many["warned"], one["warned"]
    if isinstance(many["callback"], Shards):
        found["shards"], found["bytes"] = many["callback"].seen, many["callback"].bytes
        found["bytes alone"] = one["callback"].bytes
    return found


def main(names: list[str]) -> None:
    """Print {case: how far apart}; all cases, or the given ones."""
    jax.config.update("jax_num_cpu_devices", 4)
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    found = {}
    for name in names or CASES:
        found[name] = compare(CASES[name])
        print(
            name, {k: v for k, v in found[name].items() if k not in ("shards", "program")}, file=sys.stderr, flush=True
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
