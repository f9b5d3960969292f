"""Minimal reproductions: the scripts are run without jaxport, and give what was recorded."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from jaxport.errors import UsageError
from jaxport.parity.foreign import Function, Linen
from jaxport.parity.show import write_repro
from jaxport.parity.show.rebuild_jax import jax_recipe
from jaxport.parity.show.rebuild_torch import torch_recipe

EQUINOX = importlib.util.find_spec("equinox") is not None
RNG = np.random.default_rng(0)
USERS = """
import jax.numpy as jnp
import torch
from flax import nnx


class Scale(torch.nn.Module):
    "Keeps its arguments: it can be called again."

    def __init__(self, width, factor=1.0):
        super().__init__()
        self.width, self.factor = width, factor
        self.weight = torch.nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * self.weight * self.factor


class Hidden(torch.nn.Module):
    "Does not: it is pickled."

    def __init__(self, width, power):
        super().__init__()
        self.inner = torch.nn.Linear(width, width)
        self.inner.power = power

    def forward(self, x):
        return self.inner(x) ** self.inner.power


class Doubling(torch.nn.Module):
    "Keeps another number than it was given: a call with it would make another layer."

    def __init__(self, factor):
        super().__init__()
        self.factor = 2 * factor


class Chosen(torch.nn.Module):
    "Does not keep its argument, and nothing shows which it was."

    def __init__(self, kind="relu"):
        super().__init__()
        self.act = torch.relu if kind == "relu" else torch.tanh


class JaxScale(nnx.Module):
    def __init__(self, width, factor=1.0):
        self.width, self.factor = width, factor
        self.weight = nnx.Param(jnp.ones(width))

    def __call__(self, x):
        return x * self.weight[...] * self.factor


def linear(params, x):
    return x @ params["deep"]["kernel"] + params["bias"]
"""


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder of a user's module, which is on the path."""
    folder = tmp_path_factory.mktemp("users")
    (folder / "repro_users.py").write_text(USERS)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("repro_users", None)


def last_axis(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, 1, -1)


def conv(folder: Path, name: str, padding: object, dtype: str = "float32") -> Path:
    """Write the reproduction of a convolution whose padding is perhaps wrong: (N, C, H, W) against (N, H, W, C)."""
    theirs = torch.nn.Conv2d(3, 5, 3, stride=2, padding=1)
    ours = nnx.Conv(3, 5, (3, 3), strides=2, padding=padding, rngs=nnx.Rngs(0))  # type: ignore[arg-type]
    ours.kernel[...] = jnp.asarray(theirs.weight.detach().numpy().transpose(2, 3, 1, 0))
    ours.bias[...] = jnp.asarray(theirs.bias.detach().numpy())  # type: ignore[index, union-attr]
    x = RNG.normal(size=(2, 3, 8, 10)).astype(np.float32)
    out = np.moveaxis(np.asarray(ours(jnp.asarray(last_axis(x)))), -1, 1)
    with torch.no_grad():
        want = theirs(torch.from_numpy(x)).numpy()
    return write_repro(folder, name, torch_layer=theirs, jax_layer=ours, inputs=[x], axes=(0, 2, 3, 1), ours=out,
                       theirs=want, dtype=dtype)  # fmt: skip


def users_own(folder: Path) -> list[Path]:
    import repro_users  # type: ignore[import-not-found]

    x = RNG.normal(size=(4, 6)).astype(np.float32)
    theirs, ours = repro_users.Scale(6, 2.0), repro_users.JaxScale(6, 3.0)
    called = write_repro(
        folder, "users/scale", torch_layer=theirs, jax_layer=ours, inputs=[x], ours=3 * x, theirs=2 * x
    )
    hidden = repro_users.Hidden(6, 1).double()
    torch.nn.init.normal_(hidden.inner.weight)  # numbers that float32 does not hold
    weight, bias = (p.detach().numpy() for p in (hidden.inner.weight, hidden.inner.bias))
    apply = Function(repro_users.linear, {"deep": {"kernel": weight.T}, "bias": bias})
    out = x @ weight.T + bias
    pickled = write_repro(folder, "hidden", torch_layer=hidden, jax_layer=apply, inputs=[x], ours=out, theirs=out,
                          dtype="float64")  # fmt: skip
    return [called, pickled]


def libraries(folder: Path) -> list[Path]:
    """Write reproductions of a Linen and, where it is installed, an Equinox layer, both right."""
    x = RNG.normal(size=(4, 6)).astype(np.float32)
    theirs = torch.nn.LayerNorm(6, eps=1e-3)
    want = theirs(torch.from_numpy(x)).detach().numpy()
    norm = linen.LayerNorm(epsilon=1e-3, use_fast_variance=False)
    layers = {"linen": Linen(norm, norm.init(jax.random.key(0), x))}
    if EQUINOX:
        layers["equinox"] = importlib.import_module("equinox").nn.LayerNorm(6, eps=1e-3)
    given = {"torch_layer": theirs, "inputs": [x], "ours": want, "theirs": want}
    return [write_repro(folder, name, jax_layer=layer, **given) for name, layer in layers.items()]


DRIVER = """
import runpy, sys
sys.modules["jaxport"] = None  # an import of it fails
for script in sys.argv[1:]:
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        print("EXIT", end.code)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, users: Path) -> dict[str, str]:
    """Run every script in one process that cannot import jaxport, and return what each printed."""
    folder = tmp_path_factory.mktemp("repro")
    scripts = [
        conv(folder, "same padding", "SAME"), conv(folder, "right", 1), conv(folder, "right64", 1, "float64"),
        *users_own(folder), *libraries(folder),
    ]  # fmt: skip
    command = [sys.executable, "-c", DRIVER, *map(str, scripts)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=users, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split("EXIT")
    return {
        script.stem: f"{text}EXIT{code.split()[0]}"
        for script, text, code in zip(scripts, printed[:-1], [part[1:] for part in printed[1:]], strict=True)
    }


def test_a_wrong_padding_is_reproduced(runs: dict[str, str]) -> None:
    text = runs["same_padding"]
    assert text.endswith("EXIT1")
    assert "DIFFERENT" in text
    now, then = (re.search(rf"{name}: largest difference (\S+) at (\[.*?\])", text) for name in ("now", "as recorded"))
    assert now is not None
    assert then is not None
    assert now[2] == then[2]
    assert float(now[1]) == pytest.approx(float(then[1]), rel=1e-3)
    assert float(now[1]) > 0.1


@pytest.mark.parametrize("name", ["right", "right64", "hidden", "linen", "equinox"])
def test_layers_that_agree_are_said_to(runs: dict[str, str], name: str) -> None:
    if name == "equinox" and not EQUINOX:
        pytest.skip("equinox is not installed")
    assert "SAME" in runs[name]
    assert runs[name].endswith("EXIT0")


@pytest.mark.parametrize("name", ["right64", "hidden"])
def test_float64_is_float64(runs: dict[str, str], name: str) -> None:
    apart = re.search(r"SAME: (\S+) apart", runs[name])
    assert apart is not None
    assert float(apart[1]) < 1e-14


def test_a_users_class_is_called_by_its_name(runs: dict[str, str], tmp_path: Path) -> None:
    assert runs["users_scale"].endswith("EXIT1")
    script = users_own(tmp_path)[0]
    assert script == tmp_path / "users_scale.py"
    text = script.read_text()
    assert "layer = repro_users.Scale(width=6, factor=2.0)" in text
    assert "layer = repro_users.JaxScale(width=6, factor=3.0)" in text
    assert "It also needs repro_users" in text
    assert "jaxport" not in text


def test_a_class_that_keeps_too_little_is_pickled(tmp_path: Path, users: Path) -> None:
    text = users_own(tmp_path)[1].read_text()
    assert "The call that made this Hidden could not be told" in text
    assert "It also needs repro_users" in text


def test_a_call_that_makes_another_layer_is_not_written(users: Path) -> None:
    import repro_users  # type: ignore[import-not-found]

    assert "pickle" in torch_recipe(repro_users.Doubling(3)).arrays
    assert "pickle" in torch_recipe(repro_users.Chosen("tanh")).arrays
    assert "pickle" not in torch_recipe(repro_users.Scale(3)).arrays


TORCH_LAYERS = (
    (torch.nn.Linear(3, 4, bias=False), "torch.nn.Linear(in_features=3, out_features=4, bias=False)"),
    (torch.nn.GELU("tanh"), "torch.nn.GELU(approximate='tanh')"),
    (torch.nn.BatchNorm2d(3, eps=1e-3), "torch.nn.BatchNorm2d(num_features=3, eps=0.001)"),
    (torch.nn.GRU(3, 4, bidirectional=True), "torch.nn.GRU(input_size=3, hidden_size=4, num_layers=1, bias=True, "
     "batch_first=False, dropout=0.0, bidirectional=True)"),
    (torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Tanh()), "torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Tanh())"),
)  # fmt: skip


@pytest.mark.parametrize(("layer", "call"), TORCH_LAYERS, ids=lambda value: type(value).__name__)
def test_torch_layers_are_called_with_what_is_not_the_default(layer: torch.nn.Module, call: str) -> None:
    recipe = torch_recipe(layer)
    assert recipe.code.splitlines()[0].strip() == f"layer = {call}"
    assert set(recipe.arrays) == set(layer.state_dict())


def test_a_layer_whose_call_would_lose_a_setting_is_pickled() -> None:
    """TransformerEncoderLayer does not keep dim_feedforward: a call without it would make another layer."""
    recipe = torch_recipe(torch.nn.TransformerEncoderLayer(8, 2, dim_feedforward=5))
    assert "pickle" in recipe.arrays
    changed = torch.nn.BatchNorm1d(3)
    changed.eps = 0.5
    assert "eps=0.5" in torch_recipe(changed).code


NNX_LAYERS = (
    lambda r: nnx.Conv(3, 4, (3, 3), strides=2, rngs=r),
    lambda r: nnx.MultiHeadAttention(2, 8, decode=False, rngs=r),
    lambda r: nnx.RNN(nnx.LSTMCell(3, 4, rngs=r)),
    lambda r: nnx.GroupNorm(4, 2, epsilon=1e-5, rngs=r),
    lambda r: nnx.Sequential(nnx.Linear(3, 4, rngs=r), nnx.relu),
    lambda r: nnx.Linear(3, 4, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16, rngs=r),
)


@pytest.mark.parametrize("make", NNX_LAYERS)
def test_nnx_layers_are_called(make) -> None:
    recipe = jax_recipe(make(nnx.Rngs(0)))
    assert "pickle" not in recipe.arrays
    assert recipe.code.strip().startswith("layer = flax.nnx.")
    assert recipe.foreign <= {"flax", "jax"}


def test_half_precision_says_what_it_was() -> None:
    recipe = jax_recipe(NNX_LAYERS[-1](nnx.Rngs(0)))
    assert set(recipe.arrays) == {"kernel@bfloat16", "bias@bfloat16"}


LOCAL = type("Local", (torch.nn.Module,), {"__qualname__": "f.<locals>.Local"})


@pytest.mark.parametrize(("change", "said"), [
    ({"name": "../.."}, "name: letters or digits are needed, got '../..'"),
    ({"dtype": "float16"}, "dtype: float32 or float64 is needed, got 'float16'"),
    ({"axes": [(0, 1)]}, "axes: 2 orders are needed"),
    ({"jax_layer": 3}, "jax_layer: a flax.nnx.Module, .* is needed, got int"),
    ({"torch_layer": 3}, "torch_layer: a torch.nn.Module is needed, got int"),
    ({"torch_layer": LOCAL()}, "cannot be imported by a script"),
])  # fmt: skip
def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path, change: dict, said: str) -> None:
    x = np.ones((2, 3), np.float32)
    given = {
        "torch_layer": torch.nn.Linear(3, 3),
        "jax_layer": nnx.Linear(3, 3, rngs=nnx.Rngs(0)),
        "name": "x",
    } | change
    name = given.pop("name")
    with pytest.raises(UsageError, match=said):
        write_repro(tmp_path / "out", name, inputs=[x], ours=x, theirs=x, **given)
    assert not list(tmp_path.rglob("*"))


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"folder: .* cannot be written"):
        conv(tmp_path / "file" / "below", "x", 1)
