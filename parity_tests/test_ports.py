"""Every port equals its PyTorch reference: design rules 1 to 6, in float64 and float32."""

from functools import cache

import numpy as np
import pytest

from jaxport import parity, ports


@cache
def _checks(name: str) -> list[parity.Check]:
    return parity.check_port(ports.get(name))


@pytest.mark.parametrize("name", ports.names())
def test_port_equals_its_reference(name: str) -> None:
    failed = [check for check in _checks(name) if not check.ok]
    assert not failed, "\n".join(map(str, failed))


@pytest.mark.parametrize("name", ports.names())
def test_everything_is_compared(name: str) -> None:
    port = ports.get(name)
    done = {(check.check, check.dtype) for check in _checks(name)}
    keys = [key for key, _ in port.build(0).named_parameters()]
    paths = [path or "output" for path, _ in port.build(0).named_modules()]
    for dtype in ("float64", "float32"):
        for mode in ("train", "eval"):
            wanted = {f"{mode}/forward/{path}" for path in paths} | {f"{mode}/loss/loss"}
            leaves = [*keys, "input"] if np.dtype(port.input_dtype).kind == "f" else keys
            wanted |= {f"{mode}/{kind}/{key}" for kind in ("grad", "cotangent") for key in leaves}
            assert {(check, dtype) for check in wanted} <= done
        assert {(f"train/step01/resync/params/{key}", dtype) for key in keys} <= done
        assert ("train/step20/resync/loss", dtype) in done
    assert ("train/step20/free/params", "float64") in done
    if port.optimizer.func.__name__ == "Adam":
        tensors = {f"train/step01/resync/optimizer/{t}/{key}" for t in ("exp_avg", "exp_avg_sq") for key in keys}
        assert {(tensor, "float64") for tensor in tensors} <= done
    exact = {check for check, dtype in done if dtype == "exact"}
    assert {"state_dict/from_torch", "state_dict/to_torch"} <= exact
    assert ("state_dict/predictions_of_pt_file", "float32") in done
