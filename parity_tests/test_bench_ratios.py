"""The benchmark with PyTorch: a ratio where both sides compute the same, none where one of them is sabotaged."""

import dataclasses
import sys
from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from jaxport import bench, optim, ports
from jaxport.bench import runner
from jaxport.bench.inputs import Inputs, make_inputs
from jaxport.bench.jax_side import JaxSide
from jaxport.bench.torch_side import TorchSide, Variant
from jaxport.port import Port

# mnist_cnn is the network of digits with four times the work; resnet and unet take minutes to compile in four ways.
NAMES = [name for name in ports.names() if name not in ("mnist_cnn", "resnet", "unet")]


def reference(port: Port, inputs: Inputs) -> bench.Reference:
    sides = (TorchSide(port, inputs, Variant(1), dtype) for dtype in (torch.float64, torch.float32))
    return bench.Reference(*(side.one_pass()[1] for side in sides))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "side", ["scan", "steps", Variant(1, "fused"), Variant(2, "foreach", channels_last=True)], ids=str
)
def test_every_side_trains_alike(name, side):
    port = ports.get(name)
    inputs = make_inputs(port, 4)
    trained = JaxSide(port, inputs, side) if isinstance(side, str) else TorchSide(port, inputs, side)
    first, second = trained.one_pass()[1], trained.one_pass()[1]
    assert first == second  # every pass begins again
    assert bench.disagreement(first, reference(port, inputs)) is None


def weights_off(inputs: Inputs) -> Inputs:
    return dataclasses.replace(inputs, weights={key: value * 1.001 for key, value in inputs.weights.items()})


def masks_off(inputs: Inputs) -> Inputs:
    return dataclasses.replace(inputs, masks={key: np.roll(mask, 1, 2) for key, mask in inputs.masks.items()})


def batches_off(inputs: Inputs) -> Inputs:
    return dataclasses.replace(inputs, x=inputs.x[::-1].copy(), y=inputs.y[::-1].copy())


@pytest.mark.parametrize("spoil", [weights_off, masks_off, batches_off])
def test_other_inputs_are_refused(spoil):
    port = ports.get("digits")
    inputs = make_inputs(port, 4)
    losses = JaxSide(port, spoil(inputs)).one_pass()[1]
    assert "the losses differ" in (bench.disagreement(losses, reference(port, inputs)) or "")


@pytest.mark.parametrize("optimizer", [partial(optim.Adam, lr=0.0031), partial(optim.Adam, lr=0.003, eps=1e-6)])
def test_another_optimiser_is_refused(optimizer):
    port = ports.get("digits")
    inputs = make_inputs(port, 4)
    losses = JaxSide(dataclasses.replace(port, optimizer=optimizer), inputs).one_pass()[1]
    assert "the losses differ" in (bench.disagreement(losses, reference(port, inputs)) or "")


# ----------------------------------------------------------------------------------------------- through the processes


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(runner, "ROUND_S", 0.0)


def test_ratios_where_both_sides_agree():
    rows = bench.run(["linreg_matrix", "titanic"], ["jax", "torch"], steps=10, rounds=2)
    assert [(row.port, row.framework) for row in rows] == [
        ("linreg_matrix", "jax"),
        ("linreg_matrix", "torch"),
        ("titanic", "jax"),
        ("titanic", "torch"),
    ]
    for row in rows:
        assert row.reason is None
        assert row.ratio_to_best_torch > 0
        assert row.rounds == 2
        assert row.device.startswith(("cpu, ", torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"))
    assert rows[1].ratio_to_best_torch == rows[3].ratio_to_best_torch == 1.0


def test_compiled_and_channels_last():
    rows = bench.run(["titanic"], ["torch", "torch-channels-last", "torch-compile"], steps=5, rounds=1)
    eager, channels_last, compiled = rows
    assert eager.ratio_to_best_torch is not None
    assert channels_last.reason == "no convolution: channels_last would change nothing"
    assert channels_last.ms_per_step is None
    assert compiled.variant is None or compiled.variant.startswith("torch.compile")
    assert compiled.reason is None or "compiler" in compiled.reason.lower()


SABOTAGE = """
import dataclasses, sys
from functools import partial
from jaxport import nn, optim, ports
from jaxport.bench import worker

class MSELoss(nn.MSELoss):
    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs) / 2

{change}
worker.main(sys.argv[1:])
"""
CHANGES = {
    "learning rate": "ports.PORTS[N] = dataclasses.replace(ports.get(N), optimizer=partial(optim.SGD, lr=1.01e-4))",
    "half the loss": "ports.PORTS[N] = dataclasses.replace(ports.get(N), loss=partial(MSELoss, reduction='sum'))",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_sabotaged_side_gets_no_ratio(change, monkeypatch):
    code = SABOTAGE.format(
        change=CHANGES[change].replace("[N]", "['linreg_matrix']").replace("(N)", "('linreg_matrix')")
    )
    real = runner.worker_command

    def command(role: str, *rest: str) -> list[str]:
        return [sys.executable, "-c", code, role, *rest] if role == "jax" else real(role, *rest)

    monkeypatch.setattr(runner, "worker_command", command)
    jax, eager = bench.run(["linreg_matrix"], ["jax", "torch"], steps=5, rounds=1)
    assert jax.ratio_to_best_torch is None
    assert "the losses differ" in jax.reason
    assert jax.ms_per_step > 0
    assert eager.ratio_to_best_torch == 1.0
