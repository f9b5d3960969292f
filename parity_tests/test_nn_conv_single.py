"""Convolutions before max pooling and a global maximum, whose gradients come from one window each, beside PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from jaxport import nn
from jaxport.nn import functional as F
from jaxport.parity.tolerances import FLOAT32_FACTOR, FLOAT32_FLOOR, FLOAT64_RTOL

# Examples, channels, size, features, kernel, stride, padding.
CASES = {
    "mnist_cnn's": (16, 32, (13, 13), 64, (5, 5), 1, 0),
    "padded": (5, 12, (8, 9), 10, (3, 3), 1, 1),
    "strided": (4, 9, (13, 12), 6, (3, 4), 2, (1, 0)),
    "many examples": (200, 5, (7, 7), 4, (3, 3), 1, 0),
}


def theirs(arrays: list[np.ndarray], mask: np.ndarray, stride, padding, dtype: str) -> list[np.ndarray]:
    x, weight, bias = tensors = [torch.from_numpy(array.astype(dtype)).requires_grad_() for array in arrays]
    y = torch.nn.functional.conv2d(x, weight, bias, stride, padding)
    y = torch.nn.functional.max_pool2d(torch.relu(y), 2) * torch.from_numpy(np.where(mask, 1 / 0.7, 0.0).astype(dtype))
    loss = (torch.nn.functional.adaptive_max_pool2d(y, 1).sin() ** 2).mean()
    loss.backward()
    return [loss.detach().numpy(), *(tensor.grad.numpy() for tensor in tensors)]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_outputs_and_gradients_are_those_of_torch(name, dtype):
    n, c, size, o, kernel, stride, padding = CASES[name]
    rng = np.random.default_rng(3)
    arrays = [rng.normal(size=shape).astype("float32") for shape in ((n, c, *size), (o, c, *kernel), (o,))]
    mask = rng.random((n, o, 1, 1)) > 0.3

    def loss(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
        y = F.max_pool2d(F.relu(F.conv2d(x, weight, bias, stride, padding)), 2)
        with nn.replay_masks([jnp.asarray(mask)]):
            y = F.dropout2d(y, 0.3)
        return jnp.mean(jnp.sin(F.adaptive_max_pool2d(y, 1)) ** 2)

    with jax.enable_x64(dtype == "float64"):
        arguments = [jnp.asarray(array, dtype) for array in arrays]
        step = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
        assert "small_loop" in step.lower(*arguments).as_text()
        ours = jax.tree.leaves(step(*arguments))
    truth, own = (theirs(arrays, mask, stride, padding, kind) for kind in ("float64", dtype))
    for found, exact, rounded in zip(ours, truth, own, strict=True):
        most = float(np.abs(exact).max())
        if dtype == "float64":
            np.testing.assert_allclose(found, exact, rtol=FLOAT64_RTOL, atol=FLOAT64_RTOL * most)
        else:
            difference = float(np.abs(np.asarray(found, np.float64) - exact).max())
            assert difference <= FLOAT32_FACTOR * float(np.abs(rounded - exact).max()) + FLOAT32_FLOOR * most
