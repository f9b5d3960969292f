"""Model: compile, fit, evaluate, predict, summary, save and load, over the functions of the engine."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from jaxport import interop
from jaxport.errors import UsageError
from jaxport.metrics import Metric
from jaxport.nn import Module
from jaxport.viz import Summary, summary

from .callbacks import Callback, ProgressBar
from .callbacks.processes import writes
from .checks import Facts, examine
from .debugging import debugging
from .devices import make_placement
from .dispatch import Dispatch
from .export import export_function
from .history import History
from .model_file import load_state, save_state
from .precision import Precision
from .predictor import Predictor, of_leaves
from .programs import Programs
from .run import Options, measure, no_loss, predictions, train
from .sharding import Placement, Rule
from .state import Batch, TrainState, copies, create_state, evaluated, split
from .step import AvgFn, Logs, Loss, Task, _identity, apply_module, make_task
from .step import measure as measure_batch
from .step import take_step as take_step_on_batch
from .weighting import as_class_weight, per_example


class Model:
    """A module with what is needed to train it; it holds state and calls the functions of jaxport.engine.

    ``model = Model(net)``, ``model.compile(loss, optimizer, metrics)``, ``model.fit((x, y), epochs=10)``. A subclass
    may override `train_step` and `eval_step`; both stay pure functions.

    Args:
        module: a jaxport.nn.Module. `fit` trains it in place: ``model.module`` always has the current weights.

    Attributes:
        module: the module.
        history: the record of the last `fit`, None before.
        task: what is trained, once `compile` was called; the steps get everything from it.

    Raises:
        UsageError: `module` is no jaxport.nn.Module.

    Differs from Keras: losses, optimisers and metrics are objects, of jaxport.nn, jaxport.optim and jaxport.metrics.
    """

    def __init__(self, module: Module) -> None:
        if not isinstance(module, Module):
            raise UsageError(f"module is {type(module).__name__}; it must be a jaxport.nn.Module")
        self.module = module
        self.history: History | None = None
        self.task: Task | None = None
        self._settings: dict[str, Any] = {}
        self._place, self._run_eagerly, self._debug_nans = Placement(), False, False
        self._state: TrainState | None = None
        self._fits = 0
        self._programs: dict[Any, Any] = {}
        self._facts: dict[Any, tuple[Task, Facts]] = {}
        self._seen: Any = None  # what the task was made of

    # ------------------------------------------------------------------------------------------------------- settings

    def compile(
        self,
        loss: Loss,
        optimizer: optax.GradientTransformation | None = None,
        metrics: Sequence[Metric] = (),
        *,
        prepare: Callable[[Any], Any] = _identity,
        device: Any = None,
        devices: int | None = None,
        mesh: Mesh | None = None,
        shard: Literal["fsdp"] | Rule | None = None,
        precision: Precision = "float32",
        accumulate: int = 1,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        average: AvgFn | None = None,
        class_weight: Mapping[int, float] | Sequence[float] | None = None,
        remat: bool = False,
        run_eagerly: bool = False,
        debug_nans: bool = False,
    ) -> None:
        """Say how to train; the optimiser starts anew.

        Args:
            loss: ``loss(prediction, target, where=mask)`` → scalar, such as any jaxport.nn loss.
            optimizer: an optax transformation, such as any of jaxport.optim; None for evaluation alone.
            metrics: of jaxport.metrics.
            prepare: applied to x on the device at the start of each step.
            device: one device, or "cpu", "gpu", "tpu".
            devices: data parallel over so many devices; where several processes work together, over all of theirs.
            mesh: a mesh with an axis "data", over one or several hosts.
            shard: "fsdp" splits parameters and the optimiser's state over the devices; or a rule.
            precision: "bfloat16" or "float16" computes the model in half precision.
            accumulate: batches for one step of the optimiser, the mean of their gradients.
            clip_norm: largest norm of all gradients together (torch.nn.utils.clip_grad_norm_).
            clip_value: largest magnitude of a gradient (clip_grad_value_).
            average: keeps an average of the weights, which `evaluate`, `predict` and validation use; see `averaged`.
            class_weight: how much an example of each class counts in the loss.
            remat: computes activations again in the backward pass instead of keeping them.
            run_eagerly: compiles nothing: slow, but debuggers stop in the model, and print(x) shows numbers
                (``float(jax.lax.stop_gradient(x))`` gives one).
            debug_nans: raises at the operation that makes the first NaN, and names it (slow).

        Raises:
            UsageError: an argument that does not fit, named.
        """
        if not callable(loss):
            raise UsageError(f"loss is {loss!r}; it must be a function (prediction, target) or a jaxport.nn loss")
        wrong = [metric for metric in metrics if not hasattr(metric, "update")]
        if wrong:
            raise UsageError(f"metrics has {wrong[0]!r}; metrics are objects of jaxport.metrics, such as Accuracy()")
        weights = as_class_weight(class_weight)
        if weights is not None:
            per_example(loss)
        self._place = make_placement(device, devices, mesh, shard)
        optimizer = optax.identity() if optimizer is None else optimizer
        optimizer = _wrapped(optimizer, accumulate, clip_norm, clip_value, precision)
        options = {"precision": precision, "remat": remat, "average": average, "class_weight": weights}
        self._settings = {
            "loss": loss,
            "optimizer": optimizer,
            "metrics": tuple(metrics),
            "prepare": prepare,
            **options,
        }
        self._run_eagerly, self._debug_nans = run_eagerly, debug_nans
        self.task, self._state, self._seen = None, None, None
        self.task = self._task(guard=False)

    def _task(self, guard: bool) -> Task:
        """Return the task of training the module as it is now."""
        if not self._settings:
            raise UsageError("the model is not compiled; call model.compile(loss, optimizer, metrics) first")
        kind = type(self)
        seen = guard, kind.train_step, kind.eval_step, split(self.module)[0]
        if self.task is not None and self._seen == seen:
            return self.task  # without the structures of both modes, which take longer
        self._seen = seen
        logic = {
            "train_logic": self.train_step if kind.train_step is not Model.train_step else None,
            "eval_logic": self.eval_step if kind.eval_step is not Model.eval_step else None,
        }
        task = make_task(self.module, guard=guard, **self._settings, **logic)
        if self.task is not None and _alike(task, self.task):
            return self.task
        return task

    def _current(self, guard: bool = False) -> tuple[Task, TrainState]:
        """Return the task, and a copy of the state with the module's weights."""
        self.task = task = self._task(guard)
        old, (_, params, rest) = self._state, split(self.module)
        if old is None or jax.tree.structure(old.params) != jax.tree.structure(params):
            return task, create_state(self.module, task.optimizer, average=task.average is not None, guard=guard)
        bad = jnp.full((), -1, jnp.int32) if guard else None
        return task, copies(old._replace(params=params, rest=rest))._replace(bad=bad)

    def _measured(self) -> tuple[Task, TrainState]:
        """Return the task, and the weights without copies and without the optimiser's state, for evaluation."""
        self.task = task = self._task(False) if self._settings else self._bare_task()
        _, params, rest = split(self.module)
        average = None if self._state is None else self._state.average
        step: Any = np.zeros((), np.int32)  # of the host: nothing is run for it
        return task, TrainState(params, rest, (), step, average)

    def _bare_task(self) -> Task:
        """Return a task that can predict, of a model that was not compiled."""
        task = make_task(self.module, no_loss, _NO_OPTIMIZER)
        return self.task if self.task is not None and _alike(self.task, task) else task

    # --------------------------------------------------------------------------------------- steps, to be overridden

    def train_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, Logs]:
        """Take one optimiser step; a subclass may do so in its own way.

        Args:
            state: before the step.
            batch: x, y, where (which rows are examples, None for all) and weight.

        Returns:
            The state after it (``state._replace(params=…, rest=…, opt_state=…, step=state.step + 1)``), and logs:
            "loss", "prediction" for the metrics, and any further scalars, each averaged over the epoch in a column.
        """
        assert self.task is not None
        return take_step_on_batch(self.task, state, batch)

    def eval_step(self, params: Any, rest: Any, batch: Batch) -> Logs:
        """Measure one batch in evaluation mode; a subclass may do so in its own way. Returns logs as `train_step`."""
        assert self.task is not None
        return measure_batch(self.task, params, rest, batch)

    # ---------------------------------------------------------------------------------------------------------- the use

    def fit(
        self,
        train_data: Any,
        epochs: int = 1,
        validation: Any = None,
        callbacks: Sequence[Callback] = (),
        *,
        batch_size: int | None = 32,
        log_every: int | None = None,
        shuffle: bool = True,
        seed: int | None = None,
        sample_weight: Any = None,
        validate_every: int = 1,
        steps_per_call: int | None = None,
        dispatch: Dispatch | None = None,
        check_values: bool = True,
        profile: str | os.PathLike[str] | None = None,
        verbose: int = 1,
    ) -> History:
        """Train, and return the record: one row an epoch.

        A second call goes on: with the weights, and with the optimiser's state.

        Args:
            train_data: (x, y) or (x, y, weight), a data set or loader of jaxport.data, or any iterable of such batches.
            epochs: passes over the data.
            validation: data of the same kind, evaluated after each epoch.
            callbacks: of jaxport.engine.callbacks.
            batch_size: examples in a step, None for all; a loader has its own.
            log_every: also print a line every so many steps.
            shuffle: whether each epoch takes the examples in a new order.
            seed: of the order; None takes the number of earlier calls.
            sample_weight: how much each example counts in the loss (N,).
            validate_every: epochs from one validation to the next.
            steps_per_call: so many steps in each call to the device; None chooses.
            dispatch: "scan", "chunks" or "steps"; None chooses.
            check_values: refuses NaN in x, and classes that the model does not have.
            profile: writes a profile of the run to this folder, for TensorBoard or Perfetto.
            verbose: 0 silent, 1 progress, 2 also what was decided.

        Raises:
            UsageError: arguments or data that do not fit.
        """
        callbacks = list(callbacks)
        if verbose and not any(isinstance(callback, ProgressBar) for callback in callbacks):
            callbacks.append(ProgressBar(log_every=log_every))
        guard = any(getattr(callback, "guard", False) for callback in callbacks)
        options = self._options(
            epochs=epochs,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=self._fits if seed is None else seed,
            validate_every=validate_every,
            steps_per_call=steps_per_call,
            dispatch=dispatch,
            check_values=check_values,
            verbose=verbose,
        )
        task, state = self._current(guard)
        self._fits += 1
        with debugging(self._debug_nans, profile):
            _, self.history = train(
                task, state, train_data, options, validation, callbacks, sample_weight,
                keep=self._keep, programs_of=self._programs_of, facts_of=self._facts_of,
            )  # fmt: skip
        return self.history

    def _options(self, **options: Any) -> Options:
        return Options(place=self._place, run_eagerly=self._run_eagerly, **options)

    def _keep(self, state: TrainState) -> None:
        """Take over a state: the module gets its weights."""
        self._state = whole = self._place.whole(state)._replace(bad=None)
        nnx.update(self.module, whole.params, whole.rest)

    def _programs_of(self, task: Task, place: Placement, facts: Facts, eager: bool) -> Programs:
        """Return the programs of an earlier call that was alike, or new ones."""
        key = (id(task), place, facts.extra, facts.eval_extra, eager, str(facts.loss))
        if key not in self._programs:
            # The task is kept with them, so that its id is not given to another.
            self._programs = {k: v for k, v in self._programs.items() if k[0] == id(task)}
            self._programs[key] = Programs(task, place, facts, eager)
        return self._programs[key]

    def _facts_of(self, task: Task, state: TrainState, batch: Batch, evaluation: bool, eager: bool) -> Facts:
        """Return what was found of a step of the same shapes, or trace one: that takes longer than a short run."""
        leaves, tree = jax.tree.flatten((state, batch))
        key = evaluation, tree, tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        known = None if eager else self._facts.get(key)
        if known is None or known[0] is not task:
            known = self._facts[key] = task, examine(task, state, batch, evaluation, eager)
        return known[1]

    def evaluate(self, data: Any, *, batch_size: int | None = 256, sample_weight: Any = None) -> dict[str, float]:
        """Return {"loss": …, metric: …} over data, exact per example; arguments as of `fit`."""
        task, state = self._measured()
        if not self._settings:
            self._task(False)
        options = self._options(batch_size=batch_size, shuffle=False)
        with debugging(self._debug_nans):
            return measure(task, state, data, options, sample_weight, self._programs_of, self._facts_of)

    def predict(self, x: Any, *, batch_size: int = 256) -> Any:
        """Return the predictions for x (N, …) as NumPy arrays, in evaluation mode.

        Args:
            x: an array, a tuple or dictionary of arrays with N rows, or an iterable of batches of inputs.
            batch_size: rows in a call; the last one is padded.

        Raises:
            UsageError: inputs that do not fit the model.
        """
        task, state = self._measured()
        known = self._programs.setdefault((id(task), "predict"), {})
        with debugging(self._debug_nans):
            return predictions(task, state, x, Options(batch_size=batch_size, place=self._place), known)

    @property
    def averaged(self) -> Module:
        """A copy of the module with the averaged weights.

        Raises:
            UsageError: `compile` was not given average=, or nothing was trained yet.
        """
        if self._state is None or self._state.average is None or self.task is None:
            raise UsageError("there are no averaged weights; compile with average= and call fit")
        return nnx.merge(self.task.eval_graph, self._state.average.params, self._state.rest, copy=True)

    def summary(self, input_shape: tuple[int, ...], dtype: Any = jnp.float32) -> Summary:
        """Return the layers with output shapes and parameters, for inputs of `input_shape` without the batch axis."""
        return summary(self.module, input_shape, dtype)

    # --------------------------------------------------------------------------------------------------------- files

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and buffers as safetensors, in PyTorch's names and layouts; atomic.

        Of several processes the first alone writes, here and in `save`.
        """
        if writes():
            interop.save_file(interop.state_dict(self.module), Path(path))

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Read parameters and buffers that `save_weights`, or PyTorch, wrote (.safetensors, .pt, .pth).

        Raises:
            UsageError: the file is not there or damaged, or holds another model's weights (lists all offending keys).
        """
        interop.load_state_dict(self.module, interop.load_file(Path(path)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that `fit` goes on from: weights, buffers, the optimiser's state, the history; atomic.

        One file of safetensors: nothing in it can be executed. The model's code is not in it.

        Raises:
            UsageError: the model is not compiled, or the file cannot be written.
        """
        state = self._current()[1]
        if writes():
            save_state(Path(path), state, self.history, self._fits)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Read what `save` wrote into this model, which is compiled in the same way.

        Raises:
            UsageError: the file is not there, damaged, of another layout or another model; nothing is changed then.
        """
        state, self.history, self._fits = load_state(Path(path), self._current()[1])
        self._keep(state)

    def export(
        self, path: str | os.PathLike[str], input_shape: tuple[int, ...], dtype: Any = jnp.float32, **options: Any
    ) -> None:
        """Write the compiled prediction function with its weights: `load_exported` runs it without the model's code.

        Args:
            path: the file.
            input_shape: of one example, without the batch axis.
            dtype: of the inputs.
            options: `batch_size`, a fixed number of rows (by default any number), and `platforms`, such as
                ("cpu", "cuda", "tpu"); by default the present one.

        Raises:
            UsageError: the function cannot be exported for any number of rows, or the file cannot be written.
        """
        task, state = self._measured()
        export_function(Path(path), task, state, input_shape, dtype, **options)

    def predictor(self, *inputs: Any, search: bool = True) -> Predictor:
        """Return the prediction for inputs of one shape as one fast compiled call, with the weights of this moment.

        ``predict = model.predictor(x[:1])``, then ``predict(x[5:6])``: for a server that answers one request at a time.

        Args:
            inputs: an example of what `predict` takes, with the batch axis.
            search: whether to try several ways of compiling and keep the fastest; see `Predictor`.

        Raises:
            UsageError: the module does not take such inputs.
        """
        task, state = self._measured()

        def function(state: Any, *inputs: Any) -> Any:
            params, rest = state
            batch = Batch(inputs[0] if len(inputs) == 1 else inputs, None)
            return apply_module(task, task.eval_graph, params, rest, batch)[0]

        function, weights = of_leaves(function, (evaluated(state), state.rest))
        return Predictor(function, weights, inputs, search)


_NO_OPTIMIZER = optax.identity()


def _wrapped(
    optimizer: optax.GradientTransformation,
    accumulate: int,
    clip_norm: float | None,
    clip_value: float | None,
    precision: str,
) -> optax.GradientTransformation:
    """Return the optimiser with clipping, loss scaling and accumulation around it, in PyTorch's order."""
    from jaxport import optim

    from .precision import compute_dtype, scaled_optimizer

    compute_dtype(precision)
    for name, value in (("clip_norm", clip_norm), ("clip_value", clip_value)):
        if value is not None and not value > 0:
            raise UsageError(f"{name} is {value!r}; it must be a positive number")
    if isinstance(accumulate, bool) or not isinstance(accumulate, int) or accumulate < 1:
        raise UsageError(f"accumulate is {accumulate!r}; it must be a whole number of batches, at least 1")
    if clip_value is not None:
        optimizer = optax.chain(optim.clip_grad_value(clip_value), optimizer)
    if clip_norm is not None:
        optimizer = optax.chain(optim.clip_grad_norm(clip_norm), optimizer)
    optimizer = scaled_optimizer(optimizer, precision)
    return optim.accumulate(optimizer, accumulate) if accumulate > 1 else optimizer


def _alike(a: Task, b: Task) -> bool:
    """Return whether two tasks compute the same; bound methods of one object are equal."""
    return all(getattr(a, item.name) == getattr(b, item.name) for item in dataclasses.fields(a))
