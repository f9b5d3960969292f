"""How the process keeps memory that XLA frees on CPUs."""

from __future__ import annotations

import ctypes
import functools
import os
import platform


@functools.cache
def keep_large_buffers() -> bool:
    """Let glibc keep large buffers on the heap; return whether it does (elsewhere there is nothing to do).

    XLA's CPU programs allocate their memory anew at every call, and glibc maps and unmaps large pieces each time: on a
    convolutional step of 14 ms that costs another 10 ms of page faults, and batches of 150 kB come at 0.4 instead of
    1.1 million examples a second. The process keeps the memory, about 150 MB with those two. JAXPORT_KEEP_BUFFERS=0 in
    the environment turns it off.
    """
    if os.environ.get("JAXPORT_KEEP_BUFFERS") == "0" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    return bool(mallopt(mmap_threshold, 1 << 30) and mallopt(trim_threshold, (1 << 31) - 1))
