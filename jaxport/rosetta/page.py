"""The page docs/rosetta.md: every row, an index by PyTorch's names, and what was checked."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable

import numpy as np

from . import TOPICS, rows
from .inputs import INPUTS
from .row import Row
from .run import JAX_IMPORTS, TORCH_IMPORTS

PLACES = {
    "practice": "PyTorch in practice",
    "basics": "PyTorch basics",
    "20-day": "How to eat PyTorch in 20 days",
    "notes": "PyTorch notes",
    "quick start": "PyTorch notes, quick start",
}
"""How a row names the tutorials; a number behind it is the chapter."""

# What Markdown or HTML would read as its own.
_SPECIAL = {character: f"&#{ord(character)};" for character in "|*_`[]\\~"}


def page() -> str:
    """Return the page as Markdown."""
    table = rows()
    parts = [_head(table), *(_section(topic, table) for topic in TOPICS), _inputs(), _index(table)]
    return "\n\n".join(parts) + "\n"


def _head(table: tuple[Row, ...]) -> str:
    count = Counter(_jit(row) for row in table)
    double = sum(row.x64 and not row.drawn for row in table)
    differ, drawn = sum(row.differs for row in table), sum(row.drawn for row in table)
    places = ", ".join(f"*{short}* {name}" for short, name in PLACES.items())
    return f"""\
# PyTorch's expressions in JAX

The expressions of the five tutorials, {len(table)} rows, and what each is in JAX. `jaxport.rosetta.find("gather")`
returns the rows that speak of a word; [the index](#index) goes by PyTorch's names. This page is written by
`python -m jaxport.rosetta docs/rosetta.md`.

**Every row is run.** `parity_tests/test_rosetta.py` executes both expressions on the same inputs and compares
structure, shape, dtype and every element: integers, booleans and texts exactly, float32 by PyTorch's own rounding, and
{double} rows in float64 too, to 1e-10. {differ} rows show where the two differ; there the error's class or the value of
each side is checked, and that they do differ. {drawn} draw random numbers of their own; there shape and dtype are
compared.

**Under jit**: each row is also run under `jax.jit` with its inputs as arguments, there and in
`tests/test_rosetta_table.py`. {count["yes"]} give the same (*yes*), {count["raises"]} raise the same error (*raises*),
and {count["no"]} are refused while tracing (*no*), which is checked as well: a value or a shape would have to be known.

Dtypes are the same on both sides unless the note says so; "int64 → int32" is gone with x64
(`jax.config.update("jax_enable_x64", True)`). The last line of an expression is its value. Names that are not defined
in a row are [the inputs](#inputs). The last column is where a tutorial uses it: {places}.

PyTorch's side begins with

```python
{TORCH_IMPORTS.strip()}
```

and JAX's with

```python
{JAX_IMPORTS.strip()}
```

{" · ".join(f"[{heading}](#{topic})" for topic, heading in TOPICS.items())}"""


def _section(topic: str, table: tuple[Row, ...]) -> str:
    own = [row for row in table if row.topic == topic]
    lines = ["| PyTorch | JAX | note | under jit | in |", "|---|---|---|---|---|"]
    lines += [
        f'| <a id="{row.id}"></a>{_code(row.torch)} | {_code(row.jax)} | {_note(row)} | {_jit(row)} | {row.where} |'
        for row in own
    ]
    return f'## <a id="{topic}"></a>{TOPICS[topic]}\n\n' + "\n".join(lines)


def _code(text: str) -> str:
    """Return code for a table's cell: one line in backticks, several as <pre> with line breaks."""
    if "\n" not in text and "`" not in text:
        return f"`{text}`".replace("|", "\\|")
    escaped = "".join(_SPECIAL.get(character, character) for character in html.escape(text, quote=False))
    return f"<pre>{escaped.replace(chr(10), '<br>')}</pre>"


def _note(row: Row) -> str:
    facts = [_side("PyTorch", row.torch_raises, row.torch_is), _side("JAX", row.jax_raises, row.jax_is)]
    facts += [f"{row.dtypes}." if row.dtypes else "", "JAX warns without x64." if row.warns else ""]
    facts += ["Shape and dtype alone are the same." if row.drawn else ""]
    return " ".join(filter(None, [row.note, *facts])).replace("|", "\\|")


def _side(name: str, raises: str, value: str) -> str:
    if raises:
        return f"**{name} raises {raises}.**"
    return f"**{name}:** {_code(value)}." if value else ""


def _jit(row: Row) -> str:
    if not row.jit:
        return "no"
    return "raises" if row.jax_raises else "yes"


def _inputs() -> str:
    lines = ["| name | shape | content |", "|---|---|---|"]
    lines += [f"| `{name}` | `{array.shape}` | {_content(array)} |" for name, array in INPUTS.items()]
    return '## <a id="inputs"></a>Inputs\n\n' + "\n".join(lines)


def _content(array: np.ndarray) -> str:
    kind = {"f": "floats", "i": "integers", "u": "bytes", "b": "booleans"}[array.dtype.kind]
    return f"`{array.tolist()}`" if array.size <= 12 else f"{array.size} {kind} from {array.min()} to {array.max()}"


def _index(table: tuple[Row, ...]) -> str:
    places: dict[str, list[str]] = {}
    for row in table:
        for name in row.names():
            places.setdefault(name, []).append(row.id)
    names = sorted(places, key=lambda name: (name.strip(".").split(".")[-1].lower(), name))
    lines = [f"- `{name}`: {_links(places[name])}" for name in names]
    return '## <a id="index"></a>Index by PyTorch\'s names\n\n' + "\n".join(lines)


def _links(ids: Iterable[str]) -> str:
    return ", ".join(f"[{one}](#{one})" for one in ids)
