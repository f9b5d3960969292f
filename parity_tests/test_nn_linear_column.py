"""A linear map of few features to one number for many rows, beside PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from jaxport.nn import functional as F
from jaxport.parity.tolerances import FLOAT32_FACTOR, FLOAT32_FLOOR, FLOAT64_RTOL


@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_outputs_and_gradients_are_those_of_torch(features, dtype):
    rng = np.random.default_rng(features)
    arrays = [rng.normal(size=shape).astype(dtype) for shape in ((5000, features), (1, features), (1,))]
    tensors = [torch.from_numpy(array).requires_grad_() for array in arrays]
    theirs = torch.nn.functional.linear(*tensors)
    (theirs.tanh() ** 2).mean().backward()
    exact = [torch.from_numpy(array.astype("float64")).requires_grad_() for array in arrays]
    (torch.nn.functional.linear(*exact).tanh() ** 2).mean().backward()
    with jax.enable_x64(dtype == "float64"):
        arguments = [jnp.asarray(array) for array in arrays]
        assert "dot_general" not in str(jax.make_jaxpr(F.linear)(*arguments))
        output = F.linear(*arguments)
        grads = jax.grad(lambda *a: jnp.mean(jnp.tanh(F.linear(*a)) ** 2), (0, 1, 2))(*arguments)
    if dtype == "float64":
        np.testing.assert_allclose(output, theirs.detach(), rtol=FLOAT64_RTOL)
    for ours, tensor, truth in zip(grads, tensors, exact, strict=True):
        if dtype == "float64":
            np.testing.assert_allclose(ours, tensor.grad, rtol=FLOAT64_RTOL)
        else:
            own = float((tensor.grad.double() - truth.grad).abs().max())
            floor = FLOAT32_FLOOR * float(truth.grad.abs().max())
            difference = float(np.abs(np.asarray(ours, np.float64) - truth.grad.numpy()).max())
            assert difference <= FLOAT32_FACTOR * own + floor
