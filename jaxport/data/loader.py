"""Batches of a data set: in a new order each epoch, made on the device or ahead of it in the background."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import numpy as np
from jax import lax

from jaxport.errors import UsageError
from jaxport.memory import keep_large_buffers

from .array_file import ArrayFile
from .collate import stacked
from .dataset import ArrayDataset, stored_arrays
from .image_transforms import Transform, apply, needs_key
from .prefetch import in_background

Order = Literal["numpy", "torch"]
# Data sets of up to this part of a device's memory are kept there whole; of 8 GB where the device does not say.
_RESIDENT_PART = 0.25
_UNKNOWN_MEMORY = 8 << 30
# Batches that one call makes on the device, at most, and their bytes as stored.
_TOGETHER, _TOGETHER_BYTES = 16, 4 << 20


class DataLoader:
    """Batches of `dataset`, each a tuple of arrays; iterating once is one epoch, and each epoch has its own order.

    A data set of arrays that fits stays on the device as stored (uint8 stays uint8) and is gathered and transformed
    there. Anything else is read in the background, some batches ahead, and sent to the device as it comes.

    The batches depend on `seed` and the epoch's number alone. A loop that was left early goes on where it stopped;
    `state_dict` and `load_state_dict` carry the position to another run.

    Args:
        dataset: a `MapDataset`, anything with len() and [i], or arrays of one length as a tuple.
        batch_size: examples in a batch, over all processes.
        shuffle: whether each epoch has a new order.
        drop_last: whether a last short batch is left out.
        seed: of the order and of random transforms.
        transform: applied to the first array of a batch (see `jaxport.data.transforms`); a random one gets a key that
            depends on seed, epoch and position.
        target_transform: applied to the second array.
        collate: list of examples → tuple of arrays; by default the examples' parts are stacked.
        order: "numpy" draws with NumPy's generator; "torch" gives the order of torch's DataLoader after
            ``torch.manual_seed(seed)`` with no other draw in between.
        num_workers: threads that read, where the data set is not kept on the device; 0 reads in one.
        prefetch: batches that are made ahead.
        to_device: False gives NumPy arrays and never touches a device.
        process: (index, count): with several hosts each gets its own part of each batch.

    Raises:
        UsageError: an argument that does not fit, named.

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        seed: int = 0,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        collate: Callable[[list[Any]], Any] | None = None,
        order: Order = "numpy",
        num_workers: int = 0,
        prefetch: int = 2,
        to_device: bool = True,
        process: tuple[int, int] = (0, 1),
    ) -> None:
        self.dataset = ArrayDataset(*dataset) if isinstance(dataset, tuple) else dataset
        self.batch_size = _at_least("batch_size", batch_size, 1)
        self.num_workers, self.prefetch = _at_least("num_workers", num_workers, 0), _at_least("prefetch", prefetch, 1)
        if order not in ("numpy", "torch"):
            raise UsageError(f"order is {order!r}; it must be 'numpy' or 'torch'")
        if len(self.dataset) == 0:
            raise UsageError("dataset has 0 examples; at least one is needed")
        self.shuffle, self.drop_last, self.seed, self.order = shuffle, drop_last, seed, order
        self.transforms, self.collate = (transform, target_transform), collate
        self.to_device, self.process = to_device, _process(process, batch_size, len(self.dataset), drop_last)
        self.epoch = self.position = 0
        self._arrays, self._rows = (None, None) if collate is not None else stored_arrays(self.dataset)
        self._on_device: tuple[jax.Array, ...] | None = None
        self._torch_orders: tuple[int, Iterator[np.ndarray]] | None = None

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        whole, left = divmod(len(self.dataset), self.batch_size)
        return whole + (left > 0 and not self.drop_last)

    def state_dict(self) -> dict[str, int]:
        """Return where the loader is: the epoch, and how many of its batches have been given out."""
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to the place that `state_dict` named; the next iteration goes on there.

        Raises:
            UsageError: a name is missing, or the position lies outside an epoch.
        """
        wanted = ["seed", "epoch", "position"]
        if sorted(state) != sorted(wanted) or not 0 <= state["position"] <= len(self) or state["epoch"] < 0:
            raise UsageError(f"state is {state!r}; it must have {wanted}, with epoch ≥ 0 and position 0 to {len(self)}")
        self.seed, epoch, position = (int(state[name]) for name in wanted)
        over, self.position = divmod(position, max(1, len(self)))  # behind the last batch is the next epoch
        self.epoch = epoch + over
        self._torch_orders = None

    def indices(self, epoch: int) -> np.ndarray:
        """Return the order of an epoch's examples, int64 (N,), over all processes."""
        size = len(self.dataset)
        if not self.shuffle:
            return np.arange(size)
        if self.order == "numpy":
            return np.random.default_rng([self.seed % 2**64, epoch]).permutation(size)
        from jaxport.random import epoch_orders

        done, orders = self._torch_orders or (epoch + 1, iter(()))
        if epoch < done:
            done, orders = 0, epoch_orders(size, self.seed)
        for _ in range(done, epoch):
            next(orders)
        self._torch_orders = epoch + 1, orders
        return next(orders)

    def stored(self) -> tuple[Any, ...] | None:
        """Return the arrays whose rows `indices` names, as stored; None if no arrays in memory hold the examples."""
        if self._arrays is None or any(isinstance(array, ArrayFile) for array in self._arrays):
            return None
        return self._arrays if self._rows is None else tuple(array[self._rows] for array in self._arrays)

    def transformed(self, *parts: Any, epoch: Any, number: Any) -> tuple[Any, ...]:
        """Return batch `number` of an epoch after the transforms, with the keys that iterating would use; traceable."""
        base = jax.random.fold_in(jax.random.key(self.seed % 2**32), epoch) if self._random else None
        return _transformed(self.transforms, parts, _numbered(base, number))

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Give out what is left of the epoch; after its last batch the loader stands at the next epoch."""
        for batch in self._batches(self.epoch, self.position):
            self.position += 1
            if self.position == len(self):
                self.epoch, self.position = self.epoch + 1, 0
            yield batch

    def _batches(self, epoch: int, first: int) -> Iterator[tuple[Any, ...]]:
        if self.to_device and jax.default_backend() == "cpu":
            keep_large_buffers()
        order, size = self._own(self.indices(epoch))
        base = jax.random.fold_in(jax.random.key(self.seed % 2**32), epoch) if self._random else None
        if self._kept_on_device():
            yield from self._gathered(order, size, first, base)
            return

        def make(number: int) -> tuple[Any, ...]:
            batch = self._read(order[number * size : (number + 1) * size])
            if not self.to_device:
                return _transformed(self.transforms, batch, _numbered(base, number))
            return self._on_arrival(jax.device_put(batch), base, np.int32(number))

        yield from in_background(make, range(first, len(self)), self.num_workers, self.prefetch)

    def _own(self, order: np.ndarray) -> tuple[np.ndarray, int]:
        """Return this process's part of the order, and how much of each batch it is."""
        index, count = self.process
        if count == 1:
            return order, self.batch_size
        part = self.batch_size // count
        batches = order[: len(self) * self.batch_size].reshape(len(self), count, part)
        return batches[:, index].reshape(-1), part

    @property
    def _random(self) -> bool:
        return any(needs_key(transform) for transform in self.transforms)

    # ------------------------------------------------------------------------------------------------ on the device

    def _kept_on_device(self) -> bool:
        """Put the arrays on the device, if they fit, and tell whether they are there."""
        if self._on_device is None and self._arrays is not None and self.to_device:
            size = sum(array.nbytes for array in self._arrays)
            if size <= _RESIDENT_PART * _memory() and not any(isinstance(array, ArrayFile) for array in self._arrays):
                self._on_device = tuple(jax.device_put(array) for array in self._arrays)
        return self._on_device is not None

    def _gathered(self, order: np.ndarray, size: int, first: int, base: Any) -> Iterator[tuple[jax.Array, ...]]:
        rows = order if self._rows is None else self._rows[order]
        rows = jax.device_put(rows.astype(np.int32))
        # One call makes several batches: a call costs more than gathering a small batch.
        stored = sum(array.nbytes // len(array) for array in self._on_device or ()) * size
        together = max(1, min(_TOGETHER, _TOGETHER_BYTES // max(1, stored)))
        whole = len(order) // size
        for number in range(first, len(self), together):
            count = max(0, min(together, whole - number))
            if count:
                yield from self._gather(self._on_device, rows, base, np.int32(number), size, count)
            if number + count == whole < len(self) and number + together > whole:
                yield from self._gather(self._on_device, rows, base, np.int32(whole), len(order) - whole * size, 1)

    @functools.cached_property
    def _gather(self) -> Callable[..., list[tuple[jax.Array, ...]]]:
        batch_size = self.batch_size // self.process[1]

        def gather(arrays: Any, rows: Any, base: Any, first: Any, size: int, count: int) -> list[tuple[Any, ...]]:
            batches = []
            for number in (first + np.int32(k) for k in range(count)):
                chosen = lax.dynamic_slice(rows, (number * np.int32(batch_size),), (size,))
                batch = tuple(array.at[chosen].get(mode="promise_in_bounds") for array in arrays)
                batches.append(_transformed(self.transforms, batch, _numbered(base, number)))
            return batches

        return jax.jit(gather, static_argnums=(4, 5))

    @functools.cached_property
    def _on_arrival(self) -> Callable[..., tuple[jax.Array, ...]]:
        if self.transforms == (None, None):
            return lambda batch, base, number: batch
        return jax.jit(lambda batch, base, number: _transformed(self.transforms, batch, _numbered(base, number)))

    # -------------------------------------------------------------------------------------------------- on the host

    def _read(self, rows: np.ndarray) -> tuple[Any, ...]:
        if self._arrays is not None:
            chosen = rows if self._rows is None else self._rows[rows]
            return tuple(np.asarray(array[chosen]) for array in self._arrays)
        examples = [self.dataset[int(row)] for row in rows]
        return (self.collate or stacked)(examples)


def _transformed(transforms: tuple[Any, ...], batch: tuple[Any, ...], key: Any) -> tuple[Any, ...]:
    keys = (None, None) if key is None else jax.random.split(key)
    pairs = zip(transforms, keys, strict=True)
    changed = [
        part if each is None else apply(each, part, own) for part, (each, own) in zip(batch, pairs, strict=False)
    ]
    return (*changed, *batch[len(changed) :])


def _numbered(base: Any, number: Any) -> Any:
    return None if base is None else jax.random.fold_in(base, number)


def _memory() -> int:
    """Return how many bytes the first device can hold, if it says so."""
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", _UNKNOWN_MEMORY)


def _at_least(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise UsageError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    return int(value)


def _process(process: tuple[int, int], batch_size: int, examples: int, drop_last: bool) -> tuple[int, int]:
    index, count = process
    if not 0 <= index < count or batch_size % count:
        raise UsageError(f"process is {process}; index must be below count, and count divide batch_size={batch_size}")
    if count > 1 and examples % batch_size and not drop_last:
        raise UsageError(
            f"drop_last is False, and the last of {examples} examples fill no batch of {batch_size}: several processes "
            "need batches of one size"
        )
    return index, count
