"""Every module, on PyTorch's own database and our additions: values, gradients, buffers, state_dict, repr, errors."""

import pytest
from database import EXTRA, MODULES
from database_runs import module_error_findings, module_findings, module_inputs
from nn_report import tally
from sampling import spread

from jaxport import nn

OURS = [name for name in MODULES if hasattr(nn, name)]
# The first input of each runs operation by operation, as in a notebook; the others as one compiled program.
EAGER = 1


def findings_of(name: str, dtype: str, most: int | None) -> tuple[int, list[str]]:
    count, problems = 0, []
    row = tally("module", name)
    for training in (True, False):
        for number, entry in spread(module_inputs(name, training), most):
            count += 1
            try:
                found = module_findings(name, number, entry, training, dtype, jit=number >= EAGER)
            except Exception as error:
                found = [
                    f"{name}[{number}] {'train' if training else 'eval'} {entry.desc}: {type(error).__name__}: {error}"
                ]
            problems += found
            if dtype == "float64":
                if name in EXTRA:
                    row.cases, row.cases_passed = row.cases + 1, row.cases_passed + (not found)
                else:
                    row.inputs, row.passed = row.inputs + 1, row.passed + (not found)
            elif name not in EXTRA:
                row.single, row.single_passed = row.single + 1, row.single_passed + (not found)
    return count, problems


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", OURS)
def test_module(name, dtype, most_inputs):
    # Float32 asks PyTorch nine times more, and is asked of fewer inputs.
    most = most_inputs if dtype == "float64" or most_inputs is None else max(2, most_inputs // 2)
    count, problems = findings_of(name, dtype, most)
    assert count
    if problems:
        pytest.fail(f"{len(problems)} findings in {count} inputs\n" + "\n".join(problems[:40]), pytrace=False)


@pytest.mark.parametrize("name", [name for name in OURS if MODULES[name].module_error_inputs_func])
def test_module_errors(name):
    count, problems = module_error_findings(name)
    row = tally("module", name)
    row.errors, row.errors_passed = count, count - len(problems)
    assert count
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
