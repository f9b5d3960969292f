"""A prediction for inputs of one shape as one compiled call, in the fastest of several ways."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxport.errors import UsageError
from jaxport.nn import Module, conv_onednn

from .dispatch import compile_function
from .known import split_known
from .precision import compute_dtype, in_half
from .traits import has_convolution, has_narrow_products

# More bytes of weights than this are no constants: they lie in the program once more, and compiling takes longer.
_MOST_CONSTANTS = 1 << 20
# Ways are compared by medians of so many turns of at least so many seconds, or of one call.
_TURNS, _TURN_S = 5, 0.004
# XLA's options on CPUs beside the engine's own. A small product is over before a second thread has woken up.
_ONE_THREAD = {"xla_cpu_multi_thread_eigen": False}
_NO_YNN = {"xla_cpu_experimental_ynn_fusion_type": ""}

Options = Mapping[str, str | bool]
# What a way is called, its program, and the program's first arguments.
_Way = tuple[str, Callable[..., Any], list[Any]]


class Predictor:
    """A prediction in evaluation mode for inputs of one shape and dtype: one compiled call with weights in it.

    What layers compute of weights alone (transposes, scales) is computed once, here. On a CPU, weights as arguments or
    constants, one thread or all, XLA's fusions and oneDNN are tried on `inputs`, and the fastest is kept.
    `compile_prediction` and ``Model.predictor`` make one.

    Attributes:
        way: what was kept, in words.
        tried: milliseconds of a call in each way that was tried.
        compile_seconds: of all that was compiled.

    Args:
        function: f(weights, *inputs) → prediction.
        weights: those of this moment; what becomes of them later changes nothing.
        inputs: an example, with the batch axis.
        search: False keeps the first way, and measures nothing.

    Raises:
        UsageError: no inputs, or such that the function does not take; calling it: another shape or dtype.
    """

    def __init__(
        self, function: Callable[..., Any], weights: list[jax.Array], inputs: tuple[Any, ...], search: bool = True
    ) -> None:
        if not inputs:
            raise UsageError("inputs is empty; give an example of what the model takes, such as x[:1]")
        example = [jnp.asarray(array) for array in inputs]
        self._wanted = [(array.shape, array.dtype) for array in example]
        try:
            self._values, self._left = split_known(function, weights, *example)
        except (TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"the model does not take inputs {_listed(self._wanted)}: {reason}") from error
        traced = jax.make_jaxpr(self._left)(self._values, *example)
        self._convolutional, self._narrow = has_convolution(traced), has_narrow_products(traced)
        self.tried: dict[str, float] = {}
        self.compile_seconds = 0.0
        self.way, self._program, self._arguments = self._fastest(example, search)

    def __call__(self, *inputs: Any) -> Any:
        """Return the prediction, on the device; it may still be at work, as JAX's functions are."""
        return self._program(*self._arguments, *self._checked(inputs))

    def bound(self, *inputs: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return the compiled function and its arguments for these inputs, on the device: the call without checks."""
        return self._program, (*self._arguments, *map(jnp.asarray, self._checked(inputs)))

    def _checked(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        found = [(np.shape(array), getattr(array, "dtype", None)) for array in inputs]
        if found != self._wanted:
            raise UsageError(f"inputs are {_listed(found)}; this predictor was compiled for {_listed(self._wanted)}")
        return inputs

    def _fastest(self, example: list[Any], search: bool) -> tuple[str, Callable[..., Any], list[Any]]:
        """Try where the weights are, then with the better of them how XLA compiles."""
        options: dict[str, Options] = {"": {}}
        if jax.default_backend() == "cpu":
            options |= {"one thread": _ONE_THREAD}
            if not (self._convolutional or self._narrow):  # these have them off already
                options |= {"no YNN fusions": _NO_YNN, "no YNN fusions, one thread": {**_NO_YNN, **_ONE_THREAD}}
        places = ["weights as arguments"]
        if sum(value.nbytes for value in self._values) <= _MOST_CONSTANTS:
            places.append("weights as constants")
        best = self._best([(place, "", {}) for place in places[: None if search else 1]], example)
        if not search:
            return best
        place = best[0]
        more = [(place, name, chosen) for name, chosen in options.items() if name]
        if self._convolutional and jax.default_backend() == "cpu" and conv_onednn.is_built_in():
            more.append((place, "no oneDNN", {}))
        return self._best(more, example, best)

    def _best(self, ways: list[tuple[str, str, Options]], example: list[Any], best: _Way | None = None) -> _Way:
        """Return the name, the program and its first arguments of the fastest way, `best` among them."""
        programs = {} if best is None else {best[0]: best}
        for place, name, options in ways:
            constant = place == "weights as constants"
            function = self._with_constants if constant else self._left
            arguments = [] if constant else [self._values]
            with conv_onednn.without() if name == "no oneDNN" else nullcontext():
                program, seconds = compile_function(function, *arguments, *example, options=options)
            self.compile_seconds += seconds
            way = f"{place}, {name}" if name else place
            programs[way] = way, program, arguments
        if len(programs) > 1:
            turns = [{name: _seconds(way, example) for name, way in programs.items()} for _ in range(_TURNS)]
            self.tried |= {name: 1000 * median(turn[name] for turn in turns) for name in programs}
        return programs[min(programs, key=lambda name: self.tried.get(name, 0.0))]

    def _with_constants(self, *inputs: jax.Array) -> Any:
        return self._left([jnp.asarray(np.asarray(value)) for value in self._values], *inputs)


def compile_prediction(module: Module, *inputs: Any, precision: str = "float32", search: bool = True) -> Predictor:
    """Return the module's prediction for inputs of one shape, compiled with its weights in the fastest way found.

    >>> predict = compile_prediction(module, x[:1])
    >>> predict(x[5:6])

    Args:
        module: which module; it is not changed.
        inputs: an example of what it takes, with the batch axis.
        precision: what is computed in: "float32" (what the parameters are in), "bfloat16", "float16". Half precision
            converts parameters once, but those of layers that normalise, and gives float32 back.
        search: whether to try several ways; otherwise weights are arguments, and options those of the engine.

    Raises:
        UsageError: the module does not take such inputs, or an unknown precision.
    """
    half = compute_dtype(precision)
    copy = nnx.clone(module).eval()
    with in_half(copy, half) as cast:
        graph, state = nnx.split(copy)
        function, weights = of_leaves(lambda state, *inputs: cast.back(_merged(graph, state)(*cast(inputs))), state)
    return Predictor(function, weights, inputs, search)


def _merged(graph: Any, state: Any) -> Any:
    return nnx.merge(graph, state, copy=True)


def of_leaves(function: Callable[..., Any], state: Any) -> tuple[Callable[..., Any], list[jax.Array]]:
    """Return f(weights, *inputs) for `function` (state, *inputs), and the weights; random keys stay in the function."""
    leaves, tree = jax.tree.flatten(state)
    is_key = [jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves]

    def apply(weights: list[jax.Array], *inputs: jax.Array) -> Any:
        rest = iter(weights)
        every = [leaf if key else next(rest) for leaf, key in zip(leaves, is_key, strict=True)]
        return function(jax.tree.unflatten(tree, every), *inputs)

    return apply, [leaf for leaf, key in zip(leaves, is_key, strict=True) if not key]


def _seconds(way: _Way, example: list[Any]) -> float:
    """Return the seconds of a call, the first of them not counted."""
    _, program, arguments = way
    jax.block_until_ready(program(*arguments, *example))
    start, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - start < _TURN_S:
        jax.block_until_ready(program(*arguments, *example))
        calls += 1
    return (time.perf_counter() - start) / calls


def _listed(arrays: list[tuple[Any, Any]]) -> str:
    return ", ".join(f"{dtype}{list(shape)}" for shape, dtype in arrays) or "nothing"
