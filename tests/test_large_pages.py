"""Memory in large pages: what the environment says, and how the command begins anew."""

import os
import platform
import subprocess
import sys

import pytest

from jaxport import large_pages, start
from jaxport.bench.machine import this_machine
from jaxport.bench.process import environment, keeping
from jaxport.large_pages import VARIABLE, with_large_pages, would_help

HUGE = "glibc.malloc.hugetlb"


def test_the_tunable_joins_those_that_are_there():
    assert with_large_pages({"A": "b"}) == {"A": "b", VARIABLE: f"{HUGE}=1"}
    assert with_large_pages({VARIABLE: "glibc.malloc.check=3"}) == {VARIABLE: f"glibc.malloc.check=3:{HUGE}=1"}


@pytest.mark.parametrize("value", [f"{HUGE}=0", f"glibc.malloc.check=3:{HUGE}=2"])
def test_a_value_of_the_users_stays(value):
    assert with_large_pages({VARIABLE: value}) == {VARIABLE: value}


@pytest.mark.parametrize(("text", "helps"), [("always [madvise] never\n", True), ("[always] madvise never\n", False)])
def test_only_a_kernel_that_waits_to_be_asked_is_asked(tmp_path, monkeypatch, text, helps):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.35"))
    (tmp_path / "enabled").write_text(text)
    assert would_help(tmp_path / "enabled") is helps
    assert not would_help(tmp_path / "absent")


@pytest.mark.parametrize("library", [("glibc", "2.34"), ("", ""), ("libc", "2.36")])
def test_other_libraries_cannot_ask(tmp_path, monkeypatch, library):
    (tmp_path / "enabled").write_text("always [madvise] never\n")
    monkeypatch.setattr(platform, "libc_ver", lambda: library)
    assert not would_help(tmp_path / "enabled")


@pytest.fixture
def begun(monkeypatch):
    """Return the calls that would replace this process."""
    calls = []
    monkeypatch.setattr(os, "execve", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(large_pages, "would_help", lambda: True)
    monkeypatch.delenv(VARIABLE, raising=False)
    return calls


def test_a_process_begins_anew_once(begun, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-X", "dev", "-m", "jaxport", "run", "lenet"])
    large_pages.restart()
    [(path, command, env)] = begun
    assert path == sys.executable
    assert command == [sys.executable, "-X", "dev", "-m", "jaxport", "run", "lenet"]
    assert env == {**os.environ, VARIABLE: f"{HUGE}=1"}
    monkeypatch.setenv(VARIABLE, env[VARIABLE])
    large_pages.restart()
    assert len(begun) == 1


def test_no_process_begins_anew_where_it_would_not_help(begun, monkeypatch):
    monkeypatch.setattr(large_pages, "would_help", lambda: False)
    large_pages.restart()
    assert not begun


@pytest.mark.parametrize(("command", "count"), [("run", 1), ("list", 0)])
def test_only_a_training_begins_anew(begun, monkeypatch, command, count):
    monkeypatch.setattr(sys, "argv", ["jaxport", command])
    monkeypatch.setattr("jaxport.cli.main", lambda: 7)
    assert start.main() == 7
    assert len(begun) == count


def test_the_commands_answer_and_exit_status_survive():
    ran = [
        subprocess.run([sys.executable, "-m", "jaxport", *arguments], capture_output=True, text=True)
        for arguments in (["--version"], ["run", "no_such_port"])
    ]
    assert [each.returncode for each in ran] == [0, 2]
    assert "no_such_port" in ran[1].stderr


def test_every_worker_of_the_benchmark_has_them(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    for env in (environment(tmp_path), keeping(tmp_path)):
        assert env[VARIABLE] == f"{HUGE}=1"


@pytest.mark.parametrize(
    ("value", "kernel", "told"), [("", True, True), (f"{HUGE}=0", True, False), ("", False, False)]
)
def test_a_result_tells_whether_they_were_there(monkeypatch, value, kernel, told):
    monkeypatch.setattr(large_pages, "would_help", lambda: kernel)
    monkeypatch.setenv(VARIABLE, value)
    assert ("large pages" in this_machine().text()) is told
