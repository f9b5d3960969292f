"""Time one update of an optimiser: JAX against PyTorch's for-loop, foreach and fused steps.

    python benchmarks/optimizers.py [--rounds 5] [--only AdamW] [--markdown]

Two sets of parameters: ResNet-50's (161 tensors, 25.6 million numbers) and 1,000 small ones. Each framework has a
process of its own; they take turns. Gradients stay the same; parameters after three steps must agree. PyTorch gets the
better of its own number of threads and one. JAX's step is compiled once, parameters and state donated: "jax" calls it
from Python for each update, "jax-loop" takes many updates in one compiled loop, as `fit` does with small networks.
There the gradients are multiplied by a number that each update makes anew (it is 1), so that nothing leaves the loop.
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
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from jaxport.bench.process import Worker, environment
from jaxport.bench.worker import private_output

FRAMEWORKS = ("jax", "jax-loop", "torch", "torch-foreach", "torch-fused")
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 1e-3, "momentum": 0.9},
    "Adam": {"lr": 1e-3},
    "AdamW": {"lr": 1e-3},
}
ROUND_S = 0.5
TIMEOUT_S = 300.0
Shapes = list[tuple[int, ...]]
Step = Callable[[int], None]


def resnet50() -> Shapes:
    """Return the shapes of ResNet-50's parameters."""
    shapes: Shapes = []

    def convolution(outputs: int, inputs: int, kernel: int) -> None:
        shapes.extend([(outputs, inputs, kernel, kernel), (outputs,), (outputs,)])  # and BatchNorm's two

    convolution(64, 3, 7)
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            convolution(width, inputs, 1)
            convolution(width, width, 3)
            convolution(4 * width, width, 1)
            if block == 0:
                convolution(4 * width, inputs, 1)
            inputs = 4 * width
    return [*shapes, (1000, 2048), (1000,)]


TREES: dict[str, Shapes] = {"ResNet-50": resnet50(), "1,000 small": [(16, 16), (16,)] * 500}
CASES = [(tree, kind) for tree in TREES for kind in OPTIMIZERS]


def arrays(tree: str, seed: int) -> list[np.ndarray]:
    """Return values for every tensor, the same in every process."""
    rng = np.random.default_rng(seed)
    return [0.1 * rng.standard_normal(shape, np.float32) for shape in TREES[tree]]


def jax_step(tree: str, kind: str, loop: bool) -> tuple[Step, Callable[[], list[float]]]:
    """Return (a function of n that takes n updates, the norms of the first and last ten parameters)."""
    import jax
    import jax.numpy as jnp
    import optax

    from jaxport import optim
    from jaxport.engine.dispatch import compile_function

    optimizer = getattr(optim, kind)(**OPTIMIZERS[kind])
    params, grads = ([jnp.asarray(a) for a in arrays(tree, seed)] for seed in (0, 1))

    def update(params: Any, state: Any, grads: Any) -> Any:
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    def updates(params: Any, state: Any, grads: Any, one: Any, count: Any) -> Any:
        def body(_: Any, carry: Any) -> Any:
            params, state, scale = carry
            return *update(params, state, jax.tree.map(lambda g: g * scale, grads)), scale * one

        return jax.lax.fori_loop(0, count, body, (params, state, one))[:2]

    held: list[Any] = [params, optimizer.init(params)]
    one = jnp.float32(1)
    rest = (grads, one, jnp.int32(1)) if loop else (grads,)
    compiled, _ = compile_function(updates if loop else update, *held, *rest, donate=(0, 1))

    def step(count: int) -> None:
        for _ in range(1 if loop else count):
            held[:] = compiled(*held, grads, one, jnp.int32(count)) if loop else compiled(*held, grads)
            jax.block_until_ready(held)

    return step, lambda: [float(jnp.linalg.norm(p.ravel())) for p in (*held[0][:10], *held[0][-10:])]


def torch_step(tree: str, kind: str, variant: str) -> tuple[Step, Callable[[], list[float]]]:
    """Return (a function of n that takes n updates, the norms of the first and last ten parameters)."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    params = [torch.nn.Parameter(torch.from_numpy(a).to(device)) for a in arrays(tree, 0)]
    for parameter, grad in zip(params, arrays(tree, 1), strict=True):
        parameter.grad = torch.from_numpy(grad).to(device)
    flags = {"torch": {"foreach": False}, "torch-foreach": {"foreach": True}, "torch-fused": {"fused": True}}
    optimizer = getattr(torch.optim, kind)(params, **OPTIMIZERS[kind], **flags[variant])

    def step(count: int) -> None:
        for _ in range(count):
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return step, lambda: [float(p.detach().norm()) for p in (*params[:10], *params[-10:])]


def time_steps(step: Step) -> float:
    """Return milliseconds per step, over about ROUND_S seconds."""
    step(1)
    start = time.perf_counter()
    step(3)
    repeats = max(1, int(3 * ROUND_S / (time.perf_counter() - start)))
    start = time.perf_counter()
    step(repeats)
    return 1000 * (time.perf_counter() - start) / repeats


def time_torch(step: Step, counts: tuple[int, ...]) -> float:
    """Return milliseconds per step with the best number of threads."""
    import torch

    found = []
    for count in counts:
        torch.set_num_threads(count)
        found.append(time_steps(step))
    return min(found)


def thread_counts() -> tuple[int, ...]:
    """Return the thread counts of which PyTorch gets the better: its own, and 1."""
    import torch

    return (1,) if torch.get_num_threads() == 1 else (torch.get_num_threads(), 1)


def serve(framework: str) -> None:
    """Answer {"case": i} with the norms after three steps and {"time": true} with milliseconds."""
    answer, ready = private_output(), []
    counts = () if framework.startswith("jax") else thread_counts()
    for line in sys.stdin:
        request = json.loads(line)
        if "case" in request:
            ready.clear()  # one case's arrays at a time
            tree, kind = CASES[request["case"]]
            loop = framework == "jax-loop"
            step, norms = jax_step(tree, kind, loop) if not counts else torch_step(tree, kind, framework)
            step(3)
            ready.append(step)
            answer({"norms": norms()})
        else:
            answer({"ms": time_torch(ready[0], counts) if counts else time_steps(ready[0])})


def measure(rounds: int, chosen: list[int]) -> tuple[list[dict[str, float]], list[bool]]:
    """Return each case's milliseconds by framework, and whether all agree on the parameters."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        command = [sys.executable, __file__, "--serve"]
        start = lambda name: stack.enter_context(Worker([*command, name], environment(folder)))  # noqa: E731
        workers = {name: start(name) for name in FRAMEWORKS}
        times, agree = [], []
        for i in chosen:
            norms = [worker.ask({"case": i}, TIMEOUT_S)["norms"] for worker in workers.values()]
            agree.append(all(np.allclose(norm, norms[1], rtol=1e-4) for norm in norms))
            turns = [
                {name: worker.ask({"time": True}, TIMEOUT_S)["ms"] for name, worker in workers.items()}
                for _ in range(rounds)
            ]
            times.append({name: median(turn[name] for turn in turns) for name in workers})
        return times, agree


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose name contains this text")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--serve", choices=FRAMEWORKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve)
    chosen = [i for i, case in enumerate(CASES) if options.only in " ".join(case)]
    if not chosen:
        parser.error(f"--only: no case contains {options.only!r}")
    rows = []
    for i, ms, agrees in zip(chosen, *measure(max(1, options.rounds), chosen), strict=True):
        best = min(ms[name] for name in FRAMEWORKS if name.startswith("torch"))
        cells = [*CASES[i], *(f"{ms[name]:.3g}" for name in FRAMEWORKS)]
        ratios = [f"{best / ms[name]:.2f}" if agrees else "parameters differ" for name in FRAMEWORKS[:2]]
        rows.append([*cells, *ratios])
    header = ["parameters", "optimiser", *(f"{name}, ms" for name in FRAMEWORKS)]
    header += [f"{name}: × best PyTorch" for name in FRAMEWORKS[:2]]
    if options.markdown:
        print(*("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows)), sep="\n")
        return None
    shown = Table(*header)
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)
    return None


if __name__ == "__main__":
    main()
