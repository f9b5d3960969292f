"""Who writes when several processes run the same script."""

from __future__ import annotations

import jax


def writes() -> bool:
    """Return whether this process is the one that prints and writes files: the first of `jax.distributed`.

    The others compute the same, since what reads the device must be called by all, and leave it at that.
    """
    return jax.process_index() == 0
