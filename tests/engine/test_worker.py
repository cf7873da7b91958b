"""One attempt in its child: what a layer is given, and how its result or its error is told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wfengine import worker
from wfengine.executor import Launch, ProcessExecutor, Report, ending
from wfengine.jobs import Expectation
from wfengine.layer import TaskIdentity
from wfengine.runs import ErrorInfo, ExpectationFact, Facts
from wfengine.sparkserver import SparkServer
from wfengine.states import Result
from wfengine.worker import AttemptSpec

LAYERS = """
import os, sys
from pathlib import Path
import msgspec
from wfengine import Layer, TaskContext, TaskFailed, TaskResult, Facts

class Config(msgspec.Struct, forbid_unknown_fields=True):
    count: int = 1
    base_parameters: dict[str, str] = {}
    what: str = ""

class Base(Layer[Config]):
    Config = Config
    parameters_field = "base_parameters"

class Look(Base):
    name = "look"
    def run(self, context):
        import helper
        context.set_value("rows", [context.config.count])
        context.progress(1, 2, "half")
        context.log.info("at work", count=context.config.count)
        Path(context.scratch, "file").write_text("x")
        return TaskResult(
            output={"parameters": dict(context.parameters), "helper": helper.NAME, "task": context.identity.task_key,
                    "upstream": context.upstream_values, "base": str(context.base), "root": str(context.root),
                    "warehouse": str(context.warehouse), "allowed": [str(path) for path in context.allowed],
                    "cwd": os.getcwd()},
            facts=Facts(rows_read=3, metrics={"speed": 1.5}), message="looked")

class Return(Base):
    name = "return"
    def run(self, context):
        circle = []
        circle.append(circle)
        deep = []
        for _ in range(100_000):
            deep = [deep]
        results = {"nan": float("nan"), "infinite": float("inf"), "object": object(), "circle": circle, "deep": deep,
                   "bytes": b"x", "large": "x" * 49152, "just": "x" * 49150, "surrogate": "\\ud800"}
        if context.config.what == "metric":
            return TaskResult(facts=Facts(metrics={"ratio": float("nan")}))
        if context.config.what == "rows":
            return TaskResult(facts=Facts(rows_read=object()))
        if context.config.what == "none":
            return None
        if context.config.what == "nan value":
            context.set_value("ratio", float("nan"))
            return TaskResult()
        return TaskResult(output=results[context.config.what])

class Fail(Base):
    name = "fail"
    def run(self, context):
        if context.config.what == "exit":
            sys.exit(context.config.count)
        if context.config.what == "task":
            raise TaskFailed("column id is missing", where="load.py:3")
        if context.config.what == "user":
            import helper
            helper.divide(context.config.count)
        if context.config.what == "chain":
            import helper
            helper.chain()
        if context.config.what == "long":
            raise ValueError("x" * 1_000_000)
        if context.config.what == "spark":
            context.spark

class NeedsSpark(Base):
    name = "needs"
    needs_spark = True
    def run(self, context):
        context.spark.range(3).write.format("delta").save(str(context.warehouse / "default" / "numbers"))
        return TaskResult(output=context.spark.range(3).count())
"""

HELPER = """
NAME = "of the user"

def divide(by):
    return 1 // by

def chain():
    try:
        divide(0)
    except ZeroDivisionError as error:
        raise KeyError("rate") from error
"""


class Project:
    """A project on disk and the way to run its layers."""

    def __init__(self, folder: Path) -> None:
        self.base = folder / "project" / "jobs"
        self.base.mkdir(parents=True)
        (self.base / "my_layers.py").write_text(LAYERS)
        (self.base / "helper.py").write_text(HELPER)
        self.folder = folder / "attempt"
        self.messages: list[dict[str, Any]] = []

    def spec(self, name: str, **fields: Any) -> dict[str, Any]:
        identity = TaskIdentity(job_id=1, job_name="job", run_id=2, task_key="load", task_run_id=3)
        settings: dict[str, Any] = {
            "identity": identity,
            "kind": name.lower(),
            "layer": f"my_layers:{name}",
            "base": str(self.base),
            "root": str(self.base.parent),
            "warehouse": str(self.base.parent / "warehouse"),
            "folder": str(self.folder),
        }
        built: dict[str, Any] = msgspec.to_builtins(AttemptSpec(**{**settings, **fields}))
        return built

    def run(self, name: str, **fields: Any) -> dict[str, Any]:
        return worker.main(self.spec(name, **fields), self.messages.append)

    def error(self, name: str, **fields: Any) -> ErrorInfo:
        record = self.run(name, **fields)
        assert (record["status"], record["output"]) == ("failed", None)
        return msgspec.convert(record["error"], ErrorInfo)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield Project(tmp_path)
    for name in ("my_layers", "helper"):
        sys.modules.pop(name, None)


def test_a_layer_is_given_all_it_needs_and_its_result_is_recorded(project: Project) -> None:
    record = project.run(
        "Look",
        config={"count": "5", "base_parameters": {"mine": "1", "both": "own"}},
        parameters={"both": "job", "further": "2"},
        upstream_values={"up": {"key": 1}},
        allowed=("/data",),
    )
    output = record["output"]
    assert output["parameters"] == {"mine": "1", "both": "job", "further": "2"}
    assert (output["helper"], output["task"], output["upstream"]) == ("of the user", "load", {"up": {"key": 1}})
    assert [output[key] for key in ("base", "root", "warehouse")] == [
        str(project.base),
        str(project.base.parent),
        str(project.base.parent / "warehouse"),
    ]
    assert output["allowed"] == ["/data"]
    assert (record["status"], record["message"], record["error"]) == ("success", "looked", None)
    assert record["values"] == {"rows": [5]}
    assert msgspec.convert(record["facts"], Facts) == Facts(rows_read=3, metrics={"speed": 1.5})
    assert project.messages == [{"progress": {"done": 1, "total": 2, "message": "half"}}]


def test_what_the_layer_logs_goes_to_standard_output(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.run("Look")
    line = capsys.readouterr().out.strip()
    assert "at work" in line
    assert "count=1" in line
    assert "task=load" in line


def test_the_scratch_folder_is_removed_after_success_and_failure(project: Project) -> None:
    for layer in ("Look", "Fail"):
        project.run(layer)
        assert list(project.folder.iterdir()) == []


@pytest.mark.faults
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("nan", "the result is not JSON: Out of range float values are not JSON compliant"),
        ("infinite", "the result is not JSON: Out of range float values are not JSON compliant"),
        ("object", "the result is not JSON: Object of type object is not JSON serializable"),
        ("circle", "the result is not JSON: Circular reference detected"),
        ("deep", "the result is not JSON: maximum recursion depth exceeded"),
        ("bytes", "the result is not JSON: Object of type bytes is not JSON serializable"),
        ("surrogate", "the result is not JSON: 'utf-8' codec can't encode"),
        ("large", "the result has 49154 bytes as JSON; at most 49152 are allowed: write it to a table"),
        ("nan value", "task value 'ratio' is not JSON: Out of range float values are not JSON compliant"),
        ("metric", "the report of facts is not JSON: Out of range float values are not JSON compliant"),
        ("rows", "the facts cannot be reported: Encoding objects of type object is unsupported"),
        ("none", "the layer 'return' must return a TaskResult, not NoneType"),
    ],
)
def test_a_result_that_is_no_small_json_fails_with_the_reason(project: Project, what: str, words: str) -> None:
    """docs/reliability.md, T8."""
    error = project.error("Return", config={"what": what})
    assert error.message.startswith(words)
    assert error.traceback == ""


def test_a_result_of_exactly_the_limit_passes(project: Project) -> None:
    """docs/semantics.md, section 5: 48 KiB."""
    assert len(project.run("Return", config={"what": "just"})["output"]) == 49150


def test_a_mistake_of_the_user_is_told_without_traceback(project: Project) -> None:
    error = project.error("Fail", config={"what": "task"})
    assert error == ErrorInfo(message="column id is missing", where="load.py:3")


def test_a_config_that_does_not_fit_is_told_without_traceback(project: Project) -> None:
    error = project.error("Fail", config={"count": "many"})
    assert "count" in error.message
    assert (error.code, error.traceback) == ("ConfigError", "")


def test_a_traceback_starts_in_the_users_code_and_the_place_is_named(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    error = project.error("Fail", config={"what": "user", "count": 0})
    lines = error.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert f'File "{project.base}/my_layers.py"' in lines[1]
    assert lines[-1] == error.message == "ZeroDivisionError: integer division or modulo by zero"
    assert "worker.py" not in error.traceback
    assert error.where == "helper.py:5"
    assert error.traceback in capsys.readouterr().err


def test_the_cause_of_an_exception_is_shown_with_it(project: Project) -> None:
    error = project.error("Fail", config={"what": "chain"})
    assert "ZeroDivisionError" in error.traceback
    assert error.message == "KeyError: 'rate'"


def test_an_endless_message_is_shortened(project: Project) -> None:
    error = project.error("Fail", config={"what": "long"})
    assert len(error.message) < 5_000
    assert len(error.traceback) < 40_000
    assert "characters left out" in error.message


def test_a_layer_that_cannot_be_found_keeps_the_whole_traceback(project: Project) -> None:
    error = project.error("Look", layer="no_such_module:Layer")
    assert error.message == "ModuleNotFoundError: No module named 'no_such_module'"
    assert "Traceback" in error.traceback


@pytest.mark.faults
@pytest.mark.parametrize("code", [0, 2])
def test_sys_exit_in_a_layer_is_no_success(project: Project, code: int) -> None:
    """docs/reliability.md, T9."""
    error = project.error("Fail", config={"what": "exit", "count": code})
    assert error.message == f"the code called sys.exit({code}) before the task was complete"
    assert error.code == "NoCompletionRecord"


def test_a_layer_without_spark_has_no_session(project: Project) -> None:
    assert "needs_spark" in project.error("Fail", config={"what": "spark"}).message


def test_a_layer_that_needs_spark_names_the_extra_when_it_is_missing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    error = project.error("NeedsSpark")
    assert "a needsspark_task needs the extra 'lakehouse'" in error.message
    assert error.traceback == ""


# --- in a process


@pytest.fixture
def attempt(project: Project) -> Iterator[Callable[..., Report]]:
    """Run a layer below a real supervisor."""
    with ProcessExecutor(f"{project.folder}:1") as executor:

        def run(layer: str, heavy: bool = False, **fields: Any) -> Report:
            payload = project.spec(layer, **fields)
            executor.start(Launch(id=3, payload=payload, log=project.folder / "log", cwd=project.base, heavy=heavy))
            while True:
                for report in executor.poll(60):
                    if report.kind in ("ended", "lost"):
                        return report

        yield run


def test_an_attempt_runs_in_a_process_of_its_own_in_its_folder(
    project: Project, attempt: Callable[..., Report]
) -> None:
    report = attempt("Look")
    assert ending(report) == (Result.SUCCESS, None)
    assert report.record is not None
    assert report.record["output"]["cwd"] == str(project.base)
    assert b"at work" in (project.folder / "log").read_bytes()


def test_a_failure_in_the_process_keeps_its_words_and_its_place(attempt: Callable[..., Report]) -> None:
    result, error = ending(attempt("Fail", config={"what": "user", "count": 0}))
    assert result is Result.FAILED
    assert error is not None
    assert (error.code, error.where) == ("UserError", "helper.py:5")


@pytest.mark.spark
def test_a_spark_layer_computes_and_its_tables_are_held_to_what_is_expected(
    project: Project, attempt: Callable[..., Report]
) -> None:
    """docs/semantics.md, section 10."""
    expect = (
        Expectation(name="positive", table="numbers", where="id > 0", on_fail="fail"),
        Expectation(name="few", table="numbers", where="id < 2", on_fail="warn"),
    )
    server = SparkServer.start(project.folder / "spark.log", project.base.parent / "warehouse")
    try:
        report = attempt("NeedsSpark", heavy=True, spark_remote=server.url, expect=expect)
    finally:
        server.stop()
    result, error = ending(report)
    assert result is Result.FAILED
    assert error is not None
    assert error.message.startswith("expectation 'positive' is not met")
    assert report.record is not None
    facts = msgspec.convert(report.record["facts"]["expectations"], list[ExpectationFact])
    assert [(fact.name, fact.passed, fact.failed_rows) for fact in facts] == [("positive", False, 1), ("few", False, 1)]
