"""fit and evaluate: the same numbers however steps are dispatched, exact means, one compilation, and Ctrl-C."""

import signal
import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from close import FLOAT32_FACTOR, FLOAT32_FLOOR, FLOAT64_RTOL, assert_close, scale, worst
from flax import nnx

from jaxport import engine, metrics, nn, optim
from jaxport.engine import loop, traits
from jaxport.errors import UsageError
from jaxport.interop import state_dict
from jaxport.optim.lr_scheduler import ReduceLROnPlateau

pytestmark = pytest.mark.usefixtures("strict_jax")
both_dispatches = pytest.mark.parametrize("dispatch", ["scan", "steps"])
Data = tuple[np.ndarray, np.ndarray]


def dense(dtype: Any, rate: float = 0.0) -> nn.Module:
    rngs = nnx.Rngs(0)
    layers = [nn.Linear(3, 8, rngs=rngs), nn.ReLU(), nn.Dropout(rate, rngs=rngs), nn.Linear(8, 4, rngs=rngs)]
    return nn.Sequential(*layers).to(dtype)


def convolutional(dtype: Any, rate: float = 0.0) -> nn.Module:
    rngs = nnx.Rngs(0)
    return nn.Sequential(
        nn.Conv2d(4, 3, 3, padding=1, rngs=rngs),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout2d(rate, rngs=rngs),
        nn.Flatten(),
        nn.Linear(3 * 2 * 3, 4, rngs=rngs),
    ).to(dtype)


class Standardise(nn.Module):
    """Keeps a running mean of its inputs, as a batch normalisation does, and counts its calls."""

    def __init__(self) -> None:
        self.mean = nn.Buffer(jnp.zeros(3))
        self.calls = nn.Buffer(jnp.zeros((), jnp.int32))

    def forward(self, x: jax.Array) -> jax.Array:
        if self.training:
            self.mean[...] = 0.5 * self.mean[...] + 0.5 * x.mean(0).astype(self.mean.dtype)
            self.calls[...] = self.calls[...] + 1
        return x - self.mean[...].astype(x.dtype)[None]


def with_buffers(dtype: Any, rate: float = 0.0) -> nn.Module:
    return nn.Sequential(Standardise(), nn.Linear(3, 4, rngs=0)).to(dtype)


MODELS: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...]]] = {
    "dense": (dense, (3,)),
    "convolutional": (convolutional, (4, 4, 6)),
    "buffers": (with_buffers, (3,)),
}


def examples(shape: tuple[int, ...], n: int, dtype: Any, seed: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    x = (0.3 + rng.standard_normal((n, *shape))).astype(np.float32).astype(dtype)
    return x, rng.integers(0, 4, n).astype(np.int32)


def train(module: nn.Module, data: Data, **options: Any) -> engine.History:
    defaults: dict[str, Any] = {
        "loss": nn.CrossEntropyLoss(),
        "optimizer": optim.SGD(lr=0.1, momentum=0.9),
        "epochs": 3,
        "batch_size": 4,
        "metrics": (metrics.Accuracy(),),
        "dispatch": "steps",
    }
    return engine.fit(module, data, **(defaults | options))


def run(name: str, dtype: Any, dispatch: str, **options: Any) -> dict[str, np.ndarray]:
    """Return every column and every array after a run, 11 examples in batches of 4, with validation."""
    make, shape = MODELS[name]
    rate = options.pop("rate", 0.0)
    with jax.enable_x64(dtype == np.float64):
        module = make(dtype, rate)
        validation = examples(shape, 7, dtype, 1)
        history = train(module, examples(shape, 11, dtype), validation=validation, dispatch=dispatch, **options)
        assert history.dispatch == dispatch
        columns = {name: np.asarray(values) for name, values in history.columns.items() if name != "seconds"}
        return columns | state_dict(module)


# What optax hands on as extra arguments: the loss, and the loss as a function of the parameters.
EXTRA: dict[str, optax.GradientTransformation] = {
    "LBFGS": optim.LBFGS(lr=0.1, max_iter=2),
    "plateau": optim.scheduled(optim.SGD(lr=1.0), ReduceLROnPlateau(patience=0, factor=0.5, threshold=0.5), every=3),
}


@pytest.mark.parametrize("optimizer", EXTRA)
def test_optimisers_that_ask_for_the_loss(optimizer):
    a, b = (run("dense", np.float64, dispatch, optimizer=EXTRA[optimizer]) for dispatch in ("scan", "steps"))
    for key in a:
        assert_close(a[key], b[key])
    assert a["loss"][-1] < a["loss"][0]


def test_an_optimiser_whose_state_holds_one_array_twice():
    """As that of optax.lbfgs does: the state is donated, and nothing can be donated twice."""
    plain = optax.sgd(0.1)

    def init(params: Any) -> Any:
        zero = jnp.zeros(())
        return plain.init(params), zero, zero

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        steps, inner = plain.update(grads, state[0], params)
        return steps, (inner, state[1] + 1.0, state[2] - 1.0)

    a = run("dense", np.float64, "steps", optimizer=optax.GradientTransformation(init, update))
    b = run("dense", np.float64, "steps", optimizer=plain)
    assert all((a[key] == b[key]).all() for key in a)


def test_a_plateau_lowers_the_rate_in_the_compiled_loop():
    """Three epochs whose loss does not halve: the rate halves twice."""
    module, data = dense(np.float32), examples((3,), 11, np.float32)
    task = engine.make_task(module, nn.CrossEntropyLoss(), EXTRA["plateau"])
    state, totals = engine.create_state(module, task.optimizer), engine.empty_totals(())
    batch = engine.Batch(*map(jnp.asarray, data))
    rates = []
    for _ in range(9):
        state, totals, _ = engine.train_step(task, state, totals, batch)
        rates.append(float(optim.get_lr(state.opt_state)[0]))
    assert rates == [1.0] * 5 + [0.5] * 3 + [0.25]


@pytest.mark.parametrize(
    ("name", "rate", "optimizer"),
    [("dense", 0.5, "SGD"), ("dense", 0.0, "Adam"), ("convolutional", 0.3, "Adam"), ("buffers", 0.0, "SGD")],
)
def test_scan_and_steps_give_the_same_numbers(name, rate, optimizer):
    make = optim.Adam(lr=0.05) if optimizer == "Adam" else optim.SGD(lr=0.1, momentum=0.9)
    a, b = (run(name, np.float64, dispatch, rate=rate, optimizer=make) for dispatch in ("scan", "steps"))
    assert list(a) == list(b)
    assert list(a)[:5] == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert a["epoch"].tolist() == [1, 2, 3]
    for key in a:
        assert_close(a[key], b[key])


@pytest.mark.parametrize("name", ["dense", "convolutional"])
def test_scan_and_steps_differ_by_rounding_in_float32(name):
    truth = run(name, np.float64, "steps")
    a, b = (run(name, np.float32, dispatch) for dispatch in ("scan", "steps"))
    for key in truth:
        for one, other in ((a, b), (b, a)):
            limit = FLOAT32_FACTOR * worst(other[key], truth[key]) + FLOAT32_FLOOR * scale(truth[key])
            assert worst(one[key], truth[key]) <= limit, key


def test_epochs_may_be_brought_together_in_any_number(monkeypatch):
    whole = run("dense", np.float64, "scan", epochs=5)
    for per_call in (1, 6, 7):
        monkeypatch.setattr(loop, "_STEPS_PER_CALL", per_call)
        parts = run("dense", np.float64, "scan", epochs=5)
        for key in whole:
            np.testing.assert_array_equal(parts[key], whole[key])


# ------------------------------------------------------------------------------------------------------ exact means


def softmax_pass(module: nn.Module, data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Return each example's cross-entropy and whether it is right, by NumPy, for the dense model."""
    w = state_dict(module)
    hidden = np.maximum(data[0] @ w["0.weight"].T + w["0.bias"], 0.0)
    logits = hidden @ w["3.weight"].T + w["3.bias"]
    logs = logits - logits.max(1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(1, keepdims=True))
    return -logs[np.arange(len(data[1])), data[1]], logits.argmax(1) == data[1]


def close(found: float, wanted: float) -> bool:
    return abs(found - wanted) <= FLOAT64_RTOL * abs(wanted)


@both_dispatches
@pytest.mark.parametrize("size", [1, 4, None])
def test_means_are_those_of_a_full_pass(dispatch, size):
    with jax.enable_x64(True):
        module, data, other = dense(np.float64), examples((3,), 11, np.float64), examples((3,), 7, np.float64, 1)
        losses, right = softmax_pass(module, data)
        val_losses, val_right = softmax_pass(module, other)
        still: dict[str, Any] = {"optimizer": optim.SGD(lr=0.0), "epochs": 2, "batch_size": size, "dispatch": dispatch}
        history = train(module, data, validation=other, **still)
        row, val_row = history.last(), history.last("val_")
        assert close(row["loss"], losses.mean())
        assert close(row["accuracy"], right.mean())
        assert close(val_row["loss"], val_losses.mean())
        assert close(val_row["accuracy"], val_right.mean())
        summed = train(module, data, validation=other, loss=nn.CrossEntropyLoss(reduction="sum"), **still)
        assert close(summed.last()["loss"], losses.sum())
        assert close(summed.last("val_")["loss"], val_losses.sum())
        for reduction, wanted in (("mean", losses.mean()), ("sum", losses.sum())):
            loss = nn.CrossEntropyLoss(reduction=reduction)
            found = engine.evaluate(module, data, loss=loss, metrics=(metrics.Accuracy(),), batch_size=size)
            assert list(found) == ["loss", "accuracy"]
            assert close(found["loss"], wanted)
            assert close(found["accuracy"], right.mean())


@both_dispatches
def test_validation_and_evaluation_drop_nothing(dispatch):
    with jax.enable_x64(True):
        module, data = dense(np.float64, 0.5), examples((3,), 11, np.float64)
        losses, _ = softmax_pass(module, data)
        history = train(module, data, validation=data, optimizer=optim.SGD(lr=0.0), epochs=1, dispatch=dispatch)
        assert close(history.last("val_")["loss"], losses.mean())
        assert not close(history.last()["loss"], losses.mean())
        assert close(engine.evaluate(module, data, loss=nn.CrossEntropyLoss())["loss"], losses.mean())


@both_dispatches
def test_gradient_of_a_short_batch_is_that_of_its_examples(dispatch):
    """One epoch of 5 examples by 3: the second step sees two examples, not three."""
    with jax.enable_x64(True):
        data = examples((3,), 5, np.float64)
        found, wanted = dense(np.float64), dense(np.float64)
        optimizer = optim.SGD(lr=0.1)
        train(found, data, epochs=1, batch_size=3, shuffle=False, optimizer=optimizer, dispatch=dispatch)
        for part in (slice(0, 3), slice(3, 5)):
            train(wanted, (data[0][part], data[1][part]), epochs=1, batch_size=None, optimizer=optimizer)
        for key, value in state_dict(wanted).items():
            assert_close(state_dict(found)[key], value)


@both_dispatches
def test_prepare_is_applied_in_training_and_validation(dispatch):
    with jax.enable_x64(True):
        x, y = examples((3,), 11, np.float64)
        plain, prepared = dense(np.float64), dense(np.float64)
        a = train(plain, (x * 2.0, y), validation=(x * 2.0, y), dispatch=dispatch)
        b = train(prepared, (x, y), validation=(x, y), dispatch=dispatch, prepare=lambda x: x * 2.0)
        assert all(a.columns[name] == b.columns[name] for name in a.columns if name != "seconds")
        loss = nn.CrossEntropyLoss()
        found = engine.evaluate(prepared, (x, y), loss=loss, prepare=lambda x: x * 2.0)
        assert close(found["loss"], b.last("val_")["loss"])


def test_shuffling_is_by_seed_and_can_be_turned_off():
    def weights(**options: Any) -> np.ndarray:
        module = dense(np.float32, 0.5)
        train(module, examples((3,), 11, np.float32), **options)
        return state_dict(module)["0.weight"]

    np.testing.assert_array_equal(weights(seed=3), weights(seed=3))
    assert (weights(seed=3) != weights(seed=4)).any()
    np.testing.assert_array_equal(weights(shuffle=False, seed=3), weights(shuffle=False, seed=4))


# --------------------------------------------------------------------------------------------- compiled only once


class Traced(nn.Module):
    """Counts how often it is traced, in training and in evaluation mode."""

    count = (0, 0)

    def __init__(self) -> None:
        self.linear = nn.Linear(3, 4, rngs=0)

    def forward(self, x: jax.Array) -> jax.Array:
        trained, evaluated = Traced.count
        Traced.count = (trained + 1, evaluated) if self.training else (trained, evaluated + 1)
        return self.linear(x)


def traces(monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[int, int]:
    monkeypatch.setattr(Traced, "count", (0, 0))
    data = examples((3,), 13, np.float32)
    train(Traced(), data, validation=data, **options)
    return Traced.count


@both_dispatches
def test_traces_do_not_grow_with_epochs_or_steps(monkeypatch, dispatch):
    monkeypatch.setattr(loop, "_STEPS_PER_CALL", 8)
    few = traces(monkeypatch, dispatch=dispatch, epochs=1, batch_size=4)
    many = traces(monkeypatch, dispatch=dispatch, epochs=23, batch_size=3)
    assert few == many
    assert max(many) <= 4


@both_dispatches
def test_compilations_do_not_grow_with_epochs_or_steps(dispatch):
    def compiled(epochs: int) -> list[str]:
        names: list[str] = []
        listener = lambda event, seconds, **kwargs: names.append(event)  # noqa: E731
        jax.monitoring.register_event_duration_secs_listener(listener)
        try:
            data = examples((3,), 13, np.float32)
            train(dense(np.float32), data, validation=data, epochs=epochs, dispatch=dispatch)
        finally:
            jax.monitoring.unregister_event_duration_listener(listener)
        return [name for name in names if name.endswith("backend_compile_duration")]

    compiled(1)  # what JAX compiles once in a process
    assert len(compiled(9)) == len(compiled(2)) <= 10


# ------------------------------------------------------------------------------------------ what fit leaves behind


@both_dispatches
def test_the_module_survives_and_can_go_on(dispatch):
    module, data = dense(np.float32, 0.5), examples((3,), 11, np.float32)
    weight, before = module[0].weight, state_dict(module)
    aliases = [parameter[...] for parameter in module.parameters()]
    history = train(module, data, dispatch=dispatch)
    assert history.steps == 9
    assert not history.interrupted
    assert len(history) == 3
    assert history.compile_seconds > 0.0
    assert history.train_seconds > 0.0
    assert module[0].weight is weight
    assert all((state_dict(module)[key] != value).any() for key, value in before.items())
    assert not any(array.is_deleted() for array in aliases)
    assert np.isfinite(np.asarray(module(jnp.asarray(data[0])))).all()
    train(module, data, dispatch=dispatch)


@both_dispatches
def test_the_modes_of_the_module_stay(dispatch):
    data = examples((3,), 11, np.float32)
    module = dense(np.float32, 0.5)
    module[2].eval()
    train(module, data, dispatch=dispatch)
    assert [part.training for part in module.modules()] == [True, True, True, False, True]
    module.eval()
    engine.evaluate(module, data, loss=nn.CrossEntropyLoss())
    assert not any(part.training for part in module.modules())
    # Trained in training mode all the same: dropout drew from its stream.
    drawn = int(module[2].rngs.count[...])
    module[2].train()
    module.eval()
    train(module, data, dispatch=dispatch)
    assert int(module[2].rngs.count[...]) == drawn + 9


@both_dispatches
def test_buffers_are_updated_in_training_only(dispatch):
    x, y = examples((3,), 11, np.float32)
    module = with_buffers(np.float32)
    train(module, (x, y), validation=(x[:7], y[:7]), dispatch=dispatch, epochs=2, batch_size=4)
    assert int(module[0].calls[...]) == 6
    mean = module[0].mean[...]
    engine.evaluate(module, (x, y), loss=nn.CrossEntropyLoss())
    np.testing.assert_array_equal(np.asarray(module[0].mean[...]), np.asarray(mean))
    with jax.enable_x64(True):
        x, y = examples((3,), 11, np.float64)
        module = with_buffers(np.float64)
        train(module, (x, y), dispatch=dispatch, epochs=1, batch_size=None)
        assert_close(module[0].mean[...], 0.5 * x.mean(0))


def test_evaluate_changes_nothing_and_needs_no_mode():
    module, data = dense(np.float32, 0.5), examples((3,), 11, np.float32)
    before = {key: value.tobytes() for key, value in state_dict(module).items()}
    first = engine.evaluate(module, data, loss=nn.CrossEntropyLoss())
    assert engine.evaluate(module.eval(), data, loss=nn.CrossEntropyLoss()) == first
    assert {key: value.tobytes() for key, value in state_dict(module).items()} == before


@pytest.mark.parametrize(
    ("name", "short", "wanted"),
    [("dense", 0, "scan"), ("convolutional", 0, "steps"), ("convolutional", traits._SHORT, "scan")],
)
def test_dispatch_is_chosen_by_the_model(name, short, wanted, monkeypatch):
    monkeypatch.setattr(traits, "_SHORT", short)
    make, shape = MODELS[name]
    history = train(make(np.float32), examples(shape, 5, np.float32), dispatch=None, epochs=1)
    assert history.dispatch == (wanted if jax.default_backend() == "cpu" else "scan")


@both_dispatches
def test_progress(dispatch, monkeypatch):
    monkeypatch.setattr(loop, "_STEPS_PER_CALL", 6)
    seen: list[engine.Progress] = []
    data = examples((3,), 11, np.float32)
    history = train(dense(np.float32), data, validation=data, epochs=5, dispatch=dispatch, on_progress=seen.append)
    assert all(progress.steps == 15 for progress in seen)
    assert [p.step for p in seen] == sorted(p.step for p in seen)
    rows = [progress for progress in seen if progress.row is not None]
    assert [p.epoch for p in rows] == ([2, 4, 5] if dispatch == "scan" else [1, 2, 3, 4, 5])
    for progress in rows:
        assert progress.step == 3 * progress.epoch
        wanted = {name: column[progress.epoch - 1] for name, column in history.columns.items() if name != "epoch"}
        assert progress.row == wanted
        assert progress.loss == wanted["loss"]
    assert all(np.isfinite(p.loss) for p in seen)


# --------------------------------------------------------------------------------------------- interruptions, errors


def interrupt(progress: engine.Progress) -> None:
    signal.raise_signal(signal.SIGINT)  # to this thread, now: os.kill may come later


@both_dispatches
def test_ctrl_c_keeps_what_was_learnt(dispatch, monkeypatch):
    monkeypatch.setattr(loop, "_STEPS_PER_CALL", 5)
    data = examples((3,), 20, np.float32)
    options: dict[str, Any] = {"dispatch": dispatch, "batch_size": 4, "shuffle": False}
    module, before = dense(np.float32), state_dict(dense(np.float32))
    handler = signal.getsignal(signal.SIGINT)
    history = train(module, data, epochs=50, on_progress=interrupt, **options)
    assert history.interrupted
    assert signal.getsignal(signal.SIGINT) is handler
    if dispatch == "scan":
        assert (history.steps, len(history)) == (5, 1)
        same = dense(np.float32)
        train(same, data, epochs=1, **options)
        for key, value in state_dict(same).items():
            np.testing.assert_array_equal(state_dict(module)[key], value)
    else:
        assert 0 < history.steps < 5
        assert len(history) == 0
        same = dense(np.float32)
        short = (data[0][: 4 * history.steps], data[1][: 4 * history.steps])
        train(same, short, epochs=1, **options)
        for key, value in state_dict(same).items():
            np.testing.assert_array_equal(state_dict(module)[key], value)
    assert (state_dict(module)["0.weight"] != before["0.weight"]).any()
    train(module, data, epochs=1, **options)


@both_dispatches
def test_ctrl_c_in_the_last_epoch_finishes_it(dispatch):
    sent: list[engine.Progress] = []

    def at_the_end(progress: engine.Progress) -> None:
        if progress.step == progress.steps and not sent:
            sent.append(progress)
            interrupt(progress)

    module, data = dense(np.float32), examples((3,), 11, np.float32)
    history = train(module, data, epochs=1, batch_size=3, dispatch=dispatch, on_progress=at_the_end)
    assert not history.interrupted
    assert (history.steps, len(history)) == (4, 1)


@both_dispatches
def test_a_second_ctrl_c_interrupts(dispatch):
    def twice(progress: engine.Progress) -> None:
        interrupt(progress)
        interrupt(progress)

    module, handler = dense(np.float32), signal.getsignal(signal.SIGINT)
    before = state_dict(module)
    with pytest.raises(KeyboardInterrupt):
        train(module, examples((3,), 20, np.float32), epochs=50, dispatch=dispatch, on_progress=twice)
    assert signal.getsignal(signal.SIGINT) is handler
    assert any((value != before[key]).any() for key, value in state_dict(module).items())  # what was learnt is there


def test_a_handler_of_the_program_is_left_alone():
    calls: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, frame: calls.append(number))
    try:
        history = train(dense(np.float32), examples((3,), 20, np.float32), on_progress=interrupt)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert not history.interrupted
    assert calls


def test_fit_works_outside_the_main_thread():
    found: list[engine.History] = []
    data = examples((3,), 11, np.float32)
    thread = threading.Thread(target=lambda: found.append(train(dense(np.float32), data)))
    thread.start()
    thread.join()
    assert found[0].steps == 9


@both_dispatches
def test_an_error_in_on_progress_keeps_what_was_learnt(dispatch):
    def fail(progress: engine.Progress) -> None:
        raise RuntimeError("no more")

    module, handler = dense(np.float32, 0.5), signal.getsignal(signal.SIGINT)
    before = state_dict(module)
    with pytest.raises(RuntimeError, match="no more"):
        train(module, examples((3,), 20, np.float32), dispatch=dispatch, on_progress=fail)
    assert signal.getsignal(signal.SIGINT) is handler
    assert module.training
    assert any((value != before[key]).any() for key, value in state_dict(module).items())
    train(module, examples((3,), 20, np.float32), dispatch=dispatch)


X, Y = examples((3,), 5, np.float32)
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("rows", {"train": (X, Y[:4])}, r"train: x and y must have the same number of rows, at least 1; got 5, 4"),
    ("empty", {"train": (X[:0], Y[:0])}, r"train: x and y must have .* got 0, 0"),
    ("validation", {"validation": (X[:2], Y)}, r"validation: x and y must have .* got 2, 5"),
    ("batch size", {"batch_size": 0}, r"batch_size must be at least 1, got 0"),
    ("epochs", {"epochs": 0}, r"epochs must be at least 1, got 0"),
]


@pytest.mark.parametrize(("options", "match"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_arguments(options, match):
    data = options.pop("train", (X, Y))
    with pytest.raises(UsageError, match=match):
        train(dense(np.float32), data, **options)


def test_evaluate_s_bad_arguments():
    with pytest.raises(UsageError, match="data: x and y must have the same number of rows"):
        engine.evaluate(dense(np.float32), (X, Y[:3]), loss=nn.CrossEntropyLoss())
    with pytest.raises(UsageError, match="batch_size must be at least 1, got -1"):
        engine.evaluate(dense(np.float32), (X, Y), loss=nn.CrossEntropyLoss(), batch_size=-1)


def test_an_unknown_dispatch_is_refused():
    with pytest.raises(UsageError, match="dispatch must be 'scan', 'chunks', 'steps' or None, got 'epochs'"):
        train(dense(np.float32), examples((3,), 5, np.float32), dispatch="epochs")
