"""Every nn.functional entry of PyTorch's own operator database: values, gradients, and its errors."""

import pytest
from database import FUNCTIONS
from database_runs import function_error_findings, function_findings, function_inputs, jax_name
from nn_report import tally
from sampling import spread

import jaxport.nn.functional as F

OURS = [name for name in FUNCTIONS if hasattr(F, jax_name(name))]
# The first input of each runs operation by operation, as in a notebook; the others as one compiled program.
EAGER = 1


def findings_of(name: str, dtype: str, most: int | None) -> tuple[int, list[str]]:
    problems: list[str] = []
    row = tally("function", name)
    samples = spread(function_inputs(name), most)
    for number, sample in samples:
        try:
            found = function_findings(name, number, sample, dtype, jit=number >= EAGER)
        except Exception as error:
            found = [f"{name}[{number}] {sample.summary()[:300]}: {type(error).__name__}: {error}"]
        problems += found
        if dtype == "float64":
            row.inputs += 1
            row.passed += not found
    return len(samples), problems


@pytest.mark.parametrize("name", OURS)
def test_function(name, most_inputs):
    count, problems = findings_of(name, "float64", most_inputs)
    assert count
    if problems:
        pytest.fail(f"{len(problems)} findings in {count} inputs\n" + "\n".join(problems[:40]), pytrace=False)


@pytest.mark.parametrize("name", [name for name in OURS if FUNCTIONS[name].error_inputs_func])
def test_function_errors(name):
    count, problems = function_error_findings(name)
    row = tally("function", name)
    row.errors, row.errors_passed = count, count - len(problems)
    assert count
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
