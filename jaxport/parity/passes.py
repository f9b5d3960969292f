"""One pass of both models in one mode, and every tensor of it compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from . import tolerances, views
from .judge import Sides, judge, measure
from .observe_jax import JaxModel
from .pass_gradients import of_gradients
from .record import nudge
from .result import Finding, Tensor, Verdict
from .seen import Call, Key, Pass, Store, named_arrays
from .setup import Setup, nudged

_NAMES = {"inputs": "input", "outputs": "output"}


class ModePass:
    """Both models, run once in a mode, forward and backward.

    Args:
        setup: the models.
        training: the mode.
        gradients: whether they are compared.
        rng: draws the cotangents and the dropouts' masks.
        store: where large arrays are kept.
    """

    def __init__(
        self, setup: Setup, training: bool, gradients: bool, rng: np.random.Generator, store: Store | None = None
    ) -> None:
        self.setup, self.training, self.store = setup, training, store or Store()
        self.mode = "train" if training else "eval"
        self.masks: list[np.ndarray] = setup.torch64.draw_masks(setup.inputs, rng) if training else []
        self.jax_masks = [setup.mask_of_jax(mask) for mask in self.masks]
        self.cotangents = setup.torch32.draw_cotangents(setup.inputs, training, rng) if gradients else None
        pairs = setup.pairs
        self.watch_torch = set(pairs)
        self.watch_jax = {pair.jax_path for pair in pairs.values()}
        self.theirs64 = self._torch(setup.torch64)
        self.theirs32 = [self._torch(setup.torch32)]
        self.output_axes = self._find_output_axes()
        self.ours: dict[str, Pass] = {}
        for name, model in (("64", setup.jax64), ("32", setup.jax32)):
            if model is not None:
                self.ours[name] = self._jax(model)
        self.alone: dict[Key, Call] = {}
        self._judged: dict[tuple[Any, ...], tuple[Tensor, Any]] = {}
        self.torch_layers = setup.torch64.layers()

    def _torch(self, model: Any, inputs: Sequence[np.ndarray] | None = None) -> Pass:
        return model.run(
            self.setup.inputs if inputs is None else inputs,
            self.training,
            watch=self.watch_torch,
            masks=self.masks,
            cotangents=self.cotangents,
            store=self.store,
        )

    def _jax(self, model: JaxModel) -> Pass:
        return model.run(
            self.setup.jax_inputs,
            self.training,
            watch=self.watch_jax,
            masks=self.jax_masks,
            cotangents=None if self.cotangents is None else self._jax_cotangents(),
            store=self.store,
        )

    def _find_output_axes(self) -> list[views.Axes | None]:
        shapes = self.setup.jax_models[0].trace(self.setup.jax_inputs, self.training, (), self.jax_masks)
        self.jax_shapes = [shape.shape for shape in shapes]
        theirs = [out.shape for out in self.theirs64.outputs]
        last = [self.setup.prefers_last("", len(shape)) for shape in theirs]
        return [views.find_axes(o.shape, t, x) for o, t, x in zip(shapes, theirs, last, strict=False)]

    def _jax_cotangents(self) -> list[np.ndarray] | None:
        """Return PyTorch's cotangents in JAX's axes; None where the outputs differ in shape, so that there are none."""
        assert self.cotangents is not None
        if len(self.jax_shapes) != len(self.cotangents) or None in self.output_axes:
            return None
        return [views.to_jax(c, axes or ()) for c, axes in zip(self.cotangents, self.output_axes, strict=False)]

    def more_draws(self) -> None:
        """Look closer at float32: JAX as its users compile it, and PyTorch from numbers whose last bits are changed."""
        if self.setup.jax32 is not None and not self.setup.jax32.optimised:
            self.setup.jax32.optimised = True
            self.ours["32"] = self._jax(self.setup.jax32)
        if not self.setup.torch32.draws:
            return
        own = self.setup.torch32.state()
        for seed in range(tolerances.ROUNDING_DRAWS):
            state, inputs = nudged(self.setup, np.random.default_rng(seed))
            self.setup.torch32.load(state)
            self.theirs32.append(self._torch(self.setup.torch32, inputs))
        self.setup.torch32.load(own)

    def own_drift(self) -> dict[tuple[str, str], float]:
        """Return how far PyTorch's float64 is from itself when the last bits of weights and inputs change."""
        model, found = self.setup.torch64, {}
        own = model.state()
        truth = named_arrays(self.theirs64)
        for seed in range(tolerances.OWN_RUNS):
            rng = np.random.default_rng(seed)
            model.load({key: nudge(value, rng) for key, value in own.items()})
            inputs = [nudge(a.astype(np.float64), rng) if a.dtype.kind == "f" else a for a in self.setup.inputs]
            for name, value in named_arrays(self._torch(model, inputs)).items():
                if (true := truth.get(name)) is not None and true.shape == value.shape:
                    gap = measure(value, true).max_abs
                    found[name] = max(gap if np.isfinite(gap) else 0.0, found.get(name, 0.0))
        model.load(own)
        return found

    def tensors(self) -> list[Tensor]:
        """Compare everything, in PyTorch's order of execution; gradients after it, in reverse order."""
        return [*self._of_calls(), *of_gradients(self), *self._of_buffers()]

    def key_of_jax(self, key: Key) -> Key | None:
        """Return the JAX call that a PyTorch call is compared with."""
        pair = self.setup.pairs.get(key[0])
        return (pair.jax_path, key[1]) if pair else ("", 0) if key == ("", 0) else None

    def _of_calls(self) -> Iterator[Tensor]:
        for key in self.theirs64.ended:
            jax_key = self.key_of_jax(key)
            if jax_key is None or any(jax_key not in seen.calls for seen in self.ours.values()):
                continue
            for part in ("inputs", "outputs") if key[0] else ("outputs",):
                yield from self._of_part(key, jax_key, part)

    def _of_part(self, key: Key, jax_key: Key, part: str) -> Iterator[Tensor]:
        theirs = getattr(self.theirs64.calls[key], part)
        mine = {name: getattr(seen.calls[jax_key], part) for name, seen in self.ours.items()}
        counts = {len(theirs), *map(len, mine.values())}
        # Where one side hands over more (a state beside the output, q, k and v), the first is what both have.
        count = counts.pop() if len(counts) == 1 else min(1, *counts)
        draws = [getattr(seen.calls[key], part) for seen in self.theirs32]
        for i in range(count):
            ours = {name: self.viewed(key[0], part, arrays[i]) for name, arrays in mine.items()}
            sides = Sides(ours.get("64"), ours.get("32"), theirs[i], [draw[i] for draw in draws])
            tensor = self._named(_NAMES[part], key, jax_key, i, sides)
            tensor = self._judge(tensor, sides, self.setup.prefers_last(key[0], theirs[i].ndim))
            yield self._with_local(tensor, key, jax_key, part, i, theirs[i])

    def _judge(self, tensor: Tensor, sides: Sides, last: bool) -> Tensor:
        """Judge two tensors; the same two again, as one layer's result and the next one's argument, only once."""
        arrays = (sides.ours64, sides.ours32, sides.theirs64, *sides.theirs32)
        key = (last, *map(id, arrays))
        if (found := self._judged.get(key)) is None:
            # With the arrays, so that their ids stay theirs.
            found = self._judged[key] = judge(tensor, sides, last=last), arrays
        names = {name: getattr(tensor, name) for name in ("kind", "jax_path", "torch_path", "decides")}
        return replace(found[0], **names)

    def viewed(self, path: str, part: str, array: np.ndarray) -> np.ndarray:
        """Bring flattened features to PyTorch's order."""
        shape = self.setup.flatten.get(path) if part == "inputs" else None
        return views.unflattened(array, shape) if shape and array.shape[-1] == np.prod(shape) else array

    def _named(self, kind: str, key: Key, jax_key: Key, i: int, sides: Sides) -> Tensor:
        suffix = (f" call {key[1] + 1}" if key[1] else "") + (f"[{i}]" if i else "")
        first32 = sides.theirs32[0] if sides.theirs32 else sides.theirs64
        ours = sides.ours32 if sides.ours32 is not None else sides.ours
        return Tensor(
            kind,
            jax_key[0] + suffix,
            key[0] + suffix,
            tuple(ours.shape),
            tuple(sides.theirs64.shape),
            str(ours.dtype),
            str(first32.dtype),
            Verdict.DIFFERENT,
            decides=not key[0] or self.setup.decides(key[0]),
            mode=self.mode,
        )

    def _with_local(self, tensor: Tensor, key: Key, jax_key: Key, part: str, i: int, theirs: np.ndarray) -> Tensor:
        call = self.alone.get(jax_key)
        if call is None or i >= len(getattr(call, part)):
            return tensor
        ours = self.viewed(key[0], part, getattr(call, part)[i])
        last = self.setup.prefers_last(key[0], theirs.ndim)
        local = judge(replace(tensor, axes=()), Sides(ours, None, theirs), last=last)
        return replace(tensor, **{"local32" if self.setup.jax64 is None else "local64": local.float64})

    def run_alone(self) -> None:
        """Run each JAX layer on PyTorch's recorded arguments, in the first precision that there is."""
        reference: dict[Key, tuple[list[np.ndarray], list[np.ndarray]]] = {}
        name = next(iter(self.ours))
        for key in self.theirs64.ended:
            jax_key = self.key_of_jax(key)
            if not key[0] or jax_key is None or jax_key not in self.ours[name].calls or not self.setup.decides(key[0]):
                continue
            own, theirs = self.ours[name].calls[jax_key], self.theirs64.calls[key]
            arguments = self._as_jax(key[0], own.inputs, theirs.inputs, self.setup.flatten.get(key[0]))
            results = self._as_jax(key[0], own.outputs, theirs.outputs, None)
            if arguments is not None and results is not None:
                reference[jax_key] = (arguments, results)
        model = self.setup.jax_models[0]
        self.alone = model.alone(self.setup.jax_inputs, self.training, reference, self.jax_masks)

    def _as_jax(
        self, path: str, own: Sequence[np.ndarray], theirs: Sequence[np.ndarray], flatten: tuple[int, ...] | None
    ) -> list[np.ndarray] | None:
        """Return PyTorch's arrays as JAX's lie; None if they cannot be."""
        count = len(own) if len(own) == len(theirs) else min(1, len(own), len(theirs))
        found = []
        for mine, array in zip(own[:count], theirs[:count], strict=True):
            value = views.flattened(array, flatten) if flatten else array
            axes = views.best_axes(mine, value, self.setup.prefers_last(path, value.ndim))
            if axes is None:
                return None
            found.append(views.to_jax(value, axes))
        return found

    def _of_buffers(self) -> Iterator[Tensor]:
        if not self.training:
            return
        mine = {name: self.buffers_of(name) for name in self.ours}
        sources = self.setup.sources
        for key, theirs in self.theirs64.buffers.items():
            if key not in sources or not all(key in found for found in mine.values()):
                continue
            draws = [seen.buffers[key] for seen in self.theirs32]
            sides = Sides(
                mine["64"][key] if "64" in mine else None, mine["32"][key] if "32" in mine else None, theirs, draws
            )
            ours = sides.ours32 if sides.ours32 is not None else sides.ours
            tensor = Tensor(
                "buffer",
                sources[key],
                key,
                tuple(ours.shape),
                tuple(theirs.shape),
                str(ours.dtype),
                str(draws[0].dtype),
                Verdict.DIFFERENT,
                mode=self.mode,
            )
            yield judge(tensor, sides)

    def buffers_of(self, name: str) -> dict[str, np.ndarray]:
        """Return PyTorch's state dict as JAX has it after the pass, in precision "64" or "32"."""
        model = self.setup.jax64 if name == "64" else self.setup.jax32
        assert model is not None
        own = {path: np.asarray(array) for path, array in model.arrays.items()}
        return self.setup.plan.to_torch(own | self.ours[name].buffers)

    def gradients_of(self, name: str) -> dict[str, np.ndarray]:
        """Return JAX's gradients of the parameters by PyTorch's keys, in precision "64" or "32"."""
        grads = {key: grad for key, grad in self.ours[name].gradients.items() if grad is not None}
        return self.setup.plan.gradients_to_torch(grads)

    def findings(self) -> Iterator[Finding]:
        """Say what was not seen, not used or called another number of times."""
        counts: dict[str, int] = {}
        for path, _ in self.theirs64.calls:
            counts[path] = counts.get(path, 0) + 1
        ours: dict[str, int] = {}
        for path, _ in next(iter(self.ours.values())).calls:
            ours[path] = ours.get(path, 0) + 1
        for path, pair in self.setup.pairs.items():
            if not self.setup.decides(path):
                continue
            here, there = ours.get(pair.jax_path, 0), counts.get(path, 0)
            if here == there:
                continue
            if here == 0:
                text = "was not seen: it is not called by its `__call__`, or inside a transformation (scan, jit, remat)"
                yield Finding("capture/unseen", "info", f"{pair.jax_path} {text}", pair.jax_path, path)
            else:
                text = f"{pair.jax_path} is called {here} times, PyTorch's {path} {there} times"
                yield Finding("capture/calls", "warning", text, pair.jax_path, path)
        for key, grad in self.theirs64.gradients.items():
            if grad is None:
                text = f"PyTorch's output does not depend on {key}: no gradient is compared"
                yield Finding("gradient/unused", "warning", text, torch_path=key)
        if len(self.jax_shapes) != len(self.theirs64.outputs):
            text = f"JAX returns {len(self.jax_shapes)} arrays, PyTorch {len(self.theirs64.outputs)}"
            yield Finding("output/count", "warning", text)
        for name in self.setup.torch64.hidden:
            text = (
                f"PyTorch draws a dropout inside {name}, which cannot be replayed: set it to 0, or compare in eval mode"
            )
            yield Finding("dropout/hidden", "error", text)
