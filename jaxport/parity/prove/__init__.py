"""prove: which known mistakes does a suite of parity tests catch? Each is planted in PyTorch's side once.

python -m jaxport.parity.prove tests/test_parity.py        # a file or folder of pytest's
python -m jaxport.parity.prove my.module:compare           # a function that returns a Report
python -m jaxport.parity.prove -- make check               # any command
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .mistakes import MISTAKES as MISTAKES
    from .mistakes import apply_from_environment as apply_from_environment
    from .mistakes import inject as inject
    from .patching import Mistake as Mistake
    from .runner import Outcome as Outcome
    from .runner import prove as prove
    from .runner import prove_command as prove_command

_HOMES = {
    "MISTAKES": "mistakes",
    "apply_from_environment": "mistakes",
    "inject": "mistakes",
    "Mistake": "patching",
    "Outcome": "runner",
    "prove": "runner",
    "prove_command": "runner",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
