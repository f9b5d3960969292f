"""Initial values against PyTorch's: distributions, fan rules, gains, and the defaults of the layers.

The generators differ, so distributions are compared: bounds exactly, moments within five standard errors of the
sampling (the seeds are fixed, so a test that passes always passes).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import findings64
from flax import nnx

from jaxport import nn
from jaxport.nn import init

torch = pytest.importorskip("torch")
Init = Callable[..., Any]
SIGMAS = 5.0
# Distinct fans: a swap of them shows. 60,000 numbers.
SHAPE = (40, 60, 5, 5)
FANS = ((3, 5), (7, 2, 3), (4, 6, 5, 3), (2, 3, 4, 5, 2))


def draw(name: str, shape: tuple[int, ...], *args: Any, seed: int = 0, **kwargs: Any) -> np.ndarray:
    variable = nn.Parameter(jnp.zeros(shape))
    assert getattr(init, name)(variable, *args, generator=jax.random.key(seed), **kwargs) is variable
    return np.asarray(variable[...])


def draw_torch(name: str, shape: tuple[int, ...], *args: Any, seed: int = 0, **kwargs: Any) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    return getattr(torch.nn.init, name)(torch.zeros(shape), *args, generator=generator, **kwargs).numpy()


def standard_errors(sample: np.ndarray) -> np.ndarray:
    """Return mean, variance and fourth central moment with their standard errors, (2, 3), from the sample itself."""
    x = sample.astype(np.float64).ravel() - sample.mean(dtype=np.float64)
    m2, m4, m8 = ((x**k).mean() for k in (2, 4, 8))
    errors = np.sqrt(np.array([m2, m4 - m2**2, m8 - m4**2]) / x.size)
    return np.array([[sample.mean(dtype=np.float64), m2, m4], errors])


def moment_findings(ours: np.ndarray, theirs: np.ndarray) -> list[str]:
    """Return the moments that differ by more than chance allows."""
    (a, sa), (b, sb) = standard_errors(ours), standard_errors(theirs)
    far = np.abs(a - b) > SIGMAS * np.hypot(sa, sb)
    return [f"{name}: {x} and {y}" for name, x, y, bad in zip(("mean", "var", "m4"), a, b, far, strict=True) if bad]


RANDOM: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "uniform": ("uniform_", (), {}),
    "uniform-bounds": ("uniform_", (-0.3, 1.7), {}),
    "normal": ("normal_", (), {}),
    "normal-moments": ("normal_", (0.7, 0.2), {}),
    "xavier-uniform": ("xavier_uniform_", (), {}),
    "xavier-uniform-gain": ("xavier_uniform_", (1.7,), {}),
    "xavier-normal": ("xavier_normal_", (), {}),
    "xavier-normal-gain": ("xavier_normal_", (), {"gain": 0.3}),
}
for kind in ("uniform", "normal"):
    RANDOM |= {
        f"kaiming-{kind}": (f"kaiming_{kind}_", (), {}),
        f"kaiming-{kind}-slope": (f"kaiming_{kind}_", (), {"a": math.sqrt(5.0)}),
        f"kaiming-{kind}-fan-out": (f"kaiming_{kind}_", (), {"mode": "fan_out", "nonlinearity": "relu"}),
        f"kaiming-{kind}-tanh": (f"kaiming_{kind}_", (0.0, "fan_in", "tanh"), {}),
    }


@pytest.mark.parametrize(("name", "args", "kwargs"), RANDOM.values(), ids=RANDOM)
def test_moments(name, args, kwargs):
    ours, theirs = draw(name, SHAPE, *args, **kwargs), draw_torch(name, SHAPE, *args, **kwargs)
    assert moment_findings(ours, theirs) == []


def bounds(name: str, shape: tuple[int, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[float, float]:
    """Return what PyTorch's function passes to its generator: the bounds of a uniform, mean and std of a normal."""
    seen: list[tuple[float, float]] = []

    class Spy(torch.Tensor):
        def uniform_(self, a: float = 0.0, b: float = 1.0, *, generator: Any = None) -> Any:
            seen.append((a, b))
            return self

        def normal_(self, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Any:
            seen.append((mean, std))
            return self

    getattr(torch.nn.init, name)(torch.zeros(shape).as_subclass(Spy), *args, **kwargs)
    return seen[0]


@pytest.mark.parametrize("shape", FANS, ids=str)
@pytest.mark.parametrize(("name", "args", "kwargs"), RANDOM.values(), ids=RANDOM)
def test_bounds_and_scales_are_pytorch_s(monkeypatch, name, args, kwargs, shape):
    seen: list[tuple[float, float]] = []
    for leaf in ("uniform_", "normal_"):
        monkeypatch.setattr(init, leaf, lambda tensor, a=0.0, b=1.0, *, generator: seen.append((a, b)))
    getattr(init, name)(nn.Parameter(jnp.zeros(shape)), *args, **kwargs, generator=jax.random.key(0))
    assert findings64("arguments", np.float64(seen[0]), np.float64(bounds(name, shape, args, kwargs))) == []


@pytest.mark.parametrize("name", [name for name in RANDOM if "uniform" in name])
def test_uniform_samples_fill_their_bounds(name):
    function, args, kwargs = RANDOM[name]
    low, high = bounds(function, SHAPE, args, kwargs)
    sample = draw(function, SHAPE, *args, **kwargs)
    low, high = np.float32(low), np.float32(high)
    assert low <= sample.min() < sample.max() <= high
    # The chance that 60,000 numbers leave a thousandth of the range free is exp(-60).
    assert sample.min() < low + (high - low) / 1000
    assert sample.max() > high - (high - low) / 1000


@pytest.mark.parametrize("shape", FANS, ids=str)
def test_fans(shape):
    assert init.fan_in_and_fan_out(shape) == torch.nn.init._calculate_fan_in_and_fan_out(torch.zeros(shape))


def test_gains():
    names = ["linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
    names += ["sigmoid", "tanh", "relu", "leaky_relu", "selu"]
    for name in names:
        assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    for slope in (0, 0.2, 1, math.sqrt(5.0), -0.3):
        assert init.calculate_gain("leaky_relu", slope) == torch.nn.init.calculate_gain("leaky_relu", slope)


def test_constants():
    for name, args in {"zeros_": (), "ones_": (), "constant_": (0.3,)}.items():
        variable = nn.Parameter(jnp.full((2, 3), 7.0))
        assert getattr(init, name)(variable, *args) is variable
        wanted = getattr(torch.nn.init, name)(torch.full((2, 3), 7.0), *args).numpy()
        np.testing.assert_array_equal(np.asarray(variable[...]), wanted, strict=True)


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_errors_and_empty_tensors_as_in_pytorch(kind):
    for shape in ((), (3,)):
        for name in (f"kaiming_{kind}_", f"xavier_{kind}_"):
            with pytest.raises(ValueError, match="2 dimensions"):
                draw(name, shape)
            with pytest.raises(ValueError, match="2 dimensions"):
                draw_torch(name, shape)
    for kwargs in ({"mode": "fan"}, {"nonlinearity": "swish"}):
        with pytest.raises(ValueError, match=f"{next(iter(kwargs))} must"):
            draw(f"kaiming_{kind}_", (2, 3), **kwargs)
        with pytest.raises(ValueError, match=r"not supported|Unsupported"):
            draw_torch(f"kaiming_{kind}_", (2, 3), **kwargs)
    assert draw(f"kaiming_{kind}_", (0, 3)).shape == (0, 3)


# ------------------------------------------------------------------------------------------- defaults of the layers

LAYERS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "linear": ("Linear", (301, 97), {}),
    "linear-one-input": ("Linear", (1, 20_000), {}),
    "conv": ("Conv2d", (12, 50, (3, 5)), {}),
    "conv-groups": ("Conv2d", (12, 48, (3, 5)), {"groups": 4}),
}


def layer_findings(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    """Compare the initial weights and biases of a layer with PyTorch's: moments, and U(±1/√fan_in) as the bounds."""
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(*args, **kwargs)
    ours = getattr(nn, name)(*args, **kwargs, rngs=nnx.Rngs(0))
    fan, _ = torch.nn.init._calculate_fan_in_and_fan_out(theirs.weight)
    bound = np.float32(1.0 / math.sqrt(fan))
    findings = []
    for key in ("weight", "bias"):
        a, b = np.asarray(getattr(ours, key)[...]), getattr(theirs, key).detach().numpy()
        assert np.abs(b).max() <= bound
        findings += [f"{key} {line}" for line in moment_findings(a, b)]
        if not np.abs(a).max() <= bound:
            findings.append(f"{key}: {np.abs(a).max()} is beyond {bound}")
    return findings


@pytest.mark.parametrize(("name", "args", "kwargs"), LAYERS.values(), ids=LAYERS)
def test_defaults_of_layers(name, args, kwargs):
    assert layer_findings(name, args, kwargs) == []


def test_weights_and_biases_are_drawn_independently():
    layer = nn.Linear(1, 5_000, rngs=0)
    a, b = np.asarray(layer.weight[:, 0]), np.asarray(layer.bias[...])
    assert abs(np.corrcoef(a, b)[0, 1]) < SIGMAS / math.sqrt(a.size)
    again, other = nn.Linear(1, 5_000, rngs=0), nn.Linear(1, 5_000, rngs=1)
    np.testing.assert_array_equal(np.asarray(again.weight[...]), np.asarray(layer.weight[...]))
    assert not (np.asarray(other.weight[...]) == np.asarray(layer.weight[...])).any()


# --------------------------------------------------------------------------------- deliberate mistakes must be found


def _lecun_normal(weight: Any, bias: Any, rngs: Any) -> None:
    fan, _ = init.fan_in_and_fan_out(weight.shape)
    init.normal_(weight, 0.0, 1.0 / math.sqrt(fan), generator=rngs.params())


def _zero_bias(weight: Any, bias: Any, rngs: Any) -> None:
    init.kaiming_uniform_(weight, a=math.sqrt(5.0), generator=rngs.params())


def _fan_out(weight: Any, bias: Any, rngs: Any) -> None:
    for tensor in (weight, bias):
        bound = 1.0 / math.sqrt(init.fan_in_and_fan_out(weight.shape)[1])
        init.uniform_(tensor, -bound, bound, generator=rngs.params())


def _normal_of_the_right_variance(weight: Any, bias: Any, rngs: Any) -> None:
    for tensor in (weight, bias):
        std = 1.0 / math.sqrt(3.0 * init.fan_in_and_fan_out(weight.shape)[0])
        init.normal_(tensor, 0.0, std, generator=rngs.params())


@pytest.mark.parametrize("wrong", [_lecun_normal, _zero_bias, _fan_out, _normal_of_the_right_variance])
def test_a_wrong_initialisation_is_found(monkeypatch, wrong):
    monkeypatch.setattr(init, "reset_weight_and_bias", wrong)
    assert layer_findings(*LAYERS["conv"])


def test_a_wrong_moment_is_found():
    right = draw_torch("normal_", SHAPE)
    assert moment_findings(draw("normal_", SHAPE), right) == []
    assert moment_findings(draw("normal_", SHAPE, 0.05, 1.0), right)
    assert moment_findings(draw("normal_", SHAPE, 0.0, 1.05), right)
    assert moment_findings(draw("uniform_", SHAPE, -math.sqrt(3.0), math.sqrt(3.0)), right)
