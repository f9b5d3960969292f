"""Nothing is forgotten: every public name of torch.nn exists here or stands in the table of what is left out."""

import inspect
import re
from pathlib import Path
from types import ModuleType

import left_out
import pytest
from database import MODULES

import jaxport.nn.functional as F
from jaxport import nn
from jaxport.nn import init

torch = pytest.importorskip("torch")
TF, TI = torch.nn.functional, torch.nn.init
PAGE = Path(__file__).parents[1] / "docs" / "nn.md"


def torch_modules() -> set[str]:
    found = {name: value for name, value in vars(torch.nn).items() if isinstance(value, type)}
    return {name for name, value in found.items() if issubclass(value, torch.nn.Module)}


def public_functions(module: ModuleType) -> set[str]:
    foreign = ("typing", "torch.overrides")
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and callable(value)
        and not inspect.isclass(value)
        and getattr(value, "__module__", "") not in foreign
    }


LISTINGS = {
    "modules": (torch_modules(), nn, left_out.MODULES),
    "functions": (public_functions(TF), F, left_out.FUNCTIONS),
    "init": (public_functions(TI), init, left_out.INIT),
}


@pytest.mark.parametrize("kind", LISTINGS)
def test_every_name_is_there_or_left_out_with_a_reason(kind):
    listing, ours, reasons = LISTINGS[kind]
    assert len(listing) > 20
    missing = {name for name in listing if not hasattr(ours, name)}
    assert missing - reasons.keys() == set(), "neither here nor in left_out.py"
    assert reasons.keys() - listing == set(), "left_out.py names what PyTorch does not have"
    assert reasons.keys() - missing == set(), "left_out.py names what is here"


# Base classes and holders without a forward of their own, and a layer that PyTorch runs on GPUs only.
TESTED_APART = {
    *(["Module", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict", "RNNBase", "RNNCellBase"]),
    "SyncBatchNorm",
}


def test_every_module_has_inputs():
    ours = {name for name in torch_modules() if hasattr(nn, name)}
    assert ours - MODULES.keys() == TESTED_APART


def test_the_page_shows_the_table():
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.+) \|$", PAGE.read_text().split("## Left out")[1], flags=re.MULTILINE))
    assert rows == {
        **{f"nn.{name}": reason for name, reason in left_out.MODULES.items()},
        **{f"nn.functional.{name}": reason for name, reason in left_out.FUNCTIONS.items()},
        **{f"nn.init.{name}": reason for name, reason in left_out.INIT.items()},
    }


def _signature(function: object) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())  # type: ignore[arg-type]


# Arguments of PyTorch's that mean nothing here, and its two deprecated spellings of `reduction`.
OMITTED = {"device", "size_average", "reduce", "generator", "_stacklevel", "out", "args", "kwargs"}


@pytest.mark.parametrize("name", sorted(torch_modules() - left_out.MODULES.keys()))
def test_constructors_have_pytorch_s_arguments(name):
    if name in ("Module", "RNN", "LSTM", "GRU", "Sequential"):
        return
    _compare_signatures(name, getattr(nn, name).__init__, getattr(torch.nn, name).__init__)


@pytest.mark.parametrize("name", sorted(public_functions(TF) - left_out.FUNCTIONS.keys()))
def test_functions_have_pytorch_s_arguments(name):
    try:
        inspect.signature(getattr(TF, name))
    except ValueError:
        return  # a builtin without a signature: the database calls it with PyTorch's own keywords
    _compare_signatures(name, getattr(F, name), getattr(TF, name))


def _compare_signatures(name: str, ours: object, theirs: object) -> None:
    mine = _signature(ours)
    wanted = [p for p in _signature(theirs) if p.name not in OMITTED]
    if [p.name for p in wanted] == []:
        return
    names = [p.name for p in wanted if p.kind is not p.VAR_KEYWORD]
    assert [p.name for p in mine if p.name in names] == names, f"{name}: arguments or their order"
    defaults = {p.name: p.default for p in mine}
    for parameter in wanted:
        if parameter.name in defaults and not isinstance(parameter.default, (type(inspect), type(lambda: 0))):
            ours_is, theirs_is = defaults[parameter.name], parameter.default
            assert ours_is == theirs_is or repr(ours_is) == repr(theirs_is), f"{name}: default of {parameter.name}"
