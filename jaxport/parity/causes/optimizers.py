"""What ports do otherwise in a training step: the step is computed again from parameter, gradient and state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .case import Case, Hit
from .fit import error, explains, ratio, rounding, scale, wide

_Step = Callable[..., np.ndarray]


def step_hits(case: Case) -> list[Hit]:
    """Return why a parameter is another one after a step."""
    if case.kind != "parameter" or case.previous is None or case.ours.shape != case.theirs.shape:
        return []
    old = wide(case.previous)
    ours, theirs = wide(case.ours) - old, wide(case.theirs) - old
    still = rounding(case.theirs) * 1e-2 * (scale(old) + 1e-30)
    if scale(ours) <= still * 1e-2 and scale(theirs) > still:
        text = "JAX's parameter did not move in the step, PyTorch's did: the update was lost, or its gradient is 0"
        return [Hit("cause/no-update", text, "", 0.0, 0)]
    return _noise(case, ours, theirs) or _recomputed(case, old) or _scaled(case, ours, theirs)


def _noise(case: Case, ours: np.ndarray, theirs: np.ndarray) -> list[Hit]:
    """A gradient of rounding noise, of which Adam makes a step of the size of the learning rate."""
    gradient, rate = case.gradient, case.learning_rate
    if gradient is None or not rate or not str(case.optimizer.get("name", "Adam")).lower().startswith(_ADAPTIVE):
        return []
    noise = scale(gradient) <= (1e-6 if case.theirs.dtype == np.float32 else 1e-13)
    if noise and scale(ours - theirs) <= 2.1 * rate and 1e-4 * rate < max(scale(ours), scale(theirs)) <= 1.2 * rate:
        text = (
            f"the gradient is zero but for rounding ({scale(gradient):.1e}); the optimiser divides it by its own size "
            f"and moves by up to {max(scale(ours), scale(theirs)) / rate:.2g} of the learning rate on either side"
        )
        return [Hit("cause/zero-gradient", text, "", 0.0, 0)]
    return []


_ADAPTIVE = ("adam", "nadam", "radam", "rmsprop", "adagrad", "adamax", "adadelta", "rprop")


def _scaled(case: Case, ours: np.ndarray, theirs: np.ndarray) -> list[Hit]:
    factor = _step_ratio(case, ours, theirs)
    if factor is None:
        return []
    rnn = case.torch is not None and case.torch.name in ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell")
    if rnn and "bias" in case.name and abs(factor - 0.5) < 1e-4:
        text = "JAX's one bias moves once where PyTorch's sum of two biases moves twice"
        return [Hit("cause/rnn-bias", text, "", 0.0, 1)]
    if factor < 0:
        return [Hit("cause/ascent", f"JAX's step is {factor:.6g} times PyTorch's: it goes uphill", "", 0.0, 1)]
    norm = case.gradients_norm
    if norm and abs((factor - 1.0) * norm / 1e-6 - 1.0) < 1e-2:
        text = "JAX divides by the norm of the gradients, PyTorch by norm + 1e-6"
        return [Hit("cause/clip-norm", text, "", 0.0, 0)]
    return [Hit("cause/learning-rate", f"JAX's step is {factor:.9g} times PyTorch's", "", 0.0, 1)]


def _step_ratio(case: Case, ours: np.ndarray, theirs: np.ndarray) -> float | None:
    factor = ratio(ours, theirs)
    noise = rounding(case.theirs) * 0.05 * scale(case.theirs) / max(scale(theirs), 1e-300)
    return factor if factor is not None and abs(factor - 1.0) > max(noise, 1e-9) else None


def _recomputed(case: Case, old: np.ndarray) -> list[Hit]:
    if case.gradient is None or not case.learning_rate or not case.optimizer:
        return []
    settings = {key: value for key, value in case.optimizer.items() if value is not None}
    name = str(settings.pop("name", "")).lower()
    if name not in _OPTIMIZERS:
        return []
    step, choices = _OPTIMIZERS[name]
    given = {"p": old, "g": wide(case.gradient), "lr": case.learning_rate, "t": case.step or 1, "state": case.state}
    base = step(**given, **settings)
    if error(base, case.theirs) > rounding(case.theirs):
        return []
    present, hits = error(case.ours, case.theirs), []
    for rule, text, changes in choices(settings):
        left = explains(step(**given, **(settings | changes)) - old, wide(case.ours) - old, _moved(case, old, present))
        if left is not None:
            hits.append(Hit(rule, text, "", left, 0))
    return hits


def _moved(case: Case, old: np.ndarray, present: float) -> float:
    """Return the present error in units of the step, in which hypotheses are judged."""
    size = scale(wide(case.theirs) - old)
    return present * scale(case.theirs) / size if size else present


def _adam(
    p: np.ndarray,
    g: np.ndarray,
    lr: float,
    t: int,
    state: Any,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    inside: bool = False,
    corrected: bool = True,
    **_: Any,
) -> np.ndarray:
    g = g if decoupled else g + weight_decay * p
    m = betas[0] * wide(state.get("exp_avg", np.zeros_like(p))) + (1 - betas[0]) * g
    v = betas[1] * wide(state.get("exp_avg_sq", np.zeros_like(p))) + (1 - betas[1]) * g * g
    m, v = (m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)) if corrected else (m, v)
    root = np.sqrt(v + eps) if inside else np.sqrt(v) + eps
    return p - lr * m / root - (lr * weight_decay * p if decoupled else 0.0)


def _adamw(**given: Any) -> np.ndarray:
    return _adam(**({"decoupled": True, "weight_decay": 1e-2} | given))


def _adam_choices(settings: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    eps = settings.get("eps", 1e-8)
    yield "cause/adam-eps", "JAX adds eps inside the root (`eps_root`), PyTorch outside", {"inside": True}
    for other in (1e-8, 1e-7, 1e-6, 1e-5, 1e-3):
        if other != eps:
            yield "cause/adam-eps", f"JAX's eps is {other:g}, PyTorch's {eps:g}", {"eps": other}
    yield "cause/bias-correction", "JAX does not correct the bias of the moments", {"corrected": False}
    swapped = tuple(reversed(settings.get("betas", (0.9, 0.999))))
    yield "cause/factor", f"JAX's betas are {swapped}", {"betas": swapped}
    yield from _decay_choices(settings)


def _decay_choices(settings: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    decay, decoupled = settings.get("weight_decay", 0.0), settings.get("decoupled", False)
    words = ("outside (AdamW)", "in the gradient (Adam)")
    if decay:
        ours, theirs = words if not decoupled else words[::-1]
        text = f"JAX has weight decay {ours}, PyTorch {theirs}"
        yield "cause/weight-decay", text, {"decoupled": not decoupled}
        yield "cause/weight-decay", "JAX has no weight decay", {"weight_decay": 0.0}
    for other in (1e-4, 1e-2):
        if other != decay:
            for mode in (False, True):
                text = f"JAX has a weight decay of {other:g}, PyTorch {decay:g}"
                yield "cause/weight-decay", text, {"weight_decay": other, "decoupled": mode}


def _adamw_choices(settings: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    yield from _adam_choices({"decoupled": True, "weight_decay": 1e-2} | settings)


def _sgd(
    p: np.ndarray,
    g: np.ndarray,
    lr: float,
    t: int,
    state: Any,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    first: bool = False,
    **_: Any,
) -> np.ndarray:
    g = g + weight_decay * p
    if not momentum:
        return p - lr * g
    buffer = state.get("momentum_buffer")
    # PyTorch's first buffer is the gradient itself, without dampening; `first` dampens it too, as an average would.
    start = g * (1 - dampening if first else 1.0)
    m = momentum * wide(buffer) + (1 - dampening) * g if buffer is not None else start
    return p - lr * (g + momentum * m if nesterov else m)


def _sgd_choices(settings: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    momentum = settings.get("momentum", 0.0)
    decay = settings.get("weight_decay", 0.0)
    if momentum:
        other = not settings.get("nesterov", False)
        yield "cause/nesterov", f"JAX's nesterov is {other}, PyTorch's {not other}", {"nesterov": other}
        text = "JAX's momentum is an average: (1 − momentum) of the gradient is added, PyTorch adds all of it"
        yield "cause/dampening", text, {"dampening": momentum, "first": True}
        if settings.get("dampening"):
            yield "cause/dampening", "JAX has no dampening", {"dampening": 0.0}
            yield "cause/dampening", "JAX dampens the first step too", {"first": True}
    if decay:
        yield "cause/weight-decay", "JAX has no weight decay", {"weight_decay": 0.0}


_OPTIMIZERS: dict[str, tuple[_Step, Callable[..., Iterator[tuple[str, str, dict[str, Any]]]]]] = {
    "adam": (_adam, _adam_choices),
    "adamw": (_adamw, _adamw_choices),
    "sgd": (_sgd, _sgd_choices),
}
