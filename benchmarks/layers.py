"""Time single layers, forward and backward, in the ports' shapes: JAX against PyTorch eager and channels_last.

    python benchmarks/layers.py [--rounds 7]

Each framework has a process of its own; they take turns. Gradients are of the input and the weights, from a random
cotangent, and their norms must agree. What PyTorch is ahead in here is where JAX loses in whole models. The JAX column
is one jitted call on the device's own arrays, compiled as the engine compiles it.
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

FRAMEWORKS = ("jax", "torch", "torch-channels-last")
ROUND_S = 0.2
TIMEOUT_S = 300.0


class Case(NamedTuple):
    """A function of jaxport.nn.functional and torch.nn.functional: its name, input, weights and options."""

    function: str
    input: tuple[int, ...]
    weights: tuple[tuple[int, ...], ...] = ()
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed


CASES = (
    Case("conv2d", (128, 1, 28, 28), ((32, 1, 3, 3), (32,))),
    Case("conv2d", (128, 32, 13, 13), ((64, 32, 5, 5), (64,))),
    Case("max_pool2d", (128, 32, 26, 26), options={"kernel_size": 2, "stride": 2}),
    Case("max_pool2d", (128, 64, 9, 9), options={"kernel_size": 2, "stride": 2}),
    Case("adaptive_max_pool2d", (128, 64, 4, 4), options={"output_size": 1}),
    Case("linear", (64, 784), ((512, 784), (512,))),
    Case("linear", (64, 512), ((512, 512), (512,))),
    Case("linear", (8, 15), ((20, 15), (20,))),
)
# One call of what is timed: returns the gradients' norms when asked for them.
Call = Callable[[], Any]


def arrays(case: Case) -> list[np.ndarray]:
    """Return input and weights, the same in every process."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, np.float32) for shape in (case.input, *case.weights)]


def cotangent(shape: tuple[int, ...]) -> np.ndarray:
    """Return the gradient that comes from above."""
    return np.random.default_rng(1).standard_normal(shape, np.float32)


def jax_call(case: Case) -> tuple[Call, Call]:
    """Return (a blocking call, the norms)."""
    import jax

    from jaxport.engine.dispatch import compile_function
    from jaxport.nn import functional

    def forward(*inputs: jax.Array) -> jax.Array:
        return getattr(functional, case.function)(*inputs, **case.options)

    inputs = [jax.device_put(a) for a in arrays(case)]
    above = jax.device_put(cotangent(jax.eval_shape(forward, *inputs).shape))

    def both(above: jax.Array, *inputs: jax.Array) -> Any:
        output, backward = jax.vjp(forward, *inputs)
        return output, backward(above)

    compiled, _ = compile_function(both, above, *inputs)
    norms = lambda: [float(np.linalg.norm(np.asarray(g))) for g in compiled(above, *inputs)[1]]  # noqa: E731
    return lambda: jax.block_until_ready(compiled(above, *inputs)), norms


def torch_call(case: Case, channels_last: bool) -> tuple[Call, Call]:
    """Return (a blocking call, the norms)."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"

    def place(array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array).to(device)
        return tensor.contiguous(memory_format=torch.channels_last) if channels_last and tensor.ndim == 4 else tensor

    inputs = [place(a).requires_grad_() for a in arrays(case)]
    function = getattr(torch.nn.functional, case.function)
    above = place(cotangent(tuple(function(*inputs, **case.options).shape)))

    def both() -> tuple[torch.Tensor, ...]:
        gradients = torch.autograd.grad(function(*inputs, **case.options), inputs, above)
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
    counts = () if framework == "jax" else torch_threads()
    for line in sys.stdin:
        request = json.loads(line)
        if "case" in request:
            case = CASES[request["case"]]
            ready[request["case"]] = jax_call(case) if framework == "jax" else torch_call(case, framework != "torch")
            answer({"norms": ready[request["case"]][1]()})
        else:
            call = ready[request["time"]][0]
            answer({"ms": time_torch(call, counts) if counts else time_calls(call)})


def measure(rounds: int) -> tuple[list[dict[str, float]], list[bool]]:
    """Return each case's milliseconds by framework, and whether all agree on its gradients."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        command = [sys.executable, __file__, "--serve"]
        start = lambda name: stack.enter_context(Worker([*command, name], environment(folder)))  # noqa: E731
        workers = {name: start(name) for name in FRAMEWORKS}
        times, agree = [], []
        for i in range(len(CASES)):
            norms = [worker.ask({"case": i}, TIMEOUT_S)["norms"] for worker in workers.values()]
            agree.append(all(np.allclose(norm, norms[1], rtol=1e-4) for norm in norms))
            turns = [
                {name: worker.ask({"time": i}, TIMEOUT_S)["ms"] for name, worker in workers.items()}
                for _ in range(rounds)
            ]
            times.append({name: median(turn[name] for turn in turns) for name in workers})
        return times, agree


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", choices=FRAMEWORKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve)
    shown = Table("layer", "input", *(f"{name}, ms" for name in FRAMEWORKS), "× best PyTorch")
    for case, ms, agrees in zip(CASES, *measure(max(1, options.rounds)), strict=True):
        ratio = f"{min(ms['torch'], ms['torch-channels-last']) / ms['jax']:.2f}" if agrees else "gradients differ"
        shown.add_row(case.function, "×".join(map(str, case.input)), *(f"{ms[name]:.3g}" for name in FRAMEWORKS), ratio)
    Console().print(shown)


if __name__ == "__main__":
    main()
