"""What RNN, LSTM and GRU share: weights, layers, directions, dropout, lengths and packed sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from .dropout import _replayed, dropout
from .module import Module, Parameter, fresh_rngs
from .rnn_cells import reset_uniform
from .rnn_input import check_lengths, initial_states, inside, poison, refuse_bad_input, refuse_bad_options
from .rnn_scan import CELLS, State, Weights, run_layer
from .utils.rnn import PackedSequence, pack_steps, packed_lengths, unpack_steps

_NAMES = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh", "weight_hr": "w_hr"}


class RNNBase(Module):
    """Base class of RNN, LSTM and GRU: layers and directions of one kind of recurrence.

    Layer k holds `weight_ih_l{k}` (gates·hidden_size, input), `weight_hh_l{k}` (gates·hidden_size, output),
    `bias_ih_l{k}` and `bias_hh_l{k}` (gates·hidden_size,), with `proj_size` also `weight_hr_l{k}` (proj_size,
    hidden_size), and the same with the suffix `_reverse` if bidirectional; all start from U(±1/√hidden_size).

    Args:
        mode: 'RNN_TANH', 'RNN_RELU', 'LSTM' or 'GRU'.
        input_size: size of the input's last axis.
        hidden_size: size of the state's last axis.
        num_layers: how many recurrences are stacked.
        bias: whether there are biases.
        batch_first: whether input and output are (B, T, features) rather than (T, B, features); states never are.
        dropout: probability of an element of each layer's output but the last's to be dropped while training.
        bidirectional: whether each layer also runs backwards in time and puts both outputs side by side.
        proj_size: if not 0, the size to which an LSTM's h is projected.
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (streams ``params`` and, if there is dropout, ``dropout``) or a seed.

    Raises:
        TypeError: a size is no integer, or a switch no bool.
        ValueError: an argument out of range, or an unknown `mode`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNBase.html
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        refuse_bad_options(type(self).__name__, locals())
        if mode not in CELLS:
            raise ValueError(f"RNNBase: mode must be one of {', '.join(CELLS)}, got {mode!r}")
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        dtype = jnp.float32 if dtype is None else dtype
        self._weight_names = tuple(self._create(number, dtype) for number in range(self._scans))
        rngs = fresh_rngs(rngs, type(self).__name__)
        self.reset_parameters(rngs)
        self.rngs = rngs["dropout"].fork() if dropout > 0 and num_layers > 1 else None

    @property
    def _scans(self) -> int:
        """Number of scans: of each layer, and of each direction."""
        return self.num_layers * (2 if self.bidirectional else 1)

    def _create(self, number: int, dtype: DTypeLike) -> tuple[str, ...]:
        """Make the parameters of one scan, and return their names."""
        directions = 2 if self.bidirectional else 1
        layer, reverse = divmod(number, directions)
        width, out = CELLS[self.mode].gates * self.hidden_size, self.proj_size or self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (width, self.input_size if layer == 0 else out * directions),
            "weight_hh": (width, out),
        }
        if self.bias:
            shapes |= {"bias_ih": (width,), "bias_hh": (width,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        named = {f"{name}_l{layer}{'_reverse' * reverse}": shape for name, shape in shapes.items()}
        for name, shape in named.items():
            setattr(self, name, Parameter(jnp.zeros(shape, dtype)))
        return tuple(named)

    def reset_parameters(self, rngs: nnx.Rngs) -> None:
        """Draw new initial values."""
        reset_uniform(self, self.hidden_size, rngs)

    @property
    def all_weights(self) -> list[list[nnx.Param]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._weight_names]

    def flatten_parameters(self) -> None:
        """Do nothing: PyTorch's method puts the weights in one piece of memory for cuDNN."""

    def _weights(self, number: int) -> Weights:
        names = self._weight_names[number]
        return Weights(**{_NAMES[name.split("_l")[0]]: getattr(self, name)[...] for name in names})

    def _keys(self) -> Iterator[jax.Array | None]:
        # Drawn only when used, so that evaluation and replay leave the stream where it was.
        while True:
            needed = self.training and self.rngs is not None and self.dropout < 1.0 and _replayed.get() is None
            yield self.rngs() if needed and self.rngs is not None else None

    def _drop(self, x: jax.Array, key: jax.Array | None) -> jax.Array:
        return dropout(x, self.dropout, self.training, key=key)

    def _layers(
        self, x: jax.Array, states: State, mask: jax.Array | None, drop: Callable[..., jax.Array]
    ) -> tuple[jax.Array, State]:
        """Run all layers over (T, B, input_size)."""
        last, keys, directions = [], self._keys(), 2 if self.bidirectional else 1
        if mask is not None:
            # What stands in the padding reaches nothing, not even as NaN · 0 in a gradient.
            x = jnp.where(mask, x, jnp.zeros_like(x))
        for layer in range(self.num_layers):
            outputs = []
            for number in range(layer * directions, (layer + 1) * directions):
                start, reverse = tuple(state[number] for state in states), number % directions == 1
                output, end = run_layer(CELLS[self.mode], x, start, self._weights(number), mask, reverse)
                outputs.append(output)
                last.append(end)
            x = outputs[0] if directions == 1 else jnp.concatenate(outputs, axis=-1)
            if layer < self.num_layers - 1:
                x = drop(x, next(keys))
        return x, tuple(jnp.stack(parts) for parts in zip(*last, strict=True))

    def _shapes(self, batch: int) -> tuple[tuple[int, ...], ...]:
        h = (self._scans, batch, self.proj_size or self.hidden_size)
        return (h, (self._scans, batch, self.hidden_size)) if self.mode == "LSTM" else (h,)

    def _pair(self, states: State) -> Any:
        return states if self.mode == "LSTM" else states[0]

    def forward(self, input: Any, hx: Any = None, *, lengths: Any = None) -> Any:
        """Run over a batch of sequences.

        Args:
            input: (T, B, input_size), (B, T, input_size) with `batch_first`, (T, input_size), or a PackedSequence.
            hx: initial state (layers·directions, B, features), (h, c) for an LSTM; without B if the input has none;
                None means zeros.
            lengths: (B,) how long each sequence is; None means T. Beyond it the output is 0, the last state is that
                at the sequence's end, and the backward direction starts there: what PyTorch does with packed
                sequences, also under ``jax.jit``, where a length outside [1, T] gives NaN.

        Returns:
            the outputs of the last layer for all times, a PackedSequence for one, and the last state of all layers.

        Raises:
            TypeError: `lengths` are no integers.
            ValueError: a shape or dtype that does not fit, no time step, or a length outside [1, T].
        """
        owner, states = type(self).__name__, hx if hx is None or self.mode == "LSTM" else (hx,)
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise ValueError(f"{owner}: lengths must be None for a packed sequence, which has its own")
            return self._forward_packed(input, states)
        refuse_bad_input(owner, input, (2, 3), self.input_size, self._weights(0).w_ih.dtype)
        batched, swapped = input.ndim == 3, input.ndim == 3 and self.batch_first
        x = jnp.swapaxes(input, 0, 1) if swapped else input if batched else input[:, None]
        steps, batch = x.shape[:2]
        if steps == 0:
            raise ValueError(f"{owner}: input must have at least one time step, got shape {input.shape}")
        states, mask = initial_states(owner, states, self._shapes(batch), batched, x.dtype), None
        if lengths is not None:
            sizes = check_lengths(owner, lengths, batch if batched else None, steps)
            states, mask = poison(states, sizes, steps), inside(sizes, steps)
        output, last = self._layers(x, states, mask, self._drop)
        if not batched:
            return output[:, 0], self._pair(tuple(state[:, 0] for state in last))
        return jnp.swapaxes(output, 0, 1) if swapped else output, self._pair(last)

    def _forward_packed(self, input: PackedSequence, hx: State | None) -> tuple[PackedSequence, Any]:
        """Run over a packed batch: padded, since scans have one shape, and packed again."""
        owner, data, sizes = type(self).__name__, input.data, packed_lengths(input)
        refuse_bad_input(owner, data, (2,), self.input_size, self._weights(0).w_ih.dtype)
        steps = len(input.batch_sizes)
        states = initial_states(owner, hx, self._shapes(len(sizes)), True, data.dtype)
        if hx is not None and input.sorted_indices is not None:
            states = tuple(state[:, input.sorted_indices] for state in states)

        def drop(x: jax.Array, key: jax.Array | None) -> jax.Array:
            return unpack_steps(self._drop(pack_steps(x, sizes), key), sizes, steps)

        mask = inside(jnp.asarray(sizes), steps)
        output, last = self._layers(unpack_steps(data, sizes, steps), states, mask, drop)
        if input.unsorted_indices is not None:
            last = tuple(state[:, input.unsorted_indices] for state in last)
        return PackedSequence(pack_steps(output, sizes), *input[1:]), self._pair(last)

    def extra_repr(self) -> str:
        """Return the sizes and what is not the default, as PyTorch prints them."""
        defaults = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
        }
        changed = [
            f", {name}={getattr(self, name)}" for name, value in defaults.items() if getattr(self, name) != value
        ]
        return f"{self.input_size}, {self.hidden_size}{''.join(changed)}"
