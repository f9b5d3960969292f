"""Containers against PyTorch's: repr, keys and order after list operations; frozen layers train alike."""

from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxport import nn, optim
from jaxport.engine.state import split
from jaxport.interop import load_state_dict, state_dict
from jaxport.parity.tolerances import FLOAT64_RTOL

torch = pytest.importorskip("torch")
tn = torch.nn


def both(build):
    """Build the same on both sides: `build` gets a namespace with the same names."""

    class Ours:
        Linear = staticmethod(lambda *a, **k: nn.Linear(*a, **k, rngs=nnx.Rngs(0)))

        def __getattr__(self, name):
            return getattr(nn, name)

    return build(Ours()), build(tn)


def repeated(n):
    net = n.Sequential(n.Linear(2, 2), n.ReLU()) * 2
    net.insert(1, n.Sigmoid())
    net.extend([n.ReLU(), n.Linear(2, 3)])
    del net[0]
    return net


def edited(n):
    layers = n.ModuleList([n.Linear(2, 3), n.Linear(2, 3), n.ReLU()])
    layers.insert(1, n.Sigmoid())
    layers.pop(0)
    layers += [n.Linear(3, 3), n.Linear(3, 3)]
    return n.ModuleDict({"trunk": layers, "head": n.Sequential(OrderedDict(a=n.ReLU(), b=n.Linear(3, 1)))})


BUILT = {
    "sequential": repeated,
    "nested": edited,
    "slice": lambda n: repeated(n)[1:4],
    "joined": lambda n: n.Sequential(n.ReLU()) + n.Sequential(n.Linear(2, 2), n.Sigmoid()),
    "empty list": lambda n: n.ModuleList(),
    "empty dict": lambda n: n.ModuleDict(),
    "runs": lambda n: n.ModuleList([n.ReLU(), n.ReLU(), n.Sequential(n.ReLU()), n.Sequential(n.ReLU()), n.ReLU()]),
}


@pytest.mark.parametrize("build", BUILT.values(), ids=BUILT)
def test_repr_and_keys(build):
    ours, theirs = both(build)
    assert repr(ours) == repr(theirs)
    assert list(state_dict(ours)) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]


def test_frozen_layers_train_as_in_pytorch():
    ours, theirs = both(lambda n: n.Sequential(n.Linear(3, 4), n.Sigmoid(), n.Linear(4, 2)))
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    with jax.enable_x64(True):
        theirs.double()
        load_state_dict(ours.double(), {key: value.numpy() for key, value in theirs.state_dict().items()})
        for net in (ours, theirs):
            net[0].requires_grad_(False)
        torch_optimizer = torch.optim.Adam([p for p in theirs.parameters() if p.requires_grad], lr=0.1)
        optimizer = optim.Adam(lr=0.1)
        graph, params, rest = split(ours)
        state = optimizer.init(params)
        for _ in range(5):
            torch_optimizer.zero_grad()
            tn.functional.mse_loss(theirs(torch.from_numpy(x)), torch.from_numpy(y)).backward()
            torch_optimizer.step()
            grads = jax.grad(lambda p: nn.functional.mse_loss(nnx.merge(graph, p, rest)(x), jnp.asarray(y)))(params)
            updates, state = optimizer.update(grads, state, params)
            params = jax.tree.map(jnp.add, params, updates)
        found = state_dict(nnx.merge(graph, params, rest))
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(found[key], value.numpy(), rtol=FLOAT64_RTOL)
    assert theirs[0].weight.grad is None
