"""A report as one page that needs no network: style, script and data are inside it."""

from __future__ import annotations

import json
import os
import re
import tempfile
from base64 import b64encode
from contextlib import suppress
from hashlib import sha256
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from jaxport.errors import UsageError
from jaxport.parity.result import Report

from . import words
from .nodes import Node, nodes

SCRIPTS = ("core", "state", "bars", "tree", "chart", "detail", "table", "training", "findings", "main")
"""The parts of the page's script, in the order in which they are joined."""

_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'"
"""The browser itself refuses every request, and every script but the page's own."""


def html(report: Report) -> str:
    """Return the report as an HTML page in one piece: it opens from a file, offline, in any current browser.

    Its address takes a view of the table of tensors, ``page.html#q=conv&verdict=different,suspicious&kind=gradient``,
    also ``mode``, ``sort``, ``dir``, ``tensor`` (the position of one that is opened), ``theme`` (``light``, ``dark``).
    """
    style, script = _asset("page.css"), "\n".join(_asset(f"{name}.js") for name in SCRIPTS)
    script = f'(() => {{\n"use strict";\n{script}\n}})();'
    parts = {
        "policy": f"{_POLICY}; style-src {_hash(style)}; script-src {_hash(script)}",
        "title": escape(report.title or "Comparison"),
        "mark": "●" if report.ok else "✕",
        "verdict": "Same" if report.ok else "Different",
        "outcome": "same" if report.ok else "different",
        "headline": escape(_sentence(words.headline(report))),
        "footer": escape(words.environment(report.environment)),
        "style": style,
        "script": script,
        "data": _embedded(_data(report)),
    }
    # In one pass, so that a name which looks like a placeholder stays what it is.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _asset("page.html"))


def write_html(report: Report, path: str | os.PathLike[str]) -> Path:
    """Write the page of a report; a file that is there is replaced once the new one is complete.

    Raises:
        UsageError: it cannot be written there.
    """
    target = Path(path)
    try:
        write_whole(target, html(report).encode())
    except OSError as error:
        raise UsageError(f"path: {target} cannot be written: {error.strerror}") from error
    return target


def write_whole(target: Path, content: bytes) -> None:
    """Write a file under another name in its folder and rename it, so that nothing half written is ever there."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)  # mkstemp makes it unreadable for others
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _asset(name: str) -> str:
    return resources.files(__package__ or "jaxport.parity.show").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _data(report: Report) -> dict[str, Any]:
    """Return what the script reads: the report's JSON, its tree, and what is said of it in sentences."""
    plain = json.loads(report.to_json())
    for row in plain["tensors"]:
        row["magnitudes"] = [[_short(a), _short(b)] for a, b in row["magnitudes"]]
    first = report.first_divergence
    order = {id(finding): number for number, finding in enumerate(report.findings)}
    return {
        "report": plain,
        "nodes": [_node(node) for node in nodes(report)],
        "ratios": [words.number(words.ratio(t), 6) for t in report.tensors],
        "where": [words.where_it_arises(t) if not t.ok else "" for t in report.tensors],
        "first": -1 if first is None else next(i for i, t in enumerate(report.tensors) if t is first),
        "causes": [order[id(finding)] for finding in (words.causes(report, first) if first else ())],
        "findings": [order[id(finding)] for finding in words.by_level(report.findings)],
        "training": [_sentence(line) for line in words.training_lines(report)],
        "parting": _parting(report),
        "modes": words.MODE_NAMES,
    }


def _parting(report: Report) -> str:
    step = words.first_parting(report.steps)
    return "" if step is None else _sentence(f"{words.MODE_NAMES.get(step.mode, step.mode)}, {words.parts(step)}")


def _short(value: float | str) -> float | str:
    return value if isinstance(value, str) else round(value, 3)


def _node(node: Node) -> dict[str, Any]:
    module = node.module
    return {
        "path": module.torch_path,
        "name": node.name,
        "kind": module.torch_kind,
        "jax": module.jax_path,
        "jaxKind": module.jax_kind,
        "order": module.order,
        "depth": node.depth,
        "parent": node.parent,
        "children": node.children,
        "shown": node.shown,
        "count": len(node.below),
        "verdict": None if node.verdict is None else str(node.verdict),
        "ok": node.ok,
    }


def _embedded(data: dict[str, Any]) -> str:
    """Return JSON that may stand in a script element: no ``<`` that could close it or open a comment."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", text)
