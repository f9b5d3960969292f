"""A folder of checkpoints: Orbax writes them, each complete or not there, and takes old ones away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxport.errors import UsageError

_ARRAYS, _VALUES = "arrays", "run"


class Store:
    """Checkpoints by number, each of them arrays by name and one JSON value.

    Args:
        folder: exists.
        keep: how many of the newest stay, None for all.
        asynchronous: whether `write` returns before everything is on the disk.
    """

    def __init__(self, folder: Path, keep: int | None, asynchronous: bool) -> None:
        import orbax.checkpoint as ocp

        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, cleanup_tmp_directories=True, enable_async_checkpointing=asynchronous
        )
        self.folder, self.asynchronous, self._ocp = folder, asynchronous, ocp
        with self._writing():
            self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def latest(self) -> int | None:
        """Return the number of the newest complete checkpoint, None without one."""
        return self._manager.latest_step()

    def path(self, number: int) -> Path:
        """Return the folder of one checkpoint."""
        return self.folder / str(number)

    def read_values(self, number: int) -> Any:
        """Return the JSON value.

        Raises:
            UsageError: it cannot be read.
        """
        args = self._ocp.args
        with self._reading(number):
            return self._manager.restore(number, args=args.Composite(**{_VALUES: args.JsonRestore()}))[_VALUES]

    def read_arrays(self, number: int, like: Mapping[str, Any]) -> dict[str, Any]:
        """Return all arrays: where `like` has a JAX array, on the same devices; where it has None, of NumPy.

        Raises:
            UsageError: they cannot be read.
        """
        wanted = {name: self._restored_as(array) for name, array in like.items() if array is None or array.size}
        found = {name: array for name, array in like.items() if array is not None and not array.size}
        with self._reading(number):
            # One array first: where many fail together, the libraries print a traceback of each.
            for names in (list(wanted)[:1], list(wanted)):
                found |= self._restore(number, {name: wanted[name] for name in names})
        return found

    def _restore(self, number: int, wanted: dict[str, Any]) -> dict[str, Any]:
        args = self._ocp.args
        how = args.PyTreeRestore(dict.fromkeys(wanted, 0), restore_args=wanted, partial_restore=True)
        return dict(self._manager.restore(number, args=args.Composite(**{_ARRAYS: how}))[_ARRAYS]) if wanted else {}

    def _restored_as(self, array: Any) -> Any:
        if array is None:
            return self._ocp.RestoreArgs(restore_type=np.ndarray)
        return self._ocp.ArrayRestoreArgs(sharding=array.sharding, global_shape=array.shape)

    def write(self, number: int, values: Any, arrays: Mapping[str, Any]) -> None:
        """Write a checkpoint; arrays without a number in them are left out, as Orbax refuses them.

        Raises:
            UsageError: this one, or one before it, could not be written.
        """
        args = self._ocp.args
        filled = {name: array for name, array in arrays.items() if array.size}
        if self.asynchronous:
            filled = _detached(filled)
        items = {_VALUES: args.JsonSave(values), _ARRAYS: args.PyTreeSave(filled)}
        with self._writing():
            if number not in self._manager.all_steps():
                self._manager.save(number, args=args.Composite(**items), force=True)

    def wait(self) -> None:
        """Wait until everything is on the disk.

        Raises:
            UsageError: something could not be written.
        """
        with self._writing():
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    def close(self) -> None:
        """Wait and end the threads."""
        with self._writing():
            self._manager.close()

    @contextlib.contextmanager
    def _reading(self, number: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Orbax and its libraries raise errors of many kinds
            raise UsageError(
                f"checkpoint {self.path(number)} is damaged ({_reason(error)}); delete that folder, and training goes "
                "on from the one before it"
            ) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise UsageError(
                f"Checkpoint: folder={str(self.folder)!r} cannot be written: {_reason(error)}; make room or give a "
                "folder that can"
            ) from error


def _detached(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return arrays that the next step does not write over while they are read.

    On a CPU the host reads the very memory that the next step takes over; from other devices a copy is made before the
    writing begins.
    """
    cpu = {n: a for n, a in arrays.items() if isinstance(a, jax.Array) and _on_cpu(a)}
    return arrays | jax.tree.map(jnp.copy, cpu)


def _on_cpu(array: jax.Array) -> bool:
    return next(iter(array.sharding.device_set)).platform == "cpu"


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
