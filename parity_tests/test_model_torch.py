"""Model's options against the loops that one writes in PyTorch: class weights, accumulation, clipping, averages."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
import torch

from jaxport import Model, load_state_dict, nn, optim, state_dict
from jaxport.parity.tolerances import FREE_RUN_PARAMETER_RTOL

RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((48, 3)), RNG.integers(0, 4, 48)
WEIGHT = [1.0, 0.5, 3.0, 2.0]
EPOCHS, BATCH = 3, 8


def torch_net() -> torch.nn.Sequential:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5), torch.nn.Tanh(), torch.nn.Linear(5, 4))
    return net.double()


def batches() -> Any:
    for _ in range(EPOCHS):
        for i in range(0, len(X), BATCH):
            yield torch.from_numpy(X[i : i + BATCH]), torch.from_numpy(Y[i : i + BATCH])


def plain(net: Any, loss: Any) -> Any:
    adam = torch.optim.Adam(net.parameters(), lr=0.05)
    for x, y in batches():
        adam.zero_grad()
        loss(net(x), y).backward()
        adam.step()
    return net


def weighted(net: Any) -> Any:
    return plain(net, torch.nn.CrossEntropyLoss(weight=torch.tensor(WEIGHT, dtype=torch.float64)))


def accumulated(net: Any) -> Any:
    adam, loss = torch.optim.Adam(net.parameters(), lr=0.05), torch.nn.CrossEntropyLoss()
    for number, (x, y) in enumerate(batches(), 1):
        (loss(net(x), y) / 3).backward()
        if number % 3 == 0:
            torch.nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            adam.step()
            adam.zero_grad()
    return net


def clipped(net: Any) -> Any:
    adam, loss = torch.optim.SGD(net.parameters(), lr=0.05), torch.nn.CrossEntropyLoss()
    for x, y in batches():
        adam.zero_grad()
        loss(net(x), y).backward()
        torch.nn.utils.clip_grad_value_(net.parameters(), 0.01)
        adam.step()
    return net


def averaged(net: Any) -> Any:
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.8))
    adam, loss = torch.optim.Adam(net.parameters(), lr=0.05), torch.nn.CrossEntropyLoss()
    for x, y in batches():
        adam.zero_grad()
        loss(net(x), y).backward()
        adam.step()
        average.update_parameters(net)
    return average.module


ADAM: dict[str, Any] = {"optimizer": optim.Adam(lr=0.05)}
CASES: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "class_weight": (weighted, ADAM | {"class_weight": WEIGHT}),
    "accumulate and clip_norm": (accumulated, ADAM | {"accumulate": 3, "clip_norm": 0.1}),
    "clip_value": (clipped, {"optimizer": optim.SGD(lr=0.05), "clip_value": 0.01}),
    "average": (averaged, ADAM | {"average": optim.swa_utils.get_ema_avg_fn(0.8)}),
    "remat": (lambda net: plain(net, torch.nn.CrossEntropyLoss()), ADAM | {"remat": True}),
}


@pytest.mark.parametrize("name", CASES)
def test_options_train_as_pytorch_does(name):
    reference, options = CASES[name]
    with jax.enable_x64(True):
        net = nn.Sequential(nn.Linear(3, 5, rngs=0), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 4, rngs=1)).double()
        load_state_dict(net, {key: value.numpy().copy() for key, value in torch_net().state_dict().items()})
        model, optimizer = Model(net), options["optimizer"]
        model.compile(nn.CrossEntropyLoss(), **(options | {"optimizer": optimizer}))
        model.fit((X, Y), EPOCHS, batch_size=BATCH, shuffle=False, verbose=0)
        found = state_dict(model.averaged if "average" in options else model.module)
        wanted = {key: value.numpy() for key, value in reference(torch_net()).state_dict().items()}
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            if key == "0.bias":
                continue  # in front of BatchNorm: its true gradient is 0, and Adam turns rounding into steps
            # Free-running: parameters after 18 steps.
            np.testing.assert_allclose(
                found[key], value, rtol=0, atol=FREE_RUN_PARAMETER_RTOL * max(1.0, np.abs(value).max())
            )
