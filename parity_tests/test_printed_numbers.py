"""Every number that the tutorials print: it comes out, or PyTorch 2.13 gives ours and not the printed one either."""

import re
from pathlib import Path
from types import ModuleType

import jax.numpy as jnp
import numpy as np
import printed_report
import pytest
import torch
from printed_numbers import ALL
from printed_numbers.printed_draws import NORMALS_BEFORE, WORDS_BEFORE, WORDS_BETWEEN, later_stream
from printed_numbers.printed_judge import difference, evaluate, given, read
from printed_numbers.printed_row import DIFFERENT, KINDS, Printed

BY_PLACE = {row.place: row for _, row in ALL}


@pytest.fixture(scope="module")
def real_data() -> Path:
    folder = printed_report.data_folder()
    if folder is None:
        pytest.skip("no real data: set JAXPORT_DATA to the folder that holds them")
    return folder


@pytest.mark.parametrize(
    ("module", "row"), [pytest.param(*pair, id=f"{pair[1].place}:{n}") for n, pair in enumerate(ALL)]
)
def test_printed(module: ModuleType, row: Printed, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue("real_data") / row.data if row.data else None
    assert not printed_report.problem(module, row, folder)


def test_rows_are_complete() -> None:
    assert len(ALL) >= 650
    for _, row in ALL:
        assert re.fullmatch(r"00[0-4] [\w .-]+:\d+", row.place), row
        assert row.kind in KINDS, row
        assert (row.kind in DIFFERENT) == bool(row.torch and row.reason), row
        assert (row.kind == "float32") == bool(row.truth), row
        assert "tensor(" not in row.printed or row.printed.startswith("<tf") or read(row.printed), row
    assert len({(row.place, row.what, row.compute) for _, row in ALL}) == len(ALL)
    assert {row.kind for _, row in ALL} == set(KINDS)


def test_no_expression_is_its_answer() -> None:
    for _, row in ALL:
        numbers = re.findall(r"\d+\.\d{3,}", row.printed)
        assert not any(number in row.compute for number in numbers) or "0.0445479191839695" in row.compute, row


def test_the_page_has_these_counts() -> None:
    text = printed_report.PAGE.read_text(encoding="utf-8")
    for line in [*printed_report.count_table(), *printed_report.kind_table(), *printed_report.different_table()]:
        assert line in text.splitlines(), "run python parity_tests/printed_report.py"
    assert len(re.findall(r"^\| 20-day tutorial, ", text, re.M)) == len(printed_report.different_table()) - 2


# What the notebook's cells show: the place, and its name in the draws.
LATER = {"normal": "002 4-1:4605", "scaled": "002 4-1:4620", "permutation": "002 4-1:4634"}


def test_the_notebooks_later_draws() -> None:
    found = later_stream()
    for name, place in LATER.items():
        assert not difference(found[name], BY_PLACE[place].printed)


def test_the_notebooks_later_draws_are_pytorchs_too() -> None:
    generator = torch.Generator().manual_seed(0)
    torch.rand(5, generator=generator)
    for _ in range(NORMALS_BEFORE):
        torch.randn(1, generator=generator)
    torch.rand(WORDS_BEFORE, generator=generator)
    normal, scaled = torch.randn(3, 3, generator=generator), 5 * torch.randn(3, 3, generator=generator) + 2
    torch.rand(WORDS_BETWEEN, generator=generator)
    permutation = torch.randperm(20, generator=generator)
    for value, place in zip((normal, scaled, permutation), LATER.values(), strict=True):
        assert not difference(value.numpy(), BY_PLACE[place].printed)


def test_the_sorted_network_differs_in_order_alone() -> None:
    module, row = next(pair for pair in ALL if pair[1].place == "002 6-1:8576")
    ours = evaluate(module, row)
    then = row.printed.replace("Flatten()", "Flatten(start_dim=1, end_dim=-1)")
    assert sorted(ours.splitlines()) == sorted(then.splitlines())


def test_the_eigenvector_differs_in_sign_alone() -> None:
    module, row = next(pair for pair in ALL if pair[1].place == "002 4-2:5723")
    assert not difference(-evaluate(module, row), row.printed)


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (jnp.array([0.12344]), "tensor([0.1234])"),
        (jnp.array([0.12345]), "tensor([0.1234])"),
        (jnp.array([[1.0], [2.0]]), "tensor([[1.], [2.]], grad_fn=<AddBackward0>)"),
        (jnp.array([1, 2]), "tensor([1, 2])"),
        (jnp.array([1, 2], jnp.int32), "tensor([1, 2], dtype=torch.int32)"),
        (jnp.array([jnp.nan, 1.5]), "tensor([   nan, 1.5000])"),
        (jnp.array([1000.0, 0.5]), "tensor([1.0000e+03, 5.0000e-01])"),
        (np.zeros(2), "[0. 0.]"),
        ((2, 3), "torch.Size([2, 3])"),
        ((), "torch.Size([])"),
        (np.dtype("int32"), "torch.int64"),
        (54273, "54,273"),
        (True, "True"),
    ],
)
def test_the_judge_takes(value: object, printed: str) -> None:
    assert not difference(value, printed)


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (jnp.array([0.12346]), "tensor([0.1234])"),
        (jnp.array([0.12334]), "tensor([0.1234])"),
        (jnp.array([0.1234]), "tensor([[0.1234]])"),
        (jnp.array([1.00001]), "tensor([1.])"),
        (jnp.array([1, 2]), "tensor([1., 2.])"),
        (jnp.array([1.0, 2.0]), "tensor([1, 2])"),
        (jnp.array([1.0]), "tensor([1.], dtype=torch.float64)"),
        (jnp.array([1], jnp.int16), "tensor([1])"),
        (jnp.array([1.0, 1.5]), "tensor([   nan, 1.5000])"),
        (jnp.array([jnp.nan, 1.5]), "tensor([1.0000, 1.5000])"),
        (jnp.array([1000.2, 0.5]), "tensor([1.0000e+03, 5.0000e-01])"),
        (jnp.array([True, False]), "tensor([True, True])"),
        (np.zeros(3), "[0. 0.]"),
        ((3, 2), "torch.Size([2, 3])"),
        (np.dtype("int16"), "torch.int64"),
        (np.dtype("float32"), "torch.float64"),
        (54272, "54,273"),
        (False, "True"),
        ("Linear-1 [-1, 20] 321", "Linear-1 [-1, 20] 320"),
    ],
)
def test_the_judge_refuses(value: object, printed: str) -> None:
    assert difference(value, printed)


def planted(compute: str, printed: str, kind: str, **more: object) -> Printed:
    """Return a row of no tutorial."""
    return Printed("000 planted:1", "", compute, printed, kind, **more)  # type: ignore[arg-type]


ONE = "jnp.array(1.0)"


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (planted(ONE, "tensor(1.)", "exact"), ""),
        (planted(ONE, "tensor(2.)", "exact"), "is not"),
        (planted(ONE, "tensor(2.)", "misprint", torch="torch.tensor(1.0)"), ""),
        (planted(ONE, "tensor(1.)", "misprint", torch="torch.tensor(1.0)"), "it comes out"),
        (planted(ONE, "tensor(2.)", "misprint", torch="torch.tensor(3.0)"), "is not"),
        (planted("'xb'", "ab", "old_version", torch="'xb'", became=("a", "x")), ""),
        (planted("'xc'", "ab", "old_version", torch="'xc'", became=("a", "x")), "is not"),
        (planted("1.0", "1.0000001", "float32", truth="1.0"), ""),
        (planted("1.0", "1.000001", "float32", truth="1.0"), "than float32's rounding"),
        (planted("1.000001", "1.0000001", "float32", truth="1.0"), "farther"),
    ],
)
def test_a_planted_row_is_judged_by_its_kind(row: Printed, found: str) -> None:
    assert bool(said := printed_report.problem(ALL[0][0], row)) == bool(found)
    assert found in said


def test_with_x64_whole_numbers_have_64_bits() -> None:
    assert difference(jnp.array([1], jnp.int32), "tensor([1])", x64=True)
    assert difference(np.dtype("int32"), "torch.int64", x64=True)


def test_what_is_printed_can_be_an_input() -> None:
    tensor = given("tensor([[1.5000, 2.0000]], grad_fn=<AddBackward0>)")
    assert tensor.dtype == jnp.float32
    assert tensor.tolist() == [[1.5, 2.0]]
