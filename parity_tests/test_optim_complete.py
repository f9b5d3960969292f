"""Nothing is forgotten: every optimiser of torch.optim is here, with its arguments, their order and their defaults."""

import inspect
from typing import Any

import pytest

from jaxport import optim

torch = pytest.importorskip("torch")

THEIRS = {
    name: value
    for name, value in vars(torch.optim).items()
    if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
}


def signature(function: Any) -> list[tuple[str, Any, Any]]:
    """Return names, kinds and defaults; PyTorch's comes without self and params."""
    rows = [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]
    return [row for row in rows if row[0] not in ("self", "params")]


def test_every_optimiser_is_here():
    assert len(THEIRS) == 15
    assert {name for name in THEIRS if not hasattr(optim, name)} == set()


@pytest.mark.parametrize("kind", sorted(THEIRS))
def test_arguments_are_pytorch_s(kind):
    assert signature(getattr(optim, kind)) == signature(THEIRS[kind].__init__)


@pytest.mark.parametrize("kind", sorted(THEIRS))
def test_it_remembers_pytorch_s_call(kind):
    made = getattr(optim, kind)(lr=0.25)
    assert (made.kind, made.options["lr"]) == (kind, 0.25)
    assert list(made.options) == [name for name, _, _ in signature(THEIRS[kind].__init__)]
    assert repr(made).startswith(f"{kind}(lr=0.25, ")


def test_the_signatures_differ_when_they_differ():
    assert signature(optim.Adam) != signature(THEIRS["AdamW"].__init__)
