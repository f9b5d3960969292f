"""Where batches come from: arrays on the device, arrays of the host that are sent in pieces, or a loader's batches."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from jaxport.data import Batches as LoaderBatches
from jaxport.data import DataLoader
from jaxport.data.dataset import MapDataset, stored_arrays
from jaxport.data.prefetch import in_background
from jaxport.errors import UsageError

from .batches import Batches
from .state import Batch

# Arrays of up to this part of a device's memory stay there whole; of 8 GB where the device does not say.
_RESIDENT_PART = 0.25
_UNKNOWN_MEMORY = 8 << 30


@dataclass(frozen=True)
class Resident:
    """Examples that are on the device as stored; steps gather their rows there.

    Attributes:
        data: all examples.
        batches: how they are divided.
        key: of the order; None where none is drawn.
        loader: the loader whose order and transforms are followed, if there is one.
        first_epoch: the loader's epoch at which the run started.
    """

    data: Batch
    batches: Batches
    key: jax.Array | None
    loader: DataLoader | None = None
    first_epoch: int = 0

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return self.batches.steps

    @property
    def rows(self) -> int:
        """Rows that metrics see in an epoch, padding included."""
        return self.steps * self.batches.rows

    @property
    def traceable(self) -> bool:
        """Whether the order of an epoch can be computed inside a compiled program."""
        return self.loader is None

    @property
    def fixed(self) -> Any:
        """What compiled programs depend on beside their arguments: how rows are divided, the loader's transforms."""
        return self.batches, None if self.loader is None else (self.loader, self.loader.seed, self.first_epoch)

    def with_key(self, key: Any) -> Resident:
        """Return the source with another key of the order."""
        return replace(self, key=key)

    def order(self, epoch: Any) -> Any:
        """Return the rows of each step of an epoch, int32 (steps, rows); a loader's on the host."""
        if self.loader is None:
            return self.batches.order(self.key, epoch)
        order = self.loader.indices(self.first_epoch + int(epoch))[: self.batches.examples]
        return self.batches.arrange(np.asarray(order, np.int32))

    def first_order(self) -> Any:
        """Return what `order` does of the first epoch, outside of a program."""
        return self.order(0) if self.loader is not None or self.batches.drawn else self.batches.stored_order()

    def take(self, data: Batch, order: jax.Array, epoch: Any, step: Any) -> Batch:
        """Return the batch of one step; traceable."""
        batch = self.batches.take(data, order, step)
        if self.loader is None:
            return batch
        parts = self.loader.transformed(batch.x, batch.y, epoch=self.first_epoch + epoch, number=step)
        return batch._replace(x=parts[0], y=parts[1])

    def position(self) -> dict[str, int] | None:
        """Return where the loader started."""
        return None if self.loader is None else {"seed": self.loader.seed, "epoch": self.first_epoch, "position": 0}

    def at(self, position: dict[str, int] | None) -> Resident:
        """Return the source with its loader started where `position` says."""
        return self if position is None or self.loader is None else replace(self, first_epoch=int(position["epoch"]))

    def finish(self, epochs: int) -> None:
        """Let the loader stand behind the epochs that were taken from it."""
        if self.loader is not None:
            self.loader.load_state_dict({"seed": self.loader.seed, "epoch": self.first_epoch + epochs, "position": 0})


@dataclass(frozen=True)
class Streamed:
    """Batches that are made on the host while the device computes.

    Attributes:
        epoch: (epoch, first step) → iterator of batches of NumPy arrays, all of one shape, padded.
        steps: steps in an epoch, None when the data does not say.
        rows: rows that metrics see in an epoch, padding and other processes' included; None when the data does not say.
        examples: in an epoch, where the data says.
        loader: the loader that they come from, if it is one of jaxport.data.
        first_epoch: the loader's epoch at which the run started.
        own: whether the batches hold this process' part of the rows alone.
    """

    epoch: Callable[[int, int], Iterator[Batch]]
    steps: int | None
    rows: int | None
    examples: int | None = None
    loader: DataLoader | None = None
    first_epoch: int = 0
    own: bool = False
    traceable: bool = False

    def position(self) -> dict[str, int] | None:
        """Return where the loader started; nothing where an epoch's number says all."""
        return None if self.loader is None else {"seed": self.loader.seed, "epoch": self.first_epoch, "position": 0}

    def at(self, position: dict[str, int] | None) -> Streamed:
        """Return the source with its loader started where `position` says."""
        if position is None or self.loader is None:
            return self
        shift, epoch = int(position["epoch"]) - self.first_epoch, self.epoch
        shifted = lambda number, first: epoch(number + shift, first)  # noqa: E731
        return replace(self, epoch=shifted, first_epoch=int(position["epoch"]))

    def finish(self, epochs: int) -> None:
        """Let the loader stand behind the epochs that were taken from it."""
        if self.loader is not None:
            self.loader.load_state_dict({"seed": self.loader.seed, "epoch": self.first_epoch + epochs, "position": 0})


Source = Resident | Streamed


def as_source(
    name: str,
    data: Any,
    *,
    batch_size: int | None,
    shuffle: bool,
    seed: int,
    multiple: int = 1,
    put: Callable[[Any], Any] = jax.device_put,
    weight: Any = None,
    memory: int | None = None,
) -> Source:
    """Return where the batches of `data` come from.

    Args:
        name: of the argument, for errors.
        data: (x, y), (x, y, weight), a data set of jaxport.data, a DataLoader, or an iterable of such batches.
        batch_size: examples in a step, None for all; a loader has its own.
        shuffle: whether each epoch has a new order; a loader decides itself.
        seed: of the order.
        multiple: rows of a step are padded to a multiple of this.
        put: puts arrays on the device or devices.
        weight: of each example.
        memory: bytes that data on the device may take; None asks the device.

    Raises:
        UsageError: data that is none of these, is empty, or whose parts do not fit.
    """
    if isinstance(data, DataLoader):
        return _of_loader(name, data, multiple, put, weight, memory)
    if isinstance(data, MapDataset):
        return _of_dataset(name, data, batch_size, shuffle, seed, multiple, put, weight, memory)
    if isinstance(data, (tuple, list)) and _is_arrays(data):
        return _of_arrays(name, _as_batch(name, tuple(data), weight), batch_size, shuffle, seed, multiple, put, memory)
    if weight is not None:
        raise UsageError(f"sample_weight is given beside batches of {name}; put it into them: (x, y, weight)")
    if not hasattr(data, "__iter__"):
        raise UsageError(f"{name} is {type(data).__name__}; it must be (x, y), a data set, or an iterable of batches")
    return _of_batches(name, LoaderBatches(data, to_device=False), multiple, lambda epoch, first: None)


def _is_arrays(data: Any) -> bool:
    """Tell (x, y) from a list of batches."""
    if isinstance(data, list) and all(isinstance(part, (tuple, list, dict)) for part in data):
        return False
    return len(data) in (2, 3)


def _as_batch(name: str, parts: tuple[Any, ...], weight: Any = None) -> Batch:
    if len(parts) not in (2, 3):
        raise UsageError(f"{name} has {len(parts)} parts; it must be (x, y) or (x, y, weight)")
    if weight is not None and len(parts) == 3:
        raise UsageError(f"sample_weight is given, and {name} has a third part; give weights once")
    x, y = (jax.tree.map(_as_array, part, is_leaf=lambda p: isinstance(p, list)) for part in parts[:2])
    weight = parts[2] if len(parts) == 3 else weight
    return Batch(x, y, None, None if weight is None else _as_array(weight))


def _as_array(array: Any) -> Any:
    return array if isinstance(array, jax.Array) else np.asarray(array)


def _examples(name: str, batch: Batch) -> int:
    """Return the number of examples, which all arrays must have."""
    sizes = {len(leaf) if np.ndim(leaf) else 0 for leaf in jax.tree.leaves((batch.x, batch.y))}
    if len(sizes) != 1 or 0 in sizes:
        x, y = (len(jax.tree.leaves(part)[0]) if np.ndim(jax.tree.leaves(part)[0]) else 0 for part in batch[:2])
        raise UsageError(f"{name}: x and y must have the same number of rows, at least 1; got {x}, {y}")
    examples = sizes.pop()
    if batch.weight is not None and batch.weight.shape != (examples,):
        raise UsageError(f"{name}: weights have shape {batch.weight.shape}; it must be ({examples},), one an example")
    return examples


def _batches(examples: int, size: int | None, shuffle: bool, multiple: int) -> Batches:
    if size is not None and size < 1:
        raise UsageError(f"batch_size must be at least 1, got {size}")
    return Batches(examples, examples if size is None else min(size, examples), shuffle, multiple)


def _fits(data: Any, memory: int | None) -> bool:
    limit = memory
    if limit is None:
        limit = int(_RESIDENT_PART * (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", _UNKNOWN_MEMORY))
    return sum(leaf.nbytes for leaf in jax.tree.leaves(data)) <= limit


def _of_arrays(
    name: str,
    data: Batch,
    size: int | None,
    shuffle: bool,
    seed: int,
    multiple: int,
    put: Callable[[Any], Any],
    memory: int | None,
) -> Source:
    batches = _batches(_examples(name, data), size, shuffle, multiple)
    key = jax.random.key(seed) if batches.drawn else None
    if _fits(data, memory):
        return Resident(put(data), batches, put(key))
    order = jax.jit(lambda epoch: batches.order(key, epoch))

    def epoch(number: int, first: int) -> Iterator[Batch]:
        rows = np.asarray(order(np.int32(number)))

        def make(step: int) -> Batch:
            batch: Batch = jax.tree.map(lambda array: np.asarray(array[rows[step]]), data)
            return batch._replace(where=np.asarray(_where(batches, step))) if batches.padded else batch

        return in_background(make, range(first, batches.steps))

    return Streamed(epoch, batches.steps, batches.steps * batches.rows, batches.examples)


def _where(batches: Batches, step: int) -> np.ndarray:
    row = np.arange(batches.rows)
    return (row < batches.size) & (step * batches.size + row < batches.examples)


def _of_dataset(
    name: str, data: MapDataset, size: int | None, shuffle: bool, seed: int, multiple: int, put: Any, weight: Any,
    memory: int | None,
) -> Source:  # fmt: skip
    arrays, rows = stored_arrays(data)
    if arrays is not None and not any(hasattr(array, "path") for array in arrays):
        parts = arrays if rows is None else tuple(array[rows] for array in arrays)
        return _of_arrays(name, _as_batch(name, parts, weight), size, shuffle, seed, multiple, put, memory)
    loader = DataLoader(data, size or len(data), shuffle, seed=seed, to_device=False)
    return _of_loader(name, loader, multiple, put, weight, memory)


def _of_loader(
    name: str, loader: DataLoader, multiple: int, put: Callable[[Any], Any], weight: Any, memory: int | None
) -> Source:
    if weight is not None:
        raise UsageError(f"sample_weight is given beside a loader for {name}; put it into the data set: (x, y, weight)")
    stored = loader.stored()
    if stored is not None and loader.position == 0 and loader.process[1] == 1 and _fits(stored, memory):
        data = _as_batch(name, stored)
        examples = len(loader) * loader.batch_size if loader.drop_last else len(loader.dataset)
        examples = min(examples, len(loader.dataset))
        batches = _batches(examples, loader.batch_size, loader.shuffle, multiple)
        return Resident(put(data), batches, None, loader, loader.epoch)
    start, own = loader.epoch, copy.copy(loader)
    own.to_device = False  # the run puts the batches where they belong

    def seek(epoch: int, first: int) -> None:
        own.load_state_dict({"seed": loader.seed, "epoch": start + epoch, "position": first})

    streamed = _of_batches(name, own, multiple, seek)
    return replace(streamed, examples=len(loader.dataset), loader=loader, first_epoch=start)


def _of_batches(name: str, source: Any, multiple: int, seek: Callable[[int, int], None]) -> Streamed:
    """Return a stream of a loader's batches, all padded to the size of its first."""
    steps = len(source) if hasattr(getattr(source, "source", source), "__len__") else None
    size: list[int] = []
    own, parts = False, 1
    if isinstance(source, DataLoader):
        size.append(source.batch_size // source.process[1])
        own, parts = _parts_of(name, source)
        multiple = -(-multiple // parts)

    def epoch(number: int, first: int) -> Iterator[Batch]:
        skip = 0 if isinstance(source, DataLoader) else first
        seek(number, first)
        for batch in source:
            if skip:
                skip -= 1
                continue
            made = _as_batch(name, tuple(batch))
            rows = _examples(name, made)
            size[:] = size or [rows]
            yield _pad(made, rows, max(size[0], rows), multiple)

    rows = None if steps is None or not size else steps * (-(-size[0] // multiple) * multiple) * parts
    return Streamed(epoch, steps, rows, own=own)


def _parts_of(name: str, loader: DataLoader) -> tuple[bool, int]:
    """Return whether a loader gives this process its own rows, and over how many processes a batch is divided.

    One process alone may train on a part.
    """
    here = jax.process_index(), jax.process_count()
    if here[1] == 1 or loader.process[1] == 1:
        return False, 1
    if loader.process != here:
        raise UsageError(f"{name}: the loader's process is {loader.process}; this one is {here} (index, count)")
    return True, here[1]


def _pad(batch: Batch, rows: int, size: int, multiple: int) -> Batch:
    whole = -(-size // multiple) * multiple

    def padded(array: Any) -> np.ndarray:
        array = np.asarray(array)
        return np.concatenate([array, np.repeat(array[:1], whole - rows, axis=0)]) if whole > rows else array

    padded_batch: Batch = jax.tree.map(padded, batch)
    return padded_batch._replace(where=np.arange(whole) < rows)
