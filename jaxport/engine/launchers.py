"""What a launcher's environment says of the other processes of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from jaxport.errors import UsageError


@dataclass(frozen=True)
class Hosts:
    """Where this process stands among all.

    Attributes:
        coordinator: "HOST:PORT" of process 0, free there; None asks JAX, which knows its clusters.
        count: of processes; None asks JAX.
        index: of this one, from 0; None asks JAX.
        local: the accelerator of this host that is this process' own; None for all, or whatever JAX decides.
        launcher: who says so.
    """

    coordinator: str | None = None
    count: int | None = None
    index: int | None = None
    local: int | None = None
    launcher: str = "arguments"


def detect(environ: Mapping[str, str] | None = None) -> Hosts | None:
    """Return what a launcher's environment says; None where there is no launcher, or it started one process alone.

    Known are, in this order: JAX_COORDINATOR_ADDRESS with JAX_NUM_PROCESSES and JAX_PROCESS_ID; torchrun's MASTER_ADDR,
    MASTER_PORT, RANK, WORLD_SIZE, LOCAL_RANK; and, left to JAX, SLURM's srun and Open MPI's mpirun.

    Raises:
        UsageError: a variable that is missing beside the others, or is no number.
    """
    environ = os.environ if environ is None else environ
    if "JAX_NUM_PROCESSES" in environ:
        count, index = _numbers(environ, "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
        return _several(Hosts(_text(environ, "JAX_COORDINATOR_ADDRESS"), count, index, None, "JAX_NUM_PROCESSES"))
    if "MASTER_ADDR" in environ and "WORLD_SIZE" in environ:
        return _several(_of_torchrun(environ))
    for launcher, counted, needed in _CLUSTERS:
        if all(name in environ for name in needed) and int(environ.get(counted, "1")) > 1:
            return Hosts(launcher=launcher)
    return None


# The launchers that JAX knows: name, the variable with the number of processes, what JAX needs beside it.
_CLUSTERS = (
    ("SLURM", "SLURM_NTASKS", ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID")),
    ("Open MPI", "OMPI_COMM_WORLD_SIZE", ("OMPI_MCA_orte_hnp_uri", "OMPI_COMM_WORLD_RANK")),
)


def _of_torchrun(environ: Mapping[str, str]) -> Hosts:
    count, index, port = _numbers(environ, "WORLD_SIZE", "RANK", "MASTER_PORT")
    # torchrun itself listens at MASTER_PORT; others that set these variables leave it to process 0.
    port += environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    several_here = int(environ.get("LOCAL_WORLD_SIZE", "1")) > 1
    local = _numbers(environ, "LOCAL_RANK")[0] if several_here else None
    return Hosts(f"{environ['MASTER_ADDR']}:{port}", count, index, local, "MASTER_ADDR")


def _several(hosts: Hosts) -> Hosts | None:
    return hosts if hosts.count is None or hosts.count > 1 else None


def _text(environ: Mapping[str, str], name: str) -> str:
    if not environ.get(name):
        raise UsageError(f"the environment variable {name} is not set, beside others of its kind that are")
    return environ[name]


def _numbers(environ: Mapping[str, str], *names: str) -> list[int]:
    for name in names:
        if not _text(environ, name).isdecimal():
            raise UsageError(f"the environment variable {name} is {environ[name]!r}; it must be a whole number")
    return [int(environ[name]) for name in names]
