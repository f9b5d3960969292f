"""What the benchmark's PyTorch epochs have of their own, metrics and preparation, is what the ports have."""

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from jaxport import metrics, ports
from jaxport.bench.epoch_torch import PREPARE
from jaxport.bench.recipe import recipe_of
from jaxport.bench.torch_metrics import METRICS


@pytest.mark.parametrize("name", ports.names())
def test_every_port_has_its_twins(name):
    port = ports.get(name)
    assert {call.name for call in recipe_of(port).metrics} <= set(METRICS)
    x = port.synthetic(16, 0).train.x[:4]
    expected = np.asarray(port.prepare(jnp.asarray(x)))
    ours = PREPARE[recipe_of(port).prepare](torch.from_numpy(np.asarray(x)), torch.float32)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=2e-6, atol=5e-7)


RNG = np.random.default_rng(3)
SCORES = RNG.random((40, 1), np.float32).round(1)  # with ties
MARKS = (RNG.random((40, 1)) < 0.4).astype(np.float32)
METRIC_CASES = {
    "Accuracy": (metrics.Accuracy(), RNG.normal(size=(40, 5)).astype(np.float32), RNG.integers(0, 5, 40)),
    "BinaryAccuracy": (metrics.BinaryAccuracy(), SCORES, MARKS),
    "BinaryAUC": (metrics.BinaryAUC(), SCORES, MARKS),
    "MeanAbsoluteError": (metrics.MeanAbsoluteError(), SCORES, MARKS),
    "MeanAbsolutePercentageError": (metrics.MeanAbsolutePercentageError(), SCORES, MARKS + 0.5),
    "R2Score": (metrics.R2Score(), SCORES, MARKS),
    "Dice": (metrics.Dice(threshold=0.35, smooth=1.0), SCORES, MARKS),
}


@pytest.mark.parametrize("name", METRICS)
def test_metrics_are_those_of_the_ports(name):
    metric, prediction, target = METRIC_CASES[name]
    state = metric.init(40) if getattr(metric, "collects", False) else metric.init()
    expected = float(
        metric.compute(
            metric.update(
                state,
                jnp.asarray(prediction),
                jnp.asarray(target, jnp.int32) if target.ndim == 1 else jnp.asarray(target),
            )
        )
    )
    twin = METRICS[name](**vars(metric))
    assert float(twin(torch.from_numpy(prediction), torch.from_numpy(target))) == pytest.approx(expected, rel=1e-5)
