"""Every port equals its PyTorch reference: design rules 1 to 6, in float64 and float32."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from flax import nnx
from port_names import PROVEN

from jaxport import data, nn, parity, ports
from jaxport.errors import JaxportError
from jaxport.parity.examples import draw_example, made_up
from jaxport.parity.record import Example
from jaxport.parity.tolerances import SAME_SUMS_RTOL
from jaxport.parity.torch_side import TorchSide


@pytest.fixture(scope="module")
def real_data() -> Path:
    """Return the folder of the real data sets: JAXPORT_DATA, or shared/data beside the repository; skip without one."""
    folder = Path(os.environ.get("JAXPORT_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no real data: set JAXPORT_DATA to the folder that holds them")
    return folder


# Their steps take seconds each, and `jaxport parity` takes all 20.
STEPS = {"resnet": 3, "unet": 3}


@pytest.mark.parametrize("name", PROVEN)
def test_port_equals_its_reference_in_everything(name: str) -> None:
    steps = STEPS.get(name, 20)
    checks = parity.check_port(ports.get(name), steps)
    failed = [check for check in checks if not check.ok]
    assert not failed, "\n".join(map(str, failed))
    everything_is_there(name, {(check.check, check.dtype) for check in checks}, steps)


def everything_is_there(name: str, done: set[tuple[str, str]], steps: int) -> None:
    port = ports.get(name)
    module = nnx.eval_shape(lambda: port.build(0))
    keys = [key for key, _ in module.named_parameters()]
    called = [path for path, part in module.named_modules() if not isinstance(part, nn.ModuleList)]
    paths = [path or "output" for path in called]
    for dtype in ("float64", "float32"):
        for mode in ("train", "eval"):
            wanted = {f"{mode}/forward/{path}" for path in paths} | {f"{mode}/loss/loss"}
            leaves = [*keys, "input"] if np.dtype(port.input_dtype).kind == "f" else keys
            wanted |= {f"{mode}/{kind}/{key}" for kind in ("grad", "cotangent") for key in leaves}
            assert {(check, dtype) for check in wanted} <= done
        assert {(f"train/step01/resync/params/{key}", dtype) for key in keys} <= done
        assert (f"train/step{steps:02d}/resync/loss", dtype) in done
    assert (f"train/step{steps:02d}/free/params", "float64") in done
    if port.optimizer.func.__name__ == "Adam":
        tensors = {f"train/step01/resync/optimizer/{t}/{key}" for t in ("exp_avg", "exp_avg_sq") for key in keys}
        assert {(tensor, "float64") for tensor in tensors} <= done
    exact = {check for check, dtype in done if dtype == "exact"}
    assert {"state_dict/from_torch", "state_dict/to_torch"} <= exact
    assert ("state_dict/predictions_of_pt_file", "float32") in done


REAL = [name for name in PROVEN if not data.DATASETS[ports.get(name).dataset].embedded]


@pytest.mark.parametrize("name", REAL)
def test_port_equals_its_reference_on_real_batches(name: str, real_data: Path) -> None:
    checks = parity.check_port(ports.get(name), steps=2, data=real_data)
    failed = [check for check in checks if not check.ok]
    assert not failed, "\n".join(map(str, failed))


@pytest.mark.parametrize("name", [name for name in PROVEN if name not in ("resnet", "unet")])
def test_a_hundred_free_steps(name: str) -> None:
    run = parity.run_free(ports.get(name))
    assert run.ok, (max(run.loss), max(run.parameters), max(run.own_parameters), run.apart)
    assert len(run.loss) == len(run.parameters) == 100


def test_a_free_run_with_another_rate_is_found() -> None:
    port = ports.get("linreg_plane-mid")
    run = parity.run_free(port, steps=3)
    assert run.ok
    worse = replace(run, parameters=[*run.parameters[:2], 2e-8 + 4 * max(run.own_parameters)])
    assert not worse.ok
    assert not replace(run, loss=[2e-10 + 4 * max(run.own_loss)] * 3).ok
    assert not replace(run, apart=1.0).ok
    lost = [float("inf")] * 3  # NaN on both sides
    assert not replace(run, loss=lost, own_loss=lost).ok


def test_examples_in_another_order_take_the_same_step() -> None:
    """Else what is measured beside PyTorch's own rounding would be no rounding, and the limit too wide."""
    port, rng = ports.get("mnist_cnn-functions"), np.random.default_rng(0)
    torch.manual_seed(0)
    sides = [TorchSide(port, torch.float64) for _ in range(2)]
    sides[1].load(sides[0].snapshot().params)
    x, y = made_up(port)(rng)
    example = Example(x.astype(np.float64), y, np.zeros((len(x), 10)), sides[0].draw_masks(x, rng))
    other = example.shuffled(rng)
    assert not np.array_equal(other.y, example.y)
    losses = [side.step(one) for side, one in zip(sides, (example, other), strict=True)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=SAME_SUMS_RTOL)
    first, second = (side.snapshot().params for side in sides)
    assert max(np.abs(first[key] - second[key]).max() for key in first) < SAME_SUMS_RTOL


def test_pytorch_beside_itself_drifts_by_rounding_only() -> None:
    run = parity.run_free(ports.get("titanic"), steps=5)
    assert 0 < max(run.own_parameters) < SAME_SUMS_RTOL
    assert max(run.own_loss) < SAME_SUMS_RTOL


def test_a_net_with_kinks_everywhere_is_said_in_a_line() -> None:
    port, rng = ports.get("circles"), np.random.default_rng(0)
    with pytest.raises(JaxportError, match="circles: no batch in 3 keeps every kink 2e-06 of scale away"):
        draw_example(port, made_up(port), rng, (1,), lambda x: (), lambda example: 0.0, draws=3)
