"""Databricks source files are split as Databricks splits them."""

from __future__ import annotations

from pathlib import Path

import pytest

from wfengine_layers.notebook.source import Notebook, read_source

HEADER = "# Databricks notebook source\n"
SEPARATOR = "\n# COMMAND ----------\n"


def read(text: str, language: str = "python") -> Notebook:
    return read_source(text, language, Path("/p/n.py"), "n.py")


def cells(text: str, language: str = "python") -> list[tuple[str, str, int]]:
    return [(cell.language, cell.text.strip("\n"), cell.line) for cell in read(text, language).cells]


def test_cells_keep_their_number_and_the_line_they_start_at() -> None:
    notebook = read(f"{HEADER}a = 1{SEPARATOR}{SEPARATOR}\nb = 2\n")
    assert [(cell.number, cell.line, cell.text.strip()) for cell in notebook.cells] == [
        (1, 2, "a = 1"),
        (2, 4, ""),
        (3, 6, "b = 2"),
    ]
    assert notebook.place(notebook.cells[2], 8) == "n.py:8 (cell 3)"


@pytest.mark.parametrize(
    "first",
    [
        "#Databricks notebook source",
        " # Databricks notebook source",
        "# Databricks notebook source!",
        "",
        "-- Databricks",
    ],
)
def test_a_file_without_the_exact_header_is_one_cell_even_with_separators(first: str) -> None:
    text = f"{first}\na = 1{SEPARATOR}# MAGIC %sql SELECT 1"
    assert cells(text) == [("python", text.strip("\n"), 1)]


@pytest.mark.parametrize(
    "line",
    [
        "# COMMAND -----------",
        "# COMMAND ---------",
        "  # COMMAND ----------",
        "# COMMAND ---------- ",
        "#COMMAND ----------",
        "-- COMMAND ----------",
    ],
)
def test_a_line_that_is_not_exactly_the_separator_separates_nothing(line: str) -> None:
    assert len(cells(f"{HEADER}a = 1\n{line}\nb = 2\n")) == 1


def test_windows_line_ends_and_a_missing_final_newline_change_nothing() -> None:
    unix = f"{HEADER}a = 1{SEPARATOR}# MAGIC %sql\n# MAGIC SELECT 1"
    assert cells(unix.replace("\n", "\r\n")) == cells(unix) == [("python", "a = 1", 2), ("sql", "SELECT 1", 4)]


def test_magic_lines_lose_their_prefix_and_a_bare_one_is_an_empty_line() -> None:
    text = f"{HEADER}# MAGIC %sql\n# MAGIC SELECT 1,\n# MAGIC\n# MAGIC   2 -- # MAGIC x"
    assert cells(text) == [("sql", "SELECT 1,\n\n  2 -- # MAGIC x", 2)]


def test_text_may_follow_the_magic_on_its_line_and_lines_are_kept() -> None:
    (cell,) = read(f"{HEADER}# DBTITLE 1,Count them\n\n# MAGIC %sql SELECT 1\n# MAGIC , 2").cells
    assert (cell.language, cell.text, cell.line) == ("sql", "\n\nSELECT 1\n, 2", 2)


def test_a_title_is_no_part_of_the_code() -> None:
    assert cells(f"{HEADER}# DBTITLE 1,Words\n# MAGIC %md\n# MAGIC # Words") == [("md", "# Words", 2)]


def test_plain_lines_may_stand_beside_magic_lines() -> None:
    text = f"{HEADER}# MAGIC %run ./other\nx = 1\n# MAGIC %matplotlib inline\ny = 2"
    assert cells(text) == [("python", "%run ./other\nx = 1\n%matplotlib inline\ny = 2", 2)]


def test_a_script_block_may_stand_before_the_magic() -> None:
    block = '# /// script\n# [tool.databricks.environment]\n# environment_version = "2"\n# ///'
    assert cells(f"{HEADER}{block}\n# MAGIC %sql\n# MAGIC SELECT 1") == [("sql", "SELECT 1", 2)]


def test_magic_that_is_not_quite_the_prefix_stays_a_comment() -> None:
    assert cells(f"{HEADER}# MAGICAL\n#MAGIC %sql\nx = 1") == [("python", "# MAGICAL\n#MAGIC %sql\nx = 1", 2)]


def test_sql_files_have_their_own_comment_and_python_cells() -> None:
    text = (
        "-- Databricks notebook source\n-- a remark\nSELECT 1\n\n-- COMMAND ----------\n\n-- MAGIC %python\n"
        "-- MAGIC x = 1\n\n-- COMMAND ----------\n-- MAGIC %run ./other\n"
    )
    assert [(language, code) for language, code, _ in cells(text, "sql")] == [
        ("sql", "-- a remark\nSELECT 1"),
        ("python", "x = 1"),
        ("python", "%run ./other"),
    ]


@pytest.mark.parametrize(
    ("word", "language"), [("%scala", "scala"), ("%r", "r"), ("%sh", "sh"), ("%md-sandbox", "md-sandbox")]
)
def test_other_languages_keep_their_word(word: str, language: str) -> None:
    assert cells(f"{HEADER}# MAGIC {word}\n# MAGIC x")[0][0] == language
