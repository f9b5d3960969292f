"""Port: the one definition that the example, the parity suite, the benchmark and the command line read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxport import data, engine
from jaxport.data import Splits
from jaxport.metrics import Metric
from jaxport.nn import Module


def as_they_are(x: Any) -> Any:
    """Return the inputs unchanged."""
    return x


@dataclass(frozen=True)
class Port:
    """A tutorial's model with its recipe.

    Attributes:
        name: of the port, and of its files in models/, reference/, ports/ and examples/.
        title: what it is, in a few words.
        source: the tutorial and the chapter.
        model: ``model(rngs=…)`` → the module with new weights.
        input_shape: of one example, without the batch axis.
        parameters: how many numbers are trained.
        dataset: name in ``jaxport.data.DATASETS``.
        loss: a partial of a jaxport.nn loss; PyTorch's twin is the class of the same name.
        optimizer: a partial of a jaxport.optim function; PyTorch's twin is the class of the same name.
        metrics: measured in training and validation; the first is the one that is reported.
        epochs: passes over the data.
        batch_size: examples in a step; None means all of them.
        shuffle: whether each epoch takes the examples in a new order.
        prepare: applied to the inputs on the device (pixels to floats).
        targets: applied to the targets where they are read (class numbers to the column that BCE takes).
        input_dtype: of the inputs after `prepare`.
        classes: the classes' names in the order of their numbers; empty for a regression.
        proof: (n, seed) → prepared examples of the parity proof, where the data set's are too large; None for those.
        expected: "val_accuracy" or another column → the (least, largest) value that the tutorial's result allows.
    """

    name: str
    title: str
    source: str
    model: Callable[..., Module]
    input_shape: tuple[int, ...]
    parameters: int
    dataset: str
    loss: partial[Any]
    optimizer: partial[Any]
    metrics: tuple[Metric, ...]
    epochs: int
    batch_size: int | None = None
    shuffle: bool = True
    prepare: Callable[[jax.Array], jax.Array] = as_they_are
    targets: Callable[[Any], Any] = as_they_are
    input_dtype: Any = np.float32
    classes: tuple[str, ...] = ()
    proof: Callable[[int, int], data.Arrays] | None = None
    expected: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def build(self, rngs: nnx.Rngs | int = 0) -> Module:
        """Return the model with new weights, drawn from `rngs` (or a seed) with PyTorch's initial distributions."""
        return self.model(rngs=nnx.Rngs(rngs) if isinstance(rngs, int) else rngs)

    def make_optimizer(self) -> optax.GradientTransformation:
        """Return the recipe's optimiser."""
        return self.optimizer()

    def load(self, folder: str | Path | None = None) -> Splits:
        """Read the data set, from `folder` or $JAXPORT_DATA.

        Raises:
            DataError: it is not there, or damaged.
        """
        return self._with_targets(data.load(self.dataset, folder))

    def synthetic(self, n: int, seed: int = 0) -> Splits:
        """Return `n` made-up training examples, and some for validation, with the data set's shapes and dtypes."""
        return self._with_targets(data.DATASETS[self.dataset].synthetic(n, np.random.default_rng(seed)))

    def proof_examples(self, n: int, seed: int) -> data.Arrays:
        """Return `n` prepared examples for the parity proof: `proof`'s, or else synthetic ones."""
        if self.proof is not None:
            return self.proof(n, seed)
        part = self.synthetic(n, seed).train
        return part._replace(x=np.asarray(self.prepare(jnp.asarray(part.x))))

    def _with_targets(self, splits: Splits) -> Splits:
        train, val = (part._replace(y=self.targets(part.y)) for part in (splits.train, splits.val))
        return replace(splits, train=train, val=val)

    def fit(
        self,
        module: Module,
        splits: Splits,
        *,
        epochs: int | None = None,
        seed: int = 0,
        dispatch: engine.Dispatch | None = None,
        callbacks: Sequence[engine.Callback] = (),
        on_progress: Callable[[engine.Progress], None] | None = None,
        place: engine.Placement | None = None,
    ) -> engine.History:
        """Train `module` in place by the recipe, and return the record of the run; see ``jaxport.engine.fit``."""
        return engine.fit(
            module,
            splits.train,
            loss=self.loss(),
            optimizer=self.make_optimizer(),
            epochs=self.epochs if epochs is None else epochs,
            batch_size=self.batch_size,
            validation=splits.val,
            metrics=self.metrics,
            prepare=self.prepare,
            shuffle=self.shuffle,
            seed=seed,
            dispatch=dispatch,
            callbacks=callbacks,
            on_progress=on_progress,
            place=place,
        )

    def unmet(self, history: engine.History) -> list[str]:
        """Return one line for every expected value that the run missed."""
        values = {name: column[-1] for name, column in history.columns.items()}
        return [
            f"{name} {values[name]:.4f} is outside [{low:g}, {high:g}]"
            for name, (low, high) in self.expected.items()
            if not low <= values[name] <= high
        ]
