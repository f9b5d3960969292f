"""The PyTorch half of a comparison of any two models: the module as it is, watched through hooks."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from jaxport.errors import UsageError

from .describe_torch import describe_torch
from .golden_arguments import hidden_dropouts
from .layer import Layers
from .lint import Call as FunctionCall
from .lint import trace_calls
from .seen import Call, Key, Pass, Store, parts
from .weights.find_flatten import find_flatten

_DROPOUTS = {"dropout", "dropout_", "feature_dropout", "feature_dropout_"}
_UNLIKE = {"alpha_dropout", "alpha_dropout_", "feature_alpha_dropout", "feature_alpha_dropout_"}
_INSIDE = {"multi_head_attention_forward": "dropout_p", "scaled_dot_product_attention": "dropout_p", "lstm": "dropout"}

Masks = list[np.ndarray]


class _Dropout(TorchFunctionMode):
    """Gives every dropout's draw to `mask`, which gets the input and p; in the order of the calls."""

    def __init__(self, mask: Callable[[torch.Tensor, float], np.ndarray]) -> None:
        super().__init__()
        self.mask = mask
        self.hidden: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _DROPOUTS:
            x, p, training = _dropout_arguments(*args, **kwargs)
            if not training or p == 0.0:
                return x
            # As PyTorch rounds it: the mask over 1 - p first.
            keep = torch.from_numpy(np.array(self.mask(x, p))).to(x.dtype)
            return x * (keep / (1.0 - p)) if p < 1.0 else x * 0.0
        if name in _UNLIKE or (name in _INSIDE and kwargs.get(_INSIDE[name]) and kwargs.get("training", True)):
            self.hidden.append(name)
        return func(*args, **kwargs)


def _dropout_arguments(
    input: torch.Tensor, p: float = 0.5, training: bool = True, train: bool | None = None, inplace: bool = False
) -> tuple[torch.Tensor, float, bool]:
    return input, p, training if train is None else train


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a copy of a tensor's values; half precisions become float32, which holds them exactly."""
    tensor = tensor.detach().cpu()
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return tensor.numpy().copy()


def arrays_of(value: Any) -> list[torch.Tensor]:
    """Return the tensors among arguments or results, in their order; masks (bool) are not values."""
    return [part for part in parts(_opened(value)) if isinstance(part, torch.Tensor) and part.dtype != torch.bool]


def _opened(value: Any) -> Any:
    """Return a model's output object (a dataclass or a packed sequence) as a tuple of its parts."""
    if hasattr(value, "to_tuple"):
        return value.to_tuple()
    return value


class TorchModel:
    """A copy of anyone's module, to be run in one precision.

    Args:
        module: the model; it is not changed.
        dtype: torch.float32 or torch.float64, for its floating-point parameters, buffers and inputs.

    Raises:
        UsageError: it is not a module.
    """

    def __init__(self, module: torch.nn.Module, dtype: torch.dtype) -> None:
        if not isinstance(module, torch.nn.Module):
            raise UsageError(f"torch_model: a torch.nn.Module is needed, got {type(module).__name__}")
        self.dtype = dtype
        self.module = _copy(module, dtype)
        self.hidden: list[str] = []
        self.draws = True
        self.calls: tuple[FunctionCall, ...] = ()
        self.first: Pass | None = None
        self.changes = False

    def layers(self) -> Layers:
        """Return what is known of its modules, with the state as it is."""
        return describe_torch(self.module)

    def draw_cotangents(
        self, inputs: Sequence[np.ndarray], training: bool, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return random numbers of the outputs' shapes, exact in float32."""
        shapes = [out.shape for out in self.run(inputs, False).outputs]
        return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]

    def output_shapes(
        self, inputs: Sequence[np.ndarray], watch: Collection[str] = (), store: Store | None = None
    ) -> list[tuple[int, ...]]:
        """Return the shapes of the outputs; the functions that it calls on the way are kept in `calls`.

        What is watched is kept too: `run` need not compute the same pass again.
        """
        seen: list[Pass] = []

        def call(*tensors: torch.Tensor) -> None:
            seen.append(self._run(inputs, list(tensors), False, set(watch), (), None, store or Store()))

        self.calls = trace_calls(self.module, self.tensors(inputs), torch_call=call).torch
        self.first = replace(seen[-1], inputs=tuple(map(id, inputs)), watch=frozenset(watch))
        return [out.shape for out in seen[-1].outputs]

    def flattened(self, inputs: Sequence[np.ndarray]) -> dict[str, tuple[int, ...]]:
        """Return the layers behind a flatten: path → (C, *spatial)."""
        return find_flatten(self.module, self.tensors(inputs))

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Fill parameters and buffers; the keys are those of the state dict, all of them."""
        self.module.load_state_dict({key: _borrowed(value) for key, value in state.items()})
        self.first = None

    def state(self, copied: bool = True) -> dict[str, np.ndarray]:
        """Return the state dict, copied or as it lies in memory."""
        return {
            key: to_numpy(value) if copied or not _as_it_is(value.dtype) else value.detach().numpy()
            for key, value in self.module.state_dict().items()
        }

    def tensors(self, inputs: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """Return the inputs as tensors of their own memory: floats in the model's precision, integers as int64."""
        found = []
        for array in inputs:
            tensor = torch.from_numpy(np.array(array))
            if tensor.is_floating_point():
                found.append(tensor.to(self.dtype))
            else:
                found.append(tensor if tensor.dtype == torch.bool else tensor.long())
        return found

    def draw_masks(self, inputs: Sequence[np.ndarray], rng: np.random.Generator) -> Masks:
        """Return keep masks for a pass in training mode, in the order of the dropout calls."""
        drawn: Masks = []

        def draw(x: torch.Tensor, p: float) -> np.ndarray:
            drawn.append(rng.random(tuple(x.shape)) >= p)
            return drawn[-1]

        self.module.train()
        mode = _Dropout(draw)
        with torch.no_grad(), self._kept_buffers(), mode:
            self.module(*self.tensors(inputs))
        self.hidden = sorted({*mode.hidden, *hidden_dropouts(self.module)})
        return drawn

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
        """Run one pass, from the state as it is; buffers are put back after it.

        Args:
            inputs: the model's arguments.
            training: in which mode.
            watch: paths of the modules whose calls are recorded; the model itself always is.
            masks: of the dropouts, in training mode.
            cotangents: one for each output: gradients of Σ cotangent · output are wanted; None for none.
            store: where arrays are kept.
        """
        first, asked = self.first, (tuple(map(id, inputs)), frozenset(watch))
        if first is not None and not training and cotangents is None and asked == (first.inputs, first.watch):
            return first
        return self._run(inputs, self.tensors(inputs), training, watch, masks, cotangents, store or Store())

    def _run(
        self,
        inputs: Sequence[np.ndarray],
        tensors: list[torch.Tensor],
        training: bool,
        watch: Collection[str],
        masks: Sequence[np.ndarray],
        cotangents: Sequence[np.ndarray] | None,
        store: Store,
    ) -> Pass:
        seen, taken = Pass(), Taken(store, self.changes)
        backward = cotangents is not None
        self.module.train(training)
        leaves = [t.requires_grad_() for t in tensors if backward and t.is_floating_point()]
        rest, kept = iter(masks), {}
        with ExitStack() as stack:
            stack.enter_context(self._kept_buffers())
            stack.enter_context(_Dropout(lambda x, p: _next_mask(rest, x)))
            stack.enter_context(torch.set_grad_enabled(backward))
            for path, part in self.module.named_modules():
                if not list(part.children()) or path in watch:
                    stack.callback(part.register_forward_pre_hook(_follow(path, seen)).remove)
                if path in watch or path == "":
                    for hook in _watch(part, path, seen, kept, taken, backward):
                        stack.callback(hook.remove)
            # A leaf must not be written to, its copy may.
            output = self.module(*(t.clone() if t.requires_grad else t for t in tensors))
            seen.buffers = {name: to_numpy(buffer) for name, buffer in self.module.named_buffers()}
            # Before buffers are put back: autograd would see that as a change in place.
            if cotangents is not None:
                self._backward(seen, arrays_of(output), cotangents, leaves, tensors, kept)
        if taken.changed():  # in place, after they were seen: once more, with copies
            self.changes = True
            return self._run(inputs, self.tensors(inputs), training, watch, masks, cotangents, store)
        return seen

    def _backward(
        self,
        seen: Pass,
        outputs: list[torch.Tensor],
        cotangents: Sequence[np.ndarray],
        leaves: list[torch.Tensor],
        tensors: list[torch.Tensor],
        kept: dict[Key, list[torch.Tensor]],
    ) -> None:
        pairs = [
            (out, torch.from_numpy(np.array(c)).to(out.dtype))
            for out, c in zip(outputs, cotangents, strict=True)
            if out.requires_grad
        ]
        names = dict(self.module.named_parameters())
        inner = [(key, i, t) for key, ts in kept.items() for i, t in enumerate(ts) if t.requires_grad]
        # A frozen parameter has no gradient in PyTorch; the JAX model's is not asked for.
        free = {name: p for name, p in names.items() if p.requires_grad}
        wanted = [*free.values(), *leaves, *(t for _, _, t in inner)]
        found: list[Any] = [None] * len(wanted)
        if pairs and wanted:
            outs, seeds = zip(*pairs, strict=True)
            found = list(torch.autograd.grad(outs, wanted, seeds, allow_unused=True))
        grads = [None if g is None else to_numpy(g) for g in found]
        seen.gradients = dict(zip(free, grads, strict=False))
        of_inputs = iter(grads[len(free) : len(free) + len(leaves)])
        seen.input_gradients = [next(of_inputs) if t.requires_grad else None for t in tensors]
        for (key, i, _), grad in zip(inner, grads[len(free) + len(leaves) :], strict=True):
            slots = seen.activation_gradients.setdefault(key, [None] * len(kept[key]))
            slots[i] = grad

    @contextmanager
    def _kept_buffers(self) -> Iterator[None]:
        before = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        try:
            yield
        finally:
            with torch.no_grad():
                for name, buffer in self.module.named_buffers():
                    buffer.copy_(before[name])


def _next_mask(rest: Iterator[np.ndarray], x: torch.Tensor) -> np.ndarray:
    mask = next(rest, None)
    if mask is None or mask.shape != tuple(x.shape):
        raise UsageError(f"dropout masks: a dropout on {tuple(x.shape)} has none; the model draws in another order")
    return mask


class Taken:
    """Takes the values of tensors, of one that several modules see (as result, of a container, as argument) once.

    Args:
        store: where arrays are kept.
        copies: whether they are copied at once. If not they are the tensors' own memory, and `changed` says whether
            something was written there since.
    """

    def __init__(self, store: Store, copies: bool) -> None:
        self.store, self.copies = store, copies
        self.known: dict[int, tuple[weakref.ref[torch.Tensor], int, np.ndarray]] = {}
        self.shared: list[tuple[torch.Tensor, int]] = []

    def __call__(self, tensor: torch.Tensor) -> np.ndarray:
        """Return a tensor's values."""
        known = self.known.get(id(tensor))
        if known is not None and known[0]() is tensor and known[1] == _version(tensor):
            return known[2]
        array = self._kept(tensor)
        self.known[id(tensor)] = (weakref.ref(tensor), _version(tensor), array)
        return array

    def _kept(self, tensor: torch.Tensor) -> np.ndarray:
        plain = tensor.device.type == "cpu" and not tensor.is_inference() and _as_it_is(tensor.dtype)
        if self.copies or not plain:
            return self.store.keep(to_numpy(tensor))
        alias = tensor.detach()
        array = alias.numpy()
        kept = self.store.keep(array)
        if kept is array:
            self.shared.append((alias, alias._version))
        return kept

    def changed(self) -> bool:
        """Whether a tensor was written to after its values were taken."""
        return any(alias._version != version for alias, version in self.shared)

    def copied(self, value: Any) -> Any:
        """Return a copy of a tensor, or of the tensors of a tuple, whose values are known."""
        if isinstance(value, torch.Tensor):
            copied, array = value.clone(), self(value)
            self.known[id(copied)] = (weakref.ref(copied), _version(copied), array)
            return copied
        if isinstance(value, tuple) and not hasattr(value, "_fields"):
            return tuple(map(self.copied, value))
        return value


def _as_it_is(dtype: torch.dtype) -> bool:
    return dtype not in (torch.bfloat16, torch.float16)


def _version(tensor: torch.Tensor) -> int:
    """Return how often a tensor was changed in place; a number of its own where PyTorch does not count."""
    return -1 if tensor.is_inference() else tensor._version


def _watch(
    module: torch.nn.Module, path: str, seen: Pass, kept: dict[Key, list[torch.Tensor]], taken: Taken, backward: bool
) -> list[Any]:
    """Record the module's calls. With gradients its results are handed on as copies, so that changes in place of what
    follows (ReLU(inplace=True)) leave the recorded ones alone."""
    open_calls: list[Key] = []

    def before(part: torch.nn.Module, args: Any, kwargs: Any) -> None:
        key = (path, sum(name == path for name, _ in seen.calls))
        seen.calls[key] = Call([taken(t) for t in arrays_of((args, kwargs))])
        open_calls.append(key)

    def after(part: torch.nn.Module, args: Any, output: Any) -> Any:
        key = open_calls.pop()
        seen.ended.append(key)
        tensors = arrays_of(output)
        seen.calls[key].outputs = [taken(t) for t in tensors]
        if backward and path:
            kept[key] = tensors
            return taken.copied(output)
        return None

    return [module.register_forward_pre_hook(before, with_kwargs=True), module.register_forward_hook(after)]


def _follow(path: str, seen: Pass) -> Any:
    def hook(module: torch.nn.Module, args: Any) -> None:
        seen.trail.append((path, sum(name == path for name, _ in seen.trail)))

    return hook


def _copy(module: torch.nn.Module, dtype: torch.dtype) -> torch.nn.Module:
    """Return a copy on the CPU in a precision; large arrays are converted as they are copied."""
    memo: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        if type(tensor) in (torch.nn.Parameter, torch.Tensor) and tensor.is_floating_point():
            new = tensor.detach().to("cpu", dtype, copy=True)
            wrapped = isinstance(tensor, torch.nn.Parameter)
            memo[id(tensor)] = torch.nn.Parameter(new, tensor.requires_grad) if wrapped else new
    return copy.deepcopy(module, memo).to("cpu").to(dtype)


def _borrowed(array: np.ndarray) -> torch.Tensor:
    """Return an array as a tensor that is only read, of its own memory where PyTorch cannot take it."""
    plain = array.flags.writeable and all(stride >= 0 for stride in array.strides)
    return torch.from_numpy(array if plain else np.array(array, order="C"))
