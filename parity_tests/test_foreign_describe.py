"""What is read of anyone's model before anything is run: modules, settings and arrays, in order of definition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import jaxport.nn
from jaxport.errors import UsageError
from jaxport.parity.describe_jax import describe_jax
from jaxport.parity.describe_torch import describe_torch
from jaxport.parity.foreign import Function, Linen
from jaxport.parity.weights import cast, fill, float64_attention, leaves


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    """Foreign layers promote dtypes and ranks of their own accord."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def rngs() -> nnx.Rngs:
    return nnx.Rngs(0)


def kinds(layers: Any) -> dict[str, str]:
    return {path: layer.kind for path, layer in layers.items()}


class TorchNet(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.z = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3, padding=1, bias=False), torch.nn.BatchNorm2d(3))
        self.a = torch.nn.LSTM(3, 4, bidirectional=True)
        self.scale = torch.nn.Parameter(torch.ones(3))
        self.again = self.a
        self.register_buffer("kept", torch.ones(2))
        self.register_buffer("lost", torch.ones(2), persistent=False)


def test_torch() -> None:
    layers = describe_torch(TorchNet())
    assert kinds(layers) == {
        "": f"{__name__}.TorchNet",
        "z": "torch.nn.Sequential",
        "z.0": "torch.nn.Conv2d",
        "z.1": "torch.nn.BatchNorm2d",
        "a": "torch.nn.LSTM",
    }
    assert list(layers[""].arrays) == ["scale", "kept"]
    assert list(layers["z.1"].arrays) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert layers["z"].children
    assert not layers["z.0"].children
    assert layers["z.0"].key("weight") == "z.0.weight"


@pytest.mark.parametrize(
    ("module", "settings"),
    [
        (torch.nn.Linear(2, 3, bias=False), {"in_features": 2, "out_features": 3, "bias": False}),
        (torch.nn.GELU("tanh"), {"approximate": "tanh"}),
        (torch.nn.LayerNorm(3, eps=1e-6),
         {"normalized_shape": (3,), "eps": 1e-6, "elementwise_affine": True, "bias": True}),
        (torch.nn.Embedding(5, 2, padding_idx=1),
         {"num_embeddings": 5, "embedding_dim": 2, "padding_idx": 1, "max_norm": None, "norm_type": 2.0,
          "scale_grad_by_freq": False, "sparse": False}),
    ],
)  # fmt: skip
def test_settings_of_torch(module: torch.nn.Module, settings: dict[str, Any]) -> None:
    assert describe_torch(module)[""].settings == settings


@pytest.mark.parametrize(
    ("module", "settings"),
    [
        (torch.nn.LSTM(3, 4, 2, bias=False, batch_first=True),
         {"input_size": 3, "hidden_size": 4, "num_layers": 2, "bias": False, "batch_first": True}),
        (torch.nn.MultiheadAttention(4, 2, dropout=0.1, bias=False),
         {"embed_dim": 4, "num_heads": 2, "dropout": 0.1, "bias": False, "add_bias_kv": False, "batch_first": False}),
        (torch.nn.LSTMCell(3, 4), {"input_size": 3, "hidden_size": 4, "bias": True}),
        (torch.nn.Conv1d(2, 3, 4, padding="same", padding_mode="circular"),
         {"padding": "same", "padding_mode": "circular", "kernel_size": (4,), "bias": True}),
    ],
)  # fmt: skip
def test_settings_of_larger_torch_layers(module: torch.nn.Module, settings: dict[str, Any]) -> None:
    found = describe_torch(module)[""].settings
    assert {name: found[name] for name in settings} == settings
    assert not any(isinstance(value, torch.Tensor | torch.nn.Module) for value in found.values())


class NnxNet(nnx.Module):
    def __init__(self) -> None:
        self.z = nnx.Sequential(nnx.Conv(2, 3, (3, 3), use_bias=False, rngs=rngs()), nnx.relu)
        self.bn = nnx.BatchNorm(3, rngs=rngs())
        self.a = nnx.RNN(nnx.LSTMCell(3, 4, rngs=rngs()))
        self.drop = nnx.Dropout(0.5, rngs=rngs())
        self.scale = nnx.Param(jnp.ones(3))
        self.constant = jnp.ones(2)


def test_nnx_in_the_order_of_definition() -> None:
    layers = describe_jax(NnxNet())
    top = [path for path in layers if "." not in path]
    assert top == ["", "z", "bn", "a", "drop"]
    assert layers["z.layers.0"].kind == "flax.nnx.Conv"
    assert layers["a.cell"].kind == "flax.nnx.LSTMCell"
    assert list(layers[""].arrays) == ["scale", "constant"]
    assert sorted(layers["bn"].arrays) == ["bias", "mean", "scale", "var"]
    assert layers["bn"].settings["momentum"] == 0.99
    assert layers["drop"].settings["rate"] == 0.5
    assert layers["z.layers.0"].settings["use_bias"] is False
    assert layers["z.layers.0"].settings["kernel_size"] == (3, 3)
    assert not layers["drop"].children
    assert not any("rngs" in path for path in leaves(NnxNet()))


def test_a_filled_nnx_model_keeps_the_order() -> None:
    model = NnxNet()
    filled = fill(model, {"scale": np.zeros(3), "constant": np.zeros(2)})
    assert list(describe_jax(filled)) == list(describe_jax(model))
    assert not leaves(filled)["constant"].any()
    assert leaves(model)["constant"].all()
    assert filled.drop.rngs is not model.drop.rngs


class LinenBlock(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        x = nn.Dense(self.width, dtype=jnp.float32)(x)
        return nn.BatchNorm(use_running_average=not train, epsilon=1e-5)(x)


class LinenNet(nn.Module):
    def setup(self) -> None:
        self.zed = LinenBlock(4)
        self.blocks = [LinenBlock(4), LinenBlock(4)]
        self.scale = self.param("scale", nn.initializers.ones, (4,))

    def __call__(self, x: Any, train: bool = False) -> Any:
        for block in (self.zed, *self.blocks):
            x = block(x, train)
        return x * self.scale


X = jnp.ones((2, 3))


def linen() -> Linen:
    return Linen(LinenNet(), LinenNet().init(jax.random.key(0), X), {"train": True}, {"train": False})


def test_linen_by_a_traced_call() -> None:
    layers = describe_jax(linen(), [X])
    assert list(layers)[:3] == ["", "zed", "zed.Dense_0"]
    assert layers["blocks_1.BatchNorm_0"].kind == "flax.linen.BatchNorm"
    assert sorted(layers["blocks_1.BatchNorm_0"].arrays) == ["bias", "mean", "scale", "var"]
    assert layers["zed.BatchNorm_0"].settings["epsilon"] == 1e-5
    assert layers["zed.Dense_0"].settings["features"] == 4
    assert layers["zed"].settings == {"width": 4}
    assert list(layers[""].arrays) == ["scale"]
    assert layers["zed"].children


def test_linen_by_its_variables_alone() -> None:
    layers = describe_jax(linen())
    assert layers["zed.Dense_0"].kind == "array"
    assert leaves(linen()).keys() == {layer.key(name) for layer in layers.values() for name in layer.arrays}


def test_linen_is_filled_in_every_collection() -> None:
    filled = fill(linen(), {"zed.BatchNorm_0.mean": np.full(4, 3.0), "zed.Dense_0.bias": np.full(4, 2.0)})
    assert float(filled.variables["batch_stats"]["zed"]["BatchNorm_0"]["mean"][0]) == 3.0
    assert float(filled.variables["params"]["zed"]["Dense_0"]["bias"][0]) == 2.0


class EqxNet(eqx.Module):
    zed: eqx.nn.Conv2d
    mlp: eqx.nn.MLP
    layers: list
    scale: jax.Array
    pair: tuple

    def __init__(self) -> None:
        key = jax.random.key(0)
        self.zed = eqx.nn.Conv2d(2, 3, 3, key=key)
        self.mlp = eqx.nn.MLP(2, 3, 4, 1, key=key)
        self.layers = [eqx.nn.Linear(2, 2, key=key), jax.nn.relu, eqx.nn.LayerNorm(2)]
        self.scale = jnp.ones(3)
        self.pair = (jnp.zeros(1), jnp.zeros(2))


def test_equinox() -> None:
    layers = describe_jax(EqxNet())
    assert kinds(layers) == {
        "": f"{__name__}.EqxNet",
        "zed": "equinox.nn.Conv2d",
        "mlp": "equinox.nn.MLP",
        "mlp.layers.0": "equinox.nn.Linear",
        "mlp.layers.1": "equinox.nn.Linear",
        "layers.0": "equinox.nn.Linear",
        "layers.2": "equinox.nn.LayerNorm",
        "pair": "array",
    }
    assert layers["zed"].settings["padding"] == ((0, 0), (0, 0))
    assert layers[""].children
    filled = fill(EqxNet(), {"pair.1": np.ones(2), "mlp.layers.0.bias": np.ones(4)})
    assert filled.pair[1].all()
    assert filled.mlp.layers[0].bias.all()
    assert not filled.pair[0].any()


def test_pytree() -> None:
    model = Function(lambda params, x: x, {"b": {"w": jnp.ones(2), "a": np.ones(3)}, "layers": [{"w": jnp.ones(1)}]})
    layers = describe_jax(model)
    assert {path: list(layer.arrays) for path, layer in layers.items() if layer.arrays} == {
        "b": ["a", "w"],
        "layers.0": ["w"],
    }
    assert not fill(model, {"layers.0.w": np.zeros(1)}).params["layers"][0]["w"].any()


def test_what_is_no_model() -> None:
    with pytest.raises(UsageError, match=r"a JAX model must be an nnx.Module, .*, got dict"):
        describe_jax({})


def test_layers_of_jaxport() -> None:
    layers = describe_jax(jaxport.nn.Sequential(jaxport.nn.Linear(2, 3, rngs=rngs()), jaxport.nn.ReLU()))
    assert kinds(layers) == {"": "jaxport.nn.Sequential", "0": "jaxport.nn.Linear", "1": "jaxport.nn.ReLU"}


class Mixed(nnx.Module):
    """Computes in float32 whatever it is given, by its settings."""

    def __init__(self) -> None:
        self.embed = nnx.Embed(3, 4, rngs=rngs())
        self.fc = nnx.Linear(4, 5, dtype=jnp.float32, rngs=rngs())
        self.cell = nnx.RNN(nnx.SimpleCell(5, 4, rngs=rngs()))

    def __call__(self, x: Any) -> Any:
        return self.cell(self.fc(self.embed(x)))


def test_cast_overrules_the_settings_of_nnx() -> None:
    with jax.enable_x64(True):
        model = Mixed()
        wide = cast(model, jnp.float64)
        assert {value.dtype for value in leaves(wide).values()} == {jnp.dtype("float64")}
        assert wide(jnp.zeros((2, 3), int)).dtype == jnp.float64
        narrow = cast(wide, jnp.float32)
        assert {value.dtype for value in leaves(narrow).values()} == {jnp.dtype("float32")}
        assert narrow(jnp.zeros((2, 3), int)).dtype == jnp.float32
        assert model.fc.dtype == jnp.float32


def test_cast_overrules_the_settings_of_linen_inside_of_a_call() -> None:
    with jax.enable_x64(True):
        wide = cast(linen(), jnp.float64)
        x = jnp.asarray(X, jnp.float64)
        intermediate = wide.module.apply(wide.variables, x, capture_intermediates=True, mutable=["intermediates"])[1]
        outputs = jax.tree.leaves(intermediate)
        assert {output.dtype for output in outputs} == {jnp.dtype("float64")}
        assert describe_jax(wide, [x]).keys() == describe_jax(linen(), [X]).keys()


def test_float64_attention() -> None:
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        q, k, v = (jnp.asarray(rng.standard_normal((2, 5, 3, 4))) for _ in range(3))
        mask = jnp.asarray(rng.random((2, 1, 5, 5)) < 0.7).at[..., 0].set(True)
        bias = jnp.asarray(rng.standard_normal((2, 3, 5, 5)))
        tensors = [torch.from_numpy(np.asarray(part).swapaxes(1, 2).copy()) for part in (q, k, v)]
        masked = torch.from_numpy(np.array(bias)).masked_fill(~torch.from_numpy(np.array(mask)), -torch.inf)
        expected = torch.nn.functional.scaled_dot_product_attention(*tensors, attn_mask=masked).numpy().swapaxes(1, 2)
        plain = np.abs(np.asarray(jax.nn.dot_product_attention(q, k, v, bias, mask)) - expected).max()
        with float64_attention():
            exact = np.abs(np.asarray(jax.nn.dot_product_attention(q, k, v, bias, mask)) - expected).max()
            half = jax.nn.dot_product_attention(*(part.astype(jnp.float32) for part in (q, k, v)))
        assert exact < 1e-14 < 1e-9 < plain
        assert (half == jax.nn.dot_product_attention(*(part.astype(jnp.float32) for part in (q, k, v)))).all()
