"""Each known difference of the normalisations, planted as a mistake, is found."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
import test_nn_norm as norms
from cases import case_findings

from jaxport.nn import norm, norm_batch, norm_core, norm_instance, norm_running


def swapped_momentum(right: Any) -> Any:
    return lambda running, value, momentum: right(running, value, 1.0 - jnp.asarray(momentum, value.dtype))


def no_average(right: Any) -> Any:
    return lambda self: (right(self), 0.1)[1] if self.momentum is None else right(self)


def with_eps(eps: float) -> Any:
    return lambda right: lambda x, axes, _: right(x, axes, eps)


def fast_moments(right: Any) -> Any:
    def moments(x: jax.Array, rows: Any, axis_name: Any, channels: int) -> Any:
        found = right(x, rows, axis_name, channels)
        axes = tuple(axis for axis in range(x.ndim) if axis != channels % x.ndim)
        return found._replace(variance=jnp.square(x).mean(axes) - jnp.square(found.mean))

    return moments


def unbiased_everywhere(right: Any) -> Any:
    def moments(*args: Any) -> Any:
        found = right(*args)
        return found._replace(variance=found.variance * found.count / (found.count - 1))

    return moments


def biased_everywhere(right: Any) -> Any:
    """Store the biased variance: the count is as good as infinite."""
    return lambda *args: right(*args)._replace(count=1e30)


def unbiased_centred(right: Any) -> Any:
    def centred(x: jax.Array, axes: Any) -> Any:
        difference, mean, _ = right(x, axes)
        return difference, mean, x.var(axes, keepdims=True, ddof=1)

    return centred


def row(cases: list[Any], *parts: str) -> Any:
    return next(case for case in cases if all(part in case.id for part in parts))


TRACKED = row(norms.RUNNING_CASES, "function=batch_norm", "own=True-tracked=True", "offset=0.0")
LARGE = row(norms.RUNNING_CASES, "offset=1000.0")
TRAPS = [
    ("trap 1: biased running variance", norm_batch, "_moments", biased_everywhere, TRACKED, "float64"),
    ("trap 20: normalised with the unbiased variance", norm_batch, "_moments", unbiased_everywhere, TRACKED, "float64"),
    ("trap 20: layer norm with ddof 1", norm_core, "centred", unbiased_centred, norms.LAYER[1], "float64"),
    ("trap 2: momentum is the weight of the old", norm_batch, "blend", swapped_momentum, TRACKED, "float64"),
    ("trap 4: fast variance", norm_batch, "_moments", fast_moments, LARGE, "float32"),
    ("trap 5: eps 1e-6 in layer norm", norm, "normalised", with_eps(1e-6), norms.LAYER[1], "float64"),
    ("trap 5: eps 1e-6 in group norm", norm, "normalised", with_eps(1e-6), norms.GROUP[1], "float64"),
]


@pytest.mark.parametrize(
    ("owner", "name", "mistake", "case", "dtype"), [t[1:] for t in TRAPS], ids=[t[0] for t in TRAPS]
)
def test_a_planted_mistake_is_found(monkeypatch, owner, name, mistake, case, dtype):
    assert case_findings(case, dtype) == []
    monkeypatch.setattr(owner, name, mistake(getattr(owner, name)))
    assert case_findings(case, dtype)


def test_trap_2_in_instance_norm(monkeypatch):
    case = row(norms.RUNNING_CASES, "function=instance_norm", "own=True-tracked=True")
    assert case_findings(case, "float64") == []
    monkeypatch.setattr(norm_instance, "blend", swapped_momentum(norm_instance.blend))
    assert case_findings(case, "float64")


def test_trap_3_no_cumulative_average(monkeypatch):
    name, options, shape = next(m for m in norms.MODULES if m[1] == {"momentum": None})
    with jax.enable_x64(True):
        assert norms.module_findings(name, options, shape) == []
        monkeypatch.setattr(norm_running.BatchNorm, "_factor", no_average(norm_running.BatchNorm._factor))
        assert norms.module_findings(name, options, shape)
