"""Which devices a run uses, and how parameters are split over them."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import jax
from jax.sharding import AxisType, Mesh, PartitionSpec

from jaxport.errors import UsageError

from .sharding import AXIS, Placement, Rule

# Smaller arrays stay whole on every device: spreading them saves nothing and costs a message each.
_LEAST = 1024


def fsdp(axis_size: int, least: int = _LEAST) -> Rule:
    """Return the rule that splits each parameter along its longest axis that `axis_size` divides.

    Parameters with fewer than `least` numbers, or without such an axis, stay whole.
    """

    def rule(path: str, array: Any) -> PartitionSpec | None:
        del path
        axes = [axis for axis in range(array.ndim) if array.shape[axis] % axis_size == 0]
        if math.prod(array.shape) < least or not axes:
            return None
        longest = max(axes, key=lambda axis: array.shape[axis])
        return PartitionSpec(*(AXIS if axis == longest else None for axis in range(array.ndim)))

    return rule


def make_placement(
    device: Any = None,
    devices: int | None = None,
    mesh: Mesh | None = None,
    shard: Literal["fsdp"] | Rule | None = None,
) -> Placement:
    """Return where a run's arrays live: on one device, or where several processes work together, on all of theirs.

    Args:
        device: one device, or the name of a platform ("cpu", "gpu", "tpu"), of this host.
        devices: data parallel over the first so many devices; over all of several hosts, where there are several.
        mesh: a mesh with an axis "data"; whatever the kind of its axes, they are used as Auto.
        shard: None copies parameters to every device; "fsdp" splits them and the optimiser's state over the axis
            "data"; or a rule (path, array) → PartitionSpec or None.

    Raises:
        UsageError: more than one of device, devices and mesh; too many devices; a mesh without the axis, or without
            devices of each process.
    """
    if sum(argument is not None for argument in (device, devices, mesh)) > 1:
        raise UsageError(f"device={device!r}, devices={devices!r} and mesh are given; give one of them")
    if device is not None:
        return Placement(device=_device(device))
    if devices is None and mesh is None and jax.process_count() > 1:
        devices = len(jax.devices())
    if devices is not None:
        mesh = _mesh_of(devices)
    if mesh is None:
        if shard is not None:
            raise UsageError(f"shard is {shard!r}; it needs several devices: give devices=n or mesh=")
        return Placement()
    if AXIS not in mesh.shape:
        raise UsageError(f'mesh has the axes {list(mesh.axis_names)}; one must be named "{AXIS}"')
    _check_processes(mesh)
    mesh = Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * mesh.devices.ndim)
    rule = fsdp(mesh.shape[AXIS]) if shard == "fsdp" else shard
    if rule is not None and not callable(rule):
        raise UsageError(f"shard is {shard!r}; it must be 'fsdp', a function (path, array) → PartitionSpec, or None")
    return Placement(mesh=mesh, rule=rule)


def _mesh_of(devices: int) -> Mesh:
    available = jax.devices()
    if isinstance(devices, bool) or not isinstance(devices, int) or not 1 <= devices <= len(available):
        raise UsageError(
            f"devices is {devices!r}; it must be from 1 to {len(available)}, the devices that JAX sees "
            "(JAX_NUM_CPU_DEVICES=n in the environment splits a CPU)"
        )
    return jax.make_mesh((devices,), (AXIS,), axis_types=(AxisType.Auto,), devices=available[:devices])


def _check_processes(mesh: Mesh) -> None:
    """Refuse a mesh that leaves a process with nothing to do: it would wait for ever."""
    idle = set(range(jax.process_count())) - {device.process_index for device in mesh.devices.flat}
    if idle:
        raise UsageError(
            f"devices or mesh has {mesh.devices.size} of {len(jax.devices())} devices, and none of process "
            f"{min(idle)}; each of the {jax.process_count()} processes must have some"
        )


def _device(device: Any) -> Any:
    if isinstance(device, jax.Device):
        return device
    try:
        return jax.local_devices(backend=device)[0]
    except (RuntimeError, TypeError):
        raise UsageError(
            f"device is {device!r}; it must be a jax.Device, or 'cpu', 'gpu' or 'tpu' if there is one"
        ) from None


def tell_padding(size: int, multiple: int) -> None:
    """Say once a run that the devices do not divide a batch."""
    if size % multiple:
        padded = -(-size // multiple) * multiple
        warnings.warn(
            f"batch_size is {size} on {multiple} devices: each batch is padded to {padded} rows, masked in all results",
            UserWarning,
            stacklevel=3,
        )
