"""Recurrent layers over whole sequences: RNN, LSTM, GRU."""

from __future__ import annotations

from flax import nnx
from jax.typing import DTypeLike

from .rnn_base import RNNBase as RNNBase


class RNN(RNNBase):
    """Run Elman recurrences over sequences: h_t = tanh(x_t W_ihᵀ + b_ih + h_{t-1} W_hhᵀ + b_hh), or relu for tanh.

    See `RNNBase` for the weights, and `RNNBase.forward` for inputs, lengths and outputs.

    Args:
        input_size: size of the input's last axis.
        hidden_size: size of the state's last axis.
        num_layers: how many recurrences are stacked.
        nonlinearity: 'tanh' or 'relu'.
        bias: whether there are biases.
        batch_first: whether input and output are (B, T, features) rather than (T, B, features); states never are.
        dropout: probability of an element of each layer's output but the last's to be dropped while training.
        bidirectional: whether each layer also runs backwards in time and puts both outputs side by side.
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (streams ``params`` and, if there is dropout, ``dropout``) or a seed.

    Raises:
        TypeError: a size is no integer, or a switch no bool.
        ValueError: an argument out of range.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        mode, options = f"RNN_{nonlinearity.upper()}", (num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(mode, input_size, hidden_size, *options, dtype=dtype, rngs=rngs)


class LSTM(RNNBase):
    """Run long short-term memories over sequences.

    i, f, g, o = the four parts, in this order, of x_t W_ihᵀ + b_ih + h_{t-1} W_hhᵀ + b_hh;
    c_t = σ(f) c_{t-1} + σ(i) tanh(g), h_t = σ(o) tanh(c_t), with `proj_size` times W_hrᵀ.

    See `RNNBase` for the weights, and `RNNBase.forward` for inputs, lengths and outputs; states are pairs (h, c).

    Args:
        input_size: size of the input's last axis.
        hidden_size: size of c's last axis, and of h's without projection.
        num_layers: how many recurrences are stacked.
        bias: whether there are biases.
        batch_first: whether input and output are (B, T, features) rather than (T, B, features); states never are.
        dropout: probability of an element of each layer's output but the last's to be dropped while training.
        bidirectional: whether each layer also runs backwards in time and puts both outputs side by side.
        proj_size: size to which h is projected, less than `hidden_size`; 0 means no projection.
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (streams ``params`` and, if there is dropout, ``dropout``) or a seed.

    Raises:
        TypeError: a size is no integer, or a switch no bool.
        ValueError: an argument out of range.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html
    """

    def __init__(
        self,
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
        options = (num_layers, bias, batch_first, dropout, bidirectional, proj_size)
        super().__init__("LSTM", input_size, hidden_size, *options, dtype=dtype, rngs=rngs)


class GRU(RNNBase):
    """Run gated recurrent units over sequences.

    r = σ(x_t W_irᵀ + b_ir + h_{t-1} W_hrᵀ + b_hr), z likewise, n = tanh(x_t W_inᵀ + b_in + r (h_{t-1} W_hnᵀ + b_hn)),
    h_t = (1 - z) n + z h_{t-1}; the weights hold r, z, n in this order.

    See `RNNBase` for the weights, and `RNNBase.forward` for inputs, lengths and outputs.

    Args:
        input_size: size of the input's last axis.
        hidden_size: size of the state's last axis.
        num_layers: how many recurrences are stacked.
        bias: whether there are biases.
        batch_first: whether input and output are (B, T, features) rather than (T, B, features); states never are.
        dropout: probability of an element of each layer's output but the last's to be dropped while training.
        bidirectional: whether each layer also runs backwards in time and puts both outputs side by side.
        dtype: of the parameters; None means float32.
        rngs: a ``flax.nnx.Rngs`` (streams ``params`` and, if there is dropout, ``dropout``) or a seed.

    Raises:
        TypeError: a size is no integer, or a switch no bool.
        ValueError: an argument out of range.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: DTypeLike | None = None,
        *,
        rngs: nnx.Rngs | int,
    ) -> None:
        options = (num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__("GRU", input_size, hidden_size, *options, dtype=dtype, rngs=rngs)
