"""Trap 33: a bias in front of BatchNorm has gradient zero but for rounding; it is excused, named, and still watched."""

import dataclasses
import sys
import types

import jax
import numpy as np
import pytest
from flax import nnx
from jax import lax

from jaxport import nn, parity
from jaxport.parity.check import compare_gradient32, compare_gradient64
from jaxport.ports.titanic import PORT as TITANIC

torch = pytest.importorskip("torch")
NAME = "bias_before_batch_norm"


class Net(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.fc1 = nn.Linear(15, 4, rngs=rngs)
        self.bn = nn.BatchNorm1d(4)
        self.fc2 = nn.Linear(4, 1, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        return nn.functional.sigmoid(self.fc2(self.bn(self.fc1(x))))


class TorchNet(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = torch.nn.Linear(15, 4)
        self.bn = torch.nn.BatchNorm1d(4)
        self.fc2 = torch.nn.Linear(4, 1)

    def forward(self, x):
        return torch.sigmoid(self.fc2(self.bn(self.fc1(x))))


@pytest.fixture
def port(monkeypatch):
    reference = types.ModuleType(f"jaxport.reference.{NAME}")
    reference.build = TorchNet
    monkeypatch.setitem(sys.modules, reference.__name__, reference)
    return dataclasses.replace(TITANIC, name=NAME, model=Net)


def named(checks):
    return [c for c in checks if "zero gradient" in c.note]


def test_trap_33_zero_gradient_passes_and_is_named(port):
    checks = parity.check_port(port, steps=3)
    assert [c for c in checks if not c.ok] == []
    wide = {c.check for c in named(checks) if c.dtype == "float64"}
    assert {"train/grad/fc1.bias", "train/cotangent/fc1.bias"} <= wide
    assert {c.check.split("/")[-1] for c in named(checks) if "worst of" not in c.note} == {"fc1.bias"}
    # In evaluation mode the gradient is not zero, and nothing is excused.
    assert not any(c.check.startswith("eval/") for c in named(checks))


def test_trap_33_wrong_gradient_there_is_found(port, monkeypatch):
    original = Net.forward

    def leaky(self, x):
        y, bias = original(self, x), self.fc1.bias[...]
        # The value is the same, and the gradient goes past the normalisation.
        return y + 1e-6 * (bias - lax.stop_gradient(bias)).sum()

    monkeypatch.setattr(Net, "forward", leaky)
    failed = {c.check for c in parity.check_port(port, steps=1) if not c.ok and c.dtype == "float64"}
    assert "train/grad/fc1.bias" in failed
    assert "train/grad/fc1.weight" not in failed


def test_only_what_is_zero_beside_the_loss_is_excused():
    noise, other, loss = np.array([3e-17, -1e-17]), np.array([-2e-17, 4e-17]), 2.0
    assert compare_gradient64("p", "g", noise, other, loss).ok
    assert "zero gradient" in compare_gradient64("p", "g", noise, other, loss).note
    assert not compare_gradient64("p", "g", noise + 1e-10, other, loss).ok
    assert not compare_gradient64("p", "g", noise, other + 1e-11, loss).ok
    assert not compare_gradient64("p", "g", noise, other, 0.0).ok
    assert not compare_gradient64("p", "g", np.array([np.nan, 0.0]), other, loss).ok
    assert not compare_gradient64("p", "g", noise[:1], other, loss).ok
    single = np.array([3e-9, -2e-9], np.float32)
    assert compare_gradient32("p", "g", single, [np.zeros(2, np.float32)], other, loss).ok
    assert not compare_gradient32("p", "g", single * 1000, [single], other, loss).ok
    # Small, but not zero: judged as any other.
    small = np.array([1e-9, -2e-9])
    assert not compare_gradient32("p", "g", single, [small.astype(np.float32)], small, loss).ok
