"""python_task calls a function (docs/semantics.md, section 1)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wfengine.errors import TaskFailed
from wfengine.layer import TaskContext, TaskResult
from wfengine_layers.python import PythonConfig, PythonLayer

ContextFor = Callable[..., TaskContext[Any]]


@pytest.fixture
def run(context_for: ContextFor, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TaskResult]:
    """Write ``code`` as module ``module`` beside the job file and run ``target`` from it."""
    before = set(sys.modules)

    def go(code: str, target: str = "made_here:main", given: dict[str, str] | None = None, **more: Any) -> TaskResult:
        context = context_for(PythonConfig(callable=target, **more), given)
        (context.base / "made_here.py").write_text(code)
        for name in set(sys.modules) - before:
            if name.startswith("made_here"):
                monkeypatch.delitem(sys.modules, name)
        return PythonLayer().run(context)

    yield go
    for name in set(sys.modules) - before:
        if name.startswith("made_here"):
            del sys.modules[name]


def test_the_json_result_is_the_output(run: Callable[..., TaskResult]) -> None:
    """docs/semantics.md, section 1."""
    result = run("def main(a, b=2): return {'sum': a + b}", parameters={"a": 1})
    assert result.output == {"sum": 3}


def test_a_job_parameter_beats_a_declared_parameter_and_others_are_not_passed(run: Callable[..., TaskResult]) -> None:
    """docs/semantics.md, section 5."""
    result = run("def main(a): return a", parameters={"a": "task"}, given={"a": "job", "other": "x"})
    assert result.output == "job"


def test_a_parameter_named_context_is_given_the_context(run: Callable[..., TaskResult]) -> None:
    result = run("def main(context): context.set_value('k', [1]); return context.identity.task_key")
    assert result.output == "task"


def test_a_task_result_is_passed_on(run: Callable[..., TaskResult]) -> None:
    code = "from wfengine import TaskResult\ndef main(): return TaskResult(output=1, message='one')"
    assert run(code) == TaskResult(output=1, message="one")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("made_here.main", "not of the form package.module:function"),
        ("nowhere_at_all:main", "no module 'nowhere_at_all'"),
        ("made_here.deeper:main", "no module 'made_here.deeper'"),
        ("made_here:missing", "has no 'missing'"),
        ("made_here:value", "not a function but int"),
    ],
)
def test_a_name_that_leads_nowhere_fails_with_a_sentence(
    run: Callable[..., TaskResult], target: str, says: str
) -> None:
    with pytest.raises(TaskFailed, match=says):
        run("value = 1\ndef main(): pass", target)


def test_a_module_missing_inside_the_users_module_keeps_its_traceback(run: Callable[..., TaskResult]) -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        run("import nowhere_at_all")


def test_parameters_that_do_not_fit_are_named(run: Callable[..., TaskResult]) -> None:
    with pytest.raises(TaskFailed, match=r"made_here:main\(a\) does not fit .*'b'"):
        run("def main(a): pass", parameters={"a": 1, "b": 2})


@pytest.mark.parametrize("code", ["0", "3", ""])
def test_sys_exit_is_never_success(run: Callable[..., TaskResult], code: str) -> None:
    """docs/reliability.md, T9."""
    with pytest.raises(TaskFailed, match=r"called sys\.exit"):
        run(f"import sys\ndef main(): sys.exit({code})")


def test_the_import_path_is_as_before_afterwards(run: Callable[..., TaskResult]) -> None:
    before = list(sys.path)
    run("def main(): pass")
    assert sys.path == before


def test_validation_finds_what_it_can_without_importing(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "inside.py").write_text("")

    def faults(name: str) -> list[tuple[str, str]]:
        return PythonLayer.check(PythonConfig(callable=name), tmp_path)

    for good in ("mine:f", "package.inside:Class.method", "json:dumps", "sys:exit", "{{job.parameters.x}}"):
        assert faults(good) == []
    for bad in ("mine", "mine:", "mine:f()", "a b:c", "mine.f", "package.other:f", "nowhere_at_all:f"):
        assert [field for field, _ in faults(bad)] == ["callable"]
