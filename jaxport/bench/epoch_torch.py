"""PyTorch's whole epoch: from examples in memory, as the data set holds them, to new weights, loss and metrics."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .inputs import Inputs
from .process import WorkerError
from .recipe import Recipe
from .torch_metrics import METRICS
from .torch_model import TorchModel, Variant

if TYPE_CHECKING:
    from jaxport.port import Port

Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]

# A DataLoader takes 4 to 5 µs an example: of a pass of more examples it gets as many epochs as hold so many, and their
# time is taken for that of the others.
LOADED = 1_000_000


class TorchEpoch(TorchModel):
    """A port's training over epochs in one variant; building it takes a few steps.

    Examples are tensors in memory. Each epoch has a new order; a batch is taken by its rows' numbers (or, with
    `loader`, by the tutorials' ``DataLoader(TensorDataset(x, y), shuffle=True)``, whose every step asks for
    ``loss.item()``), prepared, and trained on; predictions are kept, and the metrics computed of them at the epoch's
    end. Nothing else waits for the device.

    Args:
        port: which port, or its recipe.
        inputs: weights and examples.
        variant: how to run.
        dtype: torch.float32, torch.bfloat16, or torch.float64 for the truth; None takes the inputs' own.
        warm: whether to run at once.
    """

    def __init__(
        self, port: Port | Recipe, inputs: Inputs, variant: Variant, dtype: torch.dtype | None = None, warm: bool = True
    ) -> None:
        super().__init__(port, inputs, variant, dtype)
        assert inputs.order is not None
        self.inputs, self.steps, self.batch = inputs, inputs.steps, inputs.batch
        self.per_epoch = -(-len(inputs.x) // inputs.batch)
        self.most = self.per_epoch * self.steps
        self.timed = min(self.steps, max(1, LOADED // len(inputs.x))) if variant.loader else self.steps
        self.model.train()
        self.metrics = [METRICS[call.name](**call.options) for call in self.recipe.metrics]
        self.x, self.y, self.order = (
            self._examples(inputs.x),
            self.tensor(inputs.y).cpu(),
            torch.from_numpy(inputs.order),
        )
        criterion = self.make_criterion()
        self.summed = getattr(criterion, "reduction", "mean") == "sum"

        def forward(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            prediction = self.predict(x if self.variant.prepared or self.variant.loader else self.prepare(x))
            return criterion(prediction, y), prediction

        self._forward = self.compiled(forward)
        self.prepare_optimizer()
        self.losses: list[float] = []
        if warm:
            rows = self.order.shape[1]  # with a short batch, as every shape is compiled for itself
            self.first_step_s, _ = self.train(self.x[:rows], self.y[:rows], 1)
            self.first_steps = -(-rows // self.batch)

    def one_pass(self, limit: int | None = None) -> tuple[float, list[float]]:
        """Train over the epochs of a pass from the initial weights; return the seconds, and the gate's losses.

        With a limit of so many steps: over their examples in one epoch, or over some epochs, whose time per step is
        taken for that of the steps.
        """
        torch.set_num_threads(self.variant.threads)
        self.reset()
        if limit is not None:
            rows, epochs = min(limit * self.batch, len(self.x)), max(1, limit // self.per_epoch)
            steps = min(limit, self.per_epoch) * epochs
            return self.train(self.x[:rows], self.y[:rows], epochs)[0] * limit / steps, []
        seconds, losses = self.train(self.x, self.y, self.timed)
        if not all(map(math.isfinite, losses)):
            raise WorkerError(f"the timed epochs' losses are {losses[:3]}")
        return seconds * self.steps / self.timed, self.values()

    def values(self) -> list[float]:
        """Return what the gate compares: the mean loss of each epoch of its short run, which is made once."""
        self.losses = self.losses or self.gate()
        return self.losses

    def first_step(self) -> None:
        """Train on the examples of one batch."""
        self.train(self.x[: self.batch], self.y[: self.batch], 1)

    def first_epoch(self) -> None:
        """Train over one epoch."""
        self.train(self.x, self.y, 1)

    def gate(self, shuffled_rows: np.ndarray | None = None) -> list[float]:
        """Return the losses of the gate's epochs, in the order that jaxport's fit takes, without dropout.

        `shuffled_rows` (epochs, rows) is another order, in which PyTorch's own rounding is seen again.
        """
        kind = torch.nn.modules.dropout._DropoutNd
        rates = [(part, part.p) for part in self.model.modules() if isinstance(part, kind)]
        for part, _ in rates:
            part.p = 0.0
        order = self.order if shuffled_rows is None else torch.from_numpy(shuffled_rows)
        rows = order.shape[1]
        self.reset()
        losses = self.train(self.x[:rows], self.y[:rows], len(order), order)[1]
        for part, rate in rates:
            part.p = rate
        return losses

    def train(
        self, x: torch.Tensor, y: torch.Tensor, epochs: int, orders: Sequence[torch.Tensor] | torch.Tensor | None = None
    ) -> tuple[float, list[float]]:
        """Train over whole epochs; return the seconds from examples in memory to the last metrics, and the losses."""
        self.synchronize()
        start = time.perf_counter()
        if not self.variant.loader:  # the tutorials bring each batch to the device by itself
            x, y = x.to(self.device), y.to(self.device)
        if self.variant.prepared or self.variant.loader:
            x = self.prepare(x)
        loader = self._loader(x, y) if self.variant.loader and orders is None else None
        losses = []
        for epoch in range(epochs):
            batches = loader or self._batches(x, y, None if orders is None else orders[epoch])
            losses.append(self._epoch(iter(batches))[0])
        self.synchronize()
        return time.perf_counter() - start, losses

    def _epoch(self, batches: Batches) -> list[float]:
        """Return the loss of an epoch and its metrics."""
        losses: list[Any] = []
        predictions, targets = [], []
        forward, take_step, optimizer, tutorial = self._forward, self.take_step, self.optimizer, self.variant.loader
        for images, labels in batches:
            if tutorial:
                images, labels = images.to(self.device), labels.to(self.device)
            optimizer.zero_grad(set_to_none=True)
            loss, prediction = forward(images, labels)
            loss.backward()
            take_step()
            losses.append(loss.item() if tutorial else self.kept(loss))
            predictions.append(self.kept(prediction))
            targets.append(labels)
        whole = [each[0] if len(each) == 1 else torch.cat(each) for each in (predictions, targets)]
        return [self._mean(losses, targets), *(float(metric(*whole)) for metric in self.metrics)]

    def _mean(self, losses: list[Any], targets: list[torch.Tensor]) -> float:
        """Return the mean over the examples; of summed losses their sum."""
        if len(losses) == 1:
            return float(losses[0])
        values = losses if self.variant.loader else torch.stack(losses).tolist()
        sizes = [1 if self.summed else len(labels) for labels in targets]
        total = sum(value * size for value, size in zip(values, sizes, strict=True))
        return total if self.summed else total / sum(sizes)

    def _batches(self, x: torch.Tensor, y: torch.Tensor, order: torch.Tensor | None) -> Batches:
        count, size = len(x), self.batch
        if count <= size:  # one step holds everything: its order changes nothing but the rounding
            yield self.laid_out(x), y
            return
        if order is None and self.recipe.shuffle:
            order = torch.randperm(count, device=x.device)
        for first in range(0, count, size):
            rows = slice(first, first + size) if order is None else order[first : first + size].to(x.device)
            yield self.laid_out(x[rows]), y[rows]

    def _loader(self, x: torch.Tensor, y: torch.Tensor) -> torch.utils.data.DataLoader[Any]:
        data = torch.utils.data.TensorDataset(x, y)
        return torch.utils.data.DataLoader(data, batch_size=self.batch, shuffle=self.recipe.shuffle)

    def _examples(self, array: np.ndarray) -> torch.Tensor:
        """Bytes that are to be prepared stay bytes; everything else is as the model takes it."""
        return torch.from_numpy(array) if array.dtype == np.uint8 else self.tensor(array).cpu()

    def prepare(self, x: torch.Tensor) -> torch.Tensor:
        """Do to a batch what the port's `prepare` does."""
        return PREPARE[self.recipe.prepare](x, self.dtype)


def _to_float(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return x.to(dtype) / 255 if x.dtype == torch.uint8 else x


def _enlarged(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    pictures = _to_float(x, dtype)
    return torch.nn.functional.interpolate(pictures, size=(32, 32), mode="bilinear", align_corners=False)


# PyTorch's twins of what the ports apply to their inputs, by the functions' names.
PREPARE = {
    "as_they_are": lambda x, dtype: x,
    "to_float": _to_float,
    "to_signed": lambda x, dtype: (_to_float(x, dtype) - 0.5) / 0.5,
    "enlarged": _enlarged,
}
