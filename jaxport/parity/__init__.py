"""The proof: what it takes for a JAX model to equal its PyTorch reference. Needs torch (the `parity` extra)."""

from .check import Check as Check
from .port_checks import check_port as check_port
from .report import failures_table as failures_table
from .report import summary_table as summary_table
from .report import to_markdown as to_markdown
from .trajectory import Trajectory as Trajectory
from .trajectory import run_free as run_free
