"""Averaged models, the recomputed statistics of BatchNorm, and their listing against torch.optim.swa_utils."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import findings64, generator, rounded
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_runs import fail_on

from jaxport import nn
from jaxport.interop import load_state_dict, state_dict
from jaxport.nn import norm_running
from jaxport.optim import swa_utils

torch = pytest.importorskip("torch")
THEIRS = torch.optim.swa_utils
Arrays = dict[str, np.ndarray]


def build(lib: Any, **seeds: Any) -> Any:
    """Return a network with two BatchNorms, one of them with a plain average."""
    first, last = lib.Conv2d(2, 3, 3, **seeds), lib.Linear(3 * 4 * 5, 2, **seeds)
    norms = lib.BatchNorm2d(3), lib.BatchNorm1d(2, momentum=None)
    return lib.Sequential(first, norms[0], lib.ReLU(), lib.Flatten(), last, norms[1])


def weights(number: int) -> Arrays:
    """Return random arrays for every key, another set for each number."""
    rng = generator("swa", number)
    shapes = {key: tuple(value.shape) for key, value in build(torch.nn).state_dict().items()}
    arrays = {key: rounded(0.3 + rng.standard_normal(shape)) for key, shape in shapes.items()}
    return {
        key: np.int64(3 * number + 1) if "tracked" in key else np.abs(a) if "var" in key else a
        for key, a in arrays.items()
    }


def torch_model(number: int = 0) -> Any:
    model = build(torch.nn).double()
    model.load_state_dict({key: torch.tensor(value) for key, value in weights(number).items()})
    return model


def jax_model(number: int = 0) -> Any:
    model = build(nn, rngs=0).double()
    load_state_dict(model, weights(number))
    return model


def halfway(average: Any, current: Any, number: Any) -> Any:
    return 0.5 * average + 0.25 * current


RULES: dict[str, tuple[Callable[[Any], dict[str, Any]], bool]] = {
    "default": (lambda lib: {}, True),
    "swa": (lambda lib: {"avg_fn": lib.get_swa_avg_fn()}, True),
    "ema": (lambda lib: {"avg_fn": lib.get_ema_avg_fn()}, True),
    "ema 0.7": (lambda lib: {"avg_fn": lib.get_ema_avg_fn(0.7)}, True),
    "ema 0": (lambda lib: {"avg_fn": lib.get_ema_avg_fn(0.0)}, True),
    "ema 1": (lambda lib: {"avg_fn": lib.get_ema_avg_fn(1.0)}, True),
    "multi ema": (lambda lib: {"multi_avg_fn": lib.get_ema_multi_avg_fn(0.7)}, True),
    # PyTorch cannot average the integers among the buffers with this one.
    "multi swa": (lambda lib: {"multi_avg_fn": lib.get_swa_multi_avg_fn()}, False),
    "own": (lambda lib: {"avg_fn": halfway}, True),
}


def torch_average(rule: str, use_buffers: bool, updates: int) -> list[Arrays]:
    model = torch_model()
    averaged = THEIRS.AveragedModel(model, use_buffers=use_buffers, **RULES[rule][0](THEIRS))
    rows = []
    for number in range(updates):
        model.load_state_dict(torch_model(number + 1).state_dict())
        averaged.update_parameters(model)
        rows.append({key: value.numpy().copy() for key, value in averaged.state_dict().items()})
    return rows


def jax_average(rule: str, use_buffers: bool, updates: int) -> list[Arrays]:
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard" if rule == "own" else "strict"):
        model = jax_model()
        averaged = swa_utils.AveragedModel(model, use_buffers=use_buffers, **RULES[rule][0](swa_utils))
        rows = []
        for number in range(updates):
            load_state_dict(model, weights(number + 1))
            averaged.update_parameters(model)
            rows.append(state_dict(averaged))
        return rows


def average_findings(rule: str, use_buffers: bool, updates: int = 5) -> list[str]:
    wanted, found = torch_average(rule, use_buffers, updates), jax_average(rule, use_buffers, updates)
    if list(found[0]) != list(wanted[0]):
        return [f"keys {list(found[0])}, PyTorch has {list(wanted[0])}"]
    return [
        line
        for i, row in enumerate(wanted)
        for key in row
        for line in findings64(f"update {i} {key}", found[i][key], row[key])
    ]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("use_buffers", [False, True])
def test_same_average(rule, use_buffers):
    if not use_buffers or RULES[rule][1]:
        fail_on(average_findings(rule, use_buffers))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.floats(0.0, 1.0), st.booleans())
def test_any_decay(decay, multi):
    name = "get_ema_multi_avg_fn" if multi else "get_ema_avg_fn"
    argument = "multi_avg_fn" if multi else "avg_fn"
    RULES["any"] = (lambda lib: {argument: getattr(lib, name)(decay)}, True)
    fail_on(average_findings("any", False, 3))
    del RULES["any"]


def test_the_averaged_model_computes_and_its_weights_travel():
    theirs = THEIRS.AveragedModel(torch_model())
    for number in (1, 2, 3):
        theirs.update_parameters(torch_model(number))
    x = rounded(generator("swa x").standard_normal((3, 2, 6, 7)))
    with jax.enable_x64(True):
        ours = swa_utils.AveragedModel(jax_model(7))
        load_state_dict(ours, {key: value.numpy() for key, value in theirs.state_dict().items()})
        ours.update_parameters(jax_model(4))
        theirs.update_parameters(torch_model(4))
        fail_on(findings64("output", ours.eval()(jnp.asarray(x)), theirs.eval()(torch.tensor(x)).detach().numpy()))


# -------------------------------------------------------------------------------------------------- batch statistics


def loader(wrap: Callable[[np.ndarray], Any]) -> list[Any]:
    """Return batches, the last one shorter."""
    return [
        wrap(rounded(0.3 + generator("bn", i).standard_normal((size, 2, 6, 7)))) for i, size in enumerate((4, 4, 4, 3))
    ]


def bn_findings(training: bool = True, labelled: bool = False) -> list[str]:
    theirs = torch_model().train(training)
    THEIRS.update_bn(loader(lambda x: (torch.tensor(x), 0) if labelled else torch.tensor(x)), theirs)
    with jax.enable_x64(True):
        ours = jax_model().train(training)
        swa_utils.update_bn(loader(lambda x: (x, 0) if labelled else x), ours)
        found = state_dict(ours)
    wanted = {key: value.numpy() for key, value in theirs.state_dict().items()}
    lines = [line for key in wanted for line in findings64(key, found[key], wanted[key])]
    modes = [module.training for module in ours.modules()], [module.training for module in theirs.modules()]
    momenta = [[m.momentum for m in model.modules() if hasattr(m, "momentum")] for model in (ours, theirs)]
    return lines + [f"{pair}" for pair in (modes, momenta) if list(pair[0]) != list(pair[1])]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("labelled", [True, False])
def test_update_bn(training, labelled):
    fail_on(bn_findings(training, labelled))


def test_update_bn_leaves_a_model_without_batch_norm_alone():
    model = nn.Linear(2, 3, rngs=0)
    swa_utils.update_bn(iter(()), model)
    THEIRS.update_bn(iter(()), torch.nn.Linear(2, 3))
    assert model.training


# ------------------------------------------------------------------------------------------------ listing and errors

# `device` is JAX's business.
RENAMED = {"AveragedModel": {"device"}, "update_bn": {"device"}, "SWALR": {"optimizer"}}


@pytest.mark.parametrize("name", THEIRS.__all__)
def test_every_name_with_its_arguments_and_defaults(name):
    def arguments(lib: Any) -> list[tuple[str, Any]]:
        # A module's own signature is hidden by the class of NNX's classes.
        function = getattr(lib, name)
        function = function.__init__ if name == "AveragedModel" else function
        listed = inspect.signature(function).parameters.values()
        return [(p.name, p.default) for p in listed if p.name not in RENAMED.get(name, ())]

    assert arguments(swa_utils) == arguments(THEIRS)


def test_what_pytorch_refuses_is_refused():
    for decay in (-0.1, 1.5):
        for name in ("get_ema_avg_fn", "get_ema_multi_avg_fn"):
            with pytest.raises(ValueError, match="Invalid decay"):
                getattr(THEIRS, name)(decay)
            with pytest.raises(ValueError, match=rf"{name}: decay must lie in \[0, 1\], got {decay}"):
                getattr(swa_utils, name)(decay)
    with pytest.raises(AssertionError):
        THEIRS.AveragedModel(torch_model(), avg_fn=halfway, multi_avg_fn=halfway)
    with pytest.raises(ValueError, match="only one of avg_fn and multi_avg_fn"):
        swa_utils.AveragedModel(nn.Linear(2, 3, rngs=0), avg_fn=halfway, multi_avg_fn=halfway)


# ------------------------------------------------------------------------------- deliberate mistakes must be found


def _averages_the_first_too(
    averaged: Any, current: Any, n_averaged: Any, avg_fn: Any = None, multi_avg_fn: Any = None
) -> Any:
    rule = avg_fn or swa_utils.get_swa_avg_fn()
    return [rule(old, new, n_averaged) for old, new in zip(averaged, current, strict=True)]


def _one_too_many(averaged: Any, current: Any, n_averaged: Any, *rules: Any) -> Any:
    return RIGHT(averaged, current, jnp.where(n_averaged == 0, 0, n_averaged + 1), *rules)


RIGHT = swa_utils.update_average
WRONG = [(_averages_the_first_too, "ema 0.7"), (_one_too_many, "swa")]


@pytest.mark.parametrize(("wrong", "rule"), WRONG)
def test_a_wrong_average_is_found(monkeypatch, wrong, rule):
    monkeypatch.setattr(swa_utils, "update_average", wrong)
    assert any("weight" in line for line in average_findings(rule, False))


def test_swapped_weights_are_found(monkeypatch):
    monkeypatch.setitem(
        RULES, "swapped", (lambda lib: {"avg_fn": lib.get_ema_avg_fn(0.7 if lib is THEIRS else 0.3)}, True)
    )
    assert any("weight" in line for line in average_findings("swapped", False))


def test_a_biased_variance_is_found(monkeypatch):
    right = norm_running.batch_norm_with_stats

    def biased(x: Any, *args: Any, **options: Any) -> Any:
        output, mean, var = right(x, *args, **options)
        count, old = x.size // x.shape[1], args[1]
        factor = args[5]
        batch = (var - (1 - factor) * old) * (count - 1) / count
        return output, mean, (1 - factor) * old + batch

    monkeypatch.setattr(norm_running, "batch_norm_with_stats", biased)
    assert any("running_var" in line for line in bn_findings())


def test_statistics_that_are_not_reset_are_found(monkeypatch):
    monkeypatch.setattr(norm_running.RunningNorm, "reset_running_stats", lambda self: None)
    assert any("running_mean" in line for line in bn_findings())
