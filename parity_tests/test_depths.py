"""The deeper ResNets and the wider U-Net: names, shapes and counts of all, numbers and gradients of two."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from port_names import LONG

from jaxport import ports, reference
from jaxport.interop import load_state_dict, state_dict
from jaxport.models.resnet import ResNet
from jaxport.parity.jax_side import flatten
from jaxport.parity.tolerances import FLOAT64_RTOL


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    module = nnx.eval_shape(lambda: ports.get(name).build(0))
    return {key: value.shape for key, value in [*module.named_parameters(), *module.named_buffers()]}


@pytest.mark.parametrize("name", LONG)
def test_names_and_shapes_are_pytorchs(name: str) -> None:
    with torch.device("meta"):
        theirs = reference.build(name)
    expected = {key: tuple(value.shape) for key, value in theirs.state_dict().items()}
    ours = shapes_of(name)
    assert list(dict(theirs.named_parameters())) == [key for key in ours if key in dict(theirs.named_parameters())]
    assert ours == expected
    assert sum(p.numel() for p in theirs.parameters()) == ports.get(name).parameters


def filled(theirs: torch.nn.Module, seed: int) -> None:
    """Give every parameter and buffer numbers that hide nothing: scales and variances near 1, biases not zero."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for key, value in theirs.state_dict().items():
            if value.is_floating_point():
                low, high = (0.8, 1.2) if "running_var" in key or ("bn" in key and "weight" in key) else (-0.1, 0.1)
                value.copy_(torch.from_numpy(rng.uniform(low, high, tuple(value.shape))))


@pytest.mark.parametrize("depth", [34, 50])
def test_numbers_and_gradients_are_pytorchs_in_float64(depth: int) -> None:
    theirs = reference.build(f"resnet-{depth}").double().eval()
    filled(theirs, depth)
    rng = np.random.default_rng(0)
    x, cotangent = rng.standard_normal((2, 1, 33, 35)), rng.standard_normal((2, 10))
    output = theirs(torch.from_numpy(x))
    output.backward(torch.from_numpy(cotangent))
    with jax.enable_x64(True):
        graph, params, rest = nnx.split(_module(depth, theirs), nnx.Param, ...)

        def forward(params: nnx.State) -> jax.Array:
            return nnx.merge(graph, params, rest, copy=True)(jnp.asarray(x))

        ours, pullback = jax.vjp(jax.jit(forward), params)
        gradients = flatten(pullback(jnp.asarray(cotangent))[0])
    worst = {"output": relative(np.asarray(ours), output.detach().numpy())}
    for key, parameter in theirs.named_parameters():
        worst[key] = relative(gradients.pop(key), parameter.grad.numpy())
    assert not gradients
    assert max(worst.values()) <= FLOAT64_RTOL, max(worst, key=worst.__getitem__)


def _module(depth: int, theirs: torch.nn.Module) -> ResNet:
    state = nnx.eval_shape(lambda: ResNet(depth, rngs=nnx.Rngs(0)))
    graph, leaves = nnx.split(state)
    module = nnx.merge(graph, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), leaves)).to(jnp.float64)
    load_state_dict(module, {key: value.numpy() for key, value in theirs.state_dict().items()})
    assert len(state_dict(module)) == len(theirs.state_dict())
    return module.eval()


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
