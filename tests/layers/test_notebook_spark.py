"""notebook_task on the default Spark engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wfengine.errors import TaskFailed
from wfengine.layer import TaskContext, TaskResult
from wfengine_layers.notebook import NotebookLayer
from wfengine_layers.notebook.layer import NotebookConfig

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

ContextFor = Callable[..., TaskContext[Any]]
SEPARATOR = "\n# COMMAND ----------\n"


@pytest.fixture
def run(context_for: ContextFor, connect: Callable[..., SparkSession]) -> Callable[..., TaskResult]:
    def go(*cells: str, **parameters: str) -> TaskResult:
        context = context_for(
            NotebookConfig(notebook_path="n"),
            parameters,
            session=lambda: connect(warehouse=context.warehouse, base=context.base),
        )
        (context.base / "n.py").write_text("# Databricks notebook source\n" + SEPARATOR.join(cells))
        return NotebookLayer().run(context)

    return go


def test_every_way_to_ask_for_a_session_gives_the_attempts_own(run: Callable[..., TaskResult]) -> None:
    """A session that the notebook made by itself would go round the guards (docs/reliability.md, E7)."""
    code = """
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
column = F.col('id') + 1
assert SparkSession.active() is SparkSession.getActiveSession()
mine = SparkSession.builder.appName('x').master('local[*]').config('spark.sql.shuffle.partitions', '3').getOrCreate()
assert mine is spark
assert SparkSession.builder.getOrCreate() is spark and SparkSession.getActiveSession() is spark
assert spark.conf.get('spark.sql.shuffle.partitions') == '3'
spark.stop()
assert SparkSession.builder.master('local[2]').getOrCreate() is spark
dbutils.notebook.exit(spark.range(3).select(column.alias('n')).agg(F.sum('n')).first()[0])
"""
    assert run(code).output == "6"


def test_a_helper_module_gets_the_attempts_session_too(run: Callable[..., TaskResult], tmp_path: Path) -> None:
    (tmp_path / "project" / "session_helper.py").write_text(
        "from pyspark.sql import SparkSession\ndef get(): return SparkSession.builder.getOrCreate()\n"
    )
    assert (
        run("import session_helper\nhelped = session_helper.get()", "assert helped is spark").message == "n.py: 2 cells"
    )


def test_sql_cells_show_a_table_and_bind_it(run: Callable[..., TaskResult], capsys: pytest.CaptureFixture[str]) -> None:
    result = run(
        "spark.range(25).createOrReplaceTempView('numbers')",
        "# MAGIC %sql\n# MAGIC SELECT :word AS word, '${word}' AS again, id FROM IDENTIFIER(:view) WHERE id < ${top};",
        "dbutils.notebook.exit(_sqldf.count())",
        word="it's; \\",
        view="numbers",
        top="2",
    )
    assert result.output == "2"
    assert capsys.readouterr().out.splitlines() == [
        "word    | again   | id",
        "------- | ------- | --",
        "it's; \\ | it's; \\ | 0",
        "it's; \\ | it's; \\ | 1",
    ]


def test_display_shows_twenty_rows_and_says_that_there_are_more(
    run: Callable[..., TaskResult], capsys: pytest.CaptureFixture[str]
) -> None:
    run("display(spark.range(21))", "spark.range(0).display()", "spark.range(1)")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 22 + 1 + 3 + 1
    assert lines[22] == "only the first 20 rows are shown"
    assert lines[23:] == ["id", "--", "no rows", "DataFrame[id: bigint]"]


def test_sql_commands_write_tables_with_widgets(run: Callable[..., TaskResult]) -> None:
    result = run(
        "# MAGIC %sql\n# MAGIC CREATE SCHEMA IF NOT EXISTS ${schema};\n"
        "# MAGIC CREATE OR REPLACE TABLE ${schema}.t USING delta AS SELECT :word AS word, id FROM range(3)",
        "dbutils.notebook.exit(table('bronze.t').where(\"word = 'a b'\").count())",
        schema="bronze",
        word="a b",
    )
    assert result.output == "3"


def test_a_mistake_in_sql_names_the_statements_line(run: Callable[..., TaskResult]) -> None:
    with pytest.raises(TaskFailed, match="nowhere") as caught:
        run("x = 1", "# MAGIC %sql\n# MAGIC SELECT 1;\n# MAGIC SELECT * FROM nowhere")
    assert caught.value.where == "n.py:6 (cell 2)"


def test_a_mistake_in_a_query_names_the_notebooks_line(
    run: Callable[..., TaskResult], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TaskFailed, match="nothing_here") as caught:
        run("df = spark.range(1)\n\ndf.select('nothing_here').show()")
    assert caught.value.where == "n.py:4 (cell 1)"
    assert "site-packages" not in capsys.readouterr().err


def test_a_function_of_the_notebook_works_as_udf(run: Callable[..., TaskResult]) -> None:
    code = "@udf('int')\ndef twice(n):\n    return helper(n)\ndef helper(n):\n    return 2 * n"
    assert run(code, "dbutils.notebook.exit(spark.range(3).select(twice('id')).collect()[2][0])").output == "4"
