"""Mistakes in optimisers and in the training step."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from .patching import Mistake, Patches


def _groups(p: Patches, applies: Any, **settings: Any) -> None:
    """Give the groups that `applies` picks other settings in every step; values may be functions of the group."""

    def before(optimizer: Any) -> list[tuple[Any, dict[str, Any]]]:
        kept = []
        for group in optimizer.param_groups:
            if applies(optimizer, group):
                kept.append((group, {name: group[name] for name in settings}))
                group.update({name: value(group) if callable(value) else value for name, value in settings.items()})
                p.count()
        return kept

    def after(optimizer: Any, kept: Any) -> None:
        for group, values in kept:
            group.update(values)

    p.optimizer(before, after)


def _is_adam(optimizer: Any) -> bool:
    return type(optimizer).__name__ in ("Adam", "AdamW")


def _adam_terms(optimizer: Any) -> Any:
    """Yield of each parameter of Adam: itself, rate, eps, mean, deviation, and the corrections of the two."""
    for group in optimizer.param_groups:
        b1, b2 = group["betas"]
        for weight in group["params"]:
            state = optimizer.state.get(weight, {})
            if weight.grad is not None and "exp_avg" in state:
                step = float(state["step"])
                second = state.get("max_exp_avg_sq", state["exp_avg_sq"])
                sign = -1.0 if group.get("maximize") else 1.0
                yield (weight, sign * group["lr"], group["eps"], state["exp_avg"], second), (1 - b1**step, 1 - b2**step)


def _adam_eps(p: Patches) -> None:
    def after(optimizer: Any, _: Any) -> None:
        for (weight, lr, eps, mean, square), (c1, c2) in _adam_terms(optimizer) if _is_adam(optimizer) else ():
            v = square / c2
            weight.add_(lr / c1 * mean * (1.0 / (v.sqrt() + eps) - 1.0 / (v + eps).sqrt()))
            p.count()

    p.optimizer(None, after)


def _adam_correction(p: Patches) -> None:
    def after(optimizer: Any, _: Any) -> None:
        for (weight, lr, eps, mean, square), (c1, c2) in _adam_terms(optimizer) if _is_adam(optimizer) else ():
            weight.add_(lr * mean * (1.0 / (c1 * ((square / c2).sqrt() + eps)) - 1.0 / (square.sqrt() + eps)))
            p.count()

    p.optimizer(None, after)


def _rmsprop_eps(p: Patches) -> None:
    def after(optimizer: Any, _: Any) -> None:
        for group in optimizer.param_groups if type(optimizer).__name__ == "RMSprop" else ():
            if group["momentum"] or group["centered"] or group["weight_decay"]:
                continue
            for weight in group["params"]:
                if weight.grad is not None and "square_avg" in optimizer.state[weight]:
                    v, eps = optimizer.state[weight]["square_avg"], group["eps"]
                    weight.add_(group["lr"] * weight.grad * (1.0 / (v.sqrt() + eps) - 1.0 / (v + eps).sqrt()))
                    p.count()

    p.optimizer(None, after)


def _decays(optimizer: Any, group: Any) -> bool:
    return bool(group.get("weight_decay"))


def _coupling(p: Patches) -> None:
    def applies(optimizer: Any, group: Any) -> bool:
        return _decays(optimizer, group) and "decoupled_weight_decay" in group

    _groups(p, applies, decoupled_weight_decay=lambda group: not group["decoupled_weight_decay"])


def _no_decay(p: Patches) -> None:
    _groups(p, _decays, weight_decay=0.0)


def _dampening(p: Patches) -> None:
    def applies(optimizer: Any, group: Any) -> bool:
        return bool(group.get("momentum")) and "dampening" in group and not group.get("nesterov")

    _groups(p, applies, dampening=lambda group: group["momentum"] if not group["dampening"] else 0.0)


def _nesterov(p: Patches) -> None:
    _groups(p, lambda optimizer, group: bool(group.get("nesterov")), nesterov=False)


def _ascent(p: Patches) -> None:
    _groups(p, lambda optimizer, group: "maximize" in group, maximize=lambda group: not group["maximize"])


def _late_rate(p: Patches) -> None:
    def before(optimizer: Any) -> Any:
        kept = []
        for group in optimizer.param_groups:
            now = group["lr"]
            last = group.get("_jaxport_rate", now)
            kept.append((group, now))
            if last != now:
                p.count()
            group["lr"] = last
        return kept

    def after(optimizer: Any, kept: Any) -> None:
        for group, now in kept:
            group["lr"] = group["_jaxport_rate"] = now

    p.optimizer(before, after)


def _not_updated(p: Patches) -> None:
    def before(optimizer: Any) -> Any:
        return [(w, w.detach().clone()) for group in optimizer.param_groups for w in group["params"]]

    def after(optimizer: Any, kept: Any) -> None:
        for weight, value in kept:
            if not torch.equal(weight, value):
                p.count()
            weight.copy_(value)

    p.optimizer(before, after)


def _not_zeroed(p: Patches) -> None:
    def wrong(right: Any, self: Any, *args: Any, **named: Any) -> None:
        weights = (
            self.parameters() if isinstance(self, nn.Module) else (w for g in self.param_groups for w in g["params"])
        )
        if any(w.grad is not None and bool(w.grad.any()) for w in weights):
            p.count()

    p.function(torch.optim.Optimizer, "zero_grad", wrong, pure=False)
    p.function(nn.Module, "zero_grad", wrong, pure=False)


def _clipping(p: Patches, instead: Any) -> None:
    """Replace clip_grad_norm_ by `instead`, which gets it, the weights that have a gradient, and the arguments."""

    def wrong(right: Any, parameters: Any, *args: Any, **named: Any) -> Any:
        given = [parameters] if isinstance(parameters, torch.Tensor) else parameters
        weights = [w for w in given if w.grad is not None]
        grads: list[Any] = [w.grad for w in weights]
        before = [grad.clone() for grad in grads]
        total = right(weights, *args, **named)
        proper = [grad.clone() for grad in grads]
        for grad, value in zip(grads, before, strict=True):
            grad.copy_(value)
        instead(right, weights, *args, **named)
        if any(not torch.equal(grad, value) for grad, value in zip(grads, proper, strict=True)):
            p.count()
        return total

    p.function(nn.utils, "clip_grad_norm_", wrong, pure=False)
    p.function(nn.utils.clip_grad, "clip_grad_norm_", wrong, pure=False)


def _clip_each(p: Patches) -> None:
    def instead(right: Any, weights: Any, *args: Any, **named: Any) -> None:
        for weight in weights:
            right([weight], *args, **named)

    _clipping(p, instead)


def _not_clipped(p: Patches) -> None:
    _clipping(p, lambda right, weights, *args, **named: None)


def _swapped_modes(p: Patches) -> None:
    def wrong(right: Any, self: Any, mode: bool = True) -> Any:
        if any(isinstance(m, _NormBase | _DropoutNd) or getattr(m, "dropout", 0.0) for m in self.modules()):
            p.count()
        for module in self.modules():
            module.training = not mode
        return self

    p.function(nn.Module, "train", wrong, pure=False)


def _fixed_biases(p: Patches) -> None:
    def before(optimizer: Any) -> Any:
        flat = (w for group in optimizer.param_groups for w in group["params"] if w.ndim == 1 and w.grad is not None)
        return [(w, w.detach().clone()) for w in flat]

    def after(optimizer: Any, kept: Any) -> None:
        for weight, value in kept:
            if not torch.equal(weight, value):
                p.count()
            weight.copy_(value)

    p.optimizer(before, after)


MISTAKES = (
    Mistake("adam-eps-inside", None, "Adam's eps stands inside the root", _adam_eps),
    Mistake("adam-bias-correction", None, "Adam without bias correction", _adam_correction),
    Mistake("rmsprop-eps-inside", None, "RMSprop's eps stands inside the root", _rmsprop_eps),
    Mistake("weight-decay-coupling", None, "Adam's weight decay is AdamW's, or the other way round", _coupling),
    Mistake("weight-decay-lost", None, "no weight decay", _no_decay),
    Mistake("momentum-dampened", None, "momentum is a mean: the gradient is multiplied by 1 - momentum", _dampening),
    Mistake("nesterov-lost", None, "momentum without Nesterov's look ahead", _nesterov),
    Mistake("gradient-ascent", None, "the optimiser climbs", _ascent),
    Mistake("rate-one-step-late", None, "the learning rate follows its schedule one step late", _late_rate),
    Mistake("nothing-trained", 32, "the step's result is lost: training that does nothing", _not_updated),
    Mistake("biases-not-trained", 32, "parameters of one axis are not trained", _fixed_biases),
    Mistake("gradients-not-zeroed", None, "gradients of earlier steps are added", _not_zeroed),
    Mistake("clipped-one-by-one", None, "each gradient is clipped by its own norm", _clip_each),
    Mistake("not-clipped", None, "gradients are not clipped", _not_clipped),
    Mistake("modes-swapped", None, "train() and eval() are swapped", _swapped_modes),
)
