"""prove: every mistake does what it says and is undone; a good suite catches them, a weak one is shown to be weak."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prove_tour as tour
import pytest
import torch

from jaxport.errors import UsageError
from jaxport.parity import prove
from jaxport.parity.prove import __main__ as command
from jaxport.parity.prove import activations, layers, losses, norms, pictures, sequences, training

PARTS: dict[Any, tuple[Callable[[], list[torch.Tensor]], ...]] = {
    norms: (tour.norms,),
    layers: (tour.layers,),
    activations: (tour.layers, tour.dropout),
    pictures: (tour.pictures,),
    sequences: (tour.sequences,),
    losses: (tour.losses,),
    training: (tour.training,),
}
PLACES = [(family, mistake) for family in PARTS for mistake in family.MISTAKES]


def _walk(family: Any) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [tensor.detach().clone() for part in PARTS[family] for tensor in part()]


def _alike(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return len(ours) == len(theirs) and all(
        a.shape == b.shape and torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)
    )


@pytest.fixture(scope="module")
def right() -> dict[Any, list[torch.Tensor]]:
    """Return what the walks give without a mistake."""
    return {family: _walk(family) for family in PARTS}


@pytest.mark.parametrize(("family", "mistake"), PLACES, ids=[mistake.name for _, mistake in PLACES])
def test_a_mistake_makes_a_difference_and_is_undone(family: Any, mistake: prove.Mistake, right: Any) -> None:
    with prove.inject(mistake.name) as planted:
        wrong = _walk(family)
    assert planted.applied > 0
    assert not _alike(wrong, right[family])
    assert _alike(_walk(family), right[family])


def test_there_are_enough_mistakes_and_every_name_is_one() -> None:
    assert len(prove.MISTAKES) == len(PLACES) >= 40
    traps = {mistake.trap for mistake in prove.MISTAKES.values()} - {None}
    assert traps <= set(range(1, 34))
    assert len(traps) >= 20


def test_a_mistake_counts_only_where_it_makes_a_difference() -> None:
    x = torch.ones(2, 3, requires_grad=True)
    with prove.inject("relu-gradient-at-zero") as planted:
        torch.relu(x).sum().backward()
    assert planted.applied == 0
    with prove.inject("nearest-half-pixel") as planted:  # at an integer scale both rules pick the same pixels
        torch.nn.functional.interpolate(torch.arange(4.0)[None, None], scale_factor=2)
    assert planted.applied == 0


def test_an_unknown_mistake_is_refused() -> None:
    with pytest.raises(UsageError, match=r"gelu-other\?\), got 'gelu-othre'"), prove.inject("gelu-othre"):
        pass


NAMES = ["gelu-other", "layernorm-eps", "linear-bias-missing", "lstm-gates-swapped"]


def _net() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GELU(), torch.nn.LayerNorm(4)).double()


def _suite(check: Callable[[torch.Tensor, torch.Tensor], bool]) -> Callable[[], bool]:
    x = torch.linspace(-2.0, 2.0, 15, dtype=torch.float64).reshape(5, 3)
    expected = _net()(x).detach()
    return lambda: check(_net()(x).detach(), expected)


def test_a_good_suite_catches_and_a_weak_one_does_not() -> None:
    seen: list[prove.Outcome] = []
    good = prove.prove(_suite(lambda a, b: torch.allclose(a, b, 1e-10, 1e-12)), NAMES, seen.append)
    assert [outcome.verdict for outcome in good] == ["caught"] * 3 + ["not applicable"]
    assert seen == good
    assert all(outcome.ok for outcome in good)
    weak = prove.prove(_suite(lambda a, b: a.shape == b.shape), NAMES)
    assert [outcome.verdict for outcome in weak] == ["NOT CAUGHT"] * 3 + ["not applicable"]
    loose = prove.prove(_suite(lambda a, b: torch.allclose(a, b, 1e-2, 1e-2)), NAMES)
    assert [outcome.verdict for outcome in loose][:2] == ["NOT CAUGHT", "NOT CAUGHT"]


def test_a_suite_that_raises_has_found_something() -> None:
    x, expected = torch.ones(1, 3, dtype=torch.float64), _net()(torch.ones(1, 3, dtype=torch.float64))

    def suite() -> bool:
        torch.testing.assert_close(_net()(x), expected)
        return True

    (outcome,) = prove.prove(suite, ["linear-bias-missing"])
    assert outcome.verdict == "caught"


def test_a_suite_that_fails_without_a_mistake_proves_nothing() -> None:
    with pytest.raises(UsageError, match="suite: it must pass without any mistake, and it does not"):
        prove.prove(lambda: False, NAMES)
    with pytest.raises(UsageError, match="raises without any mistake: ValueError: no"):
        prove.prove(_raises, NAMES)


def _raises() -> bool:
    raise ValueError("no")


TEST = """
from torch.nn.functional import gelu
import torch

def test_gelu():
    y = gelu(torch.tensor([0.5], dtype=torch.float64))
    assert {check}
"""


@pytest.mark.parametrize(("check", "status"), [("abs(y.item() - 0.34573123063700656) < 1e-12", 0), ("y.shape", 1)])
def test_the_command_runs_pytest_under_each_mistake(
    check: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name is imported from PyTorch when the test file is: the mistake is there before."""
    file = tmp_path / "test_small.py"
    file.write_text(TEST.format(check=check))
    arguments = [str(file), "--only", "gelu-other", "--only", "mse-half", "--json"]
    assert command.main(arguments) == status
    rows = json.loads(capsys.readouterr().out)
    assert [row["verdict"] for row in rows] == ["NOT CAUGHT" if status else "caught", "not applicable"]
    assert [row["applied"] for row in rows] == [1, 0]


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 2
    assert command.main(["no.such.module:suite"]) == 2
    assert command.main(["x.py", "--only", "nothing"]) == 2
    assert command.main(["--", "/no/such/program"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("error: ") == 4
    assert command.main(["--list"]) == 0
    assert "batchnorm-eps" in capsys.readouterr().out


def test_what_is_known_is_shown_when_it_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def suite() -> bool:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr("jaxport.parity.prove.command._function", lambda names: suite)
    assert command.main(["a:b", "--only", "mse-half", "--only", "ddof"]) == 130
    assert "mse-half" in capsys.readouterr().out


def test_kl_divergence_does_not_warn_its_way_to_being_caught() -> None:
    p = torch.rand(3, 4).softmax(1)
    with prove.inject("kl-reduction") as planted, warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.nn.functional.kl_div(p.log(), p.flip(0), reduction="batchmean")
    assert planted.applied == 1
