"""The runs over PyTorch's databases can fail: a planted mistake of each kind is found."""

import jax.numpy as jnp
import numpy as np
import pytest
from database import Run, differences
from database_runs import (
    function_error_findings,
    function_findings,
    function_inputs,
    module_error_findings,
    module_findings,
    module_inputs,
)
from jax import lax
from sampling import spread

import jaxport.nn.functional as F
from jaxport import nn
from jaxport.nn import norm_batch


def of_function(name: str, number: int = 0, dtype: str = "float64") -> list[str]:
    return function_findings(name, number, function_inputs(name)[number], dtype, jit=False)


def of_module(name: str, number: int = 0, dtype: str = "float64", training: bool = True) -> list[str]:
    return module_findings(name, number, module_inputs(name, training)[number], training, dtype, jit=True)


def test_a_wrong_function_is_found(monkeypatch):
    assert of_function("softplus") == []
    right = F.softplus
    monkeypatch.setattr(F, "softplus", lambda *args, **kwargs: right(*args, **kwargs) * (1.0 + 1e-9))
    assert any("output 0" in line for line in of_function("softplus"))
    assert any("gradient of args[0]" in line for line in of_function("softplus"))


def test_a_wrong_gradient_alone_is_found(monkeypatch):
    assert of_function("leaky_relu") == []
    right = F.leaky_relu
    monkeypatch.setattr(
        F, "leaky_relu", lambda x, *rest, **kwargs: right(lax.stop_gradient(x), *rest, **kwargs) + 0 * x
    )
    assert any("gradient" in line for line in of_function("leaky_relu"))
    assert not any("output" in line for line in of_function("leaky_relu"))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_wrong_module_is_found(monkeypatch, dtype):
    assert of_module("Linear", dtype=dtype) == []
    right = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, input: right(self, input) * (1.0 + 1e-5))
    findings = of_module("Linear", dtype=dtype)
    for what in ("output 0", "gradient of parameter weight", "gradient of parameter bias", "gradient of kwargs[input]"):
        assert any(what in line for line in findings), what


def test_a_wrong_repr_is_found(monkeypatch):
    monkeypatch.setattr(nn.Linear, "extra_repr", lambda self: "in_features=10")
    assert any("repr" in line for line in of_module("Linear"))


def test_a_missing_or_extra_gradient_output_or_buffer_is_found():
    one = np.ones(2)
    whole = Run([one], {"x": one}, {"mean": one})
    assert differences(whole, whole) == []
    assert any("grads of" in line for line in differences(Run([one], {}, {"mean": one}), whole))
    assert any("buffers of" in line for line in differences(Run([one], {"x": one}, {}), whole))
    assert any("0 outputs" in line for line in differences(Run([], {"x": one}, {"mean": one}), whole))


def test_a_wrong_buffer_is_found(monkeypatch):
    assert of_module("BatchNorm2d") == []
    right = norm_batch.blend
    monkeypatch.setattr(norm_batch, "blend", lambda old, new, momentum: right(old, new, 1.0 - momentum))
    assert any("buffer running_mean" in line for line in of_module("BatchNorm2d"))


def test_an_error_that_is_not_raised_or_not_our_own_is_found(monkeypatch):
    count, findings = function_error_findings("softshrink")
    assert count
    assert findings == []
    monkeypatch.setattr(F, "softshrink", lambda x, *_, **__: x)
    assert any("no error where" in line for line in function_error_findings("softshrink")[1])

    def foreign(x, *_, **__):
        raise ValueError("raised elsewhere")

    monkeypatch.setattr(F, "softshrink", foreign)
    assert any("not by jaxport" in line for line in function_error_findings("softshrink")[1])
    assert module_error_findings("RNNCell")[1] == []
    monkeypatch.setattr(nn.RNNCell, "forward", lambda self, *_: jnp.zeros(1))
    assert module_error_findings("RNNCell")[1]


def test_inputs_are_spread_evenly():
    assert [number for number, _ in spread(list("abcdefghij"), 4)] == [0, 3, 6, 9]
    assert [number for number, _ in spread(list("abc"), 4)] == [0, 1, 2]
    assert len(spread(list("abcdef"), None)) == 6
