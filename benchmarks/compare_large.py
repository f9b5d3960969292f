"""Compare a language model of 100 million parameters on both sides, and say what that costs.

    python benchmarks/compare_large.py [--layers 12] [--width 768] [--tokens 128] [--batch 2] [--float64]

Prints the time of the float32 check beside that of two plain forward passes (PyTorch and JAX, float32, warm), and the
largest memory of the process. The exit status is 1 if the two are not the same.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "parity_tests"))


def gigabytes() -> float:
    """Return the largest memory that the process had so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def fastest(call: Callable[[], Any], times: int = 3) -> float:
    """Return the seconds of the fastest of some calls, after one that warms up."""
    call()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> int:
    """Build both models, time them, compare them."""
    parser = argparse.ArgumentParser(description="What comparing a model of 100 million parameters costs.")
    for name, default in (("layers", 12), ("width", 768), ("tokens", 128), ("batch", 2), ("vocabulary", 20_000)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N")
    parser.add_argument("--float64", action="store_true", help="compare in float64 too, and gradients")
    options = parser.parse_args()
    import jax
    import numpy as np
    import torch
    from flax import nnx
    from foreign_models.gpt_jax import LanguageModel  # pyright: ignore[reportMissingImports]
    from foreign_models.gpt_torch import GPT  # pyright: ignore[reportMissingImports]

    from jaxport import parity

    sizes = (options.vocabulary, options.tokens + 1, options.width, options.width // 64, options.layers)
    torch.manual_seed(0)
    theirs, ours = GPT(*sizes).eval(), LanguageModel(*sizes, rngs=nnx.Rngs(0))
    ours.eval()
    count = sum(p.numel() for p in theirs.parameters())
    print(
        f"{count / 1e6:.0f} million parameters, inputs {options.batch} x {options.tokens}, {gigabytes():.1f} GiB so far"
    )
    tokens = np.random.default_rng(0).integers(0, options.vocabulary, (options.batch, options.tokens))
    graph, state = nnx.split(ours)
    forward = jax.jit(lambda state, x: nnx.merge(graph, state)(x))
    here = fastest(lambda: jax.block_until_ready(forward(state, tokens)))
    with torch.no_grad():
        there = fastest(lambda: theirs(torch.from_numpy(tokens)))
    print(f"one pass forward: JAX {here:.2f} s, PyTorch {there:.2f} s; load {os.getloadavg()[0]:.1f}")
    settings: dict[str, Any] = {} if options.float64 else {"dtypes": ("float32",), "gradients": False}
    start = time.perf_counter()
    report = parity.compare(ours, theirs, tokens, modes=("eval",), randomise=True, **settings)
    spent = time.perf_counter() - start
    print(f"compared: {len(report.tensors)} tensors, {'the same' if report.ok else 'NOT the same'}, {spent:.1f} s")
    print(f"overhead over the two passes: {spent / (here + there):.1f}x; parts: {report.seconds}")
    print(f"largest memory: {gigabytes():.1f} GiB; load {os.getloadavg()[0]:.1f}")
    for finding in report.findings:
        if finding.level == "error":
            print(f"{finding.rule}: {finding.message}")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
