"""A worker process that answers one JSON line with one JSON line, and can neither hang nor outlive its owner."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jaxport.errors import JaxportError
from jaxport.large_pages import with_large_pages

# How long a worker may take to end by itself when its input ends.
_GRACE_S = 5.0


class WorkerError(JaxportError):
    """A worker died, hung, or says that it failed."""


def environment(folder: str | Path, **extra: str) -> dict[str, str]:
    """Return the variables that every worker gets: this one's, large pages, and compilers that start from nothing."""
    package_root = str(Path(__file__).parents[2])
    paths = [package_root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **with_large_pages(os.environ),
        "PYTHONPATH": os.pathsep.join(paths),
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(Path(folder) / "inductor"),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # the frameworks share one GPU's memory
        "KERAS_BACKEND": "jax",
        **extra,
    }


def keeping(folder: str | Path) -> dict[str, str]:
    """Return variables with which compilers keep in `folder` what they compile, and find it again."""
    return environment(
        folder,
        JAX_ENABLE_COMPILATION_CACHE="true",
        JAX_COMPILATION_CACHE_DIR=str(Path(folder) / "kept-xla"),
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
        TORCHINDUCTOR_FORCE_DISABLE_CACHES="0",
        TORCHINDUCTOR_CACHE_DIR=str(Path(folder) / "kept-inductor"),
    )


def worker_command(*arguments: str) -> list[str]:
    """Return the command line of the benchmark's own worker."""
    return [sys.executable, "-m", "jaxport.bench.worker", *arguments]


class Worker:
    """A process of its own; leaving the ``with`` block ends it, at once when that is by an exception.

    It has a session of its own, so that Ctrl-C reaches the owner alone, which then ends it and all that it started.
    When the owner dies, its input ends, which ends it.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, env=env, text=True, bufsize=1, start_new_session=True
        )
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._noise: deque[str] = deque(maxlen=20)
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._read_answers, self._read_noise)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def ask(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            WorkerError: the process ended, gave no answer within `timeout` seconds (it is then killed), or failed.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(dict(request)) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=timeout)
        except (BrokenPipeError, ValueError):
            line = None
        except queue.Empty:
            self.kill()
            raise WorkerError(f"no answer within {timeout:g} s") from None
        if line is None:
            raise WorkerError(self._obituary())
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def kill(self) -> None:
        """End the process and whatever it started, at once."""
        try:
            if hasattr(os, "killpg"):
                os.killpg(self.pid, signal.SIGKILL)
            else:
                self._process.kill()
        except ProcessLookupError:
            pass
        self._reap()

    def close(self) -> None:
        """End the process in an orderly way if it can, else at once."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(_GRACE_S)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass
        self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.kill()

    def _reap(self) -> None:
        self._process.wait()
        for thread in self._threads:
            thread.join(_GRACE_S)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            try:
                if stream is not None:
                    stream.close()
            except BrokenPipeError:
                pass

    def _obituary(self) -> str:
        self.kill()
        last = next((line for line in reversed(self._noise) if line.strip()), "").strip()
        return f"the process ended with code {self._process.returncode}" + (f": {last}" if last else "")

    def _read_answers(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def _read_noise(self) -> None:
        assert self._process.stderr is not None
        self._noise.extend(self._process.stderr)
