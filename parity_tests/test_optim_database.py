"""PyTorch's optim_db: every optimiser in every configuration, 20 steps, and the inputs that must raise."""

import re
from functools import partial
from typing import Any

import jax.numpy as jnp
import optimizer_lbfgs
import pytest
from cases import label
from database import PINNED
from optimizer_runs import jax_options, run_findings

from jaxport import optim

torch = pytest.importorskip("torch")
if not torch.__version__.startswith(PINNED):
    pytest.skip(f"optim_db is pinned to PyTorch {PINNED}, this is {torch.__version__}", allow_module_level=True)
try:
    from torch.testing._internal.common_optimizers import optim_db
except ImportError as error:  # pragma: no cover
    pytest.skip(f"PyTorch's optim_db cannot be imported: {error}", allow_module_level=True)

Row = tuple[str, str, dict[str, Any]]
OPTIMIZERS = {info.name: info for info in optim_db}


def inputs(device: str) -> list[Row]:
    """Return the database's configurations; a GPU's differ by `capturable`, which PyTorch runs there only.

    Without `capturable` PyTorch takes another way, on which float32 tensors as `lr` and `betas` are rounded again and
    again: a GPU's are given in float64.
    """
    rows = [
        (info.name, row.desc, dict(row.kwargs)) for info in optim_db for row in info.optim_inputs_func(device=device)
    ]
    if device == "cpu":
        return rows
    return [(kind, desc, _double(options)) for kind, desc, options in rows if options.get("capturable")]


def _double(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _double(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_double, value))
    return value.double() if isinstance(value, torch.Tensor) else value


CPU, GPU = inputs("cpu"), inputs("cuda")


def ids(rows: list[Row]) -> list[str]:
    return [f"{kind}-{desc}" for kind, desc, _ in rows]


def check(kind: str, options: dict[str, Any], dtype: str = "float64") -> None:
    if kind == "LBFGS":
        lines, _ = optimizer_lbfgs.run_findings(options, dtype)
    else:
        lines, _ = run_findings(kind, options, dtype)
    if lines:
        pytest.fail("\n".join(lines[:10]), pytrace=False)


def test_nothing_of_the_database_is_missing():
    assert len(OPTIMIZERS) == 15
    assert len(CPU) == 91
    assert len(ERRORS) - len(MEANINGFUL) == 2


# The database's problems accept the line search's first trial: these make it widen the bracket, and zoom in.
WOLFE = {"line_search_fn": "strong_wolfe"}
SEARCHES: list[dict[str, Any]] = [
    WOLFE | {"lr": 0.01},
    WOLFE | {"lr": 30.0},
    WOLFE | {"lr": 3.0, "history_size": 3},
    WOLFE | {"lr": 30.0, "max_iter": 5, "max_eval": 7},
    {"lr": 0.5, "max_iter": 4, "max_eval": 5, "history_size": 2},
]


@pytest.mark.parametrize("options", SEARCHES, ids=label)
def test_lbfgs_options(options):
    check("LBFGS", options)


# Steps of 1e-3 make gradients that differ in their last digits: 20 updates on end amplify them to 4e-4.
@pytest.mark.parametrize("options", [row for kind, _, row in CPU if kind == "LBFGS" and "lr" not in row], ids=label)
def test_lbfgs_free_running(options):
    lines, _ = optimizer_lbfgs.free_findings(options)
    assert lines == []


@pytest.mark.parametrize(("kind", "desc", "options"), CPU, ids=ids(CPU))
def test_configuration(kind, desc, options):
    check(kind, options)


@pytest.mark.parametrize(("kind", "desc", "options"), GPU, ids=ids(GPU))
def test_configuration_of_a_gpu(kind, desc, options, most_inputs):
    if most_inputs is not None and "ensor" not in desc:
        pytest.skip("run with --database all")
    check(kind, options)


@pytest.mark.parametrize(("kind", "desc", "options"), CPU, ids=ids(CPU))
def test_configuration_in_float32(kind, desc, options, most_inputs):
    if most_inputs is not None and desc not in ("default", "amsgrad", "momentum", "decoupled_weight_decay", "t0"):
        pytest.skip("run with --database all")
    check(kind, options, "float32")


# ------------------------------------------------------------------------------------------------ what must raise


def error_inputs() -> list[tuple[str, Any]]:
    return [
        (info.name, row)
        for info in optim_db
        for row in (info.optim_error_inputs_func(device="cpu", dtype=torch.float32))
    ]


def _array(tensor: Any) -> Any:
    return jnp.asarray(tensor.detach().to_dense().numpy())


def _selector(params: Any) -> Any:
    """Return PyTorch's `params` argument as a group's selector: tensors by name where they have one, else as arrays."""
    names: dict[int, str] = {}

    def one(item: Any) -> Any:
        if isinstance(item, tuple):
            return item[0]
        if isinstance(item, torch.nn.Parameter):
            return names.setdefault(id(item), f"parameter{len(names)}")
        return _array(item)

    if isinstance(params, torch.Tensor):
        return _array(params)
    if isinstance(params[0], dict):
        return [row | {"params": [one(i) for i in _as_list(row["params"])]} for row in params]
    if any(isinstance(item, tuple) for item in params):
        return [{"params": [item[0] if isinstance(item, tuple) else _array(item) for item in params]}]
    return [{"params": [one(item) for item in params]}]


def _as_list(params: Any) -> list[Any]:
    return [params] if isinstance(params, torch.Tensor) else list(params)


def run_error(kind: str, row: Any) -> None:
    """Do here what the row does in PyTorch."""
    params, options = row.optimizer_error_input.params, jax_options(row.optimizer_error_input.kwargs)
    make = partial(getattr(optim, kind), **options)
    if params is None:
        make()
        return
    layout = re.search("complex|2D|dense", row.error_regex)
    if layout is not None:
        tensors = [t for p in params for t in (p["params"] if isinstance(p, dict) else [p])]
        make().init([_array(tensor) for tensor in tensors])
        return
    if "with/without names" in row.error_regex and isinstance(params[0], dict):
        params = [{**params[0], "params": [_array(params[0]["params"][0])]}, params[1]]
        selected = [params[0], {**params[1], "params": [params[1]["params"][0][0]]}]
    else:
        selected = _selector(params)
    optim.groups(selected, make).init({"parameter0": jnp.ones((1, 1)), "weight": jnp.ones((1, 1))})


ERRORS = error_inputs()
# A sparse parameter does not exist in JAX: there is nothing to refuse.
MEANINGFUL = [(kind, row) for kind, row in ERRORS if row.error_regex != "SparseAdam requires dense parameter tensors"]


@pytest.mark.parametrize(
    ("kind", "row"), MEANINGFUL, ids=[f"{k}-{r.optimizer_error_input.desc}" for k, r in MEANINGFUL]
)
def test_must_raise(kind, row):
    with pytest.raises((ValueError, TypeError)) as caught:
        run_error(kind, row)
    message = str(caught.value)
    assert re.search(rf"^{kind}|param_groups|every parameter|LBFGS", message), message
