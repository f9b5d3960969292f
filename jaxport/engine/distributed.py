"""Several processes that train one model, on one host or several: how they meet, and what happens if one is gone."""

from __future__ import annotations

import atexit
import ctypes
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
from jax.experimental import multihost_utils

from jaxport.errors import HostError, UsageError

from .launchers import Hosts, detect

# Seconds: to find each other, without a sign of life, and to leave together.
_START, _HEARTBEAT, _LEAVE = 120, 30, 300
# What JAX, gloo and NCCL say when a process is gone; they have no exception of their own for it.
_SIGNS = (
    "gloo", "nccl", "connection closed by peer", "connection reset", "broken pipe", "socket closed", "heartbeat",
    "coordination service", "unavailable:", "deadline_exceeded",
)  # fmt: skip


def initialize(
    coordinator: str | None = None,
    count: int | None = None,
    index: int | None = None,
    *,
    start_timeout: int = _START,
    heartbeat_timeout: int = _HEARTBEAT,
) -> Hosts:
    """Join this process to the others of a run; afterwards `Model.compile` trains over the devices of all.

    Call it first, in every process alike, before anything is computed. Without arguments the launcher's environment is
    asked (`detect`), and then JAX's own detection (TPU pods, Kubernetes). Processes on CPUs talk through gloo.

    If a process ends or cannot be reached, the others end too, with a `HostError` or its text, within about
    `heartbeat_timeout` seconds, and a status other than 0.

    Args:
        coordinator: "HOST:PORT": process 0 listens there, all others call there.
        count: of processes.
        index: of this process, from 0.
        start_timeout: seconds to wait for all processes.
        heartbeat_timeout: seconds without a sign of life after which a process counts as gone.

    Raises:
        UsageError: arguments that do not go together, or JAX computed already.
        HostError: the others are not found in time.

    Source: https://docs.jax.dev/en/latest/_autosummary/jax.distributed.initialize.html
    """
    hosts = _asked(coordinator, count, index) or detect() or Hosts(launcher="JAX")
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    _end_clearly(hosts, start_timeout)
    try:
        jax.distributed.initialize(
            hosts.coordinator,
            hosts.count,
            hosts.index,
            None if hosts.local is None else [hosts.local],
            initialization_timeout=start_timeout,
            heartbeat_timeout_seconds=heartbeat_timeout,
            shutdown_timeout_seconds=_LEAVE,
        )
        _meet()
        _Run.joined = True
    except (ValueError, RuntimeError) as error:
        raise _not_joined(hosts, start_timeout, error) from error
    atexit.register(_leave)
    return hosts


def _asked(coordinator: str | None, count: int | None, index: int | None) -> Hosts | None:
    """Check the arguments."""
    given = {"coordinator": coordinator, "count": count, "index": index}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == 3:
        return None
    if missing:
        raise UsageError(f"{' and '.join(missing)} must be given too: coordinator, count and index go together")
    assert coordinator is not None
    assert count is not None
    assert index is not None
    if not re.fullmatch(r"\S+:[0-9]+", coordinator):
        raise UsageError(f"coordinator is {coordinator!r}; it must be HOST:PORT, such as 10.0.0.1:1234")
    if not 0 <= index < count:
        raise UsageError(f"index is {index} and count {count}; index must be from 0 to {count - 1}")
    return Hosts(coordinator, count, index)


def _meet() -> None:
    """Let all processes wait for each other once, so that they are connected; gloo tells so on the standard output."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        multihost_utils.sync_global_devices("jaxport")
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _not_joined(hosts: Hosts, seconds: int, error: Exception) -> UsageError | HostError:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, jax.errors.JaxRuntimeError):
        return HostError(_alone(hosts, seconds, line))
    if hosts.coordinator is None:
        return UsageError(
            f"no launcher's environment was found ({line}); give coordinator, count and index (--hosts HOST:PORT, "
            "--host-count, --host-index), or start by srun, mpirun or torchrun"
        )
    return UsageError(f"process {hosts.index} of {hosts.count} (from {hosts.launcher}) cannot start: {line}")


def _alone(hosts: Hosts, seconds: int, why: str) -> str:
    return (
        f"process {hosts.index} of {hosts.count} did not find the others through {hosts.coordinator} in {seconds} s: "
        f"{why}\nStart all of them, each with its own index from 0; process 0 must be reached at HOST:PORT."
    )


# ---------------------------------------------------------------------------------------------- when a process is gone


class _Run:
    """What this process knows of the run: whether all have met, it has failed, and the user was told."""

    joined = False
    failed = False
    told = False
    handler: Any = None


@contextmanager
def failing_together() -> Iterator[None]:
    """Turn what is raised inside because another process is gone into a `HostError` that says so.

    Raises:
        HostError: another process is gone.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, HostError) or not is_lost(error):
            raise
        _Run.failed = _Run.told = True
        raise HostError(_gone(jax.process_index(), jax.process_count(), str(error).splitlines()[0])) from error


def is_lost(error: BaseException) -> bool:
    """Return whether an exception says that another process of the run is gone."""
    if not isinstance(error, (ValueError, RuntimeError)) or jax.process_count() == 1:
        return False
    return any(sign in str(error).lower() for sign in _SIGNS)


@contextmanager
def joined(coordinator: str | None = None, count: int | None = None, index: int | None = None) -> Iterator[None]:
    """Join the others if the arguments, or a launcher's environment, say that there are others.

    A process that fails inside does not wait for the others when it ends: they shall learn it.

    Raises:
        UsageError, HostError: as `initialize`.
    """
    several = (coordinator, count, index) != (None, None, None) or detect() is not None
    if several:
        initialize(coordinator, count, index)
    try:
        yield
    except BaseException:
        _Run.failed = several
        raise


def _gone(index: Any, count: Any, why: str) -> str:
    return (
        f"process {index} of {count} lost another process of the run: {why}\n"
        "Start all of them again; with a checkpoint callback, training goes on from the last checkpoint."
    )


def _leave() -> None:
    """End a process that has failed without JAX's wait for the others, which then abort."""
    if _Run.failed or hasattr(sys, "last_type"):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _end_clearly(hosts: Hosts, seconds: int) -> None:
    """Say what happened where JAX aborts the process because another is gone: it does so from a thread of its own."""

    def aborted(number: int) -> None:
        time.sleep(0.5)  # the main thread may be about to say it
        if _Run.told:
            time.sleep(3.0)
        else:
            why = "JAX ended this process (see above)"
            text = _gone(hosts.index, hosts.count, why) if _Run.joined else _alone(hosts, seconds, why)
            print(f"error: {text}", file=sys.stderr, flush=True)
        os._exit(1)

    if _Run.handler is None and sys.platform != "win32":
        _Run.handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(aborted)
        # Python's own handlers run in the main thread, which may be waiting for the process that is gone.
        ctypes.CDLL(None).signal(int(signal.SIGABRT), _Run.handler)
