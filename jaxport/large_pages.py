"""Memory in large pages on Linux, for a process that trains on the CPU.

A step of a convolutional network takes tens of megabytes for a moment and gives them back, and glibc gives them back to
the kernel, which clears them again for the next step, 4 KiB at a time: a seventh of unet's step. With glibc's tunable
``glibc.malloc.hugetlb=1`` [1]_ memory comes in pages of 2 MiB instead. Only the environment of a new process sets it::

    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python train.py

``jaxport run`` and every process of ``jaxport bench``, PyTorch's too, have it by themselves. Memory is rounded up to
whole pages; results do not change.

.. [1] GNU C Library manual, "Memory Allocation Tunables" (glibc 2.35 and newer); kernel documentation, "Transparent
   Hugepage Support".
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "GLIBC_TUNABLES"
_NAME = "glibc.malloc.hugetlb"
_FIRST_GLIBC = (2, 35)
_KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def with_large_pages(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the tunable, beside others in it; a value that is there already stays.

    Other C libraries and older glibc ignore the variable.
    """
    tunables = list(filter(None, env.get(VARIABLE, "").split(":")))
    if any(each.partition("=")[0] == _NAME for each in tunables):
        return dict(env)
    return {**env, VARIABLE: ":".join([*tunables, f"{_NAME}=1"])}


def would_help(kernel: Path = _KERNEL) -> bool:
    """Return whether the kernel gives large pages to those who ask, and to them alone, and glibc can ask."""
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < _FIRST_GLIBC:
        return False
    try:
        return "[madvise]" in kernel.read_text()
    except OSError:  # not Linux, or built without them
        return False


def in_workers() -> bool:
    """Return whether processes with `with_large_pages` of this one's environment have them."""
    return would_help() and f"{_NAME}=0" not in with_large_pages(os.environ)[VARIABLE].split(":")


def restart() -> None:
    """Begin this process anew with large pages, same command and process number, unless it has them or cannot.

    To be called first thing, before anything is read or written.
    """
    env = with_large_pages(os.environ)
    if env != dict(os.environ) and would_help() and sys.executable:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], env)
