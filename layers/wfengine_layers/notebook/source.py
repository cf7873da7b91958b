"""What a notebook is, and how Databricks' source files (``.py``, ``.sql``) are read into one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

#: How a source file writes a comment, by language; the header, the separator and MAGIC lines are such comments.
COMMENT = {"python": "#", "sql": "--"}
#: Magics that say in which language the rest of the cell is; all others are lines within Python code.
LANGUAGES = frozenset({"python", "sql", "md", "md-sandbox", "scala", "r", "sh", "bash", "html", "javascript"})
_MAGIC = re.compile(r"%%?([A-Za-z][\w-]*)[ \t]*(.*)", re.DOTALL)


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of a notebook."""

    #: 1 for the first; empty and markdown cells count.
    number: int
    #: Language of ``text``: ``python``, ``sql``, or the word of the magic that named another.
    language: str
    #: The cell without comment prefixes and language magic; as many lines as in the file.
    text: str
    #: Line of the file that ``text`` starts at; 1 in an ``.ipynb``, where only lines within the cell mean something.
    line: int
    #: Jupyter's tags.
    tags: tuple[str, ...] = ()


class Notebook(msgspec.Struct, frozen=True, kw_only=True):
    """A notebook as read from its file."""

    path: Path
    #: The path as messages show it, relative to the job file's folder.
    name: str
    cells: tuple[Cell, ...]
    #: Values of widgets that the file itself stores.
    widgets: Mapping[str, str] = {}

    def place(self, cell: Cell, line: int) -> str:
        """Write a place for messages, as in ``notebooks/load.py:12 (cell 3)``."""
        return f"{self.name}:{line} (cell {cell.number})"


def read_source(text: str, language: str, path: Path, name: str) -> Notebook:
    """Split a source file into its cells; a file without the header is one cell."""
    comment = COMMENT[language]
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0] != f"{comment} Databricks notebook source":
        whole = Cell(number=1, language=language, text="\n".join(lines), line=1)
        return Notebook(path=path, name=name, cells=(whole,))
    cells: list[Cell] = []
    start = 1
    for at in range(1, len(lines) + 1):
        if at == len(lines) or lines[at] == f"{comment} COMMAND ----------":
            plain = "\n".join(_without_prefix(line, comment) for line in lines[start:at])
            cells.append(cell_of(plain, language, number=len(cells) + 1, line=start + 1))
            start = at + 1
    return Notebook(path=path, name=name, cells=tuple(cells))


def cell_of(text: str, language: str, *, number: int, line: int, tags: tuple[str, ...] = ()) -> Cell:
    """Make a cell whose language is that of the magic on its first line of code, else the notebook's."""
    lines = text.split("\n")
    for at, content in enumerate(lines):
        code = content.strip()
        if not code or code.startswith(COMMENT[language]):
            continue
        if found := _MAGIC.fullmatch(code):
            word = found[1].lower()
            if word in LANGUAGES:
                text = "\n".join([*[""] * at, found[2], *lines[at + 1 :]])
            language = word if word in LANGUAGES else "python"
        break
    return Cell(number=number, language=language, text=text, line=line, tags=tags)


def _without_prefix(line: str, comment: str) -> str:
    if line == f"{comment} MAGIC":
        return ""
    return line.removeprefix(f"{comment} MAGIC ")
