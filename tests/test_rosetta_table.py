"""The table of PyTorch's expressions and JAX's where PyTorch is not needed: JAX's sides, jit, the page, looking up."""

import ast
import html
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from close import FLOAT32_FACTOR, FLOAT32_FLOOR

from jaxport.errors import UsageError
from jaxport.rosetta import TOPICS, Row, find, rows
from jaxport.rosetta.compare import compare
from jaxport.rosetta.inputs import INPUTS, REPEATED, SQUARE
from jaxport.rosetta.page import PLACES, page
from jaxport.rosetta.run import is_tracing_error, run_jax

ROOT = Path(__file__).parents[1]
BY_ID = {row.id: row for row in rows()}
on_the_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="the table speaks of the CPU")


def jit_findings(row: Row) -> list[str]:
    """Return what is not as the row says under jit; where it is refused there, outside."""
    traced = run_jax(row, jit=True)
    if not row.jit:
        refused = [] if is_tracing_error(traced.error) else [f"not refused under jit: {traced}"]
        return refused + own_findings(row, run_jax(row))
    return own_findings(row, traced)


def own_findings(row: Row, outcome) -> list[str]:
    kinds = [kind.__name__ for kind in type(outcome.error).__mro__] if outcome.error else []
    if kinds or row.jax_raises:
        return [] if row.jax_raises in kinds else [f"raised {outcome.error!r}, not {row.jax_raises or 'nothing'}"]
    return compare(outcome.expected, outcome.value, "", FLOAT32_FACTOR * FLOAT32_FLOOR) if row.jax_is else []


@on_the_cpu
@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id)
def test_jax_side_runs_as_the_row_says_under_jit(row: Row):
    assert jit_findings(row) == []


@pytest.mark.parametrize(
    "name",
    ["bool-index", "nonzero", "numpy", "item", "where-places", "save-load", "add", "shape-of", "arange", "zeros-sizes"],
)
def test_wrong_jit_flag_is_found(name: str):
    assert jit_findings(replace(BY_ID[name], jit=not BY_ID[name].jit)) != []


@pytest.mark.parametrize(("name", "field", "new"), [
    ("out-of-bounds", "jax_is", "v[0]"),
    ("add", "jax", "x + undefined"),
    ("zeros-sizes", "jax_raises", "ValueError"),
])  # fmt: skip
def test_wrong_jax_side_is_found(name: str, field: str, new: str):
    assert jit_findings(replace(BY_ID[name], **{field: new})) != []


def test_rows_that_differ_with_x64_do_so_as_their_notes_say():
    assert run_jax(BY_ID["zero-dim-promotes"], double=True).value.dtype == "float64"
    assert run_jax(BY_ID["big-int"], double=True).value.value == 2**31


def test_rows_are_many_and_their_names_unique():
    assert len({name.lower() for name in BY_ID}) == len(rows()) >= 200
    assert {row.topic for row in rows()} == set(TOPICS)
    assert all(re.fullmatch(r"[\w-]+", row.id) for row in rows())


def test_rows_are_well_formed():
    assert {row.id: found for row in rows() if (found := form_findings(row))} == {}


def form_findings(row: Row) -> list[str]:
    found = [place for place in row.where.split(", ") if re.sub(r" [\d-]+$", "", place) not in PLACES]
    found += [code for code in (row.torch, row.jax) if not isinstance(ast.parse(code).body[-1], ast.Expr)]
    found += [one for one in row.dtypes.split(", ") if one and not re.fullmatch(r"[\w ]+ → [\w ]+", one)]
    if bool(row.torch_raises or row.torch_is) != bool(row.jax_raises or row.jax_is):
        found.append("where the sides differ, both must be said")
    if row.note and row.note.rstrip("`)\"'")[-1] not in ".:":
        found.append(f"the note is no sentence: {row.note}")
    return found


@pytest.mark.parametrize(
    ("field", "new"),
    [("where", "20-days 4-1"), ("torch", "b = x"), ("dtypes", "int64"), ("torch_raises", "ValueError"), ("note", "No")],
)
def test_malformed_row_is_found(field: str, new: str):
    assert form_findings(replace(BY_ID["add"], **{field: new})) != []


@pytest.mark.parametrize("name", INPUTS)
def test_input_would_show_a_wrong_axis(name: str):
    array = INPUTS[name]
    axes = [length for length in array.shape if length > 1]
    assert len(set(axes)) == len(axes) or name in SQUARE
    assert name in REPEATED or len(np.unique(array)) == array.size
    for axis, length in enumerate(array.shape):
        assert length == 1 or not np.array_equal(array, np.flip(array, axis))


def test_square_input_is_not_symmetric():
    for name in SQUARE:
        assert not np.array_equal(INPUTS[name], INPUTS[name].T)


def test_page_is_up_to_date():
    written = (ROOT / "docs/rosetta.md").read_text(encoding="utf-8")
    assert written == page(), "run: python -m jaxport.rosetta docs/rosetta.md"
    assert f"{len(rows())} rows" in written
    assert all(written.count(f'<a id="{anchor}"></a>') == 1 for anchor in [*BY_ID, *TOPICS, "index", "inputs"])
    links = set(re.findall(r"\]\(#([\w-]+)\)", written))
    assert links <= {*BY_ID, *TOPICS, "index", "inputs"}


def test_page_has_whole_tables():
    lines = [line for line in page().splitlines() if line.startswith("| <a id=")]
    assert len(lines) == len(rows())
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {6}


def test_page_shows_every_expression_when_it_is_rendered():
    cells = [re.findall(r"<td>(.*?)</td>", line) for line in rendered(page()) if "<td><a id=" in line]
    assert len(cells) == len(rows())
    for row, (torch, jax_, *rest) in zip(rows(), cells, strict=True):
        assert (visible(torch), visible(jax_), len(rest)) == (row.torch, row.jax, 3)
        assert rest[2] == row.where


def rendered(text: str) -> list[str]:
    """Return a Markdown page as HTML, one table row a line."""
    html_text = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table").render(text)
    return html_text.replace("\n<td>", "<td>").split("\n")


def visible(cell: str) -> str:
    """Return what a reader sees of a cell."""
    return html.unescape(re.sub(r"<[^>]*>", "", cell.replace("<br>", "\n")))


def test_find_looks_in_both_sides_notes_and_names():
    assert BY_ID["gather"] in find("gather")
    assert BY_ID["gather"] in find("TAKE_ALONG_AXIS")
    assert BY_ID["svd"] in find("its transpose")
    assert BY_ID["add"] not in find("gather")
    assert find("no such word") == ()


@pytest.mark.parametrize("text", ["", "  "])
def test_find_wants_a_word(text: str):
    with pytest.raises(UsageError, match="text must be a word to look for, as 'gather'"):
        find(text)


def test_table_loads_neither_jax_nor_torch():
    code = (
        "import sys, jaxport.rosetta as r; r.find('gather'); import jaxport.rosetta.page as p; p.page();"
        "print([name for name in ('jax', 'flax', 'torch', 'optax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_index_speaks_of_pytorch_names():
    names = {name for row in rows() for name in row.names()}
    assert {"torch.gather", ".backward", "nn.Linear", "F.relu", "optim.SGD", "DataLoader"} <= names
    assert not any(name.startswith(("jnp", "jax")) for name in names)
