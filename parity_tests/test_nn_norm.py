"""Normalisations against PyTorch's: values, gradients and running statistics, in float64 and float32."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from cases import Arrays, Case, all_pairs, assert_same, both_dtypes, findings64, generator, label, normal, table

import jaxport.nn.functional as F
from jaxport import engine, nn, optim
from jaxport.interop import load_state_dict, state_dict

torch = pytest.importorskip("torch")
TF = torch.nn.functional
Draw = Callable[[np.random.Generator], Arrays]


def twin(id: str, function: str, draw: Draw, *args: Any, **kwargs: Any) -> Case:
    """Make a case of the functions called `function` on both sides; the arrays after the first go by `names`."""
    names = kwargs.pop("names", ())

    def call(owner: Any) -> Callable[..., Any]:
        def run(x: Any, *arrays: Any) -> Any:
            return getattr(owner, function)(x, *args, **dict(zip(names, arrays, strict=True)), **kwargs)

        return run

    return Case(id, call(F), call(TF), draw)


def affine_case(
    id: str,
    function: str,
    shape: tuple[int, ...],
    parameter: tuple[int, ...],
    which: tuple[str, ...],
    *args: Any,
    **kw: Any,
) -> Case:
    return twin(id, function, normal(shape, *(parameter for _ in which)), *args, names=which, **kw)


BOTH = ("weight", "bias")
LAYER = [
    affine_case(f"{shape}-{last}-{which}", "layer_norm", shape, last, which, last, eps=eps)
    for shape, last, which, eps in [
        ((7,), (7,), BOTH, 1e-5),
        ((4, 7), (7,), BOTH, 1e-5),
        ((2, 3, 5), (3, 5), BOTH, 0.1),
        ((2, 3, 5), (2, 3, 5), ("weight",), 1e-5),
        ((2, 3, 5, 4), (4,), (), 1e-5),
        ((2, 3, 5), (5,), ("bias",), 1e-3),
        ((0, 5), (5,), BOTH, 1e-5),
    ]
]
RMS = [
    affine_case(f"{shape}-{last}-{which}-{eps}", "rms_norm", shape, last, which, last, eps=eps)
    for shape, last, which, eps in [
        ((7,), (7,), ("weight",), None),
        ((4, 7), (7,), (), None),
        ((2, 3, 5), (3, 5), ("weight",), 0.1),
        ((0, 5), (5,), ("weight",), None),
    ]
]
GROUP = [
    affine_case(f"{shape}-{groups}-{which}", "group_norm", shape, shape[1:2], which, groups)
    for shape, groups, which in [
        ((3, 4), 2, BOTH),
        ((2, 6, 5), 3, BOTH),
        ((2, 6, 3, 5), 6, ("weight",)),
        ((2, 6, 3, 5), 1, BOTH),
        ((1, 4, 2, 3, 2), 2, ()),
        ((0, 4, 3), 2, BOTH),
    ]
]
RESPONSE = [
    twin(f"{shape}-{size}", "local_response_norm", normal(shape), size, alpha=0.3, beta=0.6, k=1.2)
    for shape in [(2, 7, 3), (2, 7, 3, 2), (2, 7, 2, 3, 2)]
    for size in (1, 2, 3, 5, 12)
]
CROSS_MAP = [
    Case(
        f"cross-map-{size}",
        lambda x, size=size: nn.CrossMapLRN2d(size, 0.3, 0.6, 1.2)(x),
        torch.nn.CrossMapLRN2d(size, 0.3, 0.6, 1.2),
        normal((2, 7, 3, 2)),
    )
    for size in (2, 3, 4, 5, 9, 12)
]


@both_dtypes
@table(LAYER + RMS + GROUP + RESPONSE + CROSS_MAP)
def test_norms_within_an_example(case, dtype):
    assert_same(case, dtype)


def running_case(row: dict[str, Any]) -> Case:
    """Compare output, new running statistics, and gradients; the statistics carry none."""
    function, shape, own = row["function"], row["shape"], row["own"]
    channels, options = shape[1:2], {"momentum": row["momentum"], "eps": row["eps"]}
    parameters, tracked = row["parameters"], row["tracked"] or not own

    def draw(rng: np.random.Generator) -> Arrays:
        arrays = [row["offset"] + 0.3 + rng.standard_normal(shape)]
        arrays += [0.3 + rng.standard_normal(channels) for _ in range(parameters)]
        return (*arrays, *((rng.standard_normal(channels), 0.5 + rng.random(channels)) if tracked else ()))

    def named(arrays: tuple[Any, ...]) -> dict[str, Any]:
        x, *rest = arrays
        names = [*BOTH[:parameters], *(("running_mean", "running_var") if tracked else ())]
        values = dict.fromkeys(("running_mean", "running_var")) | dict(zip(names, rest, strict=True))
        flag = "training" if function == "batch_norm" else "use_input_stats"
        return {"input": x, **values, flag: own, **options}

    def jax_fn(*arrays: Any) -> Any:
        output, mean, var = getattr(F, f"{function}_with_stats")(**named(arrays))
        return (output, mean, var) if tracked else output

    def torch_fn(*arrays: Any) -> Any:
        values = named(arrays)
        if not tracked:
            return getattr(TF, function)(**values)
        mean, var = (values[name].detach().clone() for name in ("running_mean", "running_var"))
        output = getattr(TF, function)(**{**values, "running_mean": mean, "running_var": var})
        return output, mean + 0 * output.sum(), var + 0 * output.sum()

    return Case(label(row), jax_fn, torch_fn, draw, 1 + parameters)


RUNNING = {
    "function": ["batch_norm", "instance_norm"],
    "shape": [(5, 4), (3, 4, 5), (2, 4, 3, 5), (2, 4, 2, 3, 3), (1, 4, 3), (0, 4, 3)],
    "own": [True, False],
    "tracked": [True, False],
    "parameters": [0, 1, 2],
    "momentum": [0.1, 0.7],
    "eps": [1e-5, 0.1],
    "offset": [0.0],
}


def _valid(row: dict[str, Any]) -> bool:
    return row["function"] == "batch_norm" or (len(row["shape"]) > 2 and row["shape"][0] > 0)


RUNNING_CASES = [running_case(row) for row in all_pairs(RUNNING, _valid)]
LARGE = {name: values[:1] for name, values in RUNNING.items()} | {
    "offset": [1000.0],
    "shape": [(50, 4)],
    "parameters": [2],
}
RUNNING_CASES += [running_case(row) for row in all_pairs(LARGE, lambda row: True)]


@both_dtypes
@table(RUNNING_CASES)
def test_norms_with_running_statistics(case, dtype):
    assert_same(case, dtype)


# ------------------------------------------------------------------------------------------- modules, step by step

MODULES = [
    (name, options, shape)
    for name, shape in [
        ("BatchNorm1d", (6, 4)),
        ("BatchNorm2d", (3, 4, 3, 2)),
        ("BatchNorm3d", (3, 4, 3, 2, 2)),
        ("SyncBatchNorm", (3, 4, 3, 2)),
        ("InstanceNorm1d", (4, 5)),
        ("InstanceNorm2d", (3, 4, 3, 2)),
    ]
    for options in [
        {},
        {"momentum": None},
        {"affine": False, "track_running_stats": False},
        {"momentum": 0.3, "track_running_stats": True, "affine": True, "bias": False, "eps": 0.1},
    ]
]


def module_findings(name: str, options: dict[str, Any], shape: tuple[int, ...], dtype: Any = "float64") -> list[str]:
    """Take three passes in training, one in evaluation, one in training, and compare outputs and state after each."""
    rng = generator(f"{name} {options}")
    theirs, ours = getattr(torch.nn, name)(4, **options).double(), getattr(nn, name)(4, **options).double()
    assert repr(ours) == repr(theirs)
    state = {
        k: v + torch.from_numpy(np.asarray(rng.random(v.shape))).to(v.dtype) for k, v in theirs.state_dict().items()
    }
    theirs.load_state_dict(state)
    load_state_dict(ours, {key: value.numpy() for key, value in state.items()})
    problems: list[str] = []
    for step, mode in enumerate((True, True, True, False, True)):
        x = 0.3 + rng.standard_normal(shape)
        wanted, found = theirs.train(mode)(torch.from_numpy(x)), ours.train(mode)(jax.numpy.asarray(x))
        problems += findings64(f"output {step}", found, wanted.detach().numpy())
        after = state_dict(ours)
        if list(after) != list(theirs.state_dict()):
            problems.append(f"keys {list(after)}")
        for key, value in theirs.state_dict().items():
            problems += findings64(f"{key} after {step}", after[key], value.numpy())
    return problems


@pytest.mark.parametrize(("name", "options", "shape"), MODULES, ids=[f"{n}-{label(o)}" for n, o, _ in MODULES])
def test_modules_with_running_statistics(name, options, shape):
    with jax.enable_x64(True):
        assert module_findings(name, options, shape) == []


def test_padded_batches_train_as_pytorch_s_short_ones():
    """21 steps of SGD on 11 examples in batches of 4: the last batch is padded here, and short in PyTorch."""
    rng = generator("padded batches")
    x, y = 0.3 + rng.standard_normal((11, 3)), rng.standard_normal((11, 1))
    parts = (("Linear", (3, 5)), ("BatchNorm1d", (5,)), ("Sigmoid", ()), ("Linear", (5, 1)))
    theirs = torch.nn.Sequential(*(getattr(torch.nn, name)(*args) for name, args in parts)).double()
    with jax.enable_x64(True):
        keys = {"Linear": {"rngs": 0}}
        ours = nn.Sequential(*(getattr(nn, name)(*args, **keys.get(name, {})) for name, args in parts)).double()
        load_state_dict(ours, {key: value.numpy() for key, value in theirs.state_dict().items()})
        options = {"epochs": 7, "batch_size": 4, "shuffle": False}
        engine.fit(ours, (x, y), loss=nn.MSELoss(), optimizer=optim.SGD(lr=0.1), **options)
        optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
        for start in [0, 4, 8] * 7:
            optimizer.zero_grad()
            inputs, targets = (torch.from_numpy(array[start : start + 4]) for array in (x, y))
            torch.nn.functional.mse_loss(theirs(inputs), targets).backward()
            optimizer.step()
        after = state_dict(ours)
        for key, value in theirs.state_dict().items():
            assert findings64(key, after[key], value.numpy()) == []
