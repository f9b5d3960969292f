"""Examples of a whole epoch: the data set's own where it is there, else made up; and the order of the gate's run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .inputs import FULL_BATCH, STEPS, Inputs

if TYPE_CHECKING:
    from jaxport.port import Port

# Steps that an epoch is cut to, so that the slowest takes seconds.
EPOCH_STEPS = {"resnet": 4, "unet": 10, "cifar2": 40, "mnist_cnn": 40, "mnist_convnet": 40, "lenet": 40}
DEFAULT_EPOCH_STEPS = 300
# Epochs of a timed call: as many as the recipe has, up to about this many steps, or those of `STEPS` if they are more;
# where the epoch is cut to few slow steps, at most two.
CALL_STEPS, CUT_EPOCHS = 400, 2
# And up to so many examples in all: 400 epochs of 100,000, 40 of a million, of which Keras takes seconds.
CALL_EXAMPLES = 40_000_000
# The gate's run: whole batches and the epoch's last short one, over two epochs; of a full-batch port more of them.
GATE_STEPS, GATE_EPOCHS, GATE_FULL_EPOCHS = 2, 2, 8
GATE_SEED = 5


def make_epoch_inputs(port: Port, steps: int | None, seed: int, dtype: str) -> Inputs:
    """Return weights, examples and the gate's order of one port.

    Args:
        port: which.
        steps: of an epoch, at most; None takes the port's own number.
        seed: of weights and of made-up examples.
        dtype: of `DTYPES`.
    """
    from jaxport.interop.state_dict import state_dict

    cap = steps or EPOCH_STEPS.get(port.name, DEFAULT_EPOCH_STEPS)
    x, y, source = _examples(port, cap, seed)
    batch = min(port.batch_size or len(x), len(x))
    count = -(-len(x) // batch)
    most = min(max(CALL_STEPS, STEPS.get(port.name, 0)) // count, CALL_EXAMPLES // len(x)) if steps is None else 2
    epochs = max(1, min(port.epochs, CUT_EPOCHS if port.name in EPOCH_STEPS else most))
    order = _gate_order(len(x), batch, port.shuffle)
    return Inputs(state_dict(port.build(seed)), x, y, {}, epochs, "epoch", dtype, order, batch, source)


def _examples(port: Port, cap: int, seed: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Return x, y, and a text that says what they are.

    Where an epoch is cut, half a batch stands behind the whole ones: a short last batch is part of most epochs.
    """
    from jaxport.errors import DataError

    most = None if port.batch_size is None else cap * port.batch_size + port.batch_size // 2
    try:
        train = port.load().train
        kind = f"of {len(train.x):,} in the data set"
    except DataError:
        train, kind = port.synthetic(most or FULL_BATCH, seed).train, "made up"
    rows = len(train.x) if most is None else min(most, len(train.x))
    part = slice(rows)
    if rows < len(train.x):  # data sets may be sorted
        part = np.sort(np.random.default_rng(seed).permutation(len(train.x))[:rows])
    return np.asarray(train.x[part]), np.asarray(train.y[part]), f"{rows:,} examples, {kind}"


def _gate_order(examples: int, batch: int, shuffle: bool) -> np.ndarray:
    """Return the rows of each of the gate's epochs, as jaxport's own fit will take them with `GATE_SEED`."""
    import jax
    import jax.numpy as jnp

    from jaxport.engine.batches import Batches

    short = examples % batch
    rows = min(examples, GATE_STEPS * batch + (short or batch))
    batches, key = Batches(rows, batch, shuffle), jax.random.key(GATE_SEED)
    epochs = GATE_EPOCHS if batches.steps > 1 else GATE_FULL_EPOCHS
    orders = [batches.order(key, jnp.int32(epoch)).reshape(-1)[:rows] for epoch in range(epochs)]
    return np.stack([np.asarray(order) for order in orders])
