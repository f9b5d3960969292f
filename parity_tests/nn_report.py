"""What the parity tests of jaxport.nn found, counted by name, and the page made of it: docs/nn.md."""

from __future__ import annotations

import functools
import inspect
import json
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import jax
import left_out

import jaxport.nn.functional as F
from jaxport import nn
from jaxport.nn import init


@dataclass
class Tally:
    """Counts of one name: database inputs (also in float32), inputs that must raise, own cases, worst float64 error."""

    inputs: int = 0
    passed: int = 0
    single: int = 0
    single_passed: int = 0
    errors: int = 0
    errors_passed: int = 0
    cases: int = 0
    cases_passed: int = 0
    worst64: float = 0.0


COUNTS = [field.name for field in fields(Tally) if field.name != "worst64"]
# By name, and the same apart for each test, so that a test that runs again replaces only what it counted before.
TALLIES: dict[tuple[str, str], Tally] = {}
BY_TEST: dict[str, dict[tuple[str, str], Tally]] = {}
running = [""]
# The names that the running case has called from outside: layers within layers are not counted.
OUTERMOST: set[tuple[str, str]] = set()
_depth = [0]
# Whether cases are counted: not where a test plants a mistake.
counting = [True]


def tally(kind: str, name: str) -> Tally:
    """Return the counts of a name; those of a test that plants a mistake go nowhere."""
    return BY_TEST.setdefault(running[0], {}).setdefault((kind, name), Tally()) if counting[0] else Tally()


def count_case(findings: list[str], worst: float) -> None:
    for kind, name in OUTERMOST if counting[0] else ():
        row = tally(kind, name)
        row.cases += 1
        row.cases_passed += not findings
        row.worst64 = max(row.worst64, worst)


def _watched(kind: str, name_of: Callable[..., str], function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _depth[0] == 0:
            OUTERMOST.add((kind, name_of(*args)))
        _depth[0] += 1
        try:
            return function(*args, **kwargs)
        finally:
            _depth[0] -= 1

    return call


def watch_calls() -> None:
    """Note which functions and modules are called, from here on."""
    for name, function in list(vars(F).items()):
        if inspect.isfunction(function) and not name.startswith("_"):
            setattr(F, name, _watched("function", lambda *_, name=name: name, function))
    nn.Module.__call__ = _watched("module", lambda module, *_: type(module).__name__, nn.Module.__call__)


def dump(folder: Path) -> None:
    """Write what this process has counted."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"test": test, "kind": kind, "name": name, **asdict(row)}
        for test, found in BY_TEST.items()
        for (kind, name), row in found.items()
    ]
    (folder / f"{time.time_ns()}-{os.getpid()}.json").write_text(json.dumps(rows))


def collect(folder: Path) -> None:
    """Add up what all processes wrote; of a test that ran twice, the later run counts."""
    for file in sorted(folder.glob("*.json")):
        found: dict[str, dict[tuple[str, str], Tally]] = {}
        for row in json.loads(file.read_text()):
            test, key = row.pop("test"), (row.pop("kind"), row.pop("name"))
            found.setdefault(test, {})[key] = Tally(**row)
        BY_TEST.update(found)
    for found in BY_TEST.values():
        for key, row in found.items():
            _add(TALLIES.setdefault(key, Tally()), row)


def _add(total: Tally, row: Tally) -> None:
    for count in COUNTS:
        setattr(total, count, getattr(total, count) + getattr(row, count))
    total.worst64 = max(total.worst64, row.worst64)


# -------------------------------------------------------------------------------------------------------------- page


def _differences(thing: Any) -> str:
    """Return what the docstring says after "Differs from PyTorch:", on one line."""
    text = inspect.getdoc(thing) or ""
    found = re.search(r"Differs from PyTorch:?\s*(.+?)(?:\n\s*\n|\Z)", text, flags=re.DOTALL)
    return " ".join(found[1].split()).replace("|", "\\|") if found else ""


def _merged(kind: str, name: str) -> Tally:
    """Add up a function's variants in the database."""
    total = Tally()
    for (own_kind, own_name), row in TALLIES.items():
        if own_kind == kind and own_name.split(" (")[0] == name:
            _add(total, row)
    return total


def _of(passed: int, count: int) -> str:
    return "" if count == 0 else f"{passed:,}" if passed == count else f"{passed:,} of {count:,}"


def _rows(kind: str, prefix: str, names: list[str], owner: Any) -> list[str]:
    lines = [
        "| name | database inputs | must raise | own cases | worst float64 error | differs by design |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name in names:
        row = _merged(kind, name)
        worst = f"{row.worst64:.1e}" if row.inputs + row.cases else ""
        counts = [
            _of(row.passed, row.inputs),
            _of(row.errors_passed, row.errors),
            _of(row.cases_passed, row.cases),
        ]
        lines.append(f"| `{prefix}{name}` | {' | '.join(counts)} | {worst} | {_differences(getattr(owner, name))} |")
    return lines


def _listings() -> dict[str, tuple[set[str], Any, dict[str, str]]]:
    from test_nn_complete import LISTINGS

    return LISTINGS


def counts() -> dict[str, int]:
    """Return how many names exist, are covered and left out, and how many inputs exist and pass."""
    listings = _listings().values()
    total = Tally()
    for row in TALLIES.values():
        _add(total, row)
    return {
        "names": sum(len(listing) for listing, _, _ in listings),
        "covered": sum(sum(hasattr(ours, name) for name in listing) for listing, ours, _ in listings),
        **{count: getattr(total, count) for count in COUNTS},
    }


def page() -> str:
    import torch

    total = counts()
    names = {kind: sorted(n for n in listing if hasattr(ours, n)) for kind, (listing, ours, _) in _listings().items()}
    lines = [
        "# jaxport.nn against torch.nn",
        "",
        "Generated by `pytest parity_tests --cases all --database all --nn-report=DIR` and `python "
        f"parity_tests/nn_report.py DIR`, with PyTorch {torch.__version__.split('+')[0]} and JAX {jax.__version__}; "
        "do not edit.",
        "",
        f"{total['covered']} of {total['names']} public names of `torch.nn`, `torch.nn.functional` and `torch.nn.init` "
        f"are here; the other {total['names'] - total['covered']} stand at the end with a reason.",
        f"{total['passed']:,} of {total['inputs']:,} inputs of PyTorch's own test databases pass (outputs, gradients "
        "of inputs and parameters, buffers; float64, 1e-10 of the largest magnitude), "
        f"{total['single_passed']:,} of {total['single']:,} of the modules' in float32 too (within four times "
        "PyTorch's own rounding), "
        f"{total['errors_passed']} of {total['errors']} that must raise do, and {total['cases']:,} cases of our own "
        "were run (option grids and random draws).",
        "",
        "*Database inputs* count training and evaluation apart. *Own cases* called the name directly. The worst error "
        "is the largest difference over the largest magnitude of its tensor, over all of these; empty where a name is "
        "checked by tests of another form.",
        "",
        "## Modules",
        "",
        *_rows("module", "nn.", names["modules"], nn),
        "",
        "## Functions",
        "",
        *_rows("function", "nn.functional.", names["functions"], F),
        "",
        "## Initial values",
        "",
        ", ".join(f"`nn.init.{name}`" for name in names["init"]),
        "",
        "Each takes `generator=`, a JAX key or a `jaxport.random.Generator`, where PyTorch draws from its own "
        "generator; distributions, bounds, gains and fans are compared in `parity_tests/test_init.py` and "
        "`test_init_structured.py`.",
        "",
        "## Left out",
        "",
        "| name | reason |",
        "|---|---|",
        *(f"| `nn.{name}` | {reason} |" for name, reason in left_out.MODULES.items()),
        *(f"| `nn.functional.{name}` | {reason} |" for name, reason in left_out.FUNCTIONS.items()),
        *(f"| `nn.init.{name}` | {reason} |" for name, reason in left_out.INIT.items()),
        "",
    ]
    return "\n".join(lines)


BEGIN, END = "<!-- nn:begin -->", "<!-- nn:end -->"


def write(root: Path) -> None:
    """Write docs/nn.md, and the count between README's markers."""
    assert init is not None
    (root / "docs" / "nn.md").write_text(page())
    total = counts()
    sentence = (
        f"{total['covered']} of {total['names']} public names of `torch.nn`, `nn.functional` and `nn.init` are here, "
        f"and {total['passed']:,} of {total['inputs']:,} inputs of PyTorch's own test databases pass "
        "([every name with its worst error](docs/nn.md))."
    )
    readme = root / "README.md"
    text = readme.read_text()
    before, rest = text.split(BEGIN)
    readme.write_text(f"{before}{BEGIN}\n{sentence}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: python parity_tests/nn_report.py DIR, the folder that `pytest --nn-report=DIR` wrote")
    collect(Path(sys.argv[1]))
    write(Path(__file__).parents[1])
