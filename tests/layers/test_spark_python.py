"""spark_python_task runs a script (docs/semantics.md, section 1)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wfengine.errors import TaskFailed
from wfengine.layer import TaskContext, TaskResult
from wfengine_layers.spark_python import SparkPythonConfig, SparkPythonLayer

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ContextFor = Callable[..., TaskContext[Any]]


@pytest.fixture
def run(context_for: ContextFor) -> Callable[..., TaskResult]:
    """Write ``code`` as a script in the project and run it."""

    def go(code: str = "", *, file: str = "../src/script.py", parameters: list[str] | None = None) -> TaskResult:
        context = context_for(SparkPythonConfig(python_file=file, parameters=parameters or []))
        script = context.root / "src" / "script.py"
        script.parent.mkdir(exist_ok=True)
        script.write_text(code)
        return SparkPythonLayer().run(context)

    return go


def test_a_script_runs_as_main_with_its_arguments(
    run: Callable[..., TaskResult], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = (list(sys.path), sys.argv, sys.modules["__main__"], os.getcwd())
    code = "import os, sys\nif __name__ == '__main__': print(sys.argv, __file__, sys.path[:2], os.getcwd(), sep='\\n')"
    result = run(code, parameters=["--date", "2024-01-01; rm"])
    folder = tmp_path / "project" / "src"
    assert result == TaskResult(message="src/script.py ran to its end")
    assert capsys.readouterr().out.splitlines() == [
        str([str(folder / "script.py"), "--date", "2024-01-01; rm"]),
        str(folder / "script.py"),
        str([str(folder), str(tmp_path / "project")]),
        str(folder),
    ]
    assert (list(sys.path), sys.argv, sys.modules["__main__"], os.getcwd()) == before


@pytest.mark.parametrize("code", ["", "import sys; sys.exit()", "import sys; sys.exit(0)", "raise SystemExit"])
def test_the_end_and_exit_with_zero_are_success(run: Callable[..., TaskResult], code: str) -> None:
    assert run(code).message == "src/script.py ran to its end"


@pytest.mark.parametrize(
    ("code", "says", "line"),
    [
        ("import sys\nsys.exit(3)", "script.py ended with exit code 3", 2),
        ("import sys\n\nsys.exit('why')", "script.py ended with exit code 1: why", 3),
        ("x = 1\ndef f():\n    return 1 / 0\nf()", "ZeroDivisionError: division by zero", 3),
        ("x = 1\ny = = 2", "SyntaxError: invalid syntax", 2),
        ("x = 1\nimport nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'", 2),
    ],
)
def test_a_failure_names_the_line_of_the_script(
    run: Callable[..., TaskResult], code: str, says: str, line: int
) -> None:
    with pytest.raises(TaskFailed) as caught:
        run(code)
    assert (str(caught.value), caught.value.where) == (says, f"src/script.py:{line}")


def test_the_log_has_the_traceback(run: Callable[..., TaskResult], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TaskFailed):
        run("def f():\n    1 / 0\nf()")
    text = capsys.readouterr().err
    assert 'script.py", line 2, in f\n    1 / 0' in text
    assert "spark_python.py" not in text


@pytest.mark.parametrize("file", ["../../outside.py", "/etc/passwd", "link.py"])
def test_nothing_outside_the_project_is_read(run: Callable[..., TaskResult], tmp_path: Path, file: str) -> None:
    """docs/reliability.md, C12."""
    (tmp_path / "outside.py").write_text("print('read')")
    (tmp_path / "project" / "conf" / "link.py").symlink_to(tmp_path / "outside.py")
    with pytest.raises(TaskFailed, match="lies outside the project"):
        run(file=file)


def test_a_missing_script_is_named(run: Callable[..., TaskResult]) -> None:
    with pytest.raises(TaskFailed, match=r"conf/none\.py cannot be read: No such file"):
        run(file="none.py")


def test_validation_finds_a_missing_script(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")

    def faults(file: str) -> list[str]:
        return [field for field, _ in SparkPythonLayer.check(SparkPythonConfig(python_file=file), tmp_path)]

    assert [faults(file) for file in ("a.py", "{{job.parameters.x}}", "../../b.py")] == [[], [], []]
    assert faults("b.py") == ["python_file"]


@pytest.mark.spark
def test_a_script_gets_the_attempts_session(context_for: ContextFor, connect: Callable[..., SparkSession]) -> None:
    """A session of its own would go round the guards (docs/reliability.md, E7)."""
    context = context_for(
        SparkPythonConfig(python_file="s.py"), session=lambda: connect(warehouse=context.warehouse, base=context.base)
    )
    (context.base / "s.py").write_text(
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.master('local[*]').appName('x').getOrCreate()\n"
        "spark.range(4).write.saveAsTable('made')\n"
        "spark.stop()\n"
    )
    SparkPythonLayer().run(context)
    assert context.spark.table("made").count() == 4
    context.spark.stop()
    assert context.spark.is_stopped
