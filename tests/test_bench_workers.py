"""The benchmark's worker processes: the protocol, and that none of them hangs or outlives its owner."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxport.bench.process import Worker, WorkerError, environment

NOISY = """
import os, subprocess, sys
from jaxport.bench.worker import private_output
answer = private_output()
print("noise from Python", flush=True)
os.write(1, b"noise from C\\n")
subprocess.run(["echo", "noise from a child"])
for line in sys.stdin:
    answer({"heard": line.strip()})
"""


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def test_noise_on_standard_output_does_not_reach_the_protocol(tmp_path):
    with Worker(python(NOISY), environment(tmp_path)) as worker:
        assert worker.ask({"a": 1}, 60.0) == {"heard": '{"a": 1}'}
        assert worker.ask({"b": 2}, 60.0) == {"heard": '{"b": 2}'}
    assert worker._process.returncode == 0


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")

FAILURES = {
    "dies": ("import sys; sys.stdin.readline(); sys.exit('the disk is full')", 60.0, "code 1: the disk is full"),
    "dies at once": ("", 60.0, "code 0"),
    "is killed": ("import os; os.kill(os.getpid(), 9)", 60.0, "code -9"),
    "hangs": ("import time; time.sleep(600)", 0.2, "no answer within 0.2 s"),
    "says so": ("""print('{"error": "ValueError: no"}', flush=True); input()""", 60.0, "^ValueError: no$"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failing_worker_is_an_error_and_is_gone(name):
    code, timeout, message = FAILURES[name]
    with Worker(python(code)) as worker, pytest.raises(WorkerError, match=message):
        worker.ask({}, timeout)
    assert worker._process.poll() is not None


@needs_proc
def test_leaving_by_an_exception_kills_what_a_worker_started():
    code = "import subprocess; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
    worker = Worker(python(code))
    child = int(worker._answers.get(timeout=60) or 0)
    worker.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert worker._process.poll() is not None
    assert _ends(child)


@needs_proc
def test_a_worker_ends_when_its_owner_is_killed(tmp_path):
    owner = (
        "from jaxport.bench.process import *\nimport os, signal\n"
        "worker = Worker(worker_command('jax', 'digits', '.'), environment('.'))\n"
        "print(worker.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    env = environment(tmp_path)
    pid = int(subprocess.run(python(owner), env=env, capture_output=True, text=True, cwd=tmp_path).stdout)
    assert _ends(pid)


def _ends(pid: int) -> bool:
    """Wait until a process is gone."""
    deadline = time.monotonic() + 60
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _alive(pid)


def _alive(pid: int) -> bool:
    """A zombie that nobody has waited for is dead."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
