"""notebook_task runs notebooks; Spark is played by a stand-in here and is real in test_notebook_spark."""

from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wfengine.errors import TaskFailed
from wfengine.layer import TaskContext, TaskResult
from wfengine_layers.notebook import NotebookLayer
from wfengine_layers.notebook.layer import NotebookConfig

ContextFor = Callable[..., TaskContext[Any]]
Run = Callable[..., TaskResult]
HEADER = "# Databricks notebook source\n"


class StandIn:
    """A session that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def sql(self, query: str) -> str:
        self.asked.append(query)
        if "broken" in query:
            raise ValueError("no such table")
        return f"result of {query}"

    def table(self, name: str) -> str:
        return f"table {name}"


class Project:
    """A project folder with notebooks, and the context of the last run."""

    def __init__(self, context_for: ContextFor) -> None:
        self._context_for = context_for
        self.session = StandIn()
        self.opened = 0
        self.context = context_for(None)
        self.base = self.context.base

    def write(self, name: str, *cells: str) -> Path:
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + "\n# COMMAND ----------\n".join(cells))
        return path

    def run(self, *cells: str, path: str = "n", parameters: Any = None, own: Any = None, **more: Any) -> TaskResult:
        if cells:
            self.write("n.py", *cells)
        config = NotebookConfig(notebook_path=path, base_parameters=own or {})
        self.context = self._context_for(config, parameters, session=self._open, **more)
        return NotebookLayer().run(self.context)

    def fail(self, *cells: str, **more: Any) -> TaskFailed:
        with pytest.raises(TaskFailed) as caught:
            self.run(*cells, **more)
        return caught.value

    def _open(self) -> Any:
        self.opened += 1
        return self.session


@pytest.fixture
def project(context_for: ContextFor) -> Project:
    return Project(context_for)


def test_cells_share_one_namespace_and_exit_gives_the_output(project: Project) -> None:
    result = project.run("x = 20", "def f(): return x + 1", "x = 41", "dbutils.notebook.exit(f())", "1 / 0")
    assert result == TaskResult(output="42", message="n.py ended by dbutils.notebook.exit")


def test_a_notebook_that_ends_has_no_output(project: Project) -> None:
    assert project.run("x = 1", "y = 2") == TaskResult(message="n.py: 2 cells")


def test_exit_is_not_swallowed_by_except_exception(project: Project) -> None:
    result = project.run("try:\n    dbutils.notebook.exit('out')\nexcept Exception:\n    raise SystemExit(1)")
    assert result.output == "out"


def test_a_notebook_without_spark_opens_no_session(project: Project) -> None:
    project.run("x = 'spark'", "# spark", "print(dbutils.widgets.getAll())")
    assert project.opened == 0


def test_the_session_is_opened_once_by_the_first_cell_that_names_it(project: Project) -> None:
    project.run("def f(): return spark.sql('a')", "f()", "spark.sql('b'); sql('c'); assert table('t') == 'table t'")
    assert (project.opened, project.session.asked) == (1, ["a", "b", "c"])


def test_parameters_come_from_the_task_and_the_job_beats_it(project: Project) -> None:
    """docs/semantics.md, section 5."""
    code = "import json; dbutils.notebook.exit(json.dumps([dbutils.widgets.get(n) for n in 'abc']))"
    own = {"a": "task", "b": "task", "c": True}
    assert json.loads(project.run(code, own=own, parameters={**own, "a": "job"}).output) == ["job", "task", "true"]


@pytest.mark.parametrize("payload", ["'); import os; os.abort() #", "{{job.id}}", "\n%sh rm -rf /", "\x00\x1b[31m"])
def test_a_parameter_never_becomes_code(project: Project, payload: str) -> None:
    """docs/reliability.md, C13."""
    assert project.run("dbutils.notebook.exit(getArgument('p'))", parameters={"p": payload}).output == payload


def test_the_notebooks_folder_is_the_working_directory_and_on_the_import_path(project: Project) -> None:
    project.write(
        "deep/n.py",
        "import os, beside, at_root\nresult = [os.getcwd(), __file__, __name__]",
        "dbutils.notebook.exit(result)",
    )
    (project.base / "deep" / "beside.py").write_text("")
    (project.base.parent / "at_root.py").write_text("")
    before = (os.getcwd(), list(sys.path), sys.argv, sys.modules["__main__"])
    result = project.run(path="deep/n")
    assert result.output == str([str(project.base / "deep"), str(project.base / "deep" / "n.py"), "__main__"])
    assert (os.getcwd(), list(sys.path), sys.argv, sys.modules["__main__"]) == before
    for name in ("beside", "at_root"):
        del sys.modules[name]


def test_classes_and_type_hints_find_their_module(project: Project) -> None:
    code = "import dataclasses, pickle, typing\n@dataclasses.dataclass\nclass A:\n    x: 'int' = 1"
    check = "assert typing.get_type_hints(A) == {'x': int}\nassert pickle.loads(pickle.dumps(A(2))) == A(2)"
    assert project.run("from __future__ import annotations", code, check).message == "n.py: 3 cells"


def test_future_imports_hold_in_later_cells(project: Project) -> None:
    assert project.run("from __future__ import annotations", "def f(x: nowhere): pass").message == "n.py: 2 cells"
    assert "NameError" in str(project.fail("def f(x: nowhere): pass"))


def test_the_last_expression_is_displayed(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.run("'first'\n'last'", "None", "'quiet';", "display('shown')", "displayHTML('<b>x</b>')", "x = 5")
    assert capsys.readouterr().out == "'last'\nshown\n[HTML of 8 characters is not shown in the log]\n"


@pytest.mark.parametrize(
    ("cell", "says", "line"),
    [
        ("x = 1\n1 / 0", "ZeroDivisionError: division by zero", 5),
        ("def f():\n    g()\ndef g():\n    raise KeyError('k')\nf()", "KeyError: 'k'", 7),
        ("x = 1\nx = = 2", "SyntaxError: invalid syntax", 5),
        ("if True:\n    x = (1,", "SyntaxError: '(' was never closed", 5),
        ("import json\njson.loads('{')", "JSONDecodeError: Expecting property name", 5),
        ("raise AssertionError", "AssertionError", 4),
        ("%sh\nls", "%sh is not supported", 4),
        ("x = 1\n%pip install y", "%pip is not supported", 5),
        ("x = 1\n!ls", "! is not supported", 5),
        ("# MAGIC %scala\n# MAGIC val x = 1", "%scala is not supported", 4),
        ("# MAGIC %r\n# MAGIC x <- 1", "%r is not supported", 4),
        ("%fs ls /", "%fs is not supported", 4),
        ("\n%run ./nowhere", "there is no notebook './nowhere'", 5),
        ("%run", "%run needs the path", 4),
        ("dbutils.widgets.get('x')", "InputWidgetNotDefined: No input widget named 'x' is defined; there are none", 4),
        ("dbutils.jobs.taskValues.set('k', object())", "task value 'k' is not JSON", 4),
        ("import sys\nsys.exit(3)", "the notebook called sys.exit(3)", 5),
        ("sys_exit = SystemExit('why')\nraise sys_exit", "the notebook called sys.exit('why')", 5),
        ("# MAGIC %sql\n# MAGIC SELECT 1;\n# MAGIC\n# MAGIC SELECT broken", "ValueError: no such table", 7),
        ("# MAGIC %sql SELECT :nope", "InputWidgetNotDefined", 4),
    ],
)
def test_a_failure_names_file_line_and_cell(project: Project, cell: str, says: str, line: int) -> None:
    error = project.fail("y = 1", cell)
    assert str(error).startswith(says)
    assert error.where == f"n.py:{line} (cell 2)"


def test_a_failure_in_a_function_of_an_earlier_cell_names_that_cell(project: Project) -> None:
    assert project.fail("def f():\n    raise ValueError('x')", "f()").where == "n.py:3 (cell 1)"


def test_a_failure_in_an_imported_module_names_its_line(project: Project) -> None:
    (project.base / "broken_helper.py").write_text("def f():\n    raise ValueError('x')\n")
    assert project.fail("import broken_helper\nbroken_helper.f()").where == "broken_helper.py:2"
    (project.base / "broken_syntax.py").write_text("x = 1\ny = = 2\n")
    assert project.fail("import broken_syntax").where == "broken_syntax.py:2"
    del sys.modules["broken_helper"]


def test_the_log_has_the_users_frames_alone(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.fail(
        "import json",
        "def f():\n    json.loads('{')\ntry:\n    f()\nexcept ValueError as e:\n    raise KeyError('k') from e",
    )
    text = capsys.readouterr().err
    assert [line.strip() for line in text.splitlines() if line.strip().startswith("File ")] == [
        'File "n.py (cell 2)", line 7, in <module>',
        'File "n.py (cell 2)", line 5, in f',
        'File "n.py (cell 2)", line 9, in <module>',
    ]
    assert "    json.loads('{')" in text
    assert "execution.py" not in text


def test_sys_exit_with_zero_is_success(project: Project) -> None:
    assert project.run("import sys; sys.exit(0)", "1 / 0") == TaskResult(message="n.py ended by sys.exit")


def test_a_syntax_error_at_the_end_of_a_cell_leaves_its_beginning_undone(project: Project) -> None:
    project.fail("open('made', 'w').close()\n%matplotlib inline\nx = = 1")
    assert not (project.base / "made").exists()


def test_settings_of_interactive_sessions_have_no_effect(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.run("%matplotlib inline\nx = 1", "assert x == 1")
    assert "n.py:2 (cell 1): %matplotlib has no effect" in capsys.readouterr().err


def test_sql_cells_fill_widgets_display_and_bind_the_last_result(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    result = project.run(
        "dbutils.widgets.text('name', \"it's\")",
        "# MAGIC %sql\n# MAGIC -- first ;\n# MAGIC SELECT 1;\n# MAGIC SELECT :name, '${name}'",
        "dbutils.notebook.exit(_sqldf)",
    )
    assert project.session.asked == ["SELECT 1", r"SELECT 'it\'s', 'it\'s'"]
    assert result.output == r"result of SELECT 'it\'s', 'it\'s'"
    assert capsys.readouterr().out == r"result of SELECT 'it\'s', 'it\'s'" + "\n"


def test_markdown_and_python_cells_are_read_by_their_magic(project: Project) -> None:
    assert (
        project.run("# MAGIC %md\n# MAGIC # no code (", "# MAGIC %python\n# MAGIC x = 1", "assert x == 1").output
        is None
    )


def test_sql_files_run_with_python_cells(project: Project) -> None:
    text = "-- Databricks notebook source\nSELECT 1\n-- COMMAND ----------\n-- MAGIC %python\n-- MAGIC dbutils.notebook.exit(_sqldf)"
    (project.base / "q.sql").write_text(text)
    assert project.run(path="q").output == "result of SELECT 1"


def test_a_script_without_the_header_is_one_cell(project: Project) -> None:
    (project.base / "plain.py").write_text("x = 1\n# COMMAND ----------\n1 / 0\n")
    assert project.fail(path="plain.py").where == "plain.py:3 (cell 1)"


def test_jupyter_notebooks_run_with_stored_widgets_and_lines_of_the_cell(project: Project) -> None:
    metadata = {
        "application/vnd.databricks.v1+notebook": {"language": "python", "widgets": {"w": {"currentValue": "s"}}}
    }
    cells = [
        {"cell_type": "markdown", "source": "# title", "metadata": {}},
        {"cell_type": "code", "source": "assert dbutils.widgets.get('w') == 's'\n\n1 / 0", "metadata": {}},
    ]
    content = {"nbformat": 4, "nbformat_minor": 0, "metadata": metadata, "cells": cells}
    (project.base / "j.ipynb").write_text(json.dumps(content))
    error = project.fail(path="j")
    assert (str(error), error.where) == ("ZeroDivisionError: division by zero", "j.ipynb:3 (cell 2)")


def _papermill(project: Project, code: str, check: str) -> None:
    cells = [
        {"cell_type": "code", "source": code, "metadata": {"tags": ["parameters"]}},
        {"cell_type": "code", "source": check, "metadata": {}},
    ]
    content = {"nbformat": 4, "nbformat_minor": 0, "metadata": {}, "cells": cells}
    (project.base / "p.ipynb").write_text(json.dumps(content))


def test_parameters_replace_variables_of_a_tagged_cell_in_their_type(project: Project) -> None:
    _papermill(
        project,
        "n, rate, name, on, items = 1, 0.5, 'a', False, []",
        "dbutils.notebook.exit(repr([n, rate, name, on, items]))",
    )
    given = {"n": "7", "rate": "2", "name": "b", "on": "true", "items": "x", "other": "y", "__name__": "z"}
    assert project.run(path="p", parameters=given).output == "[7, 2.0, 'b', True, []]"


def test_a_parameter_of_another_type_than_its_variable_is_refused(project: Project) -> None:
    _papermill(project, "n = 1", "n")
    assert "parameter 'n' must be int like its default, not 'x'" in str(project.fail(path="p", parameters={"n": "x"}))


def test_run_shares_the_namespace_and_lends_arguments(project: Project) -> None:
    project.write("lib/other.py", "got = dbutils.widgets.get('a')\nfile = __file__\nagain = x + 1")
    result = project.run(
        "x = 1",
        '# MAGIC %run ./lib/other $a="lent v"',
        "dbutils.notebook.exit([got, file.endswith('lib/other.py'), __file__.endswith('n.py'), again, getArgument('a', 'none')])",
        parameters={"b": "1"},
    )
    assert result.output == "['lent v', True, True, 2, 'none']"


def test_run_starts_from_the_folder_of_the_notebook_it_stands_in(project: Project) -> None:
    project.write("a/first.py", "%run ../b/second")
    project.write("b/second.py", "found = 'second'")
    assert project.run("%run ./a/first", "dbutils.notebook.exit(found)").output == "second"


def test_a_failure_in_a_notebook_that_is_run_names_its_line(project: Project) -> None:
    project.write("other.py", "x = 1", "1 / 0")
    assert project.fail("%run ./other").where == "other.py:4 (cell 2)"


def test_exit_in_a_notebook_that_is_run_ends_the_task(project: Project) -> None:
    project.write("other.py", "dbutils.notebook.exit('from other')")
    assert project.run("%run ./other", "1 / 0").output == "from other"


def test_a_circle_of_runs_is_named_as_a_chain(project: Project) -> None:
    project.write("a.py", "%run ./b")
    project.write("b.py", "x = 1\n%run ./a")
    error = project.fail(path="a")
    assert str(error) == "%run goes round in a circle: a.py -> b.py -> a.py"
    assert error.where == "b.py:3 (cell 1)"


def test_a_notebook_may_be_run_twice_in_a_row(project: Project) -> None:
    project.write("other.py", "count = globals().get('count', 0) + 1")
    assert project.run("%run ./other", "%run ./other", "dbutils.notebook.exit(count)").output == "2"


@pytest.mark.parametrize("path", ["../../outside", "/etc/passwd", "link", "link.py"])
def test_nothing_outside_the_project_is_read(project: Project, path: str) -> None:
    """docs/reliability.md, C12."""
    outside = project.base.parent.parent / "outside.py"
    outside.write_text(HEADER + "raise SystemExit('read')")
    (project.base / "link.py").symlink_to(outside)
    assert "lies outside the project" in str(project.fail(path=path))
    error = project.fail(f"x = 1\n%run {path}")
    assert ("lies outside the project" in str(error), error.where) == (True, "n.py:3 (cell 1)")


def test_an_ending_may_be_missing_unless_two_files_fit(project: Project) -> None:
    project.write("v1.2.py", "dbutils.notebook.exit('dotted')")
    assert project.run(path="v1.2").output == "dotted"
    (project.base / "n.sql").write_text("SELECT 1")
    assert "can be n.py or n.sql; write the ending" in str(project.fail("x = 1", path="n"))
    assert project.run(path="n.py").message == "n.py: 1 cells"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.scala", b"", "x.scala is a Scala notebook; only Python and SQL"),
        ("x.r", b"", "x.r is a R notebook; only Python and SQL"),
        ("x.txt", b"", "x.txt is not one of .py, .ipynb, .sql"),
        ("x.py", b"\xff\xfe", "x.py is not UTF-8 text"),
        ("x.ipynb", b"", "x.ipynb is not a Jupyter notebook"),
    ],
)
def test_a_file_that_cannot_be_run_is_refused(project: Project, name: str, content: bytes, says: str) -> None:
    (project.base / name).write_bytes(content)
    assert says in str(project.fail(path=name))


def test_an_empty_notebook_succeeds(project: Project) -> None:
    project.write("n.py", "")
    assert project.run().message == "n.py: 1 cells"


def test_the_config_takes_scalars_and_databricks_fields() -> None:
    given = {
        "notebook_path": "n",
        "base_parameters": {"a": 1, "b": True, "c": None},
        "source": "GIT",
        "warehouse_id": "x",
    }
    assert msgspec.convert(given, NotebookConfig).base_parameters == {"a": 1, "b": True, "c": None}
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"notebook_path": "n", "base_parameter": {}}, NotebookConfig)


def test_validation_finds_a_missing_notebook(tmp_path: Path) -> None:
    (tmp_path / "n.py").write_text("")

    def faults(path: str) -> list[str]:
        return [field for field, _ in NotebookLayer.check(NotebookConfig(notebook_path=path), tmp_path)]

    assert [faults(path) for path in ("n", "n.py", "{{job.parameters.x}}", "../../outside")] == [[], [], [], []]
    assert [faults(path) for path in ("m", "n.sql")] == [["notebook_path"], ["notebook_path"]]


def test_importing_the_layer_imports_no_pyspark() -> None:
    code = "import sys, wfengine_layers.notebook, wfengine_layers.spark_python; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_builtins_are_untouched(project: Project) -> None:
    before = set(vars(builtins))
    project.run("x = len([1])")
    assert set(vars(builtins)) == before
