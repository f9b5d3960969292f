"""Random cases of the recurrent layers and cells."""

from typing import Any

from cases import Case
from hypothesis import strategies as st
from test_nn_rnn import Recurrent, cell_case

SIZES = st.tuples(st.integers(1, 4), st.integers(1, 5))


@st.composite
def recurrent(draw: st.DrawFn, kind: str) -> Case:
    sizes, steps, batch = draw(SIZES), draw(st.integers(1, 6)), draw(st.integers(1, 4))
    options: dict[str, Any] = {"num_layers": draw(st.integers(1, 3))}
    options |= {name: draw(st.booleans()) for name in ("bias", "batch_first", "bidirectional")}
    if kind == "RNN":
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    if kind == "LSTM" and sizes[1] > 1:
        options["proj_size"] = draw(st.integers(0, sizes[1] - 1))
    way = draw(st.sampled_from(["unbatched", "batched", "lengths", "packed"]))
    lengths = (
        draw(st.lists(st.integers(1, steps), min_size=batch, max_size=batch)) if way in ("lengths", "packed") else None
    )
    hx, packed = draw(st.booleans()), way == "packed"
    model = Recurrent(
        kind, options, hx=hx, batched=way != "unbatched", lengths=lengths, packed=packed, steps=steps, sizes=sizes
    )
    return model.case(f"{sizes}-{steps}-{options}-{way}-{lengths}-{hx}")


@st.composite
def cell(draw: st.DrawFn, kind: str) -> Case:
    options: dict[str, Any] = {"bias": draw(st.booleans())}
    if kind == "RNNCell":
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    return cell_case(kind, draw(st.none() | st.integers(1, 4)), draw(st.booleans()), **options)


STRATEGIES = {kind: recurrent(kind) for kind in ("RNN", "LSTM", "GRU")}
STRATEGIES |= {kind: cell(kind) for kind in ("RNNCell", "LSTMCell", "GRUCell")}
