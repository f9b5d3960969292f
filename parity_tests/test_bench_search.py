"""PyTorch's search for its best variant, on sides that take the time they are told to: what is tried, what it costs."""

from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from jaxport import ports
from jaxport.bench import torch_search
from jaxport.bench.inputs import make_inputs
from jaxport.bench.rows import Reference
from jaxport.bench.torch_model import Variant, device

FORWARD_S, OPTIMIZER_S = 8.0, 4.0
LOSSES = [2.0, 1.0, 0.5]


class Side:
    """Takes 1 ms a step, and the half of that for each thing that is best."""

    steps = most = 3
    first_steps = 1

    def __init__(self, variant: Variant, first_step_s: float, best: dict[str, object]) -> None:
        self.variant, self.first_step_s, self.device = variant, first_step_s, device()
        self.ms = 1.0
        for name, value in best.items():
            self.ms *= 0.5 if getattr(variant, name) == value else 1.0

    def one_pass(self, limit: int | None = None) -> tuple[float, list[float]]:
        return (limit or 3) * self.ms / 1000, LOSSES

    def values(self) -> list[float]:
        return LOSSES


@pytest.fixture
def searched(monkeypatch):
    """Search with sides of which this is the best; return what was found, and the variants that were made."""

    def search(framework, best, hint=None):
        made = []

        def make(port, inputs, variant):
            forwards = {known._replace(optimizer="") for known in made}
            seconds = FORWARD_S * (variant._replace(optimizer="") not in forwards)
            seconds += OPTIMIZER_S * (variant.optimizer == "compiled")
            made.append(variant)
            return Side(variant, (seconds if variant.compiled else 0.0) + 0.001, best)

        monkeypatch.setattr(torch_search, "make_side", make)
        monkeypatch.setattr(torch_search, "_start_compiler", lambda: None)
        monkeypatch.setattr(torch_search, "available_cores", lambda: 2)
        monkeypatch.setattr(torch_search, "torch", _without_gpu())
        port = ports.get("digits")
        found = torch_search.TorchBest(framework, port, make_inputs(port, 3), Reference(LOSSES, LOSSES), hint)
        return found, made

    return search


def _without_gpu() -> SimpleNamespace:
    import torch

    gpu = SimpleNamespace(is_available=lambda: False)
    return SimpleNamespace(cuda=gpu, get_num_threads=lambda: 2, __version__=torch.__version__)


def test_the_eager_search_finds_the_best_and_says_by_how_much(searched):
    found, made = searched("torch", {"threads": 1, "optimizer": "fused"})
    assert found.side.variant == Variant(1, "fused")
    assert len(made) == len(set(made)) == 5
    facts = found.facts()
    assert facts["choice"] == facts["hint"]["variant"] == list(Variant(1, "fused"))
    assert facts["hint"]["margins"]["threads"] == pytest.approx(2.0)
    assert facts["hint"]["ms"] == pytest.approx(0.25)


HINT = {"variant": list(Variant(1, "fused", channels_last=True)), "ms": 1.0}


def test_torch_compile_starts_there_and_leaves_out_what_was_clear(searched):
    start = Variant(1, "fused", channels_last=True, compiled=True)
    found, made = searched("torch-compile", {}, {**HINT, "margins": {"threads": 2.0, "channels_last": 1.3}})
    assert made == [start, start._replace(optimizer="compiled")]
    assert found.side.variant == start
    assert found.facts()["compile_s"] == pytest.approx(FORWARD_S, abs=0.01)


def test_torch_compile_tries_what_was_not_clear(searched):
    best = {"threads": 2, "channels_last": False}
    found, made = searched("torch-compile", best, {**HINT, "margins": {"threads": 1.1, "channels_last": 1.2}})
    assert found.side.variant == Variant(2, "fused", compiled=True)
    assert len(made) == 4
    assert found.facts()["compile_s"] == pytest.approx(FORWARD_S, abs=0.01)


def test_torch_compile_without_a_hint_tries_all(searched):
    best = {"threads": 1, "channels_last": True, "optimizer": "fused"}
    found, made = searched("torch-compile", best)
    assert found.side.variant == Variant(1, "fused", channels_last=True, compiled=True)
    assert {variant.optimizer for variant in made} == {"plain", "fused", "compiled"}


def test_compiling_forward_and_optimiser_is_counted_once_each(searched):
    found, _ = searched("torch-compile", {"optimizer": "compiled"}, {**HINT, "margins": {"threads": 2.0}})
    assert found.side.variant.optimizer == "compiled"
    assert found.facts()["compile_s"] == pytest.approx(FORWARD_S + OPTIMIZER_S, abs=0.01)
    # Compiled once for two threads with the compiled optimiser, and before that for one thread.
    best = {"optimizer": "compiled", "threads": 2}
    found, _ = searched("torch-compile", best, {**HINT, "margins": {}})
    assert found.facts()["compile_s"] == pytest.approx(FORWARD_S + OPTIMIZER_S, abs=0.01)


def test_long_steps_are_tried_less_often(searched, monkeypatch):
    passes = []
    real = Side.one_pass
    monkeypatch.setattr(Side, "one_pass", lambda self, limit=None: (passes.append(limit), real(self, limit))[1])
    monkeypatch.setattr(torch_search, "_TRIAL_S", 1e-4)
    torch_search._trial_ms(Side(Variant(1), 0.0, {}))
    assert passes == [1] * (2 + torch_search._LONG_TRIALS)
