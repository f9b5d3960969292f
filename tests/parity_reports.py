"""Reports made by hand, for the tests of what shows them: nothing is run, no framework is needed."""

import math

from jaxport.parity.result import Error, Finding, Module, Report, Step, Tensor, Verdict

ENVIRONMENT = {
    "torch": "2.13.0",
    "jax": "0.10.2",
    "flax": "0.12.8",
    "device": "cpu",
    "x64": True,
    "matmul_precision": "highest",
    "seed": 0,
    "python": "3.12.3",
}
LAYERS = (  # PyTorch's path, class, JAX's path, class, shape
    ("features.conv1", "Conv2d", "conv1", "Conv", (4, 8, 13, 11)),
    ("features.norm1", "BatchNorm2d", "norm1", "BatchNorm", (4, 8, 13, 11)),
    ("features.relu1", "ReLU", None, "", (4, 8, 13, 11)),
    ("features.conv2", "Conv2d", "conv2", "Conv", (4, 16, 7, 6)),
    ("features.norm2", "BatchNorm2d", "norm2", "BatchNorm", (4, 16, 7, 6)),
    ("features.pool", "MaxPool2d", None, "", (4, 16, 3, 3)),
    ("head.fc1", "Linear", "fc1", "Linear", (4, 32)),
    ("head.gelu", "GELU", None, "", (4, 32)),
    ("head.drop", "Dropout", "dropout", "Dropout", (4, 32)),
    ("head.fc2", "Linear", "fc2", "Linear", (4, 10)),
)


def error(size: float, index: tuple[int, ...] = (1, 0, 2, 3), scale: float = 2.5) -> Error:
    """Return an error of a relative size."""
    return Error(size * scale, size, index, 1.25 + size * scale, 1.25)


def cloud(size: float, points: int = 24) -> tuple[tuple[float, float], ...]:
    """Return pairs (log10 magnitude, log10 error), with one element that is exact."""
    pairs = [(-4 + 4.4 * i / points, math.log10(size) - 0.4 + 0.3 * math.sin(3.0 * i)) for i in range(points)]
    return (*pairs, (-5.0, -math.inf))


def tensor(kind: str, path: str, jax_path: str, shape: tuple[int, ...], size: float, local: float | None = None,
           verdict: Verdict | None = None, **fields: object) -> Tensor:  # fmt: skip
    """Return a compared tensor whose float64 error is `size`."""
    verdict = verdict or (Verdict.DIFFERENT if size > 1e-10 else Verdict.EQUAL if size < 2e-15 else Verdict.ROUNDING)
    last = tuple(range(len(shape)))
    axes = (0, *last[2:], 1) if len(shape) == 4 else ()
    ours = tuple(shape[a] for a in axes) if axes else shape
    index = tuple(n // 2 for n in shape)
    rest: dict = {"float64": error(size, index), "float32": error(max(size, 1.1e-7), index), "floor": 1.9e-7}
    rest |= {"limit": 1e-6, "local64": None if local is None else error(local, index), "required": size}
    rest |= {"axes": axes, "magnitudes": cloud(size)} | fields
    return Tensor(kind, jax_path, path, ours, shape, "float32", "float32", verdict, **rest)


def modules() -> tuple[Module, ...]:
    """Return the tree of the small network."""
    found = [Module("", "zoo.LeNet", "", "ports.LeNet", 0)]
    for number, (path, kind, jax_path, jax_kind, _) in enumerate(LAYERS, 1):
        group = path.split(".")[0]
        if group not in [module.torch_path for module in found]:
            found.append(Module(group, "torch.nn.Sequential", None, "", number))
        jax_kind = f"flax.nnx.{jax_kind}" if jax_kind else ""
        found.append(Module(path, f"torch.nn.{kind}", jax_path, jax_kind, number))
    return tuple(found)


def passing() -> Report:
    """Return one in which everything agrees."""
    outputs = [
        tensor("output", path, ours or path, shape, 1e-16 * (n + 1), 1e-16)
        for n, (path, _, ours, _, shape) in enumerate(LAYERS)
    ]
    gradients = [
        tensor("gradient", f"{path}.weight", f"{ours}.kernel", (8, 3, 3, 3), 3e-15 * (n + 1))
        for n, (path, kind, ours, _, _) in enumerate(reversed(LAYERS))
        if kind in ("Conv2d", "Linear")
    ]
    note = Finding("lint/precision", "info", "matmul precision is set to 'highest' for both", trap=30)
    seconds = {"PyTorch": 0.41, "JAX": 1.73, "compare": 0.08}
    settings = {"training": False, "weights": "torch", "inputs": [[4, 3, 13, 11]]}
    everything = (*outputs, tensor("output", "", "", (4, 10), 9e-16), *gradients)
    return Report(
        "LeNet: flax.nnx against torch.nn", everything, (note,), modules(), (), ENVIRONMENT, seconds, settings
    )


def planted() -> Report:
    """Return one with wrong padding at conv2: all that follows is off, and so are the gradients."""
    outputs, size = [], 3.1e-2
    for n, (path, _, ours, _, shape) in enumerate(LAYERS):
        after = path >= "features.conv2" and path not in ("features.norm1", "features.relu1")
        wrong = after or path.startswith("head")
        size = size * 1.3 if wrong else size
        local = 3.1e-2 if path == "features.conv2" else 2e-16
        outputs.append(tensor("output", path, ours or path, shape, size if wrong else 1e-16 * (n + 1), local))
    shapes = {"conv": (16, 8, 3, 3), "fc": (10, 32)}
    gradients = [
        tensor("gradient", f"{p}.weight", f"{ours}.kernel", shapes["conv" if "conv" in p else "fc"], 10.0**-n)
        for n, (p, kind, ours, _, _) in enumerate(reversed(LAYERS), 1)
        if kind in ("Conv2d", "Linear")
    ]
    odd = tensor("buffer", "features.norm1.running_var", "norm1.var", (8,), 4e-13, verdict=Verdict.SUSPICIOUS, note="fast variance")  # fmt: skip  # noqa: E501
    findings = (
        Finding("cause/padding", "error", "the output equals PyTorch's with padding ((0, 1), (0, 1)) instead of (1, 1)",
                "conv2", "features.conv2", 8, "nnx.Conv(8, 16, (3, 3), strides=2, padding=1, rngs=rngs)"),
        Finding("lint/padding", "warning", "padding='SAME' at stride 2 pads on one side; PyTorch's padding=1 on both",
                "conv2", "features.conv2", 8, "padding=1"),
        Finding("lint/eps", "warning", "epsilon is 1e-06 and PyTorch's eps 1e-05", "norm1", "features.norm1", 5,
                "epsilon=1e-5"),
        Finding("unused-key", "info", "features.norm1.num_batches_tracked has no counterpart", "", "features.norm1"),
    )  # fmt: skip
    return Report(
        "LeNet: flax.nnx against torch.nn", (*outputs, *gradients, odd), findings, modules(), (), ENVIRONMENT,
        {"PyTorch": 0.41, "JAX": 1.73, "compare": 0.08}, {"training": False, "weights": "torch"},
    )  # fmt: skip


def training(steps: int = 20, parts_at: int = 7) -> Report:
    """Return one of training in lockstep, in which the optimiser's state parts at a step."""
    found = []
    for number in range(1, steps + 1):
        loss = 2.3 * math.exp(-0.11 * number) + 0.05 * math.sin(number)
        for mode, growth in (("free", 1.35), ("resync", 1.0)):
            found.append(Step(number, mode, "loss", 2e-16 * growth**number, "", 1e-10, loss * (1 + 1e-15), loss))
            for place, kind in enumerate(("gradient", "parameter", "optimizer", "buffer")):
                size = (1 + place) * 3e-15 * growth**number
                wrong = kind == "optimizer" and mode == "free" and number >= parts_at
                size = 2e-7 * growth**number if wrong else size
                found.append(Step(number, mode, kind, size, f"head.fc2.weight.{kind}", 1e-8))
    nothing = Finding(
        "training/frozen", "warning", "head.fc2.bias did not move in 20 steps", "fc2.bias", "head.fc2.bias"
    )
    return Report("LeNet trained with Adam", passing().tensors, (nothing,), modules(), tuple(found), ENVIRONMENT,
                  {"steps": 4.2}, {"steps": steps})  # fmt: skip


def large(tensors: int = 3000) -> Report:
    """Return one of a deep network, with a difference two thirds down."""
    tree, rows, blocks = [Module("", "zoo.Deep", "", "ports.Deep", 0)], [], tensors // 6
    for block in range(blocks):
        tree.append(Module(f"blocks.{block}", "zoo.Block", f"blocks.{block}", "ports.Block", 2 * block + 1))
        for name, kind in (("attn", "MultiheadAttention"), ("mlp", "Linear")):
            path, order = f"blocks.{block}.{name}", 2 * block + 1 + (name == "mlp")
            tree.append(Module(path, f"torch.nn.{kind}", path, "flax.nnx.Linear", order))
            size = 1e-15 * (1 + block / 100) if block < 2 * blocks // 3 else 1e-3 * 1.001 ** (block - 2 * blocks // 3)
            local = 1e-3 if block == 2 * blocks // 3 and name == "attn" else 1e-15
            rows.append(tensor("output", path, path, (2, 17, 64), size, local))
            rows += [tensor("gradient", f"{path}.{n}", f"{path}.{m}", (64, 64), size / 7) for n, m in PARAMETERS]
    return Report("A deep network", tuple(rows[:tensors]), planted().findings, tuple(tree), (), ENVIRONMENT)


PARAMETERS = (("weight", "kernel"), ("bias", "bias"))


def hostile() -> Report:
    """Return one whose names and messages try to be markup, in HTML and in a terminal."""
    path = "a</script><script>window.pwned=1</script>[red]<b>&amp;\u2028"
    row = tensor("output", path, "x<img src=x onerror=window.pwned=1>", (2, 3), 1.0, note="<!--<script>")
    found = Finding(
        "cause/x", "error", "</script><script>window.pwned=2</script>[bold]", path, path, 1, "[/red]<i>fix</i>"
    )
    return Report(f"{path} title", (row,), (found,), (Module(path, "torch.nn.<b>", path, "<i>"),), (),
                  {"<script>window.pwned=3</script>": "</style><b>"})  # fmt: skip


def everything() -> Report:
    """Return one that uses every field, with infinities, NaN and absent parts."""
    bad = Error(math.inf, math.nan, (0, 1), -math.inf, math.nan)
    pairs = ((0.0, -math.inf), (math.nan, 1.0))
    odd = Tensor("output", "nan", "inf", (2, 3), (3, 2), "float32", "float64", Verdict.DIFFERENT, (), bad, bad,
                 math.inf, 0.0, bad, bad, math.inf, False, pairs, "nan", "train")  # fmt: skip
    bare = Tensor("loss", "", "", (), (), "", "", Verdict.EQUAL)
    lost = Step(3, "free", "loss", math.nan, "inf", 1e-10, math.nan, -math.inf)
    base = planted()
    environment = {"torch": "2.13.0", "numbers": [1, 2.5, None], "deep": {"a": True}}
    return Report(base.title, (*base.tensors, odd, bare), base.findings, base.modules, (*training().steps, lost),
                  environment, {"all": 1.5}, {"rtol": 1e-10})  # fmt: skip
