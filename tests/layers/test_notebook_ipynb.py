"""Jupyter files are read with what Databricks stores in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wfengine.errors import TaskFailed
from wfengine_layers.notebook.ipynb import read_ipynb
from wfengine_layers.notebook.source import Notebook

DATABRICKS = "application/vnd.databricks.v1+notebook"


def code(source: str | list[str], **metadata: Any) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": metadata, "outputs": [], "execution_count": None}


def read(*cells: Any, **metadata: Any) -> Notebook:
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": list(cells)}
    return read_ipynb(json.dumps(content), Path("/p/n.ipynb"), "n.ipynb")


def test_source_is_a_list_of_lines_or_one_string() -> None:
    notebook = read(code(["a = 1\n", "b = 2"]), code("c = 3\nd = 4"))
    assert [cell.text for cell in notebook.cells] == ["a = 1\nb = 2", "c = 3\nd = 4"]


def test_markdown_counts_as_a_cell_and_lines_count_within_the_cell() -> None:
    markdown = {"cell_type": "markdown", "source": "# words", "metadata": {}}
    (cell,) = read(markdown, code("x")).cells
    assert (cell.number, cell.line) == (2, 1)


def test_a_magic_on_the_first_line_names_the_language() -> None:
    notebook = read(code("%sql\nSELECT 1"), code("%%sql SELECT 2"), code("%fs ls /"))
    assert [(cell.language, cell.text) for cell in notebook.cells] == [
        ("sql", "\nSELECT 1"),
        ("sql", "SELECT 2"),
        ("python", "%fs ls /"),
    ]


@pytest.mark.parametrize(
    "metadata",
    [
        {DATABRICKS: {"language": "sql"}, "language_info": {"name": "python"}},
        {"kernelspec": {"language": "SQL", "name": "x"}},
        {"language_info": {"name": "sql"}},
    ],
)
def test_the_default_language_is_databricks_then_jupyters(metadata: dict[str, Any]) -> None:
    assert read(code("SELECT 1"), **metadata).cells[0].language == "sql"


def test_widgets_have_their_current_value_else_their_default() -> None:
    widgets = {
        "a": {"currentValue": "now", "widgetInfo": {"defaultValue": "default"}},
        "b": {"currentValue": None, "widgetInfo": {"defaultValue": "default"}},
        "c": {},
    }
    assert read(code(""), **{DATABRICKS: {"widgets": widgets}}).widgets == {"a": "now", "b": "default"}


def test_tags_are_kept() -> None:
    assert read(code("a = 1", tags=["parameters"])).cells[0].tags == ("parameters",)


@pytest.mark.parametrize(
    ("text", "says", "where"),
    [
        ('{"cells": [', "not a Jupyter notebook: Expecting value", "n.ipynb:1"),
        ('{\n"cells": [}\n', "not a Jupyter notebook", "n.ipynb:2"),
        ("[" * 100_000, "not a Jupyter notebook", "n.ipynb"),
        ("[]", "has no list of cells", "n.ipynb"),
        ('{"worksheets": [], "nbformat": 3}', "has no list of cells", "n.ipynb"),
        ('{"cells": [], "nbformat": 5}', "has notebook format 5", "n.ipynb"),
        ('{"cells": [{"cell_type": "code"}], "nbformat": 4}', "cell 1 is broken", "n.ipynb (cell 1)"),
        ('{"cells": [{"source": "x"}], "nbformat": 4}', "cell 1 is broken", "n.ipynb (cell 1)"),
        ('{"cells": [null], "nbformat": 4}', "cell 1 is broken", "n.ipynb (cell 1)"),
        ('{"cells": [], "nbformat": 4, "metadata": {"language_info": {"name": "R"}}}', "is a r notebook", "n.ipynb"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(text: str, says: str, where: str) -> None:
    """docs/reliability.md, C1."""
    with pytest.raises(TaskFailed, match=says) as caught:
        read_ipynb(text, Path("/p/n.ipynb"), "n.ipynb")
    assert caught.value.where == where
