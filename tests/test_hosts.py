"""Several processes train together as one would, end clearly when one is gone, and are found in their environment."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxport.data import DataLoader
from jaxport.engine import distributed
from jaxport.engine.launchers import Hosts, detect
from jaxport.engine.sources import as_source
from jaxport.errors import UsageError

RTOL = 1e-12
PROGRAM = str(Path(__file__).with_name("host_training.py"))
# Seconds that a run may take on a machine with much else to do; a hang shows as a timeout.
LIMIT = 240
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(**more: str) -> dict[str, str]:
    cache = {"JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir or ""}
    quick = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "XLA_FLAGS": QUICK}
    return {**os.environ, **cache, **quick, **more}


class Program:
    """A program that runs; its output goes to files, since one that waits for a reader keeps the others waiting."""

    def __init__(self, command: list[str], variables: Mapping[str, str]) -> None:
        self.out, self.err = (tempfile.TemporaryFile("w+") for _ in range(2))  # noqa: SIM115 - closed by `close`
        self.process = subprocess.Popen(
            [sys.executable, *command], stdout=self.out, stderr=self.err, env=dict(variables)
        )

    def result(self) -> tuple[int, str, str]:
        """Wait for the end, and return status, output and errors."""
        status = self.process.wait(LIMIT)
        for file in (self.out, self.err):
            file.seek(0)
        return status, self.out.read(), self.err.read()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT)
        self.out.close()
        self.err.close()


@contextmanager
def started(commands: list[list[str]], environments: list[Mapping[str, str]]) -> Iterator[list[Program]]:
    """Start programs, and leave none behind."""
    with ExitStack() as stack:
        programs = []
        for command, variables in zip(commands, environments, strict=True):
            programs.append(Program(command, variables))
            stack.callback(programs[-1].close)
        yield programs


def two(case: str, *options: str) -> list[list[str]]:
    port = free_port()
    return [[PROGRAM, case, f"127.0.0.1:{port}", "2", str(index), *options] for index in (0, 1)]


def apart(found: Any, wanted: Any) -> float:
    """Return the largest difference, over the largest magnitude of its array."""
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        return max(apart(found[name], value) for name, value in wanted.items())
    a, b = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / (np.abs(b).max() + 1e-30))


@pytest.mark.slow
def test_two_processes_give_what_one_gives() -> None:
    """All data in each process; each its own part of a loader's batches; parameters split over both."""
    cases = "full,loader,fsdp"
    with started([*two(cases), [PROGRAM, cases]], [environment()] * 3) as programs:
        results = [program.result() for program in programs]
    assert [status for status, _, _ in results] == [0, 0, 0], "\n".join(error[-2000:] for *_, error in results)
    first, second, alone = (json.loads(out) for _, out, _ in results)
    assert [run["devices"] for run in (first, second, alone)] == [2, 2, 1]
    assert first["found"] == second["found"]
    for case, wanted in alone["found"].items():
        found = first["found"][case]
        assert {
            part: apart(found[part], wanted[part]) for part in wanted if apart(found[part], wanted[part]) > RTOL
        } == {}


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.slow
def test_a_killed_process_ends_the_other(index: int) -> None:
    kill = ["--kill", str(index), "40", str(int(signal.SIGKILL))]
    with started(two("full", *kill), [environment()] * 2) as programs:
        results = [program.result() for program in programs]
    assert results[index][0] == -signal.SIGKILL
    check_told(*results[1 - index], 1 - index)


@pytest.mark.slow
def test_a_process_that_answers_no_more_ends_the_other() -> None:
    stop = ["--kill", "1", "40", str(int(signal.SIGSTOP)), "--heartbeat", "5"]
    with started(two("full", *stop), [environment()] * 2) as programs:
        check_told(*programs[0].result(), 0)


def check_told(status: int, out: str, error: str, index: int) -> None:
    """The status is 1, and the last two lines say what happened and what to do."""
    assert (status, out) == (1, "")
    *_, what, then = error.splitlines()
    assert f"process {index} of 2 lost another process of the run: " in what
    assert then == "Start all of them again; with a checkpoint callback, training goes on from the last checkpoint."


@pytest.mark.slow
def test_a_restart_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    """What two processes end with after one was killed, and both were started again, is what one ends with."""
    kill = ["--kill", "1", "7", str(int(signal.SIGKILL))]
    folder = ["--checkpoint", str(tmp_path / "checkpoints")]
    with started([*two("full", *kill, *folder), [PROGRAM, "full"]], [environment()] * 3) as programs:
        results = [program.result() for program in programs]
    assert [status for status, _, _ in results] == [1, -signal.SIGKILL, 0], results[0][2][-2000:]
    with started(two("full", *folder), [environment()] * 2) as programs:
        again = [program.result() for program in programs]
    assert [status for status, _, _ in again] == [0, 0], again[0][2][-2000:]
    found, wanted = (json.loads(run[1])["found"]["full"] for run in (again[0], results[2]))
    assert found.pop("resumed at") > 0 == wanted.pop("resumed at")
    assert {part: apart(found[part], wanted[part]) for part in wanted if apart(found[part], wanted[part]) > RTOL} == {}


@pytest.mark.slow
def test_command_line(tmp_path: Path) -> None:
    """Launched by torchrun's variables: the first process prints and writes, the other does neither."""
    port = str(free_port())
    variables = [
        environment(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, RANK=str(index), WORLD_SIZE="2") for index in (0, 1)
    ]
    commands = [
        ["-m", "jaxport", "run", "linreg_matrix", "--epochs", "3", "--json", "--out", str(tmp_path / str(index))]
        for index in (0, 1)
    ]
    with started(commands, variables) as programs:
        results = [program.result() for program in programs]
    assert [status for status, _, _ in results] == [0, 0], results
    assert json.loads(results[0][1])["epochs"] == 3
    assert results[1][1] == ""
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
    assert (tmp_path / "0" / "weights.safetensors").is_file()


@pytest.mark.slow
def test_nobody_else_comes() -> None:
    script = "from jaxport.engine import distributed as d; d.initialize('127.0.0.1:{}', 2, 0, start_timeout=2)"
    with started([["-c", script.format(free_port())]], [environment()]) as (program,):
        status, _, error = program.result()
    assert status == 1
    assert "process 0 of 2 did not find the others through 127.0.0.1:" in error.splitlines()[-2]


# -------------------------------------------------------------------------------------------------------- environments

TORCHRUN = {"MASTER_ADDR": "node1", "MASTER_PORT": "29500", "RANK": "3", "WORLD_SIZE": "4"}
SLURM = {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_PROCID": "0"}


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, None),
        (TORCHRUN, Hosts("node1:29500", 4, 3, None, "MASTER_ADDR")),
        (TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0"}, None),
        (
            TORCHRUN | {"LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1", "TORCHELASTIC_USE_AGENT_STORE": "True"},
            Hosts("node1:29501", 4, 3, 1, "MASTER_ADDR"),
        ),
        (
            {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"},
            Hosts("a:1", 2, 1, None, "JAX_NUM_PROCESSES"),
        ),
        (SLURM | {"SLURM_LOCALID": "0"}, Hosts(launcher="SLURM")),
        (SLURM, None),  # an allocation without srun
        (SLURM | {"SLURM_LOCALID": "0", "SLURM_NTASKS": "1"}, None),
        (
            {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_MCA_orte_hnp_uri": "x", "OMPI_COMM_WORLD_RANK": "0"},
            Hosts(launcher="Open MPI"),
        ),
    ],
)
def test_launchers(variables: dict[str, str], wanted: Hosts | None) -> None:
    assert detect(variables) == wanted


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({**TORCHRUN, "RANK": ""}, "RANK is not set, beside others"),
        ({**TORCHRUN, "MASTER_PORT": "http"}, "MASTER_PORT is 'http'; it must be a whole number"),
        ({"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}, "JAX_COORDINATOR_ADDRESS is not set"),
    ],
)
def test_launchers_that_say_half(variables: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        detect(variables)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("10.0.0.1", 2, 0), "coordinator is '10.0.0.1'; it must be HOST:PORT"),
        (("a:1", 2, 2), "index is 2 and count 2; index must be from 0 to 1"),
        (("a:1", None, 0), "count must be given too"),
        ((None, 2, 0), "coordinator must be given too"),
    ],
)
def test_wrong_arguments(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        distributed.initialize(*arguments)


def test_a_loader_of_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = DataLoader((np.zeros((8, 2)), np.zeros(8)), 4, process=(0, 2))
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with pytest.raises(UsageError, match=r"train: the loader's process is \(0, 2\); this one is \(1, 2\)"):
        as_source("train", loader, batch_size=None, shuffle=False, seed=0)
