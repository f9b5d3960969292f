"""The proof can fail: each mistake that porters make is planted, and the suite must find it where it is."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxport import engine, nn, optim, parity, ports
from jaxport.nn import container, conv, dropout, linear, loss, pooling
from jaxport.optim import adam
from jaxport.port import Port


class Mistake(NamedTuple):
    """What is planted: in which port, where, what instead, and the first kind of check that must go red."""

    name: str
    port: str
    owner: Any
    attribute: str
    wrong: Callable[[Any], Any]
    red: str
    seen: tuple[str, ...] = ("float64", "float32")
    unseen: tuple[str, ...] = ()


def _scaled(factor: float) -> Callable[[Any], Any]:
    return lambda right: lambda *args, **kwargs: factor * right(*args, **kwargs)


def _half_precision_product(right: Any) -> Any:
    def wrong(input: jax.Array, weight: jax.Array, bias: jax.Array | None = None) -> jax.Array:
        if input.dtype == jnp.float32:
            input, weight = (a.astype(jnp.bfloat16).astype(jnp.float32) for a in (input, weight))
        return right(input, weight, bias)

    return wrong


def _transposed_if_square(right: Any) -> Any:
    def wrong(input: jax.Array, weight: jax.Array, bias: jax.Array | None = None) -> jax.Array:
        square = weight.ndim == 2 and weight.shape[0] == weight.shape[1]
        return right(input, weight.T if square else weight, bias)

    return wrong


def _flipped_kernel(right: Any) -> Any:
    return lambda x, w, *args: right(x, w[..., ::-1, ::-1], *args)


def _same_padding(right: Any) -> Any:
    return lambda x, w, b, *args: right(x, w, b, 1, "same")


def _unscaled_dropout(right: Any) -> Any:
    return lambda x, p, training, *rest: right(x, p, training, *rest) * (1.0 - p if training else 1.0)


def _dropout_always_on(right: Any) -> Any:
    return lambda x, p, training, *rest: right(x, p, True, *rest)


def _softmax_over_batch(right: Any) -> Any:
    return lambda x, axis: right(x, 0)


def _first_element_pool(right: Any) -> Any:
    return lambda x, *args: right(x, *args) * 0 + x[..., ::2, ::2][..., : x.shape[-2] // 2, : x.shape[-1] // 2]


def _zero_updates(right: Any) -> Any:
    return lambda params, updates: params


def _no_bias_correction(right: Any) -> Any:
    return lambda beta, step: jnp.ones_like(step, jnp.result_type(float))


def _guarded_logarithm(right: Any) -> Any:
    def wrong(x: jax.Array, y: jax.Array) -> jax.Array:
        return (y - 1) * jnp.log1p(-x) - y * jnp.log(x + 1e-7)

    return wrong


MISTAKES = [
    Mistake("a factor 1/2 in the squared error", "linreg_matrix", loss, "mse_loss", _scaled(0.5), "train/loss"),
    Mistake("cross-entropy not averaged", "fashion_mnist", loss, "cross_entropy", _scaled(7.0), "train/loss"),
    Mistake("softmax over the batch", "fashion_mnist", loss, "log_softmax", _softmax_over_batch, "train/loss"),
    Mistake("a guard inside BCE's logarithm", "titanic", loss, "_bce", _guarded_logarithm, "train/loss", ("float64",)),
    Mistake("square weight transposed", "fashion_mnist", linear, "linear", _transposed_if_square, "eval/forward"),
    Mistake(
        "products in bfloat16",
        "fashion_mnist",
        linear,
        "linear",
        _half_precision_product,
        "eval/forward",
        ("float32",),
        ("float64",),
    ),
    Mistake("padding SAME", "digits", conv, "conv2d", _same_padding, "eval/forward/conv1"),
    Mistake("kernel flipped", "digits", conv, "conv2d", _flipped_kernel, "eval/forward"),
    Mistake("pooling takes the first element", "digits", pooling, "max_pool2d", _first_element_pool, "eval/forward"),
    Mistake("dropout not rescaled", "digits", dropout, "_dropout", _unscaled_dropout, "train/forward"),
    Mistake(
        "training that does nothing", "titanic", optax, "apply_updates", _zero_updates, "train/step01/resync/params"
    ),
    Mistake(
        "Adam without bias correction",
        "titanic",
        adam,
        "bias_correction",
        _no_bias_correction,
        "train/step01/resync/params",
    ),
]


def _red(port: Port) -> dict[str, set[str]]:
    """Return dtype → names of the checks that fail."""
    found: dict[str, set[str]] = {"float64": set(), "float32": set(), "exact": set()}
    for check in parity.check_port(port, steps=1):
        if not check.ok:
            found[check.dtype].add(check.check)
    return found


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_planted_mistake_is_found(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mistake.owner, mistake.attribute, mistake.wrong(getattr(mistake.owner, mistake.attribute)))
    red = _red(ports.get(mistake.port))
    found = {dtype: any(name.startswith(mistake.red) for name in names) for dtype, names in red.items()}
    assert all(found[dtype] for dtype in mistake.seen), red
    assert not any(red[dtype] for dtype in mistake.unseen), red


def _recipe(port: str, function: Callable[..., optax.GradientTransformation], **keywords: Any) -> Port:
    """Return the port with another optimiser under PyTorch's name, so that only the JAX side is wrong."""
    right = ports.get(port)
    return replace(right, optimizer=partial(function, **{**right.optimizer.keywords, **keywords}))


def Adam(lr: float) -> optax.GradientTransformation:
    """Adam with eps inside the root, in the form of the state that the right one has."""
    right = optim.Adam(lr)

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        _, state = right.update(grads, state, params)
        step = state.step.astype(state.lr.dtype)

        def delta(m: jax.Array, v: jax.Array) -> jax.Array:
            corrected = jnp.sqrt(v / (1 - 0.999**step).astype(v.dtype) + 1e-8)
            return -(lr / (1 - 0.9**step)).astype(m.dtype) * m / corrected

        return jax.tree.map(delta, state.exp_avg, state.exp_avg_sq), state

    return optax.GradientTransformation(right.init, update)


def SGD(lr: float) -> optax.GradientTransformation:
    """SGD that climbs."""
    return optim.SGD(lr, maximize=True)


@pytest.mark.parametrize(("port", "wrong"), [("titanic", Adam), ("linreg_matrix", SGD)])
def test_wrong_optimiser_is_found(port: str, wrong: Callable[..., optax.GradientTransformation]) -> None:
    red = _red(_recipe(port, wrong))
    assert any(name.startswith("train/step01/resync/params") for name in red["float64"])
    assert not any(name.startswith(("eval/", "train/forward", "train/grad")) for name in red["float64"])


def test_an_extra_layer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = ports.get("titanic")

    def build(**kwargs: Any) -> nn.Module:
        net = right.model(**kwargs)
        assert isinstance(net, container.Sequential)
        net.add_module("relu3", nn.ReLU())
        return net

    assert "eval/forward/keys" in _red(replace(right, model=build))["exact"]


def test_a_wrong_mask_order_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout's masks are compared too: an engine that drops other channels than PyTorch's step did is red."""
    right = nn.replay_masks
    monkeypatch.setattr(nn, "replay_masks", lambda masks: right(tuple(~mask for mask in masks)))
    red = _red(ports.get("digits"))
    assert any(name.startswith("train/forward/dropout") for name in red["float64"])
    assert not any(name.startswith("eval/") for name in red["float64"])


def test_a_stale_step_count_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = engine.train_step

    def wrong(task: Any, state: Any, *rest: Any) -> Any:
        after, totals, value = right(task, state, *rest)
        return after._replace(step=state.step), totals, value

    monkeypatch.setattr(engine, "train_step", wrong)
    assert any(name.endswith("count") for name in _red(ports.get("titanic"))["float64"])


def test_another_structure_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    right = ports.get("linreg_matrix")
    (check,) = parity.check_port(replace(right, model=ports.get("titanic").model))
    assert not check.ok
    assert check.check == "structure"
    assert "w: None, PyTorch has (2,)" in check.note


def test_another_output_shape_is_a_finding() -> None:
    class Kept(nn.Module):
        def __init__(self, rngs: Any) -> None:
            self.w = nn.Parameter(jnp.ones(2))

        def forward(self, input: jax.Array) -> jax.Array:
            return linear.linear(input, self.w[...][None])

    (check,) = parity.check_port(replace(ports.get("linreg_matrix"), model=Kept))
    assert check.note == "output: (2, 1), PyTorch has (2,)"
