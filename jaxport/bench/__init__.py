"""Benchmarks: JAX against PyTorch at its best, each framework in its own process, and only where both compute the same.

``run(["digits"], tasks=["step", "epoch"])`` → rows; ``table(rows)`` and ``to_markdown(rows)`` show them.
"""

from .report import table as table
from .report import to_markdown as to_markdown
from .rows import Measurement as Measurement
from .rows import Reference as Reference
from .rows import Row as Row
from .rows import disagreement as disagreement
from .rows import judge as judge
from .rows import judged as judged
from .runner import Progress as Progress
from .runner import run as run
from .tasks import DTYPES as DTYPES
from .tasks import FRAMEWORKS as FRAMEWORKS
from .tasks import TASKS as TASKS
