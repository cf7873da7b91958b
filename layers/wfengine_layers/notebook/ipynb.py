"""How Jupyter files (``.ipynb``, nbformat 4) are read, with what Databricks stores in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wfengine.errors import TaskFailed
from wfengine_layers.notebook.source import COMMENT, Cell, Notebook, cell_of

_DATABRICKS = "application/vnd.databricks.v1+notebook"


def read_ipynb(text: str, path: Path, name: str) -> Notebook:
    """Read a Jupyter file; TaskFailed says what is not as it should be."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 0
        raise TaskFailed(
            f"{name} is not a Jupyter notebook: {error}", where=f"{name}:{line}" if line else name
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        raise TaskFailed(f"{name} is not a Jupyter notebook of format 4: it has no list of cells", where=name)
    if (version := content.get("nbformat")) != 4:
        raise TaskFailed(f"{name} has notebook format {version!r}; save it with a Jupyter that writes 4", where=name)
    metadata = _mapping(content.get("metadata"))
    language = _language(metadata)
    if language not in COMMENT:
        raise TaskFailed(f"{name} is a {language} notebook; only Python and SQL run here", where=name)
    cells = [_cell(cell, language, number, name) for number, cell in enumerate(content["cells"], 1)]
    return Notebook(path=path, name=name, cells=tuple(c for c in cells if c), widgets=_widgets(metadata))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _language(metadata: Mapping[str, Any]) -> str:
    for part, key in ((_DATABRICKS, "language"), ("kernelspec", "language"), ("language_info", "name")):
        language = _mapping(metadata.get(part)).get(key)
        if isinstance(language, str) and language:
            return language.lower()
    return "python"


def _cell(cell: Any, language: str, number: int, name: str) -> Cell | None:
    """Return a code cell, None for text around the code."""
    kind = _mapping(cell).get("cell_type")
    if kind in ("markdown", "raw"):
        return None
    source = _mapping(cell).get("source")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if kind != "code" or not isinstance(source, str):
        raise TaskFailed(f"cell {number} is broken: it needs a cell_type and a source", where=f"{name} (cell {number})")
    tags = _mapping(cell.get("metadata")).get("tags")
    known = tuple(str(tag) for tag in tags) if isinstance(tags, list) else ()
    return cell_of(source.replace("\r\n", "\n"), language, number=number, line=1, tags=known)


def _widgets(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the values that Databricks stored: the current one, else the default."""
    found: dict[str, str] = {}
    for name, widget in _mapping(_mapping(metadata.get(_DATABRICKS)).get("widgets")).items():
        stored = _mapping(widget)
        value = stored.get("currentValue")
        if value is None:
            value = _mapping(stored.get("widgetInfo")).get("defaultValue")
        if value is not None:
            found[name] = str(value)
    return found
