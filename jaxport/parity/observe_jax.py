"""The JAX half of a comparison of any two models: forward, backward, and each layer alone, in one precision."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .recorder import Extras, Traced, values_of
from .seen import Call, Key, Pass, Store
from .subjects import Subject, subject
from .weights.attention64 import float64_attention

NOTHING = Extras({}, {}, [])
_SMALL = 1 << 20
_QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


class Nest(NamedTuple):
    """Where each array belongs in a tree in which some are at several places: a result is the next one's argument."""

    places: tuple[int, ...]
    structure: Any

    @classmethod
    def of(cls, tree: Any) -> tuple[Nest, list[Any]]:
        """Return the nest of a tree, and each of its arrays once."""
        leaves, structure = jax.tree.flatten(tree)
        numbers: dict[int, int] = {}
        places = tuple(numbers.setdefault(id(leaf), len(numbers)) for leaf in leaves)
        once = dict(zip(places, leaves, strict=True))
        return cls(places, structure), [once[i] for i in range(len(once))]

    def whole(self, arrays: Sequence[Any]) -> Any:
        """Return the tree with these arrays."""
        return jax.tree.unflatten(self.structure, [arrays[i] for i in self.places])


class _Trace(NamedTuple):
    """A pass forward as it was traced: compiled when it is called, with the calls' order and where arrays belong."""

    function: Callable[..., Any]
    program: Any
    order: list[Key]
    nest: Nest
    arrays: Sequence[Any]


class JaxModel:
    """Anyone's JAX model, to be run in one precision; every pass is compiled as a whole.

    Args:
        model: a flax.nnx.Module, an equinox.Module, `parity.Linen` or `parity.Function`; it is not changed.
        dtype: np.float32 or np.float64, for its floating-point arrays and inputs.
    """

    def __init__(self, model: Any, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        with self.precision():
            self.subject: Subject = subject(model)
            self.arrays = {path: self._cast(leaf) for path, leaf in self.subject.arrays.items()}
        self.order: list[Key] = []
        self.optimised = False
        self._traces: dict[Any, _Trace] = {}
        self.nest = Nest((), None)
        self.shapes: dict[Key, Call] = {}

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Return the context in which this precision exists, in `jax.nn.dot_product_attention` too."""
        wide = self.dtype == np.float64
        with jax.enable_x64(wide), float64_attention() if wide else nullcontext():
            yield

    def _jit(self, function: Callable[..., Any]) -> Any:
        """Compile a pass that runs once: of a small model compiling takes all the time, optimised code saves none.

        It rounds less: sums that are cut into vectors have shorter parts. `optimised` says that this matters.
        """
        small = (
            not self.optimised
            and sum(array.size for array in self.arrays.values()) < _SMALL
            and jax.default_backend() == "cpu"
        )
        return jax.jit(function, compiler_options=_QUICK if small else None)

    def _cast(self, array: Any) -> jax.Array:
        array = jnp.asarray(array)
        return array.astype(self.dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Fill the arrays that are given; paths and shapes are those of the model."""
        with self.precision():
            for path, value in arrays.items():
                own = self.arrays[path]
                # A copy, whatever the dtype: JAX may go on reading memory that PyTorch writes to.
                self.arrays[path] = jnp.array(value, own.dtype, copy=True).reshape(own.shape)

    def inputs(self, inputs: Sequence[np.ndarray]) -> list[jax.Array]:
        """Return the inputs on the device: floats in the model's precision, integers in JAX's own width."""
        return [self._cast(array if array.dtype.kind in "fb" else array.astype(np.int32)) for array in inputs]

    def trace(self, inputs: Sequence[np.ndarray], training: bool, watch: Collection[str], masks: Any = ()) -> list[Any]:
        """Find the shapes of the outputs and of every watched call, without computing; return the outputs'.

        Raises:
            Exception: whatever the model raises on these inputs.
        """
        found = self._traced(inputs, training, watch, masks)
        self.order, self.nest = found.order, found.nest
        outputs, calls = found.nest.whole(found.arrays)
        self.shapes = {key: Call(*map(list, calls[key])) for key in found.order}
        return outputs

    def jaxpr(self, inputs: Sequence[np.ndarray]) -> Any:
        """Return the model in evaluation mode as JAX traces it."""
        return self._traced(inputs, False, (), ()).program.jaxpr.jaxpr

    def _traced(self, inputs: Sequence[np.ndarray], training: bool, watch: Collection[str], masks: Any) -> _Trace:
        """Trace the pass forward on inputs of these shapes, once."""
        shapes = tuple((a.shape, a.dtype) for a in inputs), tuple(m.shape for m in masks)
        asked = (shapes, training, frozenset(watch), self.optimised)
        if asked not in self._traces:
            with self.precision():
                function = self._jit(self._forward(training, watch))
                extras = NOTHING._replace(masks=[jnp.asarray(mask) for mask in masks])
                program = function.trace(self.arrays, self.inputs(inputs), extras)
            arrays, _ = program.out_info
            self._traces[asked] = _Trace(function, program, self.order, self.nest, arrays)
        return self._traces[asked]

    def run(
        self,
        inputs: Sequence[np.ndarray],
        training: bool,
        *,
        watch: Collection[str] = (),
        masks: Sequence[np.ndarray] = (),
        cotangents: Sequence[np.ndarray] | None = None,
        store: Store | None = None,
    ) -> Pass:
        """Run one pass; arguments and result are those of `TorchModel.run`, in JAX's order of axes."""
        store = store or Store()
        shapes = self.trace(inputs, training, watch, masks)
        seen = Pass()
        with self.precision():
            if cotangents is None and self._bytes(inputs, training, watch, masks) > store.limit:
                outputs, calls, buffers = self._streamed(inputs, training, watch, masks, store)
            else:
                if cotangents is None:
                    extras = NOTHING._replace(masks=list(map(jnp.asarray, masks)))
                    function = self._traced(inputs, training, watch, masks).function
                    kept, buffers = function(self.arrays, self.inputs(inputs), extras)
                else:
                    kept, buffers, seen = self._backward(inputs, training, watch, masks, cotangents, shapes)
                outputs, calls = self.nest.whole([store.keep(np.asarray(array)) for array in kept])
        seen.calls["", 0] = Call(list(inputs), list(outputs))
        seen.calls |= {key: Call(*map(list, calls[key])) for key in self.order}
        seen.buffers = {path: np.asarray(value) for path, value in buffers.items()}
        return seen

    def _bytes(self, inputs: Any, training: bool, watch: Collection[str], masks: Any) -> int:
        """Return how large all recorded arrays are."""
        arrays = self._traced(inputs, training, watch, masks).arrays
        return sum(int(np.prod(a.shape)) * a.dtype.itemsize for a in arrays)

    def _streamed(
        self, inputs: Sequence[np.ndarray], training: bool, watch: Collection[str], masks: Sequence[Any], store: Store
    ) -> tuple[list[np.ndarray], dict[Key, list[list[np.ndarray]]], Mapping[str, Any]]:
        """Run forward op by op, and put away what each call gave as it ends, so that not all of it is held at once."""
        calls: dict[Key, list[list[np.ndarray]]] = {}
        known: dict[int, tuple[weakref.ref[Any], np.ndarray]] = {}

        def keep(array: Any) -> np.ndarray:
            found = known.get(id(array))
            if found is None or found[0]() is not array:
                found = known[id(array)] = weakref.ref(array), store.keep(np.asarray(array))
            return found[1]

        def put_away(key: Key, call: Traced) -> None:
            calls[key] = [list(map(keep, part)) for part in call]

        extras = NOTHING._replace(masks=list(map(jnp.asarray, masks)))
        ran = self.subject.run(self.arrays, self.inputs(inputs), training, watch, extras, put_away)
        return list(map(keep, values_of(ran.output))), calls, ran.buffers

    def _forward(self, training: bool, watch: Collection[str]) -> Callable[..., Any]:
        def forward(arrays: Any, xs: Any, extras: Extras) -> Any:
            ran = self.subject.run(arrays, xs, training, watch, extras)
            self.order = ran.order
            self.nest, arrays = Nest.of((values_of(ran.output), {key: tuple(call) for key, call in ran.calls.items()}))
            return arrays, ran.buffers

        return forward

    def _backward(
        self,
        inputs: Sequence[np.ndarray],
        training: bool,
        watch: Collection[str],
        masks: Sequence[np.ndarray],
        cotangents: Sequence[np.ndarray],
        shapes: Sequence[Any],
    ) -> Any:
        """Run forward and backward; gradients of the activations are those of zeros added to them."""
        forward = self._forward(training, watch)
        zeros = {
            key: [jnp.zeros(out.shape, out.dtype) for out in call.outputs]
            for key, call in self.shapes.items()
            if self.subject.perturbs
            and call.outputs
            and all(jnp.issubdtype(out.dtype, jnp.floating) for out in call.outputs)
        }
        smooth = [i for i, shape in enumerate(shapes) if jnp.issubdtype(shape.dtype, jnp.floating)]
        trained = {k: v for k, v in self.arrays.items() if k in self.subject.parameters and _is_float(v)}
        fixed = {k: v for k, v in self.arrays.items() if k not in trained}
        xs = self.inputs(inputs)
        keeps = list(map(jnp.asarray, masks))

        @self._jit
        def whole(trained: Any, moving: Any, zeros: Any, still: Any, fixed: Any, seeds: Any, masks: Any) -> Any:
            def function(trained: Any, moving: Any, zeros: Any) -> Any:
                values = [moving[str(i)] if str(i) in moving else still[str(i)] for i in range(len(xs))]
                extras = Extras(zeros, {}, masks)
                kept, buffers = forward(trained | fixed, values, extras)
                outputs, _ = self.nest.whole(kept)
                return [outputs[i] for i in smooth], (kept, buffers)

            _, pullback, aux = jax.vjp(function, trained, moving, zeros, has_aux=True)
            return aux, pullback(seeds)

        moving = {str(i): x for i, x in enumerate(xs) if _is_float(x)}
        still = {str(i): x for i, x in enumerate(xs) if not _is_float(x)}
        seeds = [jnp.asarray(cotangents[i], shapes[i].dtype) for i in smooth]
        aux, (of_params, of_inputs, of_zeros) = whole(trained, moving, zeros, still, fixed, seeds, keeps)
        seen = Pass(
            gradients={path: np.asarray(g) for path, g in of_params.items()},
            input_gradients=[np.asarray(of_inputs[str(i)]) if str(i) in of_inputs else None for i in range(len(xs))],
            activation_gradients={key: [np.asarray(g) for g in part] for key, part in of_zeros.items()},
        )
        return *aux, seen

    def alone(
        self,
        inputs: Sequence[np.ndarray],
        training: bool,
        reference: Mapping[Key, tuple[Sequence[np.ndarray], Sequence[np.ndarray]]],
        masks: Sequence[np.ndarray] = (),
    ) -> dict[Key, Call]:
        """Run every watched layer on the reference's recorded arguments, and go on with its recorded results.

        Args:
            inputs: the model's arguments.
            training: in which mode.
            reference: call → (arguments, results) of PyTorch's layer, in JAX's order of axes.
            masks: of the dropouts.

        Returns:
            Call → what arrived there (made from the recorded results before it) and what the layer alone gives; the
            model's own results, made from the last recorded ones, are those of ("", 0).
        """
        watch = {path for path, _ in reference}
        with self.precision():
            given = {
                key: ([self._like(a) for a in arguments], [self._like(a) for a in results])
                for key, (arguments, results) in reference.items()
            }
            extras = Extras({}, given, list(map(jnp.asarray, masks)))
            kept, _ = self._jit(self._forward(training, watch))(self.arrays, self.inputs(inputs), extras)
        outputs, calls = self.nest.whole(kept)
        calls = calls | {("", 0): ([], outputs)}
        return {key: Call(*([np.asarray(a) for a in part] for part in call)) for key, call in calls.items()}

    def _like(self, array: np.ndarray) -> jax.Array:
        return self._cast(array if array.dtype.kind in "fb" else array.astype(np.int32))


def _is_float(array: Any) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)
