"""Training on four devices gives what one device gives; parameters and batches really are spread; wrong requests."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from parallel_training import CASES, HIDDEN

from jaxport import Model, nn, optim
from jaxport.engine import fsdp, make_placement
from jaxport.errors import UsageError

RTOL = 1e-12
# What is compiled stays the same up to LLVM, which is told not to polish it.
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
PARTS = ("history", "measured", "predicted", "weights", "saved", "averaged")


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """Return what the program that has four devices prints; it is run once."""
    program = Path(__file__).with_name("parallel_training.py")
    cache = {"JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir or ""}
    environment = {**os.environ, **cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "XLA_FLAGS": QUICK}
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_four_devices_give_what_one_gives(found: dict[str, Any], name: str) -> None:
    row = found[name]
    assert {part: row[part] for part in PARTS if not row[part] <= RTOL} == {}
    assert row["epochs"][0] == row["epochs"][1] >= 1
    assert row["devices after"] == 1


@pytest.mark.slow
def test_dispatch_is_as_asked(found: dict[str, Any]) -> None:
    wanted = {"dense scan": "scan", "dense chunks": "chunks", "dense steps": "steps", "dense reading loader": "chunks"}
    assert {name: found[name]["dispatch"] for name in wanted} == {name: [way] * 2 for name, way in wanted.items()}


@pytest.mark.slow
def test_early_stopping_stopped(found: dict[str, Any]) -> None:
    assert found["dense steps"]["epochs"][0] < CASES["dense steps"].fit["epochs"]


@pytest.mark.slow
def test_padding_is_said_once(found: dict[str, Any]) -> None:
    told = {name for name, row in found.items() if row["warned"]}
    assert told == {"dense padded", "dense generated", "conv padded"}
    for name in told:
        (text,) = found[name]["warned"]
        assert text == "batch_size is 10 on 4 devices: each batch is padded to 12 rows, masked in all results"
    assert not any(row["warned alone"] for row in found.values())


@pytest.mark.slow
def test_batches_are_spread(found: dict[str, Any]) -> None:
    """On each device the step sees 8 / 4 = 2 rows, and the gradients are summed over the devices."""
    for name in ("dense scan", "dense chunks", "dense steps", "dense reading loader", "dense fsdp"):
        program = found[name]["program"]
        assert re.search(rf"f64\[2,{HIDDEN}\]", program), name
        assert not re.search(rf"f64\[8,{HIDDEN}\]", program), name
        assert "all-reduce" in program, name
    program = found["dense fsdp"]["program"]
    assert re.search(rf"f64\[{HIDDEN},6\]\S* all-gather", program)  # the weights, and not the examples
    program = found["conv scan"]["program"]
    assert re.search(r"f64\[2,8,6,5\]|f64\[2,6,5,8\]", program)
    assert not re.search(r"f64\[8,8,6,5\]|f64\[8,6,5,8\]", program)


@pytest.mark.slow
def test_parameters_and_state_are_split(found: dict[str, Any]) -> None:
    row = found["dense fsdp"]
    weight = {path: shapes for path, shapes in row["shards"].items() if "['0']['weight']" in path}
    assert len(weight) == 3  # the parameter and Adam's two moments
    assert list(weight.values()) == [[[HIDDEN, 6], [[HIDDEN // 4, 6]]]] * 3
    small = {path: shapes for path, shapes in row["shards"].items() if "['0']['bias']" in path}
    assert list(small.values()) == [[[HIDDEN], [[HIDDEN]]]] * 3
    assert max(row["bytes"]) < 0.6 * row["bytes alone"][0]
    assert len(row["bytes"]) == 4
    filters = [shapes for path, shapes in found["conv fsdp"]["shards"].items() if "['3']['weight']" in path]
    assert filters == [[[16, 8, 3, 3], [[4, 8, 3, 3]]]] * 3


@pytest.mark.slow
def test_a_rule_splits_over_another_axis(found: dict[str, Any]) -> None:
    shards = found["dense two axes"]["shards"]
    assert [shapes for path, shapes in shards.items() if "['2']['weight']" in path] == [
        [[3, HIDDEN], [[3, HIDDEN // 2]]]
    ] * 3
    assert [shapes for path, shapes in shards.items() if "['2']['bias']" in path] == [[[3], [[3]]]] * 3


# ------------------------------------------------------------------------------------------------------ wrong requests


def compiled(**options: Any) -> None:
    Model(nn.Linear(2, 2, rngs=0)).compile(nn.MSELoss(), optim.SGD(lr=0.1), **options)


def one_device(*names: str) -> jax.sharding.Mesh:
    return jax.make_mesh((1,) * len(names), names, axis_types=(AxisType.Auto,) * len(names))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": 8}, r"devices is 8; it must be from 1 to 1, .*JAX_NUM_CPU_DEVICES=n"),
        ({"devices": 0}, "devices is 0; it must be from 1"),
        ({"devices": True}, "devices is True; it must be"),
        ({"device": "gpu"}, "device is 'gpu'; it must be a jax.Device, or 'cpu', 'gpu' or 'tpu' if there is one"),
        ({"device": "cpu", "devices": 1}, "device='cpu', devices=1 and mesh are given; give one of them"),
        ({"shard": "fsdp"}, "shard is 'fsdp'; it needs several devices"),
        ({"devices": 1, "shard": "zero"}, "shard is 'zero'; it must be 'fsdp', a function"),
    ],
)
def test_wrong_requests(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compiled(**options)


def test_a_mesh_needs_the_axis_data() -> None:
    with pytest.raises(UsageError, match=r"mesh has the axes \['model'\]; one must be named \"data\""):
        compiled(mesh=one_device("model"))


def test_one_device_of_a_mesh_pads_nothing() -> None:
    place = make_placement(devices=1)
    assert place.multiple == 1
    assert place.mesh is not None
    assert place.mesh.axis_types == (AxisType.Auto,)


def test_a_mesh_of_another_kind_is_used_as_auto() -> None:
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Explicit,))
    place = make_placement(mesh=mesh)
    assert place.mesh is not None
    assert place.mesh.axis_types == (AxisType.Auto,)


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((256, 6), ("data", None)),
        ((6, 256), (None, "data")),
        ((16, 8, 3, 3), ("data", None, None, None)),
        ((255, 7), None),  # no axis that four divides
        ((31, 33), None),  # 1,023 numbers
        ((256,), None),
    ],
)
def test_fsdp_splits_the_longest_axis(shape: tuple[int, ...], spec: Any) -> None:
    found = fsdp(4)("layer.weight", np.zeros(shape))
    assert found == (None if spec is None else PartitionSpec(*spec))
