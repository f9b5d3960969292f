"""Time single layers, forward and backward, in the ports' shapes: JAX against PyTorch, channels first and last.

    python benchmarks/layers.py [--rounds 7] [--only Conv] [--markdown]

Each framework has a process of its own; they take turns. Gradients are of the input and the weights, from a random
cotangent, and their norms must agree. What PyTorch is ahead in here is where JAX loses in whole models. The JAX columns
are one jitted call on the device's own arrays, compiled as the engine compiles it; it returns the output too.

Both frameworks are timed with arrays in PyTorch's usual layout and with images channels last, and the better counts, as
neighbouring layers may keep either. XLA's CPU backend computes in row-major arrays alone, so channels last means for
JAX that the program takes and returns (N, H, W, C) and changes the order of the axes inside, as a layer's own
implementation does, where XLA cancels the two. (A layout at the program's edge, `jax.experimental.layout`, makes it
copy instead: 10 ms for a ReLU that takes 2.)
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from jaxport.bench.process import Worker, environment
from jaxport.bench.worker import private_output

FRAMEWORKS = ("jax", "jax-channels-last", "torch", "torch-channels-last")
ROUND_S = 0.2
TIMEOUT_S = 300.0


class Case(NamedTuple):
    """A module of jaxport.nn and torch.nn: its name, arguments and inputs (shapes; an integer range for indices)."""

    module: str
    args: tuple[Any, ...]
    inputs: tuple[tuple[int, ...], ...]
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed
    classes: int | None = None

    def label(self) -> str:
        """Return the module and its inputs' shapes on one line."""
        options = [*map(str, self.args), *(f"{key}={value}" for key, value in self.options.items())]
        return f"{self.module}({', '.join(options)})"


CASES = (
    Case("Linear", (784, 512), ((64, 784),)),
    Case("Linear", (512, 512), ((64, 512),)),
    Case("Linear", (784, 200), ((100, 784),)),
    Case("Linear", (15, 20), ((8, 15),)),
    Case("Conv2d", (1, 32, 3), ((128, 1, 28, 28),)),
    Case("Conv2d", (32, 64, 5), ((128, 32, 13, 13),)),
    Case("Conv2d", (3, 32, 3), ((50, 3, 32, 32),)),
    Case("Conv2d", (1, 16, 5), ((100, 1, 28, 28),), {"padding": 2}),
    Case("Conv2d", (16, 32, 5), ((100, 16, 14, 14),), {"padding": 2}),
    Case("Conv2d", (1, 64, 7), ((8, 1, 64, 64),), {"stride": 2, "padding": 3}),
    Case("Conv2d", (64, 64, 3), ((8, 64, 28, 28),), {"padding": 1}),
    Case("Conv2d", (64, 128, 3), ((8, 64, 28, 28),), {"stride": 2, "padding": 1}),
    Case("Conv2d", (64, 128, 1), ((8, 64, 28, 28),), {"stride": 2}),
    Case("Conv2d", (32, 32, 3), ((4, 32, 64, 64),), {"padding": 1}),
    Case("Conv1d", (3, 16, 5), ((20, 3, 200),)),
    Case("Conv1d", (16, 128, 2), ((20, 16, 98),)),
    Case("ConvTranspose2d", (64, 32, 2), ((4, 64, 32, 32),), {"stride": 2}),
    Case("ConvTranspose2d", (128, 64, 2), ((4, 128, 16, 16),), {"stride": 2}),
    Case("ConvTranspose2d", (32, 16, 3), ((4, 32, 32, 32),), {"stride": 2, "padding": 1, "output_padding": 1}),
    Case("MaxPool2d", (2,), ((128, 32, 26, 26),)),
    Case("MaxPool2d", (2,), ((128, 64, 9, 9),)),
    Case("MaxPool2d", (3, 2, 1), ((8, 64, 32, 32),)),
    Case("MaxPool1d", (2,), ((20, 16, 196),)),
    Case("AvgPool2d", (2,), ((128, 6, 24, 24),)),
    Case("AdaptiveMaxPool2d", (1,), ((128, 64, 4, 4),)),
    Case("AdaptiveAvgPool2d", (1,), ((8, 512, 7, 7),)),
    Case("BatchNorm2d", (16,), ((100, 16, 28, 28),)),
    Case("BatchNorm2d", (64,), ((8, 64, 28, 28),)),
    Case("LayerNorm", (512,), ((64, 512),)),
    Case("ReLU", (), ((128, 64, 13, 13),)),
    Case("Sigmoid", (), ((128, 64, 13, 13),)),
    Case("Softmax", (1,), ((128, 10),)),
    Case("Embedding", (10000, 3), ((20, 200),), {"padding_idx": 1}, classes=10000),
    Case("LSTM", (3, 3, 5), ((38, 8, 3),), {"batch_first": True}),
    Case("LSTM", (32, 64), ((20, 50, 32),), {"batch_first": True}),
    Case("GRU", (32, 64), ((20, 50, 32),), {"batch_first": True}),
    Case("MultiheadAttention", (64, 4), ((16, 50, 64),) * 3, {"batch_first": True}),
    Case("TransformerEncoderLayer", (64, 4, 128, 0.0), ((16, 50, 64),), {"batch_first": True}),
    Case("MSELoss", (), ((128, 784), (128, 784))),
    Case("BCEWithLogitsLoss", (), ((4, 1, 64, 64), (4, 1, 64, 64))),
    Case("CrossEntropyLoss", (), ((128, 10), (128, 10))),
    Case("Upsample", (), ((4, 32, 32, 32),), {"scale_factor": 2, "mode": "bilinear"}),
)
# One call of what is timed: returns the gradients' norms when asked for them.
Call = Callable[[], Any]


def arrays(case: Case) -> list[np.ndarray]:
    """Return the inputs, the same in every process."""
    rng = np.random.default_rng(0)
    if case.classes:
        return [rng.integers(0, case.classes, shape) for shape in case.inputs]
    return [rng.standard_normal(shape, np.float32) for shape in case.inputs]


def parameter(index: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the value of the parameter with that number, the same in every process."""
    return 0.1 * np.random.default_rng(100 + index).standard_normal(shape, np.float32)


def cotangent(shape: tuple[int, ...]) -> np.ndarray:
    """Return the gradient that comes from above."""
    return np.random.default_rng(1).standard_normal(shape, np.float32)


def jax_call(case: Case, channels_last: bool) -> tuple[Call, Call]:
    """Return (a blocking call, the norms); channels last, all arrays of four axes lie so outside the program."""
    import inspect

    import jax
    import jax.numpy as jnp
    from flax import nnx

    from jaxport import nn
    from jaxport.engine.dispatch import compile_function

    made = getattr(nn, case.module)
    rngs = {"rngs": 0} if "rngs" in inspect.signature(made.__init__).parameters else {}
    module = made(*case.args, **case.options, **rngs)
    for index, variable in enumerate(module.parameters()):
        variable.set_value(jnp.asarray(parameter(index, variable.shape)))
    graph, state, others = nnx.split(module, nn.trainable, ...)
    # Flat tuples: what a call costs beside the layer is the device's own, not that of a nested state.
    params, params_of = jax.tree.flatten(state)
    rest, rest_of = jax.tree.flatten(others)
    inputs = [jnp.asarray(a.astype(np.int32) if a.dtype.kind == "i" else a) for a in arrays(case)]
    floating = tuple(jnp.issubdtype(a.dtype, jnp.floating) for a in inputs)

    def forward(params: Any, rest: Any, *inputs: jax.Array) -> tuple[jax.Array, Any]:
        module = nnx.merge(graph, params_of.unflatten(params), rest_of.unflatten(rest), copy=True)
        output = module(*inputs)
        after = jax.tree.leaves(nnx.split(module, nn.trainable, ...)[2])
        return output[0] if isinstance(output, tuple) else output, after

    def move(tree: Any, source: int, target: int) -> Any:
        moved = lambda a: jnp.moveaxis(a, source, target) if channels_last and a.ndim == 4 else a  # noqa: E731
        return jax.tree.map(moved, tree)

    above = jax.device_put(cotangent(jax.eval_shape(forward, params, rest, *inputs)[0].shape))

    def both(*stored: Any) -> Any:
        above, params, rest, *inputs = move(stored, -1, 1)
        if all(floating):
            function = lambda params, *inputs: forward(params, rest, *inputs)  # noqa: E731
            output, backward, rest = jax.vjp(function, params, *inputs, has_aux=True)
        else:
            function = lambda params: forward(params, rest, *inputs)  # noqa: E731
            output, backward, rest = jax.vjp(function, params, has_aux=True)
        return move((output, rest, backward(above)), 1, -1)

    stored = move((above, params, rest, *inputs), 1, -1)
    compiled, _ = compile_function(both, *stored)

    def norms() -> list[float]:
        grads, *above_inputs = move(compiled(*stored)[2], -1, 1)
        merged = nnx.merge(graph, params_of.unflatten(grads), others, copy=True)
        named = [parameter[...] for parameter in merged.parameters()]
        return [float(np.linalg.norm(np.asarray(g))) for g in (*named, *above_inputs)]

    return lambda: jax.block_until_ready(compiled(*stored)), norms


def torch_call(case: Case, channels_last: bool) -> tuple[Call, Call]:
    """Return (a blocking call, the norms)."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"

    def place(array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array).to(device)
        return tensor.contiguous(memory_format=torch.channels_last) if channels_last and tensor.ndim == 4 else tensor

    module = getattr(torch.nn, case.module)(*case.args, **case.options).to(device)
    with torch.no_grad():
        for index, tensor in enumerate(module.parameters()):
            tensor.copy_(torch.from_numpy(parameter(index, tuple(tensor.shape))))
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
    inputs = [place(a) for a in arrays(case)]
    leaves = [*module.parameters(), *(a.requires_grad_() for a in inputs if a.is_floating_point())]

    def forward() -> torch.Tensor:
        output = module(*inputs)
        return output[0] if isinstance(output, tuple) else output

    above = place(cotangent(tuple(forward().shape)))

    def both() -> tuple[torch.Tensor, ...]:
        gradients = torch.autograd.grad(forward(), leaves, above)
        if device == "cuda":
            torch.cuda.synchronize()
        return gradients

    return both, lambda: [float(g.norm()) for g in both()]


def torch_threads() -> tuple[int, ...]:
    """Return the thread counts of which PyTorch gets the better: its own, and 1."""
    import torch

    return (1,) if torch.get_num_threads() == 1 else (torch.get_num_threads(), 1)


def time_torch(call: Call, counts: tuple[int, ...]) -> float:
    """Return milliseconds per call with the best number of threads."""
    import torch

    found = []
    for count in counts:
        torch.set_num_threads(count)
        found.append(time_calls(call))
    return min(found)


def time_calls(call: Call) -> float:
    """Return milliseconds per call, over about ROUND_S seconds."""
    call()
    start = time.perf_counter()
    call()
    repeats = max(1, int(ROUND_S / (time.perf_counter() - start)))
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return 1000 * (time.perf_counter() - start) / repeats


def serve(framework: str) -> None:
    """Answer {"case": i} with its norms and {"time": i} with milliseconds."""
    answer, ready = private_output(), {}
    make, channels_last = jax_call if framework.startswith("jax") else torch_call, framework.endswith("-channels-last")
    counts = () if make is jax_call else torch_threads()
    for line in sys.stdin:
        request = json.loads(line)
        if "case" in request:
            ready[request["case"]] = make(CASES[request["case"]], channels_last)
            answer({"norms": ready[request["case"]][1]()})
        else:
            call = ready[request["time"]][0]
            answer({"ms": time_torch(call, counts) if counts else time_calls(call)})


def measure(rounds: int, chosen: list[int]) -> tuple[list[dict[str, float]], list[bool]]:
    """Return each case's milliseconds by framework, and whether all agree on its gradients."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        command = [sys.executable, __file__, "--serve"]
        start = lambda name: stack.enter_context(Worker([*command, name], environment(folder)))  # noqa: E731
        workers = {name: start(name) for name in FRAMEWORKS}
        times, agree = [], []
        for i in chosen:
            norms = [worker.ask({"case": i}, TIMEOUT_S)["norms"] for worker in workers.values()]
            agree.append(all(np.allclose(norm, norms[1], rtol=1e-3, atol=1e-4) for norm in norms))
            turns = [
                {name: worker.ask({"time": i}, TIMEOUT_S)["ms"] for name, worker in workers.items()}
                for _ in range(rounds)
            ]
            times.append({name: median(turn[name] for turn in turns) for name in workers})
        return times, agree


def main() -> None:
    """Measure and print, the worst ratio first."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="layers whose description contains this text")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--serve", choices=FRAMEWORKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve)
    chosen = [i for i, case in enumerate(CASES) if options.only in case.label()]
    if not chosen:
        parser.error(f"--only: no layer contains {options.only!r}")
    rows = []
    for i, ms, agrees in zip(chosen, *measure(max(1, options.rounds), chosen), strict=True):
        best = {side: min(ms[side], ms[f"{side}-channels-last"]) for side in ("jax", "torch")}
        ratio = best["torch"] / best["jax"] if agrees else float("nan")
        shapes = "×".join(map(str, CASES[i].inputs[0]))
        cells = [CASES[i].label(), shapes, *(f"{ms[name]:.3g}" for name in FRAMEWORKS)]
        rows.append((ratio, [*cells, f"{ratio:.2f}" if agrees else "gradients differ"]))
    rows.sort(key=lambda row: row[0] if row[0] == row[0] else -1.0)
    header = ["layer", "input", *(f"{name}, ms" for name in FRAMEWORKS), "best to best"]
    if options.markdown:
        print(*("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header))), sep="\n")
        print(*("| " + " | ".join(cells) + " |" for _, cells in rows), sep="\n")
        return None
    shown = Table(*header)
    for _, cells in rows:
        shown.add_row(*cells)
    Console().print(shown)
    return None


if __name__ == "__main__":
    main()
