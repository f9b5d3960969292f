"""state_dict and load_state_dict: bits, order, and errors that name every key and change nothing."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxport import nn
from jaxport.errors import WeightsError
from jaxport.interop import load_state_dict, state_dict

pytestmark = pytest.mark.usefixtures("strict_jax")
Arrays = dict[str, np.ndarray]


class Net(nn.Module):
    """Floating and integer buffers, a shared child, and a dropout whose stream is no weight."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.zeta = nn.Linear(3, 4, rngs=rngs)
        self.count = nn.Buffer(jnp.asarray(7, jnp.int32))
        self.scale = nn.Parameter(jnp.ones(4))
        self.body = nn.Sequential(nn.Conv2d(1, 2, (2, 3), rngs=rngs), nn.Dropout(0.5, rngs=rngs))
        self.mean = nn.Buffer(jnp.zeros(4))
        self.again = self.zeta
        self.odd = nn.Parameter(jnp.zeros(()))


KEYS = ["scale", "odd", "count", "mean", "zeta.weight", "zeta.bias", "body.0.weight", "body.0.bias"]
KEYS += ["again.weight", "again.bias"]


def net(seed: int = 0) -> Net:
    return Net(nnx.Rngs(seed))


def bits(arrays: Arrays) -> dict[str, tuple[Any, ...]]:
    return {key: (value.shape, value.dtype, value.tobytes()) for key, value in arrays.items()}


def test_keys_shapes_and_order():
    arrays = state_dict(net())
    assert list(arrays) == KEYS
    assert arrays["body.0.weight"].shape == (2, 1, 2, 3)
    assert arrays["odd"].shape == arrays["count"].shape == ()
    assert all(type(value) is np.ndarray for value in arrays.values())


def test_values_are_copies():
    module = net()
    arrays = state_dict(module)
    before = bits(arrays)
    for value in arrays.values():
        value[...] = 3
    assert bits(state_dict(module)) == before


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16, jnp.bfloat16])
def test_round_trip_to_the_bit(dtype):
    rng = np.random.default_rng(0)
    source, target = net(0).to(dtype), net(1).to(dtype)
    random = {
        key: rng.integers(0, 256, value.nbytes, dtype=np.uint8).view(value.dtype).reshape(value.shape)
        for key, value in state_dict(source).items()
    }
    random["count"] = np.asarray(rng.integers(-(2**31), 2**31))  # int64 outside, int32 in JAX
    for key in ("weight", "bias"):
        random[f"again.{key}"] = random[f"zeta.{key}"]
    assert load_state_dict(source, random) == ([], [])
    assert bits(state_dict(source)) == bits(random)
    load_state_dict(target, state_dict(source))
    assert bits(state_dict(target)) == bits(random)


def test_loading_fills_the_variables_in_place():
    module = net()
    weight, shared = module.zeta.weight, state_dict(module)
    shared["zeta.weight"] = shared["again.weight"] = np.full((4, 3), 2.0, np.float32)
    load_state_dict(module, shared)
    assert module.zeta.weight is weight
    assert module.again.weight is weight
    assert np.asarray(weight[...]).tolist() == [[2.0] * 3] * 4


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray, np.ndarray.tolist], ids=["numpy", "jax", "lists"])
def test_values_of_any_array_kind_are_cast_to_what_they_fill(kind: Callable[[np.ndarray], Any]):
    wide = {key: value.astype(np.int16 if value.dtype.kind == "i" else np.float16) for key, value in _values().items()}
    module = net()
    load_state_dict(module, {key: kind(value) for key, value in wide.items()})
    for key, value in state_dict(module).items():
        assert value.dtype == (np.int64 if key == "count" else np.float32)
        np.testing.assert_array_equal(value, wide[key].astype(value.dtype))


def _values() -> Arrays:
    arrays = state_dict(net(3))
    return arrays | {key: arrays[key.replace("again", "zeta")] for key in arrays if key.startswith("again")}


def changed(**replace: Any) -> Arrays:
    return {key: replace.get(key.replace(".", "_"), value) for key, value in _values().items()}


BAD: list[tuple[str, Callable[[], Arrays], list[str]]] = [
    ("missing", lambda: {k: v for k, v in _values().items() if "zeta" not in k}, ["missing: zeta.weight, zeta.bias"]),
    (
        "unexpected",
        lambda: _values() | {"a": np.ones(1), "body.1.weight": np.ones(1)},
        ["unexpected: a, body.1.weight"],
    ),
    (
        "misshapen",
        lambda: changed(zeta_weight=np.zeros((3, 4), np.float32), odd=np.zeros(1, np.float32)),
        [
            r"zeta.weight: shape (3, 4) in the mapping, (4, 3) in the module",
            r"odd: shape (1,) in the mapping, () in the module",
        ],
    ),
    (
        "wrong kind",
        lambda: changed(count=np.asarray(1.5), zeta_bias=np.zeros(4, np.int64)),
        ["count: dtype float64 in the mapping, int32 in the module", "zeta.bias: dtype int64 in the mapping, float32"],
    ),
    (
        "all at once",
        lambda: {k: v for k, v in changed(mean=np.zeros(5, np.float32)).items() if k != "odd"} | {"b": np.ones(2)},
        ["misshapen: mean: shape (5,)", "missing: odd", "unexpected: b"],
    ),
    ("empty", dict, [f"missing: {', '.join(KEYS)}"]),
]


@pytest.mark.parametrize(("make", "texts"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_an_error_names_every_key_and_changes_nothing(make, texts):
    module = net()
    before = bits(state_dict(module))
    with pytest.raises(WeightsError, match=r"^the weights do not fit Net: ") as caught:
        load_state_dict(module, make())
    for text in texts:
        assert text in str(caught.value)
    assert bits(state_dict(module)) == before


def test_not_strict_reports_and_fills_the_rest():
    module = net()
    values = {k: v for k, v in changed(scale=np.full(4, 5.0, np.float32)).items() if "zeta" not in k}
    found = load_state_dict(module, values | {"new": np.ones(1)}, strict=False)
    assert found.missing_keys == ["zeta.weight", "zeta.bias"]
    assert found.unexpected_keys == ["new"]
    assert np.asarray(module.scale[...]).tolist() == [5.0] * 4
    before = bits(state_dict(module))
    with pytest.raises(WeightsError, match=r"misshapen: scale: shape \(3,\)") as caught:
        load_state_dict(module, {"scale": np.ones(3, np.float32), "odd": np.ones((), np.float32)}, strict=False)
    assert "missing" not in str(caught.value)
    assert bits(state_dict(module)) == before


def test_a_module_without_arrays():
    assert state_dict(nn.ReLU()) == {}
    assert load_state_dict(nn.ReLU(), {}) == ([], [])


def test_loading_works_on_a_merged_module():
    module = nnx.merge(*nnx.split(net()), copy=True)
    load_state_dict(module, _values())
    assert bits(state_dict(module)) == bits(_values())
