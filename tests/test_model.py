"""Model: compile, fit, evaluate, predict, summary, files; what it leaves behind and what it refuses."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from close import assert_close

from jaxport import Model, load_exported, metrics, nn, optim
from jaxport.engine import Batch, TrainState
from jaxport.engine.callbacks import Callback, TerminateOnNaN
from jaxport.errors import UsageError, WeightsError
from jaxport.interop import state_dict

RNG = np.random.default_rng(0)
X = RNG.standard_normal((53, 3)).astype(np.float32)
Y = (X.sum(1) > 0).astype(np.int32)
ALL = (X, Y)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 8, rngs=0), nn.ReLU(), nn.Linear(8, 2, rngs=1))


def make(module: nn.Module | None = None, rate: float = 0.05, **options: Any) -> Model:
    model = Model(net() if module is None else module)
    optimizer = options.pop("optimizer", None) or optim.Adam(lr=rate)
    model.compile(options.pop("loss", None) or nn.CrossEntropyLoss(), optimizer, [metrics.Accuracy()], **options)
    return model


def train(model: Model, data: Any = ALL, epochs: int = 2, **options: Any) -> Any:
    return model.fit(data, epochs, **({"batch_size": 8, "verbose": 0} | options))


# ------------------------------------------------------------------------------------------------------- the whole way


def test_fit_evaluate_predict_and_go_on(tmp_path: Path) -> None:
    model, before = make(), state_dict(net())
    history = train(model, validation=ALL, epochs=3)
    assert list(history) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"]
    assert history["loss"][-1] < history["loss"][0]
    assert history["lr"] == [pytest.approx(0.05)] * 3
    assert model.history is history
    assert all((value != before[key]).any() for key, value in state_dict(model.module).items())
    found = model.evaluate(ALL)
    assert found == pytest.approx(history.last("val_"), rel=1e-6)
    logits = model.predict(X)
    assert logits.shape == (53, 2)
    ulp = 2.0**-23 * np.abs(logits).max()  # a logit near 0 is a difference of larger numbers, rounded in another order
    np.testing.assert_allclose(logits, np.asarray(model.module.eval()(X)), rtol=1e-6, atol=ulp)
    with jax.enable_x64(True):
        exact = Model(net().double())
        exact.compile(nn.CrossEntropyLoss(), optim.SGD(lr=0.1))
        assert_close(exact.predict(X.astype(np.float64)), exact.module.eval()(jnp.asarray(X, jnp.float64)))
    assert found["accuracy"] == pytest.approx((logits.argmax(1) == Y).mean())
    assert "Total params: 50" in str(model.summary((3,)))

    model.save(tmp_path / "model.safetensors")
    other = make()
    other.load(tmp_path / "model.safetensors")
    assert other.history.columns == history.columns
    again, compiled = train(model), model.history.compile_seconds
    assert again["loss"][0] < history["loss"][0]
    assert compiled == 0.0 or again.steps == 35
    assert train(other).columns["loss"] == again.columns["loss"]

    model.save_weights(tmp_path / "weights.safetensors")
    bare = Model(net())
    bare.load_weights(tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(bare.predict(X), model.predict(X))


def test_a_second_call_compiles_nothing() -> None:
    names: list[str] = []
    model = make()
    for _ in range(2):
        train(model, validation=ALL)
        model.evaluate(ALL)
        model.predict(X)
        model.predict(X[:1])
    listener = lambda event, seconds, **kwargs: names.append(event)  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        train(model, validation=ALL, seed=5)
        model.evaluate(ALL)
        model.predict(X)
        model.predict(X[:1])
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)
    assert not [name for name in names if name.endswith("backend_compile_duration")]


def test_freezing_between_two_calls() -> None:
    model = make()
    train(model)
    model.module[0].requires_grad_(False)
    first = {name: np.asarray(p[...]) for name, p in model.module.named_parameters()}
    train(model)
    changed = {name: (np.asarray(p[...]) != first[name]).any() for name, p in model.module.named_parameters()}
    assert changed == {"0.weight": False, "0.bias": False, "2.weight": True, "2.bias": True}


def test_an_exported_model_runs_without_its_code(tmp_path: Path) -> None:
    model = make()
    train(model)
    model.export(tmp_path / "any", (3,))
    model.export(tmp_path / "five", (3,), batch_size=5)
    for rows in (1, 5, 53):
        np.testing.assert_allclose(load_exported(tmp_path / "any")(X[:rows]), model.predict(X[:rows]), rtol=2e-6)
    np.testing.assert_allclose(load_exported(tmp_path / "five")(X[:5]), model.predict(X[:5]), rtol=2e-6)
    with pytest.raises(UsageError, match=r"x is float32\[5, 4\]; the exported model takes"):
        load_exported(tmp_path / "five")(np.zeros((5, 4), np.float32))
    (tmp_path / "half").write_bytes((tmp_path / "any").read_bytes()[:400])
    with pytest.raises(UsageError, match="half', which is damaged"):
        load_exported(tmp_path / "half")
    (tmp_path / "other").write_bytes(b"hello")
    with pytest.raises(UsageError, match="no model that jaxport exported"):
        load_exported(tmp_path / "other")


# -------------------------------------------------------------------------------------------------- what compile takes


def weights(model: Model) -> np.ndarray:
    return np.concatenate([np.asarray(value, np.float64).ravel() for value in state_dict(model.module).values()])


def double(**options: Any) -> Model:
    return make(net().double(), **options)


DOUBLE = (X[:48].astype(np.float64), Y[:48])


def test_accumulation_is_a_larger_batch() -> None:
    with jax.enable_x64(True):
        small, large = double(accumulate=3), double()
        train(small, DOUBLE, shuffle=False, batch_size=4)
        train(large, DOUBLE, shuffle=False, batch_size=12)
        assert_close(weights(small), weights(large))


def test_clipping_bounds_the_step() -> None:
    with jax.enable_x64(True):
        start = weights(double())
        for option, norm in (("clip_norm", np.linalg.norm), ("clip_value", lambda g: np.abs(g).max())):
            model = double(optimizer=optim.SGD(lr=1.0), **{option: 1e-3})
            train(model, DOUBLE, epochs=1, batch_size=None)
            assert norm(weights(model) - start) == pytest.approx(1e-3, rel=1e-3)


class Record(Callback):
    every_steps = 1

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def on_steps_end(self, training: Any) -> None:
        self.seen.append(np.concatenate([np.asarray(w).ravel() for w in jax.tree.leaves(training.state.params)]))


def test_the_average_is_that_of_all_steps_and_is_what_is_evaluated() -> None:
    with jax.enable_x64(True):
        model, record = double(average=optim.swa_utils.get_swa_avg_fn()), Record()
        history = train(model, DOUBLE, validation=DOUBLE, callbacks=[record])
        averaged = np.concatenate([np.asarray(p[...]).ravel() for p in model.averaged.parameters()])
        wanted = np.mean(record.seen, axis=0)
        assert sorted(averaged) == pytest.approx(sorted(wanted), rel=1e-10)
        plain = double()
        plain.module = model.averaged
        assert plain.evaluate(DOUBLE)["loss"] == pytest.approx(history.last("val_")["loss"], rel=1e-10)
        assert model.evaluate(DOUBLE)["loss"] == pytest.approx(history.last("val_")["loss"], rel=1e-10)
        with pytest.raises(UsageError, match="no averaged weights"):
            _ = double().averaged


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_keeps_float32_parameters(precision: Any) -> None:
    class Watching(nn.Module):
        def __init__(self) -> None:
            self.net, self.norm = net(), nn.BatchNorm1d(2)

        def forward(self, x: jax.Array) -> jax.Array:
            out = self.net(x)
            assert out.dtype == jnp.dtype(precision)
            return self.norm(out)

    model = make(Watching(), precision=precision)
    history = train(model, epochs=4, validation=ALL)
    assert history["loss"][-1] < history["loss"][0]
    assert {value.dtype for value in state_dict(model.module).values()} == {np.dtype("float32"), np.dtype("int64")} or {
        value.dtype for value in state_dict(model.module).values()
    } == {np.dtype("float32"), np.dtype("int32")}
    assert model.predict(X).dtype == np.float32


def test_float16_survives_a_scale_that_overflows() -> None:
    scaler = optim.GradScaler(init_scale=2.0**40)
    model = make(optimizer=optim.scaled(optim.SGD(lr=0.1), scaler), precision="float16")
    train(model, epochs=12)
    scale = float(model._state.opt_state.scaler.scale)  # type: ignore[union-attr]
    assert scale < 2.0**20
    assert np.isfinite(weights(model)).all()
    assert (weights(model) != weights(make())).any()


def test_remat_changes_nothing_but_rounding() -> None:
    with jax.enable_x64(True):
        a, b = double(remat=True), double()
        train(a, DOUBLE)
        train(b, DOUBLE)
        assert_close(weights(a), weights(b))


def losses_by_hand(model: Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    logits = model.predict(x)
    logs = logits - logits.max(1, keepdims=True)
    return -(logs - np.log(np.exp(logs).sum(1, keepdims=True)))[np.arange(len(y)), y]


def test_weights_of_examples_and_classes() -> None:
    with jax.enable_x64(True):
        x, y = X.astype(np.float64), Y
        own = np.abs(np.random.default_rng(1).standard_normal(53))
        by_class = np.asarray([1.0, 2.5])[y]
        for class_weight, sample_weight, wanted in (
            ({1: 2.5}, None, by_class),
            (None, own, own),
            ([1.0, 2.5], own, own * by_class),
        ):
            model = double(class_weight=class_weight, optimizer=optim.SGD(lr=0.0))
            losses = losses_by_hand(model, x, y)
            history = train(model, (x, y), epochs=1, sample_weight=sample_weight)
            assert history.last()["loss"] == pytest.approx((losses * wanted).sum() / wanted.sum(), rel=1e-10)
            assert model.evaluate((x, y), sample_weight=sample_weight, batch_size=10)["loss"] == pytest.approx(
                history.last()["loss"], rel=1e-10
            )


def test_an_example_of_weight_zero_does_not_train() -> None:
    with jax.enable_x64(True):
        x, y = DOUBLE
        a, b = double(), double()
        train(a, (x, y), sample_weight=np.r_[np.ones(24), np.zeros(24)], batch_size=None)
        train(b, (x[:24], y[:24]), batch_size=None)
        assert_close(weights(a), weights(b))


# ------------------------------------------------------------------------------------------------- steps of one's own


class Adversarial(Model):
    """Trains on the mean of two losses, and reports one of them."""

    def train_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Any]]:
        state, logs = super().train_step(state, batch)
        return state, {**logs, "twice": 2.0 * logs["loss"]}

    def eval_step(self, params: Any, rest: Any, batch: Batch) -> dict[str, Any]:
        logs = super().eval_step(params, rest, batch)
        return {**logs, "half": 0.5 * logs["loss"]}


@pytest.mark.parametrize("dispatch", ["scan", "chunks", "steps"])
def test_a_step_of_ones_own_adds_columns(dispatch: Any) -> None:
    model = Adversarial(net())
    model.compile(nn.CrossEntropyLoss(), optim.Adam(lr=0.05), [metrics.Accuracy()])
    history = train(model, validation=ALL, dispatch=dispatch)
    assert list(history)[:7] == ["epoch", "loss", "accuracy", "twice", "val_loss", "val_accuracy", "val_half"]
    assert np.asarray(history["twice"]) == pytest.approx(2.0 * np.asarray(history["loss"]), rel=1e-6)
    assert np.asarray(history["val_half"]) == pytest.approx(0.5 * np.asarray(history["val_loss"]), rel=1e-6)
    plain = make()
    assert train(plain, dispatch=dispatch)["loss"] == pytest.approx(history["loss"], rel=1e-6)


# --------------------------------------------------------------------------------------------------------- exact means


def test_10007_examples_in_batches_of_128_are_one_pass() -> None:
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        x, y = rng.standard_normal((10_007, 3)), rng.integers(0, 2, 10_007).astype(np.int32)
        model = double()
        pieces, whole = model.evaluate((x, y), batch_size=128), model.evaluate((x, y), batch_size=None)
        assert pieces["loss"] == pytest.approx(whole["loss"], rel=1e-12)
        assert pieces["accuracy"] == whole["accuracy"]
        assert whole["loss"] == pytest.approx(losses_by_hand(model, x, y).mean(), rel=1e-12)


# ------------------------------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize("dispatch", ["scan", "chunks", "steps"])
def test_a_bad_step_is_named_and_the_weights_stay_finite(dispatch: Any) -> None:
    class Fragile(nn.Module):
        def __init__(self) -> None:
            self.first, self.last = nn.Linear(3, 4, rngs=0), nn.Linear(4, 2, rngs=1)

        def forward(self, x: jax.Array) -> jax.Array:
            return self.last(self.first(4.0 * x))

    x = X[:40].copy()
    x[27] = 3e38  # the products overflow
    model = make(Fragile())
    history = train(model, (x, Y[:40]), callbacks=[TerminateOnNaN()], shuffle=False, dispatch=dispatch, epochs=3)
    assert history.stop_reason == "step 3: output of layer first is not finite"
    assert np.isfinite(weights(model)).all()
    same = make(Fragile())
    train(same, (x[:24], Y[:24]), shuffle=False, epochs=1)
    np.testing.assert_allclose(weights(model), weights(same), rtol=1e-5, atol=1e-7)


def test_debug_nans_names_the_operation() -> None:
    class Log(nn.Module):
        def __init__(self) -> None:
            self.linear = nn.Linear(3, 2, rngs=0)

        def forward(self, x: jax.Array) -> jax.Array:
            return jnp.log(self.linear(x) - 100.0)

    with pytest.raises(UsageError, match=r"debug_nans: .*nan"):
        train(make(Log(), debug_nans=True), epochs=1)


def test_eager_steps_can_be_printed_from(capsys: pytest.CaptureFixture[str]) -> None:
    class Printing(nn.Module):
        def __init__(self, loud: bool) -> None:
            self.linear, self.loud = nn.Linear(3, 2, rngs=0), loud

        def forward(self, x: jax.Array) -> jax.Array:
            out = self.linear(x)
            if self.loud:
                print("mean", float(jax.lax.stop_gradient(out).mean()))
            return out

    eager, plain = make(Printing(True), run_eagerly=True), make(Printing(False))
    small = (X[:10], Y[:10])
    a, b = train(eager, small, epochs=1), train(plain, small, epochs=1)
    assert "mean" in capsys.readouterr().out
    assert a["loss"] == pytest.approx(b["loss"], rel=1e-6)


def test_other_shapes_are_compiled_again_and_said() -> None:
    batches = [(X[:8], Y[:8]), (X[8:16], Y[8:16]), (X[:16], Y[:16])]
    with pytest.warns(UserWarning, match=r"batch: float32\[8, 3\] became float32\[16, 3\].*compiled again"):
        train(make(), batches, epochs=1, steps_per_call=1)


def test_verbose_says_what_was_decided(capsys: pytest.CaptureFixture[str]) -> None:
    train(make(), epochs=1, verbose=2)
    err = capsys.readouterr().err
    assert "scan: whole epochs in a call (the data is on the device)" in err
    assert "epoch 1/1" in err
    train(make(), epochs=1, verbose=0)
    assert capsys.readouterr() == ("", "")


class Conv(nn.Module):
    def __init__(self) -> None:
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, rngs=0), nn.ReLU())
        self.head = nn.Linear(4 * 4 * 4, 2, rngs=0)

    def forward(self, x: jax.Array) -> jax.Array:
        x = self.features(x)
        return self.head(x.reshape(len(x), -1))


class Failing(metrics.Accuracy):
    def update(self, state: Any, prediction: Any, target: Any, where: Any = None) -> Any:
        raise RuntimeError("no score today")


IMAGES = np.zeros((5, 1, 6, 6), np.float32)
NANS = np.where(np.arange(53)[:, None] == 7, np.nan, X)
BAD: list[tuple[str, Any, dict[str, Any], str]] = [
    (
        "channels",
        Conv,
        {"data": (IMAGES, Y[:5])},
        r"x of shape \(5, 1, 6, 6\) .* layer 'features.0', Conv2d\(3, 4, .*channels",
    ),
    ("rank", Conv, {"data": (IMAGES[:, 0, 0], Y[:5])}, r"layer 'features.0', Conv2d"),
    (
        "features",
        Conv,
        {"data": (np.zeros((5, 3, 8, 8), np.float32), Y[:5])},
        r"layer 'head', Linear",
    ),
    ("classes", net, {"data": (X, Y + 1)}, r"train: y has class 2 in row \d+; the model predicts 2 classes"),
    ("negative", net, {"data": (X, Y - 1)}, r"train: y has class -1 in row"),
    ("validation", net, {"validation": (X, Y + 1)}, r"validation: y has class 2"),
    ("nan", net, {"data": (NANS, Y)}, r"train: x has NaN in 1 of 53 rows, first in row 7"),
    ("empty", net, {"data": (X[:0], Y[:0])}, r"train: x and y must have the same number of rows, at least 1; got 0, 0"),
    ("rows", net, {"data": (X, Y[:5])}, r"got 53, 5"),
    ("no batches", net, {"data": iter([])}, r"gives no batches"),
    ("text", net, {"data": 3}, r"train is int; it must be"),
    ("weights", net, {"sample_weight": np.ones(5)}, r"weights have shape \(5,\); it must be \(53,\)"),
    ("epochs", net, {"epochs": 0}, r"epochs must be at least 1, got 0"),
    ("steps", net, {"steps_per_call": 0}, r"steps_per_call must be a positive integer or None, got 0"),
    ("both", net, {"steps_per_call": 4, "dispatch": "steps"}, r"steps_per_call is 4 and dispatch 'steps'"),
]


@pytest.mark.parametrize(("module", "options", "match"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_data_is_refused_before_training(module: Any, options: dict[str, Any], match: str) -> None:
    model, options = make(module()), dict(options)
    before = weights(model)
    with pytest.raises(UsageError, match=match):
        train(model, options.pop("data", ALL), **options)
    np.testing.assert_array_equal(weights(model), before)


def squared(prediction: jax.Array, target: jax.Array, where: Any = None) -> jax.Array:
    del where
    return jnp.mean((prediction - target) ** 2)


def test_what_would_broadcast_in_silence_is_refused() -> None:
    one = nn.Sequential(nn.Linear(3, 1, rngs=0))
    targets = X[:8, 0]
    for loss, match in ((squared, "would broadcast"), (nn.MSELoss(), "loss MSELoss does not take")):
        model = Model(one)
        model.compile(loss, optim.SGD(lr=0.1))
        with pytest.raises(UsageError, match=match):
            train(model, (X[:8], targets), epochs=1)


def test_a_metric_that_fails_is_named() -> None:
    model = Model(net())
    model.compile(nn.CrossEntropyLoss(), optim.SGD(lr=0.1), [Failing(name="mine")])
    with pytest.raises(UsageError, match=r"metric mine .*no score today"):
        train(model, epochs=1)


COMPILE: list[tuple[dict[str, Any], str]] = [
    ({"loss": "mse"}, r"loss is 'mse'; it must be a function"),
    ({"metrics": ["accuracy"]}, r"metrics has 'accuracy'; metrics are objects"),
    ({"precision": "half"}, r"precision is 'half'; it must be one of float32, bfloat16, float16"),
    ({"accumulate": 0}, r"accumulate is 0"),
    ({"clip_norm": -1.0}, r"clip_norm is -1.0; it must be a positive number"),
    ({"class_weight": {-1: 2.0}}, r"class_weight has the keys \[-1\]"),
    ({"class_weight": [1.0, -2.0]}, r"class_weight is \(1.0, -2.0\)"),
    ({"loss": squared, "class_weight": [1.0, 2.0]}, r"loss is squared; class_weight and sample weights need"),
    ({"device": "abacus"}, r"device is 'abacus'"),
    ({"devices": 3}, r"devices is 3; it must be from 1 to 1"),
    ({"shard": "fsdp"}, r"shard is 'fsdp'; it needs several devices"),
]


@pytest.mark.parametrize(("options", "match"), COMPILE, ids=[row[1][:24] for row in COMPILE])
def test_bad_settings_are_refused(options: dict[str, Any], match: str) -> None:
    defaults: dict[str, Any] = {"loss": nn.CrossEntropyLoss(), "optimizer": optim.SGD(lr=0.1)}
    with pytest.raises(UsageError, match=match):
        Model(net()).compile(**(defaults | options))


def test_an_order_of_calls_that_cannot_work() -> None:
    for call in (lambda m: m.fit(ALL), lambda m: m.evaluate(ALL), lambda m: m.save("x.safetensors")):
        with pytest.raises(UsageError, match=r"not compiled; call model\.compile"):
            call(Model(net()))
    with pytest.raises(UsageError, match=r"module is function; it must be a jaxport.nn.Module"):
        Model(net)  # type: ignore[arg-type]


def test_a_file_of_another_model_changes_nothing(tmp_path: Path) -> None:
    make().save(tmp_path / "a.safetensors")
    other = make(nn.Sequential(nn.Linear(3, 2, rngs=0)))
    before = weights(other)
    with pytest.raises(
        UsageError, match=r"a.safetensors is of another model or optimiser; unknown: .*different: params.0"
    ):
        other.load(tmp_path / "a.safetensors")
    sgd = make(optimizer=optax.sgd(0.1))
    with pytest.raises(UsageError, match=r"another model or optimiser; unknown: opt_state"):
        sgd.load(tmp_path / "a.safetensors")
    make().save_weights(tmp_path / "weights.safetensors")
    with pytest.raises(UsageError, match="holds no training state"):
        other.load(tmp_path / "weights.safetensors")
    with pytest.raises(WeightsError):
        other.load_weights(tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(weights(other), before)


class Raising(Callback):
    every_steps = 3

    def on_steps_end(self, training: Any) -> None:
        if training.step == 6:
            raise RuntimeError("a callback of mine")


def test_a_callback_that_raises_loses_nothing() -> None:
    model, other = make(), make()
    with pytest.raises(RuntimeError, match="a callback of mine"):
        train(model, callbacks=[Raising()], shuffle=False)
    train(other, (X[:48], Y[:48]), shuffle=False, epochs=1)
    np.testing.assert_allclose(weights(model), weights(other), rtol=1e-6, atol=1e-7)


def test_inputs_of_several_arrays() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            self.a, self.b = nn.Linear(3, 2, rngs=0), nn.Linear(2, 2, rngs=1)

        def forward(self, x: jax.Array, z: jax.Array) -> jax.Array:
            return self.a(x) + self.b(z)

    model = make(Two())
    inputs = (X, X[:, :2])
    history = train(model, (inputs, Y), epochs=3)
    assert history["loss"][-1] < history["loss"][0]
    assert model.predict(inputs).shape == (53, 2)
