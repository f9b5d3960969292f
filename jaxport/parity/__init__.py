"""The proof: what it takes for a JAX model to equal its PyTorch reference.

Comparing needs torch (the `parity` extra); results, goldens and reports can be read without it, so names are loaded
when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .check import Check as Check
    from .comparison import compare as compare
    from .foreign import Function as Function
    from .foreign import Linen as Linen
    from .lockstep import train as train
    from .port_checks import check_port as check_port
    from .report import failures_table as failures_table
    from .report import summary_table as summary_table
    from .report import to_markdown as to_markdown
    from .result import Report as Report
    from .result import Verdict as Verdict
    from .trainers import recording as recording
    from .trajectory import Trajectory as Trajectory
    from .trajectory import run_free as run_free

_HOMES = {
    "Check": "check",
    "compare": "comparison",
    "train": "lockstep",
    "recording": "trainers",
    "Function": "foreign",
    "Linen": "foreign",
    "check_port": "port_checks",
    "failures_table": "report",
    "summary_table": "report",
    "to_markdown": "report",
    "Report": "result",
    "Verdict": "result",
    "Trajectory": "trajectory",
    "run_free": "trajectory",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
