"""Every optimiser with batch, parameters and state spread over four devices: what one device alone computes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sharded_optimizers import MAKERS


@pytest.mark.slow
def test_four_devices_compute_what_one_does():
    # A program of its own, run once: it has four CPU devices, which this process cannot have.
    program = Path(__file__).with_name("sharded_optimizers.py")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(done.stdout)
    assert list(rows) == list(MAKERS)
    wrong = []
    for name, (params, state, devices, part) in rows.items():
        # LBFGS divides by curvatures that cancel, so that the order of a sum shows more.
        bound = 1e-11 if name == "LBFGS" else 1e-13
        # The matrix of eight rows must lie in four parts.
        if max(params, state) > bound or (devices, part) != (4, 2):
            wrong.append(f"{name}: parameters {params}, state {state}, {devices} devices, {part} rows each")
    assert not wrong, "\n".join(wrong)
