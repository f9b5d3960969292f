"""Mistakes planted in the schedulers: the comparison must find each one."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import pytest
from scheduler_cases import COSINE, EXPONENTIAL, WARM_UP, chain, metrics, sequence
from scheduler_runs import Spec, schedule_findings

from jaxport.optim.lr_scheduler import base, composed, cosine, cyclic, double, factors, functions, one_cycle, plateau

Patch = Callable[[pytest.MonkeyPatch], None]


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> Patch:
    """Return what replaces ``owner.name`` by ``make(what it was)``."""
    return lambda monkeypatch: monkeypatch.setattr(owner, name, make(getattr(owner, name)))


def _later(right: Any) -> Any:
    return lambda self, now: right(self, now._replace(epoch=now.epoch + 1))


def _nothing_at_first(right: Any) -> Any:
    def initial(self: Any, groups: Any, own: Any) -> Any:
        return groups, right(self, groups, own)[1]

    return initial


def _closed(right: Any) -> Any:
    return lambda self, now: self.get_closed_form_lr(now.epoch, now.base_lrs)


def _no_way_up(right: Any) -> Any:
    def recursive(self: Any, now: Any) -> Any:
        if now.initial:
            return now.lr
        ratio = (1 + cosine._cosine(now.epoch, self.T_max)) / (1 + cosine._cosine(now.epoch - 1, self.T_max))
        return ratio * (now.lr - self.eta_min) + self.eta_min

    return recursive


def _no_restart(right: Any) -> Any:
    return lambda self, groups, own: self._step(groups, own)


def _restart_from_where_it_is(right: Any) -> Any:
    return lambda self, groups, own: ({**groups}, right(self, groups, own)[1])


def _starts_from_the_parts(right: Any) -> Any:
    def create(self: Any, groups: Any) -> Any:
        return right(self, groups)[0] | {"lr": self._create_all(groups)[0]["lr"]}, right(self, groups)[1]

    return create


def _on_the_rate(right: Any) -> Any:
    return lambda self, now: now.lr * self._factors(now.epoch)


def _momentum_with_the_rate(right: Any) -> Any:
    def move(self: Any, now: Any) -> Any:
        groups = right(self, now)
        return {**groups, "momentum": groups["max_momentum"] + groups["base_momentum"] - groups["momentum"]}

    return move


def _without_growth(right: Any) -> Any:
    def step(self: Any, groups: Any, own: Any, initial: bool = False) -> Any:
        groups, new = right(self, groups, own, initial)
        new = {**new, "T_i": jnp.full_like(new["T_i"], self.T_0)}
        return self._move(self._now(groups, new, initial)), new

    return step


def _phases_one_later(right: Any) -> Any:
    def phases(self: Any) -> Any:
        first, *rest = right.fget(self)
        return first._replace(end=first.end + 1), *rest

    return property(phases)


def _by_product(right: Any) -> Any:
    return lambda numerator, denominator: double.as_double(numerator) * (1.0 / denominator)


def _no_rest(right: Any) -> Any:
    def split(number: Any, dtype: Any) -> Any:
        made = right(number, dtype)
        return made._replace(rest=jnp.zeros_like(made.rest))

    return split


def _option(name: str, change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a replacement of __post_init__ that spoils an option."""

    def make(right: Any) -> Any:
        def post_init(self: Any) -> None:
            right(self)
            object.__setattr__(self, name, change(getattr(self, name)))

        return post_init

    return make


STEPS: Spec = ("StepLR", {"step_size": 30})
ONE_CYCLE: Spec = ("OneCycleLR", {"max_lr": 0.5, "total_steps": 207})
CYCLE: Spec = (
    "CyclicLR",
    {"base_lr": 0.01, "max_lr": 0.4, "step_size_up": 49, "step_size_down": 49, "mode": "triangular2"},
)
RESTARTS: Spec = ("CosineAnnealingWarmRestarts", {"T_0": 10, "T_mult": 2})
# Here PyTorch's recursion is 2.5e-13 away from the closed form after its way up begins.
LONG_COSINE: Spec = ("CosineAnnealingLR", {"T_max": 117})
CHANGED = {"changes": {11: 0.5}}
SINGLE = {"dtype": "float32"}
MISTAKES: dict[str, tuple[Patch, Spec, dict[str, Any]]] = {
    "off by one": (replace(factors.StepLR, "get_lr", _later), STEPS, {}),
    "nothing at step 0, constant": (
        replace(base.LRScheduler, "_initial_step", _nothing_at_first),
        ("ConstantLR", {}),
        {},
    ),
    "nothing at step 0, linear": (replace(base.LRScheduler, "_initial_step", _nothing_at_first), WARM_UP, {}),
    "nothing at step 0, one cycle": (replace(base.LRScheduler, "_initial_step", _nothing_at_first), ONE_CYCLE, {}),
    "closed cosine on a changed rate": (replace(cosine.CosineAnnealingLR, "get_lr", _closed), COSINE, CHANGED),
    "closed cosine in a chain": (replace(cosine.CosineAnnealingLR, "get_lr", _closed), chain(WARM_UP, COSINE), {}),
    "closed cosine alone, by rounding after the restart": (
        replace(cosine.CosineAnnealingLR, "get_lr", _closed),
        LONG_COSINE,
        {},
    ),
    "no way up again": (replace(cosine.CosineAnnealingLR, "get_lr", _no_way_up), COSINE, {}),
    "closed exponential in a chain": (
        replace(factors.ExponentialLR, "get_lr", _closed),
        chain(WARM_UP, EXPONENTIAL),
        {},
    ),
    "a milestone that does not begin anew": (
        replace(base.LRScheduler, "_restart", _no_restart),
        sequence(WARM_UP, EXPONENTIAL, at=[20]),
        {},
    ),
    "a milestone from the rate that is there": (
        replace(base.LRScheduler, "_restart", _restart_from_where_it_is),
        sequence(EXPONENTIAL, STEPS, at=[20]),
        {},
    ),
    "a sequence that begins from its parts": (
        replace(composed.SequentialLR, "_create", _starts_from_the_parts),
        sequence(COSINE, WARM_UP, at=[20]),
        {},
    ),
    "a factor on the rate for the base rate": (
        replace(functions.LambdaLR, "get_lr", _on_the_rate),
        ("LambdaLR", {"lr_lambda": lambda epoch: 0.97**epoch}),
        {},
    ),
    "momentum with the rate": (replace(cyclic.CyclicLR, "_move", _momentum_with_the_rate), CYCLE, {}),
    "cycles that do not grow": (replace(cosine.CosineAnnealingWarmRestarts, "_step", _without_growth), RESTARTS, {}),
    "phases one step later": (replace(one_cycle.OneCycleLR, "_phases", _phases_one_later), ONE_CYCLE, {}),
    "quotients by a product, in the cosine": (
        replace(cosine, "divide", _by_product),
        LONG_COSINE,
        {},
    ),
    "rates in float32 alone": (replace(double, "split", _no_rest), EXPONENTIAL, SINGLE),
}
WATCHED: dict[str, tuple[str, Callable[[Any], Any], dict[str, Any]]] = {
    "patience one less": ("patience", lambda number: number - 1, {"patience": 3}),
    "cooldown one less": ("cooldown", lambda number: number - 1, {"patience": 1, "cooldown": 5}),
    "eps ignored": ("eps", lambda _: -1.0, {"patience": 1, "eps": 0.5}),
    "min for max": ("mode", lambda _: "min", {"patience": 1, "mode": "max"}),
    "abs for rel": ("threshold_mode", lambda _: "abs", {"patience": 1, "threshold": 0.2}),
    "no lowest rate": ("min_lr", lambda _: 0.0, {"patience": 1, "min_lr": 0.05}),
}


@pytest.mark.parametrize(("patch", "spec", "options"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_found(monkeypatch, patch, spec, options):
    assert not schedule_findings(spec, **options)
    patch(monkeypatch)
    assert any(line.startswith(("lr", "momentum")) for line in schedule_findings(spec, **options))


@pytest.mark.parametrize(("name", "change", "options"), WATCHED.values(), ids=WATCHED.keys())
def test_a_mistake_in_the_plateau_is_found(monkeypatch, name, change, options):
    spec, watched = ("ReduceLROnPlateau", {"factor": 0.5, **options}), metrics("mistakes")
    assert not schedule_findings(spec, metrics=watched)
    replace(plateau.ReduceLROnPlateau, "__post_init__", _option(name, change))(monkeypatch)
    assert schedule_findings(spec, metrics=watched)
