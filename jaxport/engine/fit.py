"""fit, evaluate and predict as functions: a module, data, a loss, an optimiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optax
from flax import nnx

from jaxport.metrics import Metric
from jaxport.nn import Module

from .callbacks import Callback
from .dispatch import Dispatch
from .history import History
from .loop import OnProgress
from .precision import Precision
from .run import Options, measure, no_loss, predictions, train
from .sharding import Placement
from .state import TrainState, create_state
from .step import AvgFn, Loss, _identity, make_task
from .weighting import as_class_weight


def fit(
    module: Module,
    train_data: Any,
    *,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    epochs: int = 1,
    batch_size: int | None = None,
    validation: Any = None,
    metrics: Sequence[Metric] = (),
    prepare: Callable[[Any], Any] = _identity,
    shuffle: bool = True,
    seed: int = 0,
    dispatch: Dispatch | None = None,
    steps_per_call: int | None = None,
    callbacks: Sequence[Callback] = (),
    validate_every: int = 1,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | Sequence[float] | None = None,
    precision: Precision = "float32",
    remat: bool = False,
    average: AvgFn | None = None,
    place: Placement | None = None,
    run_eagerly: bool = False,
    check_values: bool = True,
    verbose: int = 0,
    on_progress: OnProgress | None = None,
) -> History:
    """Train `module` in place and return the record of the run.

    Every example counts once an epoch; the last short batch is padded and masked, so that one compilation serves all
    steps and the means are exact. The numbers do not depend on `dispatch`, but for rounding.

    Args:
        module: trained in training mode, validated in evaluation mode; its own mode stays as it is.
        train_data: (x, y) or (x, y, weight), arrays with N rows, kept on the device as they are where they fit and sent
            in pieces where they do not; a data set or DataLoader of jaxport.data; torch's DataLoader, one of grain, or
            any iterable of such batches.
        loss: ``loss(prediction, target, where=mask)`` → scalar, such as any jaxport.nn loss.
        optimizer: an optax transformation, such as any of jaxport.optim.
        epochs: passes over the data.
        batch_size: examples in a step; None means all of them. A loader has its own.
        validation: data as `train_data`, evaluated after each epoch.
        metrics: of jaxport.metrics.
        prepare: applied to x on the device at the start of each step.
        shuffle: whether each epoch takes the examples in a new order; a loader decides itself.
        seed: of the order of the examples.
        dispatch: "scan" compiles whole epochs into one loop on the device, "chunks" some steps, "steps" calls once a
            step, None chooses.
        steps_per_call: so many steps in each call to the device; None chooses.
        callbacks: of jaxport.engine.callbacks.
        validate_every: epochs from one validation to the next.
        sample_weight: how much each example counts in the loss (N,).
        class_weight: how much an example of each class counts in the loss: {class: weight}, or one for each. The loss
            is Σ w L / Σ w, as PyTorch's weighted cross-entropy (Keras divides by the number of examples).
        precision: "bfloat16" or "float16" computes the model in half precision, with parameters in float32; float16
            with the loss scaled (jaxport.optim.GradScaler).
        remat: computes activations again in the backward pass instead of keeping them.
        average: keeps an average of the weights over all steps, and validates with it
            (jaxport.optim.swa_utils.get_ema_avg_fn, get_swa_avg_fn).
        place: the devices; see `make_placement`.
        run_eagerly: compiles nothing: slow, and every line can be stepped through and printed from.
        check_values: refuses NaN in x, and classes that the model does not have, before training starts.
        verbose: 0 silent, 1 progress, 2 also what was decided.
        on_progress: called between calls to the device, with values that are there already.

    Returns:
        The `History`. After Ctrl-C it is marked ``interrupted``, and the module holds what was learnt so far.

    Raises:
        UsageError: arguments or data that do not fit.
    """
    options = {"precision": precision, "remat": remat, "average": average}
    guard = any(getattr(callback, "guard", False) for callback in callbacks)
    task = make_task(
        module, loss, optimizer, metrics, prepare, class_weight=as_class_weight(class_weight), guard=guard, **options
    )
    state = create_state(module, task.optimizer, average=average is not None, guard=guard)
    settings = Options(
        epochs=epochs,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        dispatch=dispatch,
        steps_per_call=steps_per_call,
        validate_every=validate_every,
        place=place or Placement(),
        run_eagerly=run_eagerly,
        check_values=check_values,
        verbose=verbose,
    )

    def keep(state: TrainState) -> None:
        nnx.update(module, *settings.place.whole((state.params, state.rest)))

    return train(
        task, state, train_data, settings, validation, callbacks, sample_weight, on_progress=on_progress, keep=keep
    )[1]


def evaluate(
    module: Module,
    data: Any,
    *,
    loss: Loss,
    metrics: Sequence[Metric] = (),
    batch_size: int | None = None,
    prepare: Callable[[Any], Any] = _identity,
    precision: Precision = "float32",
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | Sequence[float] | None = None,
    place: Placement | None = None,
) -> dict[str, float]:
    """Return {"loss": …, metric: …} of `module` over `data`, in evaluation mode, exact per example.

    The arguments are those of `fit`.
    """
    options = {"precision": precision, "class_weight": as_class_weight(class_weight)}
    task = make_task(module, loss, optax.identity(), metrics, prepare, **options)
    state = create_state(module, optax.identity())
    settings = Options(batch_size=batch_size, shuffle=False, place=place or Placement())
    return measure(task, state, data, settings, sample_weight)


def predict(
    module: Module,
    x: Any,
    *,
    batch_size: int = 256,
    prepare: Callable[[Any], Any] = _identity,
    precision: Precision = "float32",
    place: Placement | None = None,
) -> Any:
    """Return the predictions of `module` for x (N, …), in evaluation mode, as NumPy arrays (N, …).

    One program of `batch_size` rows serves all: the last batch is padded, and the padding left out.

    Args:
        module: any; its own mode stays as it is.
        x: an array, or a tuple or dictionary of arrays with N rows; or an iterable of batches of inputs.
        batch_size: rows in a call.
        prepare: applied to a batch on the device.
        precision: what the model computes in.
        place: the devices.

    Raises:
        UsageError: inputs that do not fit the model.
    """
    task = make_task(module, no_loss, optax.identity(), (), prepare, precision=precision)
    state = create_state(module, optax.identity())
    return predictions(task, state, x, Options(batch_size=batch_size, place=place or Placement()))
