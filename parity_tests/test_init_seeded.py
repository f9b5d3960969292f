"""The same seed, the same weights: `torch_rngs(seed)` against ``torch.manual_seed(seed)``, bit for bit in float32.

Every module of PyTorch's database and of our additions, with every set of constructor arguments there, and every port:
all parameters and buffers, and the generator's state afterwards, so that no draw too many or too few goes unseen.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from database import MODULES, build, cast
from database_runs import module_inputs, quiet
from port_names import PROVEN
from sampling import spread

from jaxport import nn, ports, random, reference
from jaxport.interop import state_dict
from jaxport.nn.utils import hooks, parametrizations
from jaxport.parity.tolerances import ORTHOGONAL_ATOL
from jaxport.random import Generator, torch_rngs

torch = pytest.importorskip("torch")
SEEDS = (0, 42, 2**63 - 1, -7)
OURS = [name for name in MODULES if hasattr(nn, name)]


def findings(id: str, theirs: Any, ours: nn.Module) -> list[str]:
    """Return what differs between two modules' states in keys, dtypes, shapes or any bit."""
    wanted = {key: value.numpy() for key, value in theirs.state_dict().items() if isinstance(value, torch.Tensor)}
    found = state_dict(ours)
    if list(found) != list(wanted):
        return [f"{id}: keys {list(found)} and {list(wanted)}"]
    bad = [key for key, value in wanted.items() if not same_bits(found[key], value)]
    return [f"{id}: {key} differs" for key in bad]


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def state_findings(id: str, rngs: Any) -> list[str]:
    equal = np.array_equal(rngs.generator.get_state(), torch.get_rng_state().numpy())
    return [] if equal else [f"{id}: another number of draws"]


def module_findings(name: str, entry: Any, seed: int) -> list[str]:
    constructor = entry.constructor_input
    args, kwargs = cast(constructor.args, torch.float32), cast(constructor.kwargs, torch.float32)
    rngs = torch_rngs(seed)
    ours = build(name, args, kwargs, rngs)
    torch.manual_seed(seed)
    theirs = MODULES[name].module_cls(*args, **kwargs)
    id = f"{name} {args} {kwargs} seed {seed}"
    return findings(id, theirs, ours) + state_findings(id, rngs)


@pytest.mark.parametrize("name", OURS)
def test_module(name, most_inputs):
    entries, problems = module_inputs(name, training=True), []
    for number, entry in spread(entries, most_inputs):
        with quiet():
            problems += module_findings(name, entry, SEEDS[number % len(SEEDS)])
    assert entries
    assert problems == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", PROVEN)
def test_port(name, seed):
    rngs = torch_rngs(seed)
    ours = ports.get(name).build(rngs)
    torch.manual_seed(seed)
    theirs = reference.build(name)
    assert findings(name, theirs, ours) + state_findings(name, rngs) == []


# name → (torch.nn.init's function, its arguments); shapes below and above 16 elements, and not multiples of 16.
FILLS: dict[str, tuple[str, dict[str, Any]]] = {
    "uniform": ("uniform_", {"a": -0.3, "b": 1.7}),
    "normal": ("normal_", {"mean": 0.7, "std": 0.2}),
    "xavier uniform": ("xavier_uniform_", {"gain": 5 / 3}),
    "xavier normal": ("xavier_normal_", {"gain": 0.7}),
    "kaiming uniform": ("kaiming_uniform_", {"a": 0.1, "mode": "fan_out"}),
    "kaiming normal": ("kaiming_normal_", {"nonlinearity": "relu"}),
    "truncated normal": ("trunc_normal_", {"std": 0.02, "a": -0.03, "b": 0.04}),
    "truncated normal, by proposals": ("trunc_normal_", {"mean": 1.5, "a": 2.5, "b": 3.0}),
    "sparse": ("sparse_", {"sparsity": 0.3}),
}
SHAPES = ((3, 5), (4, 4), (7, 9), (40, 25))


@pytest.mark.parametrize("row", FILLS)
def test_init(row):
    name, arguments = FILLS[row]
    for seed, shape in zip(SEEDS, SHAPES, strict=True):
        rngs = torch_rngs(seed)
        ours = getattr(nn.init, name)(nn.Parameter(jnp.zeros(shape)), **arguments, generator=rngs.params())
        torch.manual_seed(seed)  # sparse_ draws its rows from the global generator, whatever it is given
        theirs = getattr(torch.nn.init, name)(torch.zeros(shape), **arguments)
        assert same_bits(np.asarray(ours[...]), theirs.numpy()), (row, shape)
        assert state_findings(f"{row} {shape}", rngs) == []
        if hasattr(random, name):
            array = getattr(random, name)(np.empty(shape, np.float32), **arguments, generator=Generator(seed))
            assert same_bits(array, theirs.numpy()), (row, shape)


def test_orthogonal():
    # The normal numbers are the same; the QR decompositions are two LAPACKs', so rounding differs.
    for seed, shape in zip(SEEDS, SHAPES, strict=True):
        rngs, generator = torch_rngs(seed), torch.Generator().manual_seed(seed)
        ours = nn.init.orthogonal_(nn.Parameter(jnp.zeros(shape)), generator=rngs.params())
        theirs = torch.nn.init.orthogonal_(torch.zeros(shape), generator=generator)
        np.testing.assert_allclose(ours[...], theirs.numpy(), rtol=0, atol=ORTHOGONAL_ATOL)
        assert np.array_equal(rngs.generator.get_state(), generator.get_state().numpy())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (hooks.spectral_norm, torch.nn.utils.spectral_norm),
        (parametrizations.spectral_norm, torch.nn.utils.parametrizations.spectral_norm),
    ],
    ids=["hook", "parametrization"],
)
def test_spectral_norm(ours, theirs):
    rngs = torch_rngs(3)
    found = state_dict(ours(nn.Linear(20, 5, rngs=rngs), rngs=rngs))
    torch.manual_seed(3)
    wanted = theirs(torch.nn.Linear(20, 5)).state_dict()
    assert list(found) == list(wanted)
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value.numpy(), rtol=0, atol=ORTHOGONAL_ATOL, err_msg=key)
    assert state_findings("spectral_norm", rngs) == []
