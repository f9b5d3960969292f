"""One step of a recurrence: RNNCell, LSTMCell, GRUCell."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from . import init
from .checks import positive_int, same_dtype
from .module import Module, Parameter, fresh_rngs
from .rnn_scan import CELLS, State, Weights, run_cell


def reset_uniform(module: Module, hidden_size: int, rngs: nnx.Rngs) -> None:
    """Fill every parameter of `module` with U(±1/√hidden_size), as PyTorch does in all recurrent layers."""
    bound = 1.0 / math.sqrt(hidden_size)
    for parameter in module.parameters():
        init.uniform_(parameter, -bound, bound, generator=rngs.params())


class RNNCellBase(Module):
    """Base class of RNNCell, LSTMCell and GRUCell: sizes and weights of `num_chunks` gates.

    `weight_ih` is (num_chunks·hidden_size, input_size), `weight_hh` (num_chunks·hidden_size, hidden_size), `bias_ih`
    and `bias_hh` (num_chunks·hidden_size,); all start from U(±1/√hidden_size).

    Args:
        input_size: size of the input's last axis.
        hidden_size: size of the state's last axis.
        bias: whether there are biases.
        num_chunks: number of gates.
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (stream ``params``) or a seed.

    Raises:
        ValueError: a size is not a positive integer.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNCellBase.html
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        owner = type(self).__name__
        self.input_size = positive_int(owner, "input_size", input_size)
        self.hidden_size = positive_int(owner, "hidden_size", hidden_size)
        self.bias = bias
        dtype, width = jnp.float32 if dtype is None else dtype, num_chunks * hidden_size
        self.weight_ih = Parameter(jnp.zeros((width, input_size), dtype))
        self.weight_hh = Parameter(jnp.zeros((width, hidden_size), dtype))
        self.bias_ih = Parameter(jnp.zeros((width,), dtype)) if bias else None
        self.bias_hh = Parameter(jnp.zeros((width,), dtype)) if bias else None
        self.reset_parameters(fresh_rngs(rngs, owner))

    def reset_parameters(self, rngs: nnx.Rngs) -> None:
        """Draw new initial values."""
        reset_uniform(self, self.hidden_size, rngs)

    def _weights(self) -> Weights:
        biases = (None if b is None else b[...] for b in (self.bias_ih, self.bias_hh))
        return Weights(self.weight_ih[...], self.weight_hh[...], *biases)

    def _step(self, mode: str, input: jax.Array, state: State | None, names: tuple[str, ...]) -> State:
        """Check, add the batch axis where there is none, and advance by one step."""
        owner = type(self).__name__
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            wanted = f"(N, {self.input_size}) or ({self.input_size},)"
            raise ValueError(f"{owner}: input must have shape {wanted}, got {input.shape}")
        shape = (*input.shape[:-1], self.hidden_size)
        state = (jnp.zeros(shape, input.dtype),) * len(names) if state is None else state
        if len(state) != len(names):
            raise ValueError(f"{owner}: hx must be a pair (h, c), got {len(state)} arrays")
        for name, array in zip(names, state, strict=True):
            if array.shape != shape:
                raise ValueError(f"{owner}: {name} must have shape {shape} beside this input, got {array.shape}")
        weights = self._weights()
        same_dtype(owner, input=input, weight_ih=weights.w_ih, **dict(zip(names, state, strict=True)))
        new = run_cell(CELLS[mode], jnp.atleast_2d(input), tuple(map(jnp.atleast_2d, state)), weights)
        return tuple(array.reshape(shape) for array in new)

    def extra_repr(self) -> str:
        """Return the sizes, as PyTorch prints them."""
        bias = "" if self.bias is True else f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return f"{self.input_size}, {self.hidden_size}{bias}" + (
            "" if nonlinearity == "tanh" else f", nonlinearity={nonlinearity}"
        )


class RNNCell(RNNCellBase):
    """Advance an Elman recurrence by one step: h' = tanh(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh), or relu in place of tanh.

    Args:
        input_size: size of the input's last axis.
        hidden_size: size of the state's last axis.
        bias: whether there are biases.
        nonlinearity: 'tanh' or 'relu'.
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (stream ``params``) or a seed.

    Raises:
        ValueError: a size is not a positive integer, or an unknown nonlinearity (PyTorch refuses it when applied).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNCell.html
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, dtype, rngs=rngs)
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNNCell: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity = nonlinearity

    def forward(self, input: jax.Array, hx: jax.Array | None = None) -> jax.Array:
        """Map (N, input_size) and h (N, hidden_size), zeros if None, to h'; or both without N."""
        state = None if hx is None else (hx,)
        return self._step(f"RNN_{self.nonlinearity.upper()}", input, state, ("hx",))[0]


class LSTMCell(RNNCellBase):
    """Advance a long short-term memory by one step.

    i, f, g, o = the four parts, in this order, of x W_ihᵀ + b_ih + h W_hhᵀ + b_hh;
    c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c').

    Args:
        input_size: size of the input's last axis.
        hidden_size: size of the state's last axis.
        bias: whether there are biases.
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (stream ``params``) or a seed.

    Raises:
        ValueError: a size is not a positive integer.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, dtype, rngs=rngs)

    def forward(self, input: jax.Array, hx: tuple[jax.Array, jax.Array] | None = None) -> Any:
        """Map (N, input_size) and (h, c), each (N, hidden_size), zeros if None, to (h', c'); or all without N."""
        return self._step("LSTM", input, None if hx is None else tuple(hx), ("hx[0]", "hx[1]"))


class GRUCell(RNNCellBase):
    """Advance a gated recurrent unit by one step.

    r = σ(x W_irᵀ + b_ir + h W_hrᵀ + b_hr), z = σ(x W_izᵀ + b_iz + h W_hzᵀ + b_hz),
    n = tanh(x W_inᵀ + b_in + r (h W_hnᵀ + b_hn)), h' = (1 - z) n + z h; the weights hold r, z, n in this order.

    Args:
        input_size: size of the input's last axis.
        hidden_size: size of the state's last axis.
        bias: whether there are biases.
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (stream ``params``) or a seed.

    Raises:
        ValueError: a size is not a positive integer.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GRUCell.html
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, dtype, rngs=rngs)

    def forward(self, input: jax.Array, hx: jax.Array | None = None) -> jax.Array:
        """Map (N, input_size) and h (N, hidden_size), zeros if None, to h'; or both without N."""
        return self._step("GRU", input, None if hx is None else (hx,), ("hx",))[0]
