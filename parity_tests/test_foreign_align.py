"""Which layer stands for which: by map, path, class and shape, and order; and what is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from foreign_weight_cases import QUICK, random_torch
from foreign_whole_models import GPT_MAP, TIME, WORDS, Gpt, TorchGpt

from jaxport.errors import UsageError
from jaxport.parity.align import Alignment, align
from jaxport.parity.describe_jax import describe_jax
from jaxport.parity.describe_torch import describe_torch
from jaxport.parity.foreign import Function, Linen
from jaxport.parity.mapping import load_map
from jaxport.parity.names import is_automatic, loose, normal
from jaxport.parity.weights import cast, fill, leaves, plan
from jaxport.parity.weights.find_flatten import find_flatten


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    """Compute in float64; foreign layers promote dtypes and ranks of their own accord."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def rngs() -> nnx.Rngs:
    return nnx.Rngs(0)


def aligned(model: Any, module: torch.nn.Module, mapping: Any = None, inputs: Any = None) -> Alignment:
    return align(describe_jax(model, inputs), describe_torch(module), mapping)


def pairs(alignment: Alignment) -> dict[str, str]:
    return {pair.jax_path: pair.torch_path for pair in alignment.pairs}


@pytest.mark.parametrize(
    ("path", "same"),
    [
        ("layers.0.conv1", "layers_0.conv_1"),
        ("encoder.selfAttn", "encoder.self_attn"),
        ("layers0", "layers.0"),
        ("block10.norm2", "block_10.norm.2"),
    ],
)
def test_paths_are_the_same_but_for_writing(path: str, same: str) -> None:
    assert normal(path, {}) == normal(same, {})


@pytest.mark.parametrize(
    ("path", "same"),
    [("attn.wq", "self_attn.q_proj"), ("ln_1", "norm1"), ("h.3.fc", "blocks.3.dense"), ("embed", "tok_emb")],
)
def test_usual_names_for_the_same_thing(path: str, same: str) -> None:
    assert normal(path, {}) != normal(same, {})
    assert loose(path, {}) == loose(same, {})


def test_names_that_linen_makes_up() -> None:
    assert is_automatic("Conv_0")
    assert is_automatic("encoder.Dense_12.kernel")
    assert not is_automatic("conv_0.Kernel")


@pytest.mark.parametrize("mapping", [None, GPT_MAP])
def test_a_gpt_of_other_names(mapping: Any) -> None:
    model, module = cast(Gpt(rngs()), jnp.float64), random_torch(TorchGpt())
    ours, theirs = describe_jax(model), describe_torch(module)
    alignment = align(ours, theirs, mapping)
    found = pairs(alignment)
    assert found["blocks.1.norm2"] == "h.1.ln_2"
    assert found["blocks.0.attention"] == "h.0.attn"
    assert found["blocks.1"] == "h.1"
    assert found["norm"] == "ln_f"
    assert found["blocks.0.mlp.down"] == "h.0.mlp.2"
    made = plan(ours, theirs, alignment)
    assert {finding.level for finding in (*made.findings, *alignment.findings)} == {"info"}
    state = {key: value.numpy() for key, value in module.state_dict().items()}
    x = np.random.default_rng(0).integers(WORDS, size=(3, TIME))
    run = jax.jit(lambda arrays: fill(model, arrays)(jnp.asarray(x)), compiler_options=QUICK)
    output = np.asarray(run(made.to_jax(state)))
    expected = module(torch.from_numpy(x)).detach().numpy()
    assert np.abs(output - expected).max() <= 1e-12 * np.abs(expected).max()
    assert all((value == state[key]).all() for key, value in made.to_torch(made.to_jax(state)).items())
    assert set(made.to_torch(leaves(model))) == set(state)


def test_the_final_norm_may_be_defined_first() -> None:
    class Block(nnx.Module):
        def __init__(self) -> None:
            self.before = nnx.LayerNorm(4, rngs=rngs())

    class Net(nnx.Module):
        def __init__(self) -> None:
            self.final = nnx.LayerNorm(4, rngs=rngs())
            self.blocks = nnx.List([Block() for _ in range(2)])

    module = torch.nn.Module()
    module.h = torch.nn.ModuleList([sequential(torch.nn.LayerNorm(4)) for _ in range(2)])
    module.last = torch.nn.LayerNorm(4)
    found = pairs(aligned(Net(), module))
    assert found["final"] == "last"
    assert found["blocks.1.before"] == "h.1.0"


def sequential(*layers: torch.nn.Module) -> torch.nn.Sequential:
    return torch.nn.Sequential(*layers)


def test_layers_without_arrays_pair_by_path() -> None:
    class Net(nnx.Module):
        def __init__(self) -> None:
            self.fc = nnx.Linear(3, 4, rngs=rngs())
            self.drop = nnx.Dropout(0.5, rngs=rngs())

    module = torch.nn.Module()
    module.fc, module.drop, module.act = torch.nn.Linear(3, 4), torch.nn.Dropout(), torch.nn.ReLU()
    assert pairs(aligned(Net(), module)) == {"": "", "fc": "fc", "drop": "drop"}


def test_sequential_of_both_libraries() -> None:
    model = nnx.Sequential(nnx.Linear(4, 4, rngs=rngs()), nnx.relu, nnx.Linear(4, 4, rngs=rngs()))
    module = sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 4))
    assert pairs(aligned(model, module)) == {"": "", "layers.0": "0", "layers.2": "2"}


def test_counts_that_differ_are_left_and_reported() -> None:
    model = nnx.List([nnx.Linear(4, 4, rngs=rngs()) for _ in range(2)])
    module = torch.nn.ModuleDict({name: torch.nn.Linear(4, 4) for name in "abc"})
    alignment = aligned(model, module)
    assert alignment.jax_left == ("0", "1")
    assert alignment.torch_left == ("a", "b", "c")
    messages = [finding.message for finding in plan(describe_jax(model), describe_torch(module), alignment).findings]
    assert any(message.startswith("0.kernel is not filled") for message in messages)
    assert any(message.startswith("c.weight is not used") for message in messages)


def test_arrays_of_other_names_and_equal_shapes_are_not_guessed() -> None:
    class Net(nnx.Module):
        def __init__(self, *names: str) -> None:
            for name in names:
                setattr(self, name, nnx.Param(jnp.ones(5)))

    module = torch.nn.ParameterDict({"r": torch.ones(5), "s": torch.ones(5)})
    assert aligned(Net("p", "q"), module).jax_left == ("p", "q")
    assert aligned(Net("p"), torch.nn.ParameterDict({"r": torch.ones(5)})).units[0].torch.path == "r"


def test_order_is_reported() -> None:
    model = nnx.List([nnx.Linear(4, 4, rngs=rngs()) for _ in range(2)])
    module = torch.nn.ModuleDict({name: torch.nn.Linear(4, 4) for name in "ab"})
    alignment = aligned(model, module)
    assert [pair.rule for pair in alignment.units] == ["order", "order"]
    assert "0 = a, 1 = b" in alignment.findings[0].message


def test_linen_names_count_for_nothing() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.Dense(4)(nn.Dense(4)(x))  # the outer one is made first, and called last

    x = jnp.ones((2, 4))
    model = Linen(Net(), Net().init(jax.random.key(0), x))
    module = torch.nn.ModuleDict({"Dense_0": torch.nn.Linear(4, 4), "Dense_1": torch.nn.Linear(4, 4)})
    assert pairs(aligned(model, module, inputs=[x])) == {"": "", "Dense_1": "Dense_0", "Dense_0": "Dense_1"}


def params(**layers: Any) -> Function:
    return Function(lambda params, x: x, layers)


def test_a_bare_pytree_is_laid_out_as_its_shapes_allow() -> None:
    model = params(fc={"w": jnp.ones((3, 5)), "b": jnp.ones(5)}, conv={"kernel": jnp.ones((3, 3, 2, 2))})
    module = torch.nn.ModuleDict({"fc": torch.nn.Linear(3, 5), "conv": torch.nn.Conv2d(2, 2, 3, bias=False)})
    ours, theirs = describe_jax(model), describe_torch(module)
    made = plan(ours, theirs, align(ours, theirs))
    assert not made.findings
    state = {key: value.numpy() for key, value in random_torch(module).state_dict().items()}
    arrays = made.to_jax(state)
    assert (arrays["fc.w"] == state["fc.weight"].T).all()
    assert (arrays["conv.kernel"] == state["conv.weight"].transpose(2, 3, 1, 0)).all()


def test_a_square_matrix_of_a_bare_pytree_needs_a_map() -> None:
    model, module = params(fc={"w": jnp.ones((4, 4))}), torch.nn.ModuleDict({"fc": torch.nn.Linear(4, 4, bias=False)})
    alignment = aligned(model, module)
    assert [finding.rule for finding in alignment.findings] == ["align/ambiguous"]
    ours, theirs = describe_jax(model), describe_torch(module)
    weight = module["fc"].weight.detach().numpy()
    for text, expected in (("fc.weight.T", weight.T), ("fc.weight", weight), ("fc.weight(1, 0)", weight.T)):
        made = plan(ours, theirs, align(ours, theirs, {"fc.w": text}))
        assert not made.findings
        assert (made.to_jax({"fc.weight": weight})["fc.w"] == expected).all()
        assert (made.to_torch({"fc.w": expected})["fc.weight"] == weight).all()


def test_a_map_names_containers_layers_and_what_is_left_out() -> None:
    class Net(nnx.Module):
        def __init__(self) -> None:
            self.a = nnx.List([nnx.Linear(4, 4, rngs=rngs()) for _ in range(2)])
            self.extra = nnx.Linear(2, 2, rngs=rngs())

    module = torch.nn.ModuleDict({"x": sequential(torch.nn.Linear(4, 4)), "y": torch.nn.Linear(4, 4)})
    model = Net()
    alignment = aligned(model, module, {"a.0": "y", "a.1": "x.0", "extra": None})
    assert {pair.jax.path: pair.torch.path for pair in alignment.units} == {"a.0": "y", "a.1": "x.0"}
    assert {pair.rule for pair in alignment.units} == {"map"}
    made = plan(describe_jax(model), describe_torch(module), alignment)
    assert not [finding for finding in made.findings if finding.level == "error"]
    assert alignment.findings[0].message == "extra is left out by the map"


def test_a_map_renames_what_is_below_a_container() -> None:
    class Net(nnx.Module):
        def __init__(self) -> None:
            self.enc = nnx.List([nnx.Linear(4, 4, rngs=rngs()) for _ in range(2)])
            self.dec = nnx.List([nnx.Linear(4, 4, rngs=rngs()) for _ in range(2)])

    part = lambda: torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)])  # noqa: E731
    module = torch.nn.ModuleDict({"up": part(), "down": part()})
    found = pairs(aligned(Net(), module, {"enc": "down", "dec": "up"}))
    assert found == {"": "", "enc": "down", "enc.0": "down.0", "enc.1": "down.1", "dec": "up", "dec.0": "up.0",
                     "dec.1": "up.1"}  # fmt: skip


class Block(nn.Module):
    """Two layers under the names that Linen makes up."""

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        return nn.BatchNorm(use_running_average=not train, epsilon=1e-5)(nn.Conv(4, (3, 3))(x))


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        for _ in range(2):
            x = nn.relu(Block()(x, train))
        return nn.Dense(2)(nn.Dense(5, name="middle")(x.reshape(len(x), -1)))


class EqxNet(eqx.Module):
    """The same in Equinox, without normalisation, channels first."""

    layers: list

    def __init__(self) -> None:
        key = jax.random.key(0)
        conv = lambda n: eqx.nn.Conv2d(n, 4, 3, padding=1, key=key)  # noqa: E731
        self.layers = [conv(4), conv(4), eqx.nn.Linear(24, 5, key=key), eqx.nn.Linear(5, 2, key=key)]

    def __call__(self, x: Any) -> Any:
        first, second, third, fourth = self.layers
        return fourth(third(jax.nn.relu(second(jax.nn.relu(first(x)))).reshape(-1)))


def torch_net(norm: bool) -> torch.nn.Module:
    blocks: list[torch.nn.Module] = []
    for _ in range(2):
        blocks.append(torch.nn.Conv2d(4, 4, 3, padding=1))
        blocks += [torch.nn.BatchNorm2d(4), torch.nn.ReLU()] if norm else [torch.nn.ReLU()]
    body, head = sequential(*blocks), sequential(torch.nn.Flatten(), torch.nn.Linear(24, 5), torch.nn.Linear(5, 2))
    return random_torch(sequential(body, head))


@pytest.mark.parametrize("library", ["linen", "linen without inputs", "equinox"])
def test_whole_models(library: str) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 2, 3))
    last = jnp.asarray(x.transpose(0, 2, 3, 1))
    net, module = LinenNet(), torch_net(norm="linen" in library)
    model = EqxNet() if library == "equinox" else Linen(net, net.init(jax.random.key(0), last, False))
    wide = cast(model, jnp.float64)
    ours, theirs = describe_jax(wide, None if "without" in library else [last]), describe_torch(module)
    alignment = align(ours, theirs)
    if "without" in library:
        assert alignment.jax_left
        return
    flatten = find_flatten(module, [torch.from_numpy(x)]) if library == "linen" else {}
    made = plan(ours, theirs, alignment, flatten=flatten)
    assert not [finding for finding in made.findings if finding.level != "info"]
    filled = fill(wide, made.to_jax(module.state_dict()))
    run = (lambda y: filled.module.apply(filled.variables, y)) if library == "linen" else jax.vmap(filled)
    output = jax.jit(run, compiler_options=QUICK)(last if library == "linen" else jnp.asarray(x))
    expected = module(torch.from_numpy(x)).detach().numpy()
    assert np.abs(np.asarray(output) - expected).max() <= 1e-12 * np.abs(expected).max()
    assert {pair.rule for pair in alignment.units} == {"class and shape", "order"}


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"fd": "a"}, r"'fd' names nothing in the JAX model \(did you mean 'fc'\?\)"),
        ({"fc": "b"}, r"'b' names nothing in the PyTorch model"),
        ({"fc": "a", "fc.kernel": "a.weight"}, "another line has it"),
        ({"fc": "a[3/3]"}, r"a\[3/3\]: a.weight has 4 rows"),
        ({"fc": "a[0/3]"}, r"a\[0/3\]: a.weight has 4 rows"),
    ],
)
def test_a_map_that_does_not_fit(mapping: Any, message: str) -> None:
    class Net(nnx.Module):
        def __init__(self) -> None:
            self.fc = nnx.Linear(3, 4, rngs=rngs())

    with pytest.raises(UsageError, match=message):
        aligned(Net(), torch.nn.ModuleDict({"a": torch.nn.Linear(3, 4)}), mapping)


def test_load_map(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text("blocks.*.attn: h.*.attention\nextra: null\n0: 1\n")
    assert load_map(path) == {"blocks.*.attn": "h.*.attention", "extra": None, "0": "1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "must hold lines `jax.path: torch.path`, got list"),
        ("a: [1, 2]\n", r"paths on both sides, or null on the right, got 'a': \[1, 2\]"),
        ("a: b: c\n", "is no YAML"),
        ("true: a\n", "paths on both sides"),
    ],
)
def test_load_map_refuses(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_map(path)


def test_load_map_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"map '.*none.yaml' cannot be read"):
        load_map(tmp_path / "none.yaml")
